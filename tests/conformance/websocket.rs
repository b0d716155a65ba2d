//! Transports, and above all WebSocket: bytes in binary frames, wherever the frames begin and end.

use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::doors::{Doors, Transport, at_all_doors};
use hookmq_tests::websocket::{
    BINARY, CONTINUATION, FINAL, Framing, PING, PONG, TEXT, WebSocket, request,
};
use hookmq_tests::wire::{tcp, tls};

/// A packet that says so much, as the client of `doors` sends it.
fn encoded(doors: &Doors, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(doors.version, &mut bytes).expect("a packet of this version");
    bytes
}

/// CONNECT, and a message behind it to the topic `t`.
fn connect_and_publish(doors: &Doors, payload: &[u8]) -> Vec<u8> {
    let connect = Packet::Connect(Box::new(connect(doors.version, "cut")));
    let publish = Packet::Publish(publish("t", payload, Qos::AtMostOnce));
    [encoded(doors, &connect), encoded(doors, &publish)].concat()
}

/// `[MQTT5-4.2-1]` `[MQTT311-7.1.1-1]`
#[test]
fn messages_pass_between_all_transports_whole_and_in_order() {
    at_all_doors("", |doors| {
        let mut subscribers: Vec<_> = Transport::ALL
            .iter()
            .map(|door| {
                let mut client = doors.client(*door, &format!("to {}", door.name()));
                client.subscribe("t", Qos::ExactlyOnce);
                client
            })
            .collect();
        for door in Transport::ALL {
            let mut publisher = doors.client(door, "from");
            for (number, qos) in
                [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].into_iter().enumerate()
            {
                // From nothing to several of the broker's buffers.
                let payload: Vec<u8> = (0..number * 400_000).map(|at| (at % 251) as u8).collect();
                publisher.publish(publish("t", &payload, qos));
                for subscriber in &mut subscribers {
                    let received = subscriber.expect_message("t", &payload);
                    assert_eq!(received.publish().qos, qos);
                    subscriber.acknowledge(&received);
                }
            }
            publisher.disconnect();
        }
        for subscriber in &mut subscribers {
            subscriber.expect_nothing();
        }
    });
}

/// `[MQTT5-6.0.0-1]` `[MQTT311-6.0.0-1]`
#[test]
fn a_text_frame_closes_the_connection() {
    at_all_doors("", |doors| {
        for door in Transport::WEB {
            let mut witness = doors.client(door, "witness");
            witness.subscribe("t", Qos::AtMostOnce);
            let bytes = connect_and_publish(doors, b"x");
            for first in [FINAL | TEXT, TEXT] {
                let mut socket = doors.websocket(door);
                socket.send_frame(first, &bytes);
                socket.expect_close(1003);
            }
            let mut socket = doors.websocket(door);
            socket.send_frame(FINAL | BINARY, &bytes);
            witness.expect_message("t", b"x");
            let (opcode, _) = socket.receive_frame().unwrap().unwrap();
            assert_eq!(opcode, BINARY, "the broker sends binary frames");
            socket.send_frame(FINAL | TEXT, &bytes);
            socket.expect_close(1003);
            witness.expect_nothing();
        }
    });
}

/// `[MQTT5-6.0.0-2]` `[MQTT311-6.0.0-2]`
#[test]
fn packets_span_frames_and_share_them() {
    at_all_doors("", |doors| {
        for door in Transport::WEB {
            let mut witness = doors.client(door, "witness");
            witness.subscribe("t", Qos::AtMostOnce);
            let bytes = connect_and_publish(doors, b"payload");
            // Two packets cut at every byte, and in a message of fragments.
            for length in 1..=bytes.len() {
                for framing in [Framing::Messages(length), Framing::Fragments(length)] {
                    let socket = doors.websocket(door).with_framing(framing);
                    let mut client = Client::over(socket, doors.version);
                    client.send_raw(&bytes);
                    assert!(!client.receive().session_present());
                    witness.expect_message("t", b"payload");
                    client.vanish();
                }
            }
        }
    });
}

/// `[MQTT5-6.0.0-2]` `[MQTT311-6.0.0-2]`
#[test]
fn one_frame_may_hold_many_packets() {
    at_all_doors("", |doors| {
        for door in Transport::WEB {
            let mut client = doors.client(door, "many");
            let message = publish("t", b"x", Qos::AtMostOnce);
            let mut bytes = encoded(doors, &Packet::Publish(message)).repeat(1000);
            bytes.extend(encoded(doors, &Packet::PingReq));
            client.subscribe("t", Qos::AtMostOnce);
            client.send_raw(&bytes);
            for _ in 0..1000 {
                client.receive_where(|packet| matches!(packet, Packet::Publish(_)));
            }
            client.receive_where(|packet| *packet == Packet::PingResp);
            client.expect_nothing();
        }
    });
}

