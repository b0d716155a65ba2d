//! Publishers as fast as the broker takes it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos};
use hookmq_tests::client::{Client, connect, packet_id, publish};

/// Messages of QoS 1 that are under way together.
const WINDOW: u16 = 64;

/// Lengths of payloads, in turn.
const LENGTHS: [usize; 4] = [100, 1000, 4000, 16_000];

/// Topics of each, in turn, so that not all subscribers are due the same messages.
pub const TOPICS: usize = 16;

/// Publishes until it is over, and counts what the broker has taken.
pub fn flood(
    address: SocketAddr,
    number: usize,
    qos: Qos,
    over: &AtomicBool,
    published: &AtomicU64,
) {
    let client_id = format!("flood {number}");
    let (mut client, _) = Client::connect(address, connect(ProtocolVersion::V5, &client_id));
    let payload = vec![number as u8; LENGTHS[LENGTHS.len() - 1]];
    let mut round: Vec<u8> = Vec::new();
    for id in 1..=WINDOW {
        let length = LENGTHS[usize::from(id) % LENGTHS.len()];
        let topic = format!("flood/{}/{number}/{}", qos as u8, usize::from(id) % TOPICS);
        let message = publish(&topic, &payload[..length], qos);
        let packet_id = (qos != Qos::AtMostOnce).then(|| packet_id(id));
        round.extend(client.encode(&Packet::Publish(Publish { packet_id, ..message })));
    }
    while !over.load(Relaxed) {
        client.send_raw(&round);
        if qos == Qos::AtMostOnce {
            // What was answered behind it was read before it.
            client.send(&Packet::PingReq);
            let _ = client.receive_where(|it| *it == Packet::PingResp);
        } else {
            for _ in 1..=WINDOW {
                let answer = client.receive_where(|it| matches!(it, Packet::PubAck(_)));
                let Packet::PubAck(ack) = answer.packet() else {
                    unreachable!("it was waited for")
                };
                assert!(!ack.reason_code.is_failure(), "{:?}", ack.reason_code);
            }
        }
        published.fetch_add(WINDOW.into(), Relaxed);
    }
    client.disconnect();
}
