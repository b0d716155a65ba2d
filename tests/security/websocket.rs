//! WebSocket clients that misbehave: attack N12.

use std::io::Write;

use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::doors::{Doors, Transport, at_all_doors};
use hookmq_tests::websocket::{
    BINARY, CLOSE, CONTINUATION, FINAL, PING, Response, WebSocket, frame, polite_request, request,
};

use crate::Bystanders;

const MIB: u64 = 1 << 20;

fn bystanders(doors: &Doors) -> Bystanders {
    Bystanders::of(|id| doors.client(Transport::Ws, id))
}

fn connect_frame(doors: &Doors) -> Vec<u8> {
    let mut bytes = Vec::new();
    Packet::Connect(Box::new(connect(doors.version, "")))
        .encode(doors.version, &mut bytes)
        .expect("a packet of this version");
    frame(FINAL | BINARY, &bytes)
}

/// A WebSocket whose client is admitted.
fn admitted(doors: &Doors, door: Transport) -> WebSocket {
    let mut socket = doors.websocket(door);
    socket.send_raw(&connect_frame(doors));
    let answer = socket.receive_frame().expect("an answer in time");
    let (opcode, _) = answer.expect("CONNACK");
    assert_eq!(opcode, BINARY);
    socket
}

#[test]
fn frames_that_the_protocol_forbids_close_the_connection_with_its_code() {
    at_all_doors("", |doors| {
        let mut bystanders = bystanders(doors);
        let message_begun = frame(BINARY, b"\xC0");
        for (what, bytes, code) in [
            ("compressed, which was not agreed on", frame(FINAL | 0x40 | BINARY, b"\xC0\0"), 1002),
            ("an unknown opcode", frame(FINAL | 0x3, b""), 1002),
            ("an unknown control frame", frame(FINAL | 0xF, b""), 1002),
            ("not masked", vec![FINAL | BINARY, 2, 0xC0, 0], 1002),
            ("a continuation of nothing", frame(FINAL | CONTINUATION, b"\xC0\0"), 1002),
            ("a message within a message", [message_begun, frame(BINARY, b"")].concat(), 1002),
            ("a ping in fragments", frame(PING, b""), 1002),
            ("a ping of 126 bytes", frame(FINAL | PING, &[0; 126]), 1002),
            ("a message of 2^63 bytes", frame_header(1 << 63), 1009),
            ("a message above the maximum", frame_header((1 << 20) + 1), 1009),
        ] {
            eprintln!("{what}");
            for door in Transport::WEB {
                let mut socket = admitted(doors, door);
                socket.send_raw(&bytes);
                socket.expect_close(code);
            }
            bystanders.exchange();
        }
    });
}

/// The header of a binary frame that announces so many bytes.
fn frame_header(length: u64) -> Vec<u8> {
    [&[FINAL | BINARY, 0xFF][..], &length.to_be_bytes(), &[0; 4]].concat()
}

#[test]
fn an_endless_message_is_closed_at_the_maximum_packet_size() {
    at_all_doors("", |doors| {
        for door in Transport::WEB {
            let mut bystanders = bystanders(doors);
            let mut witness = doors.client(Transport::Tcp, "witness");
            witness.subscribe("t", Qos::AtMostOnce);
            let mut socket = admitted(doors, door);
            let mut packet = Vec::new();
            Packet::Publish(publish("t", &[0; 60_000], Qos::AtMostOnce))
                .encode(doors.version, &mut packet)
                .unwrap();
            bystanders.exchange();
            let before = doors.broker.resident_bytes();
            let mut sent = 0u64;
            let mut first = BINARY;
            while sent < 1 << 30 && socket.try_send_raw(&frame(first, &packet)) {
                sent += packet.len() as u64;
                first = CONTINUATION;
            }
            assert!(sent < 1 << 30, "{sent} bytes were taken as one message");
            let grown = doors.broker.resident_bytes().saturating_sub(before);
            assert!(grown < 16 * MIB, "{sent} bytes in one message cost {grown}");
            // Every packet before the bound was good.
            let good = MIB / packet.len() as u64;
            for _ in 0..good {
                witness.expect_message("t", &[0; 60_000]);
            }
            witness.expect_nothing();
            bystanders.exchange();
        }
    });
}

