//! A client that keeps to the protocol, as a receiver.

use std::collections::HashMap;

use hookmq_codec::{PacketId, Qos};

#[derive(Debug)]
pub enum ToClient {
    Publish { id: PacketId, number: u32, qos: Qos, dup: bool },
    PubRel(PacketId),
}

#[derive(Debug)]
pub enum FromClient {
    PubAck(PacketId),
    PubRec(PacketId),
    PubComp(PacketId),
}

#[derive(Debug, Default)]
pub struct Client {
    /// QoS 2 messages that are not released, by id.
    unreleased: HashMap<PacketId, u32>,
    /// Numbers in the order in which they were taken over, repetitions of QoS 1 included.
    received: Vec<u32>,
    /// How often each was.
    times: HashMap<u32, u32>,
    highest: Option<u32>,
}

impl Client {
    pub fn handle(&mut self, packet: ToClient) -> FromClient {
        match packet {
            ToClient::Publish { id, number, qos: Qos::ExactlyOnce, dup } => {
                match self.unreleased.get(&id) {
                    None => {
                        self.unreleased.insert(id, number);
                        self.take(number, dup);
                    }
                    Some(known) => {
                        assert_eq!(*known, number, "the id is in use for another message");
                        assert!(dup);
                    }
                }
                FromClient::PubRec(id)
            }
            ToClient::Publish { id, number, dup, .. } => {
                self.take(number, dup);
                FromClient::PubAck(id)
            }
            ToClient::PubRel(id) => {
                self.unreleased.remove(&id);
                FromClient::PubComp(id)
            }
        }
    }

    fn take(&mut self, number: u32, dup: bool) {
        let times = self.times.entry(number).or_default();
        *times += 1;
        assert!(*times == 1 || dup, "a repetition without DUP");
        if *times == 1 {
            assert!(self.highest < Some(number), "a first delivery out of order");
            self.highest = Some(number);
        }
        self.received.push(number);
    }

    /// QoS 2 at most once, for what has come so far.
    pub fn check(&self, sent: &[Qos]) {
        if let Some(&number) = self.received.last()
            && sent[number as usize] == Qos::ExactlyOnce
        {
            assert_eq!(self.times[&number], 1);
        }
    }

    pub fn check_complete(&self, sent: &[Qos]) {
        for (number, qos) in (0u32..).zip(sent) {
            let times = self.times.get(&number).copied().unwrap_or(0);
            match qos {
                Qos::ExactlyOnce => assert_eq!(times, 1, "message {number}"),
                _ => assert!(times >= 1, "message {number}"),
            }
        }
    }
}
