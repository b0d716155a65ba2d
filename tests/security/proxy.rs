//! PROXY headers: whom they are believed from, and what becomes of bad ones.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use hookmq_codec::ProtocolVersion;
use hookmq_tests::client::{Client, connect};
use hookmq_tests::doors::{Doors, Transport};
use hookmq_tests::wire::tcp;

const TRUSTED: &str = "proxy_protocol: {trusted: [127.0.0.0/8]}";

const NETWORK: [Transport; 4] = [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

/// A header of version 1.
fn line(source: SocketAddr) -> Vec<u8> {
    let (family, destination) =
        if source.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "::1") };
    let (ip, port) = (source.ip(), source.port());
    format!("PROXY {family} {ip} {destination} {port} 1883\r\n").into_bytes()
}

/// A header of version 2.
fn binary(command: u8, family: u8, variable: &[u8]) -> Vec<u8> {
    let length = (variable.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, variable].concat()
}

pub(super) fn binary_of(source: SocketAddr) -> Vec<u8> {
    // Something behind the addresses: the name of a host, PP2_TYPE_AUTHORITY.
    const ADDED: &[u8] = b"\x02\0\x04host";
    let port = source.port().to_be_bytes();
    match source {
        SocketAddr::V4(it) => {
            binary(0x21, 0x11, &[&it.ip().octets()[..], &[9; 4], &port, &[9; 2], ADDED].concat())
        }
        SocketAddr::V6(it) => {
            binary(0x21, 0x21, &[&it.ip().octets()[..], &[9; 16], &port, &[9; 2], ADDED].concat())
        }
    }
}

/// A connection that begins with `header`.
fn through_proxy(doors: &Doors, door: Transport, header: &[u8]) -> TcpStream {
    let mut stream = tcp(doors.address(door));
    stream.write_all(header).expect("send the header");
    stream
}

fn client(doors: &Doors, door: Transport, header: &[u8], id: &str) -> Client {
    let wire = doors.wire_over(through_proxy(doors, door, header), door);
    doors.open_client_over(wire, door).admitted(connect(doors.version, id))
}

#[test]
fn the_source_in_the_header_is_the_peer() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let doors = Doors::open(version, "connections_per_address: 1", TRUSTED);
        let headers: [fn(SocketAddr) -> Vec<u8>; 2] = [line, binary_of];
        let mut port = 4000;
        let mut clients = Vec::new();
        for door in NETWORK {
            for header in headers {
                for ip in ["192.0.2", "2001:db8:0"] {
                    port += 1;
                    let ip = match ip.contains(':') {
                        true => format!("{ip}:{port}::7"),
                        false => format!("{ip}.{}", port - 4000),
                    };
                    let source = SocketAddr::new(ip.parse().unwrap(), port);
                    // Each address may connect once, so each client is seen at its own.
                    let mut first = client(&doors, door, &header(source), &ip);
                    first.expect_nothing();
                    clients.push(first);
                    let second = through_proxy(&doors, door, &header(source));
                    Client::over(second, version).expect_closed();
                    doors.broker.wait_for_log(&format!("peer=Some({source})"));
                }
            }
        }
        assert_eq!(doors.shed("connections_per_address"), clients.len() as u64);
    }
}

#[test]
fn a_proxy_may_speak_for_itself() {
    let doors = Doors::open(ProtocolVersion::V5, "", TRUSTED);
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        binary(0x20, 0x00, b""),
        binary(0x20, 0x11, &[1; 12]),
        binary(0x21, 0x00, b""),
    ] {
        client(&doors, Transport::Tcp, &header, "check").expect_nothing();
    }
}

#[test]
fn bad_headers_close_the_connection() {
    let doors = Doors::open(ProtocolVersion::V5, "connect_timeout_ms: 1000", TRUSTED);
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    for header in [
        // None at all.
        &b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01x"[..],
        b"GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        too_long.as_bytes(),
        &binary(0x31, 0x11, &[1; 12]),
        &binary(0x21, 0x11, &[1; 4]),
        &binary(0x21, 0x12, &[1; 12]),
        &binary(0x21, 0x11, &[1; 20_000])[..16],
        // Half of one, and then nothing.
        b"PROXY TCP4 192",
        &binary_of("192.0.2.1:1".parse().unwrap())[..20],
        b"",
    ] {
        let stream = through_proxy(&doors, Transport::Tcp, header);
        Client::over(stream, doors.version).expect_closed();
    }
    client(&doors, Transport::Tcp, &line("192.0.2.1:1".parse().unwrap()), "good").expect_nothing();
}

#[test]
fn nobody_but_a_trusted_proxy_is_listened_to() {
    let untrusting = "proxy_protocol: {trusted: [192.0.2.1, \"2001:db8::/32\"]}";
    let doors = Doors::open(ProtocolVersion::V5, "", untrusting);
    for door in NETWORK {
        // Nothing is sent, so nothing can be waited for.
        Client::over(tcp(doors.address(door)), doors.version).expect_closed();
        let mut forger = Client::over(tcp(doors.address(door)), doors.version);
        forger.try_send_raw(&line("192.0.2.1:1".parse().unwrap()));
        forger.expect_closed();
    }
    doors.client(Transport::Unix, "local").expect_nothing();
}
