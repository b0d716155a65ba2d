//! A client: packets on an in-memory stream, shown as short texts.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use hookmq::broker::Broker;
use hookmq::connection::admit;
use hookmq_codec::{
    Ack, AckProperties, Connect, ConnectProperties, Disconnect, DisconnectProperties, Packet,
    PacketId, ProtocolVersion, Publish, PublishProperties, Qos, ReasonCode, Subscribe,
    SubscribeProperties, SubscriptionOptions, TopicFilter, TopicName, Unsubscribe, Will, decode,
    frame,
};
use hookmq_hooks::ConnectionFacts;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf};

use crate::world::{DEADLINE, settle};

pub struct Peer {
    stream: DuplexStream,
    version: ProtocolVersion,
    received: Vec<u8>,
}

/// What of a client outlives its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Clean start, and no session expiry interval.
    Nothing,
    Session,
    /// A session that lasts, from a clean start. Only 5.0 has it.
    NewSession,
}

impl Peer {
    pub fn new(broker: &Arc<Broker>, version: ProtocolVersion) -> Self {
        let (stream, far) = tokio::io::duplex(1 << 16);
        let facts = ConnectionFacts {
            listener: "memory".into(),
            peer: None,
            protocol: version,
            encrypted: false,
        };
        let arrival = broker.admission.arrive(std::time::Instant::now()).unwrap();
        let admitted = admit(broker.clone(), far, facts, None, arrival);
        tokio::spawn(async {
            if let Some(connected) = admitted.await {
                connected.await;
            }
        });
        Self { stream, version, received: Vec::new() }
    }

    pub async fn send(&mut self, packet: Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next packet, shown as text; or that there will be none.
    pub async fn receive(&mut self) -> String {
        let packet = async {
            loop {
                if let Some(packet) = frame(&self.received, u32::MAX).unwrap() {
                    let length = packet.length;
                    let text = shown(decode(packet, self.version).unwrap());
                    self.received.drain(..length);
                    return text;
                }
                if self.stream.read_buf(&mut self.received).await.unwrap() == 0 {
                    return "CLOSED".into();
                }
            }
        };
        tokio::time::timeout(DEADLINE, packet).await.expect("a packet in time")
    }

    /// Asserts that nothing is on its way, and that the connection is open.
    pub async fn expect_nothing(&mut self) {
        settle().await;
        assert!(self.received.is_empty(), "{:?}", self.received);
        let mut byte = [0; 16];
        let early = poll_fn(|context| {
            let mut room = ReadBuf::new(&mut byte);
            match Pin::new(&mut self.stream).poll_read(context, &mut room) {
                Poll::Pending => Poll::Ready(None),
                Poll::Ready(_) => Poll::Ready(Some(room.filled().to_vec())),
            }
        });
        assert_eq!(early.await, None, "sent too early, or closed where it is empty");
    }

    pub async fn connect(&mut self, client_id: &str, keep: Keep, will: Option<Will<'_>>) {
        let properties = ConnectProperties {
            session_expiry_interval: (self.version.is_v5() && keep != Keep::Nothing)
                .then_some(3600),
            ..ConnectProperties::default()
        };
        let connect = Connect {
            version: self.version,
            clean_start: keep != Keep::Session,
            keep_alive: 0,
            client_id,
            will,
            username: None,
            password: None,
            properties,
        };
        self.send(Packet::Connect(Box::new(connect))).await;
    }

    pub async fn disconnect(&mut self) {
        let (reason_code, properties) = (ReasonCode::Success, DisconnectProperties::default());
        self.send(Packet::Disconnect(Disconnect { reason_code, properties })).await;
    }

    pub async fn subscribe(&mut self, filter: &str, qos: u8) {
        let maximum_qos = Qos::from_bits(qos).unwrap();
        let options = SubscriptionOptions { maximum_qos, ..SubscriptionOptions::default() };
        let subscribe = Subscribe {
            packet_id: PacketId::MIN,
            filters: vec![(TopicFilter::new(filter).unwrap(), options)],
            properties: SubscribeProperties::default(),
        };
        self.send(Packet::Subscribe(subscribe)).await;
    }

    pub async fn unsubscribe(&mut self, filter: &str) {
        let unsubscribe = Unsubscribe {
            packet_id: PacketId::MIN,
            filters: vec![TopicFilter::new(filter).unwrap()],
            user_properties: Default::default(),
        };
        self.send(Packet::Unsubscribe(unsubscribe)).await;
    }

    /// At QoS 0 the packet id is left out.
    pub async fn publish(&mut self, topic: &str, qos: u8, id: u16) {
        self.send(publish(topic, qos, id)).await;
    }

    pub async fn publish_again(&mut self, topic: &str, qos: u8, id: u16) {
        let Packet::Publish(publish) = publish(topic, qos, id) else { unreachable!() };
        self.send(Packet::Publish(Publish { dup: true, ..publish })).await;
    }

    /// As [`Self::publish`], for as many seconds. Only 5.0 has it.
    pub async fn publish_for(&mut self, seconds: u32, topic: &str, qos: u8, id: u16) {
        let Packet::Publish(mut publish) = publish(topic, qos, id) else { unreachable!() };
        publish.properties.message_expiry_interval = Some(seconds);
        self.send(Packet::Publish(publish)).await;
    }

    /// 200 KiB.
    pub async fn publish_long(&mut self, topic: &str, qos: u8, id: u16) {
        let Packet::Publish(publish) = publish(topic, qos, id) else { unreachable!() };
        let payload = &vec![0; 200 * 1024][..];
        self.send(Packet::Publish(Publish { payload, ..publish })).await;
    }

    pub async fn retain(&mut self, topic: &str, qos: u8, id: u16, payload: &[u8]) {
        let Packet::Publish(publish) = publish(topic, qos, id) else { unreachable!() };
        self.send(Packet::Publish(Publish { retain: true, payload, ..publish })).await;
    }

    pub async fn puback(&mut self, id: u16) {
        self.send(Packet::PubAck(ack(id))).await;
    }

    pub async fn pubrec(&mut self, id: u16) {
        self.send(Packet::PubRec(ack(id))).await;
    }

    pub async fn pubrel(&mut self, id: u16) {
        self.send(Packet::PubRel(ack(id))).await;
    }

    pub async fn pubcomp(&mut self, id: u16) {
        self.send(Packet::PubComp(ack(id))).await;
    }
}

fn publish(topic: &str, qos: u8, id: u16) -> Packet<'_> {
    let qos = Qos::from_bits(qos).unwrap();
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(TopicName::new(topic).unwrap()),
        packet_id: PacketId::new(id).filter(|_| qos > Qos::AtMostOnce),
        topic_alias: None,
        properties: PublishProperties::default(),
        payload: b"x",
    })
}

