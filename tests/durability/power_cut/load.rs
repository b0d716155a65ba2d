//! What clients do while they are recorded. Each life of the broker has the same traffic; those who come
//! again go on where they were.

mod group;

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::scope;

use hookmq_codec::{Connect, Packet, PacketId, Publish, Qos, ReasonCode};
use hookmq_tests::client::{Client, ack, connect_to_session, packet_id, publish, will};

use crate::Stage;

/// How much happens in a life.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    pub life: u32,
    /// Of each publisher.
    pub messages: u32,
    /// Those with which the log grows until it is transferred.
    pub large_messages: u32,
}

/// Small checkpoints, so that some begin and end, and their predecessors are trimmed.
pub const SECTIONS: &str = "store: {checkpoint_bytes: 32768}\n";

const LARGE: usize = 60_000;

/// Messages of one publisher that are under way at once.
const WINDOW: u32 = 5;

/// Packet ids of QoS 2 that their client has not released, and the client.
#[derive(Default)]
pub struct Exchanging {
    unreleased: Vec<PacketId>,
    /// Of all lives, so that none is used again that is not released.
    used: u16,
}

impl Exchanging {
    /// Which packet ids the broker has kept is not known: none of them is used.
    pub fn behind_a_cut() -> Self {
        Self { unreleased: Vec::new(), used: 1000 }
    }
}

impl Traffic {
    /// Gives the clients that stay connected.
    pub fn run(self, stage: &Stage, exchanging: &mut Exchanging) -> Vec<Client> {
        self.come_back(stage);
        let mut live = stage.session("live");
        live.subscribe("a/#", Qos::ExactlyOnce);
        live.subscribe("l/#", Qos::AtLeastOnce);
        let sharing = ["sharing-1", "sharing-2"].map(|it| group::come(stage, it));
        let over = &AtomicBool::new(false);
        scope(|threads| {
            let sharing = sharing.map(|it| threads.spawn(|| group::share(it, over)));
            let live = threads.spawn(|| take_until_end(live));
            let with_will = threads.spawn(|| self.leave_wills(stage));
            let churn = threads.spawn(|| self.churn(stage));
            let publishing = [
                threads.spawn(|| self.publish(stage)),
                threads.spawn(|| self.publish_to_group(stage)),
                threads.spawn(|| self.publish_large(stage)),
                threads.spawn(|| self.retain(stage)),
                threads.spawn(|| self.end_sessions(stage)),
            ];
            let exchanging = self.exchange(stage, exchanging);
            publishing.into_iter().for_each(|it| it.join().unwrap());
            let end = self.payload("end", 0, 0);
            stage.client("end").publish(publish("a/end", &end, Qos::AtLeastOnce));
            let stay = [live, with_will, churn].map(|it| it.join().unwrap());
            over.store(true, Relaxed);
            let sharing = sharing.map(|it| it.join().unwrap());
            stay.into_iter().chain(sharing).chain([exchanging]).collect()
        })
    }

    /// Two who are mostly away: the first takes a part of what waits, in each life but the first.
    fn come_back(self, stage: &Stage) {
        let mut first = stage.session("away-1");
        first.subscribe("a/#", Qos::AtLeastOnce);
        first.subscribe("r/#", Qos::AtLeastOnce);
        take(&mut first, self.life * self.messages / 2);
        // It lasts longer from now on, in 5.0, until it is back.
        first.disconnect_with(ReasonCode::Success, stage.version.is_v5().then_some(7200));
        let mut second = stage.session("away-2");
        second.subscribe("a/#", Qos::ExactlyOnce);
        second.subscribe("b/#", Qos::AtLeastOnce);
        take(&mut second, self.life * self.messages / 4);
        second.vanish();
    }

    fn publish(self, stage: &Stage) {
        let mut client = stage.client("small");
        for first in (0..self.messages).step_by(WINDOW as usize) {
            let mut bytes = Vec::new();
            for number in first..first + WINDOW {
                let payload = self.payload("small", number, (number * 37 % 500) as usize);
                let topic = ["a/1", "c/0", "a/2", "c/1", "c/2"][number as usize % 5];
                let packet_id = Some(packet_id(number as u16 + 1));
                let message = publish(topic, &payload, Qos::AtLeastOnce);
                let properties = group::lasting(stage.version, number);
                let message = Publish { packet_id, properties, ..message };
                bytes.extend(client.encode(&Packet::Publish(message)));
            }
            client.send_raw(&bytes);
            (0..WINDOW).for_each(|_| _ = client.receive());
        }
        client.disconnect();
    }

    fn publish_large(self, stage: &Stage) {
        let mut client = stage.client("large");
        for number in 0..self.large_messages {
            let payload = self.payload("large", number, LARGE);
            client.publish(publish("l/1", &payload, Qos::AtLeastOnce));
        }
        client.disconnect();
    }

    /// Retained messages come, are replaced and go. Those that go are on topics that nobody is
    /// subscribed to.
    fn retain(self, stage: &Stage) {
        let mut client = stage.client("retaining");
        for number in 0..self.messages / 2 {
            let kept = self.payload("kept", number, 20);
            let gone = match number % 3 {
                0 => Vec::new(),
                _ => self.payload("gone", number, 20),
            };
            let qos = [Qos::AtLeastOnce, Qos::ExactlyOnce][number as usize % 2];
            for (topic, payload) in [("r", &kept), ("g", &gone)] {
                let topic = format!("{topic}/{}", number % 4);
                let retained = Publish { retain: true, ..publish(&topic, payload, qos) };
                client.publish(retained);
            }
        }
        client.disconnect();
    }

