//! The PROXY protocol, versions 1 and 2: a load balancer tells whose connection it hands on.
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

mod fields;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header says of the connection behind the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Where the client is; none where the proxy speaks for itself or does not know.
    pub source: Option<SocketAddr>,
    /// What version 2 has behind the addresses.
    fields: Vec<u8>,
}

/// The shortest line of version 1 is as long, and a header of version 2 longer, so that reading it
/// never takes what comes behind a header.
const SHORTEST_HEADER: usize = "PROXY UNKNOWN\r\n".len();

/// Of version 1, with the end of the line (section 2.1).
const LONGEST_LINE: usize = 107;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length (section 2.2).
const FIXED_PART: usize = 16;

/// Two addresses and two ports.
const ADDRESSES_V4: usize = 12;
const ADDRESSES_V6: usize = 36;

/// Bytes behind the fixed part of version 2: addresses and what proxies add. A certificate fits.
const LONGEST_VARIABLE_PART: usize = 4096;

/// Reads the header and nothing behind it. The caller sets the deadline.
///
/// # Errors
/// There is no header, or a malformed one.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<ProxyHeader> {
    let mut header = vec![0; SHORTEST_HEADER];
    stream.read_exact(&mut header).await?;
    match header.starts_with(&SIGNATURE) {
        true => read_binary(stream, header).await,
        false => {
            let source = read_line(stream, header).await?;
            Ok(ProxyHeader { source, fields: Vec::new() })
        }
    }
}

async fn read_line(
    stream: &mut (impl AsyncRead + Unpin),
    mut line: Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    if !line.starts_with(b"PROXY ") {
        return Err(malformed("there is no PROXY header"));
    }
    // The end is only found by looking at each byte, and what comes behind it belongs to others.
    while !line.ends_with(b"\n") {
        if line.len() == LONGEST_LINE {
            return Err(malformed("the PROXY line is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    source_in_line(&line).ok_or_else(|| malformed("the PROXY line is malformed"))
}

/// The source in a line of version 1; the outer option is none where it is malformed.
fn source_in_line(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut fields = line.strip_prefix("PROXY ")?.split(' ');
    let family = fields.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let [source, destination, source_port, destination_port] =
        [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
    let is_of_family = |address: &IpAddr| match family {
        "TCP4" => address.is_ipv4(),
        "TCP6" => address.is_ipv6(),
        _ => false,
    };
    let address = |text: &str| text.parse::<IpAddr>().ok().filter(is_of_family);
    let (source, _) = (address(source)?, address(destination)?);
    let (port, _) = (port(source_port)?, port(destination_port)?);
    fields.next().is_none().then_some(Some(SocketAddr::new(source, port)))
}

/// Decimal, without sign and leading zeros.
fn port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

async fn read_binary(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> io::Result<ProxyHeader> {
    header.push(stream.read_u8().await?);
    let [version_and_command, family, high, low] = [header[12], header[13], header[14], header[15]];
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_VARIABLE_PART {
        return Err(malformed("the PROXY header is too long"));
    }
    header.resize(FIXED_PART + length, 0);
    stream.read_exact(&mut header[FIXED_PART..]).await?;
    let variable = &header[FIXED_PART..];
    let source = source_in_binary(version_and_command, family, variable).map_err(malformed)?;
    let addresses = match source {
        Some(SocketAddr::V4(_)) => ADDRESSES_V4,
        Some(SocketAddr::V6(_)) => ADDRESSES_V6,
        // Of whom a proxy gives no address, it vouches for nothing.
        None => variable.len(),
    };
    Ok(ProxyHeader { source, fields: variable[addresses..].to_vec() })
}

/// The source in a header of version 2.
fn source_in_binary(
    version_and_command: u8,
    family: u8,
    variable: &[u8],
) -> Result<Option<SocketAddr>, &'static str> {
    const SHORT: &str = "the PROXY header is shorter than its addresses";
    match version_and_command {
        // LOCAL: the proxy itself, such as for a health check.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err("the PROXY header is of an unknown version or command"),
    }
    let source = match family {
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] =
                variable.first_chunk::<ADDRESSES_V4>().ok_or(SHORT)?;
            let port = u16::from_be_bytes([*high, *low]);
            SocketAddr::new(Ipv4Addr::new(*a, *b, *c, *d).into(), port)
        }
        0x21 => {
            let addresses = variable.first_chunk::<ADDRESSES_V6>().ok_or(SHORT)?;
            let source = addresses.first_chunk::<16>().ok_or(SHORT)?;
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            SocketAddr::new(Ipv6Addr::from(*source).into(), port)
        }
        // Unspecified, and unix sockets.
        0x00 | 0x31 => return Ok(None),
        _ => return Err("the PROXY header is not of a stream's family"),
    };
    Ok(Some(source))
}

fn malformed(reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests;