/// A will on topic `w`.
pub fn will(qos: u8, delay_interval: u32) -> Option<Will<'static>> {
    Some(Will {
        topic: TopicName::new("w").unwrap(),
        payload: b"will",
        qos: Qos::from_bits(qos).unwrap(),
        retain: false,
        delay_interval,
        properties: Default::default(),
    })
}

fn ack(id: u16) -> Ack<'static> {
    let (reason_code, properties) = (ReasonCode::Success, AckProperties::default());
    Ack { packet_id: PacketId::new(id).unwrap(), reason_code, properties }
}

/// A packet as a text: its name, its packet id, and its code where that tells of a failure.
fn shown(packet: Packet<'_>) -> String {
    let code = |code: ReasonCode| match code.is_failure() {
        true => format!(" {code:?}"),
        false => String::new(),
    };
    let ack =
        |name, ack: Ack<'_>| format!("{name} {}{}", ack.packet_id.get(), code(ack.reason_code));
    match packet {
        Packet::ConnAck(connack) => match connack.session_present {
            true => "CONNACK present".into(),
            false => format!("CONNACK{}", code(connack.reason_code)),
        },
        Packet::Publish(publish) => {
            let id = publish.packet_id.map_or(0, PacketId::get);
            let dup = if publish.dup { " again" } else { "" };
            let topic = publish.topic.map_or("", |topic| topic.as_str());
            format!("PUBLISH {} {id} {topic}{dup}", publish.qos as u8)
        }
        Packet::PubAck(it) => ack("PUBACK", it),
        Packet::PubRec(it) => ack("PUBREC", it),
        Packet::PubRel(it) => ack("PUBREL", it),
        Packet::PubComp(it) => ack("PUBCOMP", it),
        Packet::SubAck(suback) => format!("SUBACK {}", suback.packet_id.get()),
        Packet::UnsubAck(unsuback) => format!("UNSUBACK {}", unsuback.packet_id.get()),
        Packet::Disconnect(disconnect) => format!("DISCONNECT{}", code(disconnect.reason_code)),
        Packet::PingResp => "PINGRESP".into(),
        other => format!("{other:?}"),
    }
}