/// `[MQTT5-6.0.0-4]` `[MQTT311-6.0.0-4]`
#[test]
fn the_subprotocol_that_is_selected_is_mqtt() {
    at_all_doors("", |doors| {
        for door in Transport::WEB {
            for (offered, selected) in [
                ("mqtt", Some("mqtt")),
                ("chat, mqtt", Some("mqtt")),
                ("mqttv3.1, mqtt", Some("mqtt")),
                // What was not offered cannot be selected.
                ("mqttv3.1", Some("mqttv3.1")),
                ("chat", None),
                ("mqtt5", None),
            ] {
                let request = request("/", &[("Sec-WebSocket-Protocol", offered)]);
                match (WebSocket::attempt(doors.wire(door), &request), selected) {
                    (Ok(socket), Some(selected)) => {
                        let response = &socket.response;
                        assert_eq!(response.header("Sec-WebSocket-Protocol"), Some(selected));
                        let accept = response.header("Sec-WebSocket-Accept");
                        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
                        Client::over(socket, doors.version)
                            .admitted(connect(doors.version, ""))
                            .disconnect();
                    }
                    (Err(response), None) => assert_eq!(response.status, 400),
                    (Ok(_), None) => panic!("{offered} was granted"),
                    (Err(response), Some(_)) => panic!("{offered}: {response:?}"),
                }
            }
            let none = WebSocket::attempt(doors.wire(door), &request("/", &[]));
            assert_eq!(none.err().map(|response| response.status), Some(400));
        }
    });
}

#[test]
fn tls_clients_that_name_a_protocol_name_the_one_that_is_spoken() {
    let doors = Doors::open(ProtocolVersion::V5, "", "");
    for (door, spoken, other) in
        [(Transport::Tls, &b"mqtt"[..], &b"http/1.1"[..]), (Transport::Wss, b"http/1.1", b"mqtt")]
    {
        let shake_hands = |alpn: &[&[u8]]| {
            let stream = tls(tcp(doors.address(door)), &doors.ca(), alpn);
            stream.map(|stream| stream.conn.alpn_protocol().map(<[u8]>::to_vec))
        };
        assert_eq!(shake_hands(&[other, spoken]).unwrap(), Some(spoken.to_vec()));
        assert_eq!(shake_hands(&[]).unwrap(), None);
        assert!(shake_hands(&[other]).is_err());
    }
}

#[test]
fn a_ping_gets_its_pong_and_a_close_its_close() {
    at_all_doors("", |doors| {
        for door in Transport::WEB {
            let mut socket = doors.websocket(door);
            for payload in [&b""[..], b"are you there?", &[7; 125]] {
                socket.send_frame(FINAL | PING, payload);
                assert_eq!(socket.receive_frame().unwrap(), Some((PONG, payload.to_vec())));
            }
            socket.send_frame(FINAL | PONG, b"nobody asked");
            // Control frames may stand within a message, and a packet may span it.
            let bytes = connect_and_publish(doors, b"x");
            let (start, end) = bytes.split_at(9);
            socket.send_frame(BINARY, start);
            socket.send_frame(FINAL | PING, b"between");
            assert_eq!(socket.receive_frame().unwrap(), Some((PONG, b"between".to_vec())));
            socket.send_frame(FINAL | CONTINUATION, end);
            let (opcode, _) = socket.receive_frame().unwrap().unwrap();
            assert_eq!(opcode, BINARY);
            socket.send_frame(FINAL | hookmq_tests::websocket::CLOSE, &1001u16.to_be_bytes());
            socket.expect_close(1000);
        }
    });
}

/// The same with a client that others wrote.
#[test]
fn a_widely_used_websocket_library_is_understood() {
    let doors = Doors::open(ProtocolVersion::V5, "", "");
    let mut witness = doors.client(Transport::Tcp, "witness");
    witness.subscribe("t", Qos::AtMostOnce);
    let request = tungstenite::ClientRequestBuilder::new("ws://broker/mqtt".parse().unwrap())
        .with_sub_protocol("mqtt");
    let wire = doors.wire(Transport::Ws);
    let (mut socket, response) = tungstenite::client(request, wire).expect("an upgrade");
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
    assert!(response.headers().get("sec-websocket-extensions").is_none());
    let payload = vec![b'x'; 100_000];
    let bytes = connect_and_publish(&doors, &payload);
    socket.send(tungstenite::Message::Ping(vec![1, 2, 3].into())).unwrap();
    assert_eq!(socket.read().unwrap(), tungstenite::Message::Pong(vec![1, 2, 3].into()));
    socket.send(tungstenite::Message::Binary(bytes.into())).unwrap();
    assert_eq!(socket.read().unwrap().into_data()[0], 0x20, "CONNACK");
    witness.expect_message("t", &payload);
    socket.close(None).unwrap();
    assert!(socket.read().unwrap().is_close());
    let end = socket.read().unwrap_err();
    assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end}");
}
