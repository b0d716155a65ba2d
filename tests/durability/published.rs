//! Numbered messages of QoS 1, and what became of them.

use hookmq_codec::{Packet, Publish, Qos};
use hookmq_tests::client::{Client, packet_id, publish};
use hookmq_tests::trace::Marked;

/// What a client has published until the broker closed, a number in each, and had acknowledged.
#[derive(Debug, Default)]
pub struct Published {
    pub numbers: u32,
    pub acknowledged: u32,
}

pub const LONG_QUEUE: &str = "limits: {queue_messages: 2000000, queue_bytes: 1073741824}\n";

/// As [`Marked`] of the first publisher, in a payload of this size.
fn payload(number: u32, size: usize) -> Vec<u8> {
    let mut payload = Marked { publisher: 0, number }.text().into_bytes();
    payload.resize(size.max(payload.len()), 0);
    payload
}

/// Sends a message, and waits for nothing.
pub fn send(publisher: &mut Client, number: u32, size: usize) {
    let payload = payload(number, size);
    let id = packet_id(u16::try_from(number).expect("each message has a packet id of its own"));
    let message = publish("t", &payload, Qos::AtLeastOnce);
    let bytes = publisher.encode(&Packet::Publish(Publish { packet_id: Some(id), ..message }));
    publisher.try_send_raw(&bytes);
}

/// Publishes messages of this size, at most 20 of them unacknowledged.
pub fn publish_until_closed(publisher: &mut Client, size: usize) -> Published {
    let mut published = Published::default();
    loop {
        while published.numbers < published.acknowledged + 20 {
            published.numbers += 1;
            send(publisher, published.numbers, size);
        }
        let Some(answer) = publisher.try_receive() else { return published };
        match answer.packet() {
            Packet::PubAck(ack) => {
                published.acknowledged += 1;
                assert_eq!(u32::from(ack.packet_id.get()), published.acknowledged);
                assert!(!ack.reason_code.is_failure(), "{:?}", ack.reason_code);
            }
            Packet::Disconnect(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// All that was acknowledged is there, in its order and once.
pub fn expect_published(subscriber: &mut Client, published: &Published) {
    expect_numbers(subscriber, 1..=published.acknowledged);
}

/// These messages come next.
pub fn expect_numbers(subscriber: &mut Client, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        assert_eq!(receive_number(subscriber), number);
    }
}

/// The number of the message that comes next.
pub fn receive_number(subscriber: &mut Client) -> u32 {
    let received = subscriber.receive();
    subscriber.acknowledge(&received);
    let got = received.publish().payload;
    let marked = Marked::all_in(&String::from_utf8_lossy(got)).next().expect("it has a number");
    assert!(got.starts_with(&payload(marked.number, 0)), "it does not begin with {marked:?}");
    marked.number
}
