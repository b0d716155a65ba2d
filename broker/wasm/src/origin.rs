//! Where requests may go: a scheme, a host and a port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest name of a host (RFC 1035 section 2.3.4), in bytes.
const LONGEST_NAME: usize = 253;
const LONGEST_URL: usize = 8 << 10;

/// A scheme, a host and a port. `host` alone means `https://host:443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// The host of an [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Lower-case; its last label begins with a letter, so no resolver takes it for an address.
    Name(String),
    Address(IpAddr),
}

/// Why a text is no [`Origin`], or no url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("it is neither `host` nor `https://host:port` nor `http://host:port`")]
    Form,
    #[error("its host is neither a name nor an address")]
    Host,
    #[error("its port is no number from 1 to 65535")]
    Port,
    #[error("it has characters that a url may not have, or is too long")]
    Characters,
}

impl Origin {
    /// The origin of a url and the rest of it, which begins with `/`. Users, passwords and fragments
    /// are refused, as is whatever two parsers could read in two ways.
    ///
    /// # Errors
    /// Where it is no such url.
    pub fn of_url(url: &str) -> Result<(Self, String), OriginError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#\"<>^`{|}".contains(&byte);
        if url.len() > LONGEST_URL || !url.bytes().all(is_plain) {
            return Err(OriginError::Characters);
        }
        let (scheme, rest) = Scheme::split(url).ok_or(OriginError::Form)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
        Ok((Self::new(scheme, authority)?, path))
    }

    fn new(scheme: Scheme, authority: &str) -> Result<Self, OriginError> {
        let behind_host = authority.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match authority[behind_host..].rfind(':') {
            None => (authority, scheme.port()),
            Some(colon) => {
                let (host, port) = authority.split_at(behind_host + colon);
                (host, parse_port(&port[1..])?)
            }
        };
        Ok(Self { scheme, host: host.parse()?, port })
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        match Scheme::split(text) {
            Some((scheme, authority)) => Self::new(scheme, authority),
            None if text.contains("//") => Err(OriginError::Form),
            None => {
                let (scheme, port) = (Scheme::Https, Scheme::Https.port());
                Ok(Self { scheme, host: text.parse()?, port })
            }
        }
    }
}

/// As it is parsed, without the scheme's own port.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.host)?;
        match self.port {
            port if port == self.scheme.port() => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

impl Scheme {
    fn split(url: &str) -> Option<(Self, &str)> {
        let https = url.strip_prefix("https://").map(|rest| (Self::Https, rest));
        https.or_else(|| url.strip_prefix("http://").map(|rest| (Self::Http, rest)))
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl FromStr for Host {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let address: Ipv6Addr = address.parse().map_err(|_| OriginError::Host)?;
            return Ok(Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_label = |label: &str| !label.is_empty() && label.bytes().all(fits);
        let last = text.rsplit('.').next().unwrap_or_default();
        let is_name = text.len() <= LONGEST_NAME
            && text.split('.').all(is_label)
            && last.starts_with(|first: char| first.is_ascii_alphabetic());
        if is_name { Ok(Self::Name(text.to_ascii_lowercase())) } else { Err(OriginError::Host) }
    }
}

/// As it stands in a url.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

fn parse_port(text: &str) -> Result<u16, OriginError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or(OriginError::Port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_and_shown() {
        for (text, shown) in [
            ("Example.com", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:8080", "http://example.com:8080"),
            ("http://127.0.0.1", "http://127.0.0.1"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "",
            "//a",
            "ftp://a",
            "http://",
            "http://a:",
            "http://a:0",
            "http://a:+1",
            "a.",
            ".a",
            "a:80",
            "a b",
            "a@b",
            "127.1",
            "0x7f.1",
            "a.0x1",
            "2130706433",
            "[::1",
            "[a]",
            "::1",
            "http://[::1]x:80",
            "http://a/b",
            "*.a",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_is_an_origin_and_a_path() {
        for (url, origin, path) in [
            ("https://a.b", "https://a.b", "/"),
            ("https://A.b/c?d=%20", "https://a.b", "/c?d=%20"),
            ("http://a:81?q", "http://a:81", "/?q"),
            ("http://[::1]:81/@:x", "http://[::1]:81", "/@:x"),
        ] {
            let (found, rest) = Origin::of_url(url).unwrap();
            assert_eq!((&*found.to_string(), &*rest), (origin, path), "{url}");
        }
        for url in [
            "a.b",
            "https://u:p@a.b/",
            "https://a.b@c.d/",
            "https://a.b\\@c.d/",
            "https://a.b/ x",
            "https://a.b/#x",
            "https://a.b/\r\nHost: c",
            "HTTPS://a.b/",
            "https:///a",
            "https://?x",
            "https://a.b%2fc/",
        ] {
            assert!(Origin::of_url(url).is_err(), "{url}");
        }
    }
}
