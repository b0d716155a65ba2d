//! Headers that are good, cut, and bad.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The header's source and what is left behind it.
fn read(bytes: &[u8]) -> io::Result<(Option<SocketAddr>, Vec<u8>)> {
    let mut stream = bytes;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let header = runtime.block_on(read_header(&mut stream))?;
    Ok((header.source, stream.to_vec()))
}

fn binary(command: u8, family: u8, variable: &[u8]) -> Vec<u8> {
    let length = (variable.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, variable].concat()
}

/// Source, destination and their ports as version 2 writes them.
fn addresses(source: SocketAddr) -> (u8, Vec<u8>) {
    let port = source.port().to_be_bytes();
    match source.ip() {
        IpAddr::V4(ip) => (0x11, [&ip.octets()[..], &[9; 4], &port, &[9; 2]].concat()),
        IpAddr::V6(ip) => (0x21, [&ip.octets()[..], &[9; 16], &port, &[9; 2]].concat()),
    }
}

proptest! {
    #[test]
    fn sources_of_both_versions_are_read_and_nothing_behind_them(
        ip in any::<IpAddr>(),
        port in any::<u16>(),
        added in vec(any::<u8>(), 0..200),
        behind in vec(any::<u8>(), 0..50),
    ) {
        let source = SocketAddr::new(ip, port);
        let (family, destination) = if ip.is_ipv4() { ("TCP4", "0.0.0.0") } else { ("TCP6", "::") };
        let line = format!("PROXY {family} {ip} {destination} {port} 1883\r\n").into_bytes();
        let (family, addresses) = addresses(source);
        let binary = binary(0x21, family, &[addresses, added].concat());
        for header in [line, binary] {
            let (read_source, left) = read(&[header.clone(), behind.clone()].concat()).unwrap();
            prop_assert_eq!(read_source, Some(source));
            prop_assert_eq!(left, behind.clone());
            for length in 0..header.len() {
                prop_assert!(read(&header[..length]).is_err());
            }
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..200), start in 0usize..3) {
        let start: &[u8] = [&b"PROXY "[..], &SIGNATURE, b""][start];
        let _ = read(&[start, &bytes].concat());
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_or_does_not_know_names_nobody() {
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff:f:f:f ffff::1 65535 65535\r\n".to_vec(),
        binary(0x20, 0x00, b""),
        binary(0x20, 0x11, &[1; 12]),
        binary(0x21, 0x00, &[1; 30]),
        binary(0x21, 0x31, &[1; 216]),
    ] {
        let (source, left) = read(&[&header[..], b"mqtt"].concat()).unwrap();
        assert_eq!((source, &left[..]), (None, &b"mqtt"[..]));
    }
}

#[test]
fn malformed_headers_are_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE));
    for line in [
        "GET / HTTP/1.1\r\n\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 80 1883\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 80\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 80 1883 9\r\n",
        "PROXY TCP4 1.2.3.4  5.6.7.8 80 1883\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +80 1883\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 080 1883\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 65536 1883\r\n",
        "PROXY TCP4 1.2.3.256 5.6.7.8 80 1883\r\n",
        "PROXY TCP4 ::1 ::1 80 1883\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 80 1883\r\n",
        "PROXY UDP4 1.2.3.4 5.6.7.8 80 1883\r\n",
        "proxy TCP4 1.2.3.4 5.6.7.8 80 1883\r\n",
        &long,
    ] {
        assert_eq!(read(line.as_bytes()).unwrap_err().kind(), ErrorKind::InvalidData, "{line}");
    }
    for header in [
        binary(0x11, 0x11, &[1; 12]),
        binary(0x22, 0x11, &[1; 12]),
        binary(0x21, 0x12, &[1; 12]),
        binary(0x21, 0x11, &[1; 11]),
        binary(0x21, 0x21, &[1; 35]),
        binary(0x21, 0x11, &[1; LONGEST_VARIABLE_PART + 1]),
        binary(0x20, 0x00, &[1; LONGEST_VARIABLE_PART + 1]),
    ] {
        assert_eq!(read(&header).unwrap_err().kind(), ErrorKind::InvalidData, "{header:?}");
    }
}