    /// Messages of QoS 2, some of which are released in the next life.
    fn exchange(self, stage: &Stage, exchanging: &mut Exchanging) -> Client {
        let mut client = stage.session("exchanging");
        for id in exchanging.unreleased.drain(..) {
            release(&mut client, id);
        }
        for number in 0..self.messages / 2 {
            exchanging.used += 1;
            let id = packet_id(exchanging.used);
            let payload = self.payload("exact", number, 40);
            let message = publish(["a/3", "b/1"][number as usize % 2], &payload, Qos::ExactlyOnce);
            client.send(&Packet::Publish(Publish { packet_id: Some(id), ..message }));
            client.receive_where(|it| matches!(it, Packet::PubRec(_)));
            match number % 10 {
                0 => exchanging.unreleased.push(id),
                _ => release(&mut client, id),
            }
        }
        client
    }

    /// Subscribes and unsubscribes while messages come.
    fn churn(self, stage: &Stage) -> Client {
        let mut client = stage.session("churning");
        for number in 0..self.messages / 4 {
            let filter = format!("c/{}", number % 3);
            match number % 2 {
                0 => client.subscribe(
                    &filter,
                    [Qos::AtLeastOnce, Qos::ExactlyOnce][number as usize % 4 / 2],
                ),
                _ => _ = client.unsubscribe(&[&filter]),
            }
        }
        client
    }

    /// Sessions that get messages, and then end.
    fn end_sessions(self, stage: &Stage) {
        for number in 0..self.messages / 20 {
            let client_id = format!("ended-{}", number % 3);
            let mut client = stage.session(&client_id);
            client.subscribe("a/#", Qos::AtLeastOnce);
            // One that is there for sure, and others.
            let own = self.payload("own", number, 50);
            client.publish(publish("a/4", &own, Qos::AtLeastOnce));
            client.receive_where(|it| matches!(it, Packet::Publish(_)));
            client.disconnect();
            // Without a session that outlives the connection, or with one that begins anew.
            let session = connect_to_session(stage.version, &client_id, 3600);
            match number % 2 {
                0 => stage.client(&client_id).disconnect(),
                _ => stage.connect(Connect { clean_start: true, ..session }).disconnect(),
            }
        }
    }

    /// Wills that are left, withdrawn and left again. Nobody gets them.
    fn leave_wills(self, stage: &Stage) -> Client {
        let mut number = 0;
        let mut leave = || {
            number += 1;
            let payload = self.payload("will", number, 30);
            let session = connect_to_session(stage.version, "with-will", 3600);
            stage.connect(Connect { will: Some(will("w", &payload)), ..session })
        };
        for _ in 0..self.messages / 20 {
            leave().disconnect();
        }
        leave()
    }

    /// No two are the same.
    fn payload(self, of: &str, number: u32, size: usize) -> Vec<u8> {
        let mut payload = format!("{of}-{}-{number};", self.life).into_bytes();
        payload.resize(payload.len().max(size), b'a' + (number % 26) as u8);
        payload
    }
}

fn release(client: &mut Client, id: PacketId) {
    client.send(&Packet::PubRel(ack(id)));
    client.receive_where(|it| matches!(it, Packet::PubComp(_)));
}

/// Acknowledges all that comes; messages of QoS 1 only when some more have come, for what is
/// acknowledged before it is written need not be written.
fn take_until_end(mut client: Client) -> Client {
    const HELD: usize = 3;
    let (mut ended, mut under_way, mut held) = (false, BTreeSet::new(), VecDeque::new());
    while !ended || !under_way.is_empty() {
        let received = client.receive();
        match received.packet() {
            Packet::Publish(publish) => {
                ended |= publish.payload.starts_with(b"end-");
                let Some(id) = publish.packet_id else { continue };
                match publish.qos {
                    Qos::ExactlyOnce => {
                        under_way.insert(id.get());
                        client.send(&Packet::PubRec(ack(id)));
                    }
                    _ => held.push_back(id),
                }
                if held.len() > HELD
                    && let Some(id) = held.pop_front()
                {
                    client.send(&Packet::PubAck(ack(id)));
                }
            }
            Packet::PubRel(release) => {
                under_way.remove(&release.packet_id.get());
                client.send(&Packet::PubComp(ack(release.packet_id)));
            }
            other => panic!("{other:?}"),
        }
    }
    held.into_iter().for_each(|id| client.send(&Packet::PubAck(ack(id))));
    client
}

/// Receives and acknowledges so many messages, or what there is: less, where power was cut before.
fn take(client: &mut Client, messages: u32) {
    /// Pings without anything between their answers, behind which nothing more comes.
    const QUIET: u32 = 10;
    let (mut taken, mut quiet) = (0, 0);
    client.send(&Packet::PingReq);
    while taken < messages && quiet < QUIET {
        let received = client.receive();
        match received.packet() {
            Packet::PingResp => {
                quiet += 1;
                client.send(&Packet::PingReq);
            }
            packet => {
                taken += u32::from(matches!(packet, Packet::Publish(_)));
                quiet = 0;
                answer(client, &packet);
            }
        }
    }
}

/// A receiver's next step in an exchange, of this life or an earlier one.
fn answer(client: &mut Client, packet: &Packet<'_>) {
    match packet {
        Packet::Publish(publish) => match (publish.qos, publish.packet_id) {
            (Qos::AtLeastOnce, Some(id)) => client.send(&Packet::PubAck(ack(id))),
            (Qos::ExactlyOnce, Some(id)) => client.send(&Packet::PubRec(ack(id))),
            _ => {}
        },
        Packet::PubRel(release) => client.send(&Packet::PubComp(ack(release.packet_id))),
        other => panic!("{other:?}"),
    }
}
