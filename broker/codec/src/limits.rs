//! How many parts of a kind one packet may have.

/// Bounds that its receiver sets beyond the protocol's own, for parts that cost more to hold than
/// their bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Topic filters of SUBSCRIBE and UNSUBSCRIBE.
    pub filters: u32,
    /// User properties of one property section: CONNECT with a will has two.
    pub user_properties: u32,
}

impl DecodeLimits {
    /// As many as fit the packet.
    pub const NONE: Self = Self { filters: u32::MAX, user_properties: u32::MAX };
}
