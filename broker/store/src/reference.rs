//! What a queue holds of a message: 24 bytes.

use std::num::NonZeroU32;

use hookmq_codec::Qos;
use serde::{Deserialize, Serialize};
use triomphe::ThinArc;

use crate::{MessageId, UnixMillis};

/// One message due from one queue. The message itself is stored once, under its id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Parts", into = "Parts")]
pub struct Reference {
    id: MessageId,
    identifiers: Option<Identifiers>,
    /// Seconds since 1970, rounded up, by which queues are swept; 0 never, as behind the year 2106. The
    /// message has it exactly.
    expires_at: u32,
    /// QoS in the topmost two bits, the retain flag in the next, then whether the client's connection
    /// has the message, which is no part of the record, then the message's bytes.
    size_and_flags: u32,
}

type Identifiers = ThinArc<(), NonZeroU32>;

const QOS_SHIFT: u32 = 30;
const RETAIN: u32 = 1 << 29;
const TAKEN: u32 = 1 << 28;
/// As long as any packet, which is below 256 MiB.
const SIZE: u32 = TAKEN - 1;

/// A reference in the open: on disk, in an export, in the broker's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    pub id: MessageId,
    pub qos: u8,
    pub retain: bool,
    pub size: u32,
    pub expires_at: u32,
    pub identifiers: Vec<NonZeroU32>,
}

impl Reference {
    pub(crate) fn new(id: MessageId, qos: Qos, retain: bool, size: usize) -> Self {
        let flags = (qos as u32) << QOS_SHIFT | if retain { RETAIN } else { 0 };
        let size = u32::try_from(size).unwrap_or(SIZE).min(SIZE);
        Self { id, identifiers: None, expires_at: 0, size_and_flags: flags | size }
    }

    pub(crate) fn expiring(mut self, at: Option<UnixMillis>) -> Self {
        let seconds = |at: UnixMillis| u32::try_from(at.0.div_ceil(1000).max(1)).unwrap_or(0);
        self.expires_at = at.map_or(0, seconds);
        self
    }

    pub(crate) fn with_identifiers(mut self, identifiers: &[NonZeroU32]) -> Self {
        let some = !identifiers.is_empty();
        self.identifiers = some.then(|| ThinArc::from_header_and_slice((), identifiers));
        self
    }

    /// Holds the identifiers of `other` where they are the same, as most in a queue are.
    pub(crate) fn share_identifiers(&mut self, other: &Self) {
        if self.identifiers.is_some() && self.identifiers == other.identifiers {
            self.identifiers = other.identifiers.clone();
        }
    }

    pub fn id(&self) -> MessageId {
        self.id
    }

    pub fn qos(&self) -> Qos {
        match self.size_and_flags >> QOS_SHIFT {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        }
    }

    pub fn retain(&self) -> bool {
        self.size_and_flags & RETAIN != 0
    }

    /// Bytes of the message.
    pub fn size(&self) -> usize {
        (self.size_and_flags & SIZE) as usize
    }

    /// Whether the connection of the session has it, and may have sent it.
    pub(crate) fn is_taken(&self) -> bool {
        self.size_and_flags & TAKEN != 0
    }

    pub(crate) fn set_taken(&mut self, taken: bool) {
        self.size_and_flags = self.size_and_flags & !TAKEN | if taken { TAKEN } else { 0 };
    }

    /// Whether the message's time is over.
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.expires_at != 0 && u64::from(self.expires_at) * 1000 <= now.0
    }

    /// When the message's time is over, in seconds since 1970, rounded up; none where that never is.
    pub(crate) fn expires_at(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.expires_at)
    }

    pub fn subscription_identifiers(&self) -> &[NonZeroU32] {
        self.identifiers.as_ref().map_or(&[], |it| &it.slice)
    }
}

impl From<Reference> for Parts {
    fn from(reference: Reference) -> Self {
        Self {
            id: reference.id,
            qos: reference.qos() as u8,
            retain: reference.retain(),
            size: reference.size() as u32,
            expires_at: reference.expires_at,
            identifiers: reference.subscription_identifiers().to_vec(),
        }
    }
}

impl From<Parts> for Reference {
    fn from(parts: Parts) -> Self {
        let qos = Qos::from_bits(parts.qos).unwrap_or(Qos::ExactlyOnce);
        let size = parts.size as usize;
        let reference = Self::new(parts.id, qos, parts.retain, size);
        Self { expires_at: parts.expires_at, ..reference.with_identifiers(&parts.identifiers) }
    }
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Parts::from(self.clone()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_24_bytes_and_forgets_nothing() {
        assert_eq!(size_of::<Reference>(), 24);
        let identifiers = [NonZeroU32::new(7).unwrap(), NonZeroU32::MAX];
        for (qos, retain) in [(Qos::AtLeastOnce, true), (Qos::ExactlyOnce, false)] {
            let reference = Reference::new(MessageId(9), qos, retain, 268_435_455)
                .expiring(Some(UnixMillis(1_001)))
                .with_identifiers(&identifiers);
            assert_eq!(Reference::from(Parts::from(reference.clone())), reference);
            assert_eq!((reference.qos(), reference.retain()), (qos, retain));
            assert_eq!(reference.size(), 268_435_455);
            assert_eq!(reference.subscription_identifiers(), identifiers);
            assert!(!reference.is_expired(UnixMillis(1_999)), "rounded up");
            assert!(reference.is_expired(UnixMillis(2_000)));
        }
    }
}
