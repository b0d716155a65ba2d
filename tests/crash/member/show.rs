//! Packets for a reader.

use hookmq_codec::{Ack, Packet, PacketId};

/// A packet in a line of the history.
pub fn show(packet: &Packet<'_>) -> String {
    let ack = |name, ack: &Ack<'_>| format!("{name} {} {:?}", ack.packet_id.get(), ack.reason_code);
    match packet {
        Packet::Publish(publish) => format!(
            "PUBLISH {} {} number {} QoS {}{}{}",
            publish.packet_id.map_or(0, PacketId::get),
            publish.topic.map_or("", |topic| topic.as_str()),
            String::from_utf8_lossy(publish.payload).split(' ').next().unwrap_or_default(),
            publish.qos as u8,
            if publish.dup { " DUP" } else { "" },
            if publish.retain { " RETAIN" } else { "" },
        ),
        Packet::PubAck(it) => ack("PUBACK", it),
        Packet::PubRec(it) => ack("PUBREC", it),
        Packet::PubRel(it) => ack("PUBREL", it),
        Packet::PubComp(it) => ack("PUBCOMP", it),
        Packet::Connect(it) => format!("CONNECT will {:?}", it.will.as_ref().map(|it| it.topic)),
        Packet::ConnAck(it) => {
            format!("CONNACK {:?} session present {}", it.reason_code, it.session_present)
        }
        Packet::Subscribe(it) => {
            format!("SUBSCRIBE {} {}", it.packet_id.get(), it.filters[0].0)
        }
        Packet::Unsubscribe(it) => {
            format!("UNSUBSCRIBE {} {}", it.packet_id.get(), it.filters[0])
        }
        Packet::SubAck(it) => format!("SUBACK {} {:?}", it.packet_id.get(), it.reason_codes),
        Packet::UnsubAck(it) => format!("UNSUBACK {}", it.packet_id.get()),
        other => format!("{other:?}"),
    }
}