#[test]
fn announced_messages_and_idle_sockets_cost_nothing() {
    at_all_doors("", |doors| {
        let mut bystanders = bystanders(doors);
        bystanders.exchange();
        let before = doors.broker.resident_bytes();
        let idle: Vec<_> = (0..500)
            .map(|number| {
                let mut socket = admitted(doors, Transport::Ws);
                // A large message once, or one that was only announced.
                match number % 2 {
                    0 => {
                        let pings = [0xC0, 0].repeat(10_000);
                        socket.send_frame(FINAL | BINARY, &pings);
                        let mut answered = 0;
                        while answered < pings.len() {
                            answered += socket.receive_frame().unwrap().unwrap().1.len();
                        }
                    }
                    _ => socket.send_raw(&frame_header(1 << 20)),
                }
                socket
            })
            .collect();
        bystanders.exchange();
        let grown = doors.broker.resident_bytes().saturating_sub(before);
        assert!(grown < 16 * MIB, "{} idle sockets cost {grown} bytes", idle.len());
    });
}

#[test]
fn frames_cut_short_anywhere_do_no_harm() {
    at_all_doors("", |doors| {
        let mut bystanders = bystanders(doors);
        let bytes = [
            connect_frame(doors),
            frame(FINAL | PING, b"ping"),
            frame(BINARY, &[0x30; 200]),
            frame(FINAL | CLOSE, &1000u16.to_be_bytes()),
        ]
        .concat();
        for length in 0..bytes.len() {
            let mut socket = doors.websocket(Transport::Ws);
            socket.send_raw(&bytes[..length]);
        }
        let request = polite_request();
        for length in 0..request.len() {
            doors.wire(Transport::Ws).write_all(&request.as_bytes()[..length]).unwrap();
        }
        bystanders.exchange();
    });
}

#[test]
fn compression_is_not_agreed_on() {
    let doors = Doors::open(ProtocolVersion::V5, "", "");
    let offers = [
        ("Sec-WebSocket-Protocol", "mqtt"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ];
    let socket = WebSocket::attempt(doors.wire(Transport::Ws), &request("/", &offers)).unwrap();
    assert_eq!(socket.response.header("Sec-WebSocket-Extensions"), None);
    Client::over(socket, doors.version).admitted(connect(doors.version, "")).expect_nothing();
}

#[test]
fn what_is_no_upgrade_is_answered_and_closed() {
    let doors = Doors::open(ProtocolVersion::V5, "", "");
    let polite = polite_request();
    let long_header = polite.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "x".repeat(20_000)));
    let many_headers = polite.replace("\r\n\r\n", &format!("{}\r\n\r\n", "\r\nX: x".repeat(200)));
    for (what, request, status) in [
        ("no HTTP", "\x10\x0E\0\x04MQTT\r\n\r\n".to_owned(), 400),
        ("a page", "GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
        ("POST", polite.replace("GET", "POST"), 400),
        ("HTTP/1.0", polite.replace("HTTP/1.1", "HTTP/1.0"), 400),
        ("an old version", polite.replace("Version: 13", "Version: 8"), 426),
        ("no key", polite.replace("Sec-WebSocket-Key", "X"), 400),
        ("a header of 20,000 bytes", long_header, 400),
        ("200 headers", many_headers, 400),
        ("impatient", format!("{polite}\u{2}"), 400),
    ] {
        for door in Transport::WEB {
            let refused = WebSocket::attempt(doors.wire(door), &request);
            assert_eq!(refused.err().map(|response| response.status), Some(status), "{what}");
        }
    }
    bystanders(&doors).exchange();
}

#[test]
fn only_the_configured_path_and_sites_are_let_in() {
    let web =
        "websocket: {path: /mqtt, origins: [\"https://a.example\", \"http://localhost:8080\"]}";
    let doors = Doors::only_web(ProtocolVersion::V5, web);
    let ask = |path: &str, headers: &[(&str, &str)]| {
        let headers = [&[("Sec-WebSocket-Protocol", "mqtt")], headers].concat();
        let socket = WebSocket::attempt(doors.wire(Transport::Ws), &request(path, &headers));
        socket.map_or_else(|response: Response| response.status, |socket| socket.response.status)
    };
    assert_eq!(ask("/mqtt", &[]), 101, "no browser");
    assert_eq!(ask("/mqtt?token=x", &[("Origin", "https://a.example")]), 101);
    assert_eq!(ask("/mqtt", &[("origin", "http://localhost:8080")]), 101);
    for origin in ["https://b.example", "http://a.example", "https://a.example.b", "null", ""] {
        assert_eq!(ask("/mqtt", &[("Origin", origin)]), 403, "{origin}");
    }
    let two = [("Origin", "https://a.example"), ("Origin", "https://b.example")];
    assert_eq!(ask("/mqtt", &two), 403);
    for path in ["/", "/mqtt/", "/MQTT", "/mqttx"] {
        assert_eq!(ask(path, &[]), 404, "{path}");
    }
}
