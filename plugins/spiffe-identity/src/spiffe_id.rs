//! SPIFFE IDs, as strictly as the standard "The SPIFFE Identity and Verifiable Identity Document"
//! writes them in section 2.

const SCHEME: &str = "spiffe://";
const MAX_LENGTH: usize = 2048;
const MAX_TRUST_DOMAIN_LENGTH: usize = 255;

/// A valid SPIFFE ID with a path, in its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct SpiffeId<'a> {
    pub trust_domain: &'a str,
    /// The path's segments; at least one, as that of a workload has.
    pub segments: Vec<&'a str>,
}

impl<'a> SpiffeId<'a> {
    /// # Errors
    /// Which rule the text breaks; the text itself is not in it.
    pub fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.len() > MAX_LENGTH {
            return Err("it is longer than 2048 bytes");
        }
        let rest = text.strip_prefix(SCHEME).ok_or("its scheme is not spiffe")?;
        let (trust_domain, path) = rest.split_once('/').ok_or("it has no path")?;
        check_trust_domain(trust_domain)?;
        let segments: Vec<_> = path.split('/').collect();
        for segment in &segments {
            check_segment(segment)?;
        }
        Ok(Self { trust_domain, segments })
    }
}

/// Section 2.1: an authority without user information and port.
pub fn check_trust_domain(name: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
    };
    match name.len() {
        0 => Err("its trust domain is empty"),
        1..=MAX_TRUST_DOMAIN_LENGTH if name.bytes().all(fits) => Ok(()),
        1..=MAX_TRUST_DOMAIN_LENGTH => Err("its trust domain holds other than a-z 0-9 . - _"),
        _ => Err("its trust domain is longer than 255 bytes"),
    }
}

/// Section 2.2: no empty segments, no relative ones, and nothing percent-encoded.
pub fn check_segment(segment: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match segment {
        "" => Err("its path has an empty segment"),
        "." | ".." => Err("its path has a relative segment"),
        _ if segment.bytes().all(fits) => Ok(()),
        _ => Err("its path holds other than letters, digits, . - _"),
    }
}
