//! A session and a client over a network that loses connections: what is guaranteed is kept.
//!
//! The first byte says whether the client is honest. An honest one gets every message of QoS 1 at
//! least once and of QoS 2 exactly once, first deliveries in order, and never more at a time than its
//! window; what it publishes is accepted likewise, and acknowledged in order and not before it is
//! durable. One that sends any acknowledgement at any time brings nothing down.

#![no_main]

mod client;
mod inbound;

use std::collections::VecDeque;

use hookmq_codec::{PacketId, Qos, ReasonCode, TopicName};
use hookmq_core::{Delivery, Message, NewMessage, Outgoing, Redelivery, Release};
use libfuzzer_sys::fuzz_target;

use crate::client::{Client, FromClient, ToClient};
use crate::inbound::Inbound;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, steps)) = bytes.split_first() else { return };
    let mut scene = Scene::new(first & 1 == 0, u16::from(first >> 1).max(1));
    for pair in steps.chunks_exact(2) {
        scene.step(pair[0], pair[1]);
        scene.check();
    }
    if scene.honest {
        scene.settle();
    }
});

/// Both ends, and what is on the wire between them.
struct Scene {
    honest: bool,
    window: u16,
    outgoing: Outgoing,
    inbound: Inbound,
    client: Client,
    to_client: VecDeque<ToClient>,
    to_broker: VecDeque<FromClient>,
    /// QoS of each message that was sent, by number.
    sent: Vec<Qos>,
}

impl Scene {
    fn new(honest: bool, window: u16) -> Self {
        let mut outgoing = Outgoing::default();
        outgoing.handle_connected(window);
        Self {
            honest,
            window,
            outgoing,
            inbound: Inbound::default(),
            client: Client::default(),
            to_client: VecDeque::new(),
            to_broker: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    fn step(&mut self, what: u8, value: u8) {
        match what % 8 {
            0 => self.send(if value % 2 == 0 { Qos::AtLeastOnce } else { Qos::ExactlyOnce }),
            1 => self.client_reads(),
            2 => self.broker_reads(),
            3 => self.redeliver(),
            4 if value < 64 => self.reconnect(u16::from(value).max(1)),
            5 if !self.honest => self.forge(what / 8, value),
            other => self.inbound.step(other, value),
        }
    }

    fn send(&mut self, qos: Qos) {
        if !self.outgoing.is_open() || self.sent.len() > 2000 {
            return;
        }
        let number = self.sent.len() as u32;
        let message = Message::new(NewMessage {
            topic: TopicName::from_checked("t"),
            forwarded_properties: &[],
            payload: &number.to_be_bytes(),
            qos,
            retain: false,
            expires_at: None,
            publisher: 0,
        });
        let delivery =
            Delivery { message, qos, retain: false, subscription_identifiers: None, shared: None };
        let id = self.outgoing.assign(delivery);
        self.sent.push(qos);
        self.to_client.push_back(ToClient::Publish { id, number, qos, dup: false });
    }

    fn client_reads(&mut self) {
        if let Some(packet) = self.to_client.pop_front() {
            self.to_broker.push_back(self.client.handle(packet));
        }
    }

    fn broker_reads(&mut self) {
        match self.to_broker.pop_front() {
            None => {}
            Some(FromClient::PubAck(id)) => {
                let known = self.outgoing.handle_puback(id);
                assert!(known.is_ok() || !self.honest);
            }
            Some(FromClient::PubRec(id)) => match self.outgoing.handle_pubrec(id, None) {
                Ok(Release::Send(_)) => self.to_client.push_back(ToClient::PubRel(id)),
                Ok(Release::Refused(_)) => unreachable!("nothing was refused"),
                Err(_) => assert!(!self.honest),
            },
            Some(FromClient::PubComp(id)) => {
                // A PUBREL that was sent again is answered again.
                let _ = self.outgoing.handle_pubcomp(id);
            }
        }
    }

    fn redeliver(&mut self) {
        match self.outgoing.poll_redelivery() {
            None => {}
            Some(Redelivery::Publish(id, delivery)) => {
                let payload = delivery.message.payload().try_into().expect("four bytes");
                let (number, qos) = (u32::from_be_bytes(payload), delivery.qos);
                self.to_client.push_back(ToClient::Publish { id, number, qos, dup: true });
            }
            Some(Redelivery::Release(id)) => self.to_client.push_back(ToClient::PubRel(id)),
        }
    }

    fn reconnect(&mut self, window: u16) {
        self.to_client.clear();
        self.to_broker.clear();
        self.window = window;
        self.outgoing.handle_connected(window);
        self.inbound.reconnect();
    }

    /// Any acknowledgement of any id.
    fn forge(&mut self, kind: u8, value: u8) {
        let Some(id) = PacketId::new(u16::from(value)) else { return };
        match kind % 5 {
            0 => drop(self.outgoing.handle_puback(id)),
            1 => drop(self.outgoing.handle_pubrec(id, None)),
            2 => drop(self.outgoing.handle_pubrec(id, Some(ReasonCode::QuotaExceeded))),
            3 => drop(self.outgoing.handle_pubcomp(id)),
            _ => drop(self.outgoing.abandon(id)),
        }
    }

    fn check(&self) {
        if !self.honest {
            return;
        }
        let is_message = |packet: &&ToClient| matches!(packet, ToClient::Publish { .. });
        let unread = self.to_client.iter().filter(is_message).count();
        assert!(unread <= usize::from(self.window));
        self.client.check(&self.sent);
    }

    /// With no more losses, everything arrives.
    fn settle(&mut self) {
        self.reconnect(u16::MAX);
        while self.outgoing.has_redeliveries()
            || !self.to_client.is_empty()
            || !self.to_broker.is_empty()
        {
            self.redeliver();
            self.client_reads();
            self.broker_reads();
        }
        assert_eq!(self.outgoing.in_flight(), 0);
        self.client.check_complete(&self.sent);
        self.inbound.settle();
    }
}
