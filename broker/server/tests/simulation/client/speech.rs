//! What a client says, as bytes.

use std::num::NonZeroU16;

use hookmq_codec::{
    Ack, AckProperties, Connect, ConnectProperties, Disconnect, DisconnectProperties, Packet,
    PacketId, Publish, PublishProperties, Qos, ReasonCode, Subscribe, SubscribeProperties,
    SubscriptionOptions, TopicFilter, TopicName, Unsubscribe, Will,
};

use super::{Client, Message};
use crate::history::Step;
use crate::network::Link;

impl Client {
    pub(super) fn connect_packet(
        &self,
        link: &Link,
        (is_clean, receive_maximum): (bool, u16),
    ) -> Vec<u8> {
        let client_id = format!("client-{}", self.number);
        let payload = format!("w{}", link.number);
        let topic = format!("w/{}", self.number);
        let will = self.plan.will.map(|(qos, delay)| Will {
            topic: TopicName::new(&topic).expect("a topic"),
            payload: payload.as_bytes(),
            qos,
            retain: false,
            delay_interval: delay,
            properties: Default::default(),
        });
        let is_v5 = self.version().is_v5();
        let properties = ConnectProperties {
            session_expiry_interval: is_v5.then(|| self.plan.expiry()),
            receive_maximum: NonZeroU16::new(receive_maximum).filter(|_| is_v5),
            ..ConnectProperties::default()
        };
        self.bytes(Packet::Connect(Box::new(Connect {
            version: self.version(),
            clean_start: is_clean,
            keep_alive: 0,
            client_id: &client_id,
            will,
            username: None,
            password: None,
            properties,
        })))
    }

    pub(super) fn disconnect_packet(&self, with_will: bool) -> Vec<u8> {
        let reason_code = match with_will && self.version().is_v5() {
            true => ReasonCode::DisconnectWithWill,
            false => ReasonCode::Success,
        };
        let properties = DisconnectProperties::default();
        self.bytes(Packet::Disconnect(Disconnect { reason_code, properties }))
    }

    pub(super) fn subscribe_packet(&self, id: u16, filter: TopicFilter, qos: Qos) -> Vec<u8> {
        let options = SubscriptionOptions { maximum_qos: qos, ..SubscriptionOptions::default() };
        self.bytes(Packet::Subscribe(Subscribe {
            packet_id: packet_id(id),
            filters: vec![(filter, options)],
            properties: SubscribeProperties::default(),
        }))
    }

    pub(super) fn unsubscribe_packet(&self, id: u16, filter: TopicFilter) -> Vec<u8> {
        self.bytes(Packet::Unsubscribe(Unsubscribe {
            packet_id: packet_id(id),
            filters: vec![filter],
            user_properties: Default::default(),
        }))
    }

    pub(super) fn publish_packet(&self, message: &Message, id: u16, dup: bool) -> Vec<u8> {
        self.bytes(Packet::Publish(Publish {
            dup,
            qos: message.qos,
            retain: message.retain,
            topic: Some(TopicName::new(&message.topic).expect("a topic")),
            packet_id: PacketId::new(id),
            topic_alias: None,
            properties: PublishProperties::default(),
            payload: &message.payload,
        }))
    }

    pub(super) fn ack_packet(&self, step: Step, id: u16) -> Vec<u8> {
        let (reason_code, properties) = (ReasonCode::Success, AckProperties::default());
        let ack = Ack { packet_id: packet_id(id), reason_code, properties };
        self.bytes(match step {
            Step::Ack => Packet::PubAck(ack),
            Step::Rec => Packet::PubRec(ack),
            Step::Rel => Packet::PubRel(ack),
            Step::Comp => Packet::PubComp(ack),
        })
    }

    fn bytes(&self, packet: Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.encode(self.version(), &mut bytes).expect("a packet that can be said");
        bytes
    }
}

fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).expect("ids begin with 1")
}
