//! Who takes part: clients of both protocol versions, and what each of them does.

use hookmq_codec::{ProtocolVersion, Qos};

use crate::member::{Constancy, Keeping, Member, Numbering, Role, Subscription, WillHabit};
use crate::record::{Order, Record, Registers};

use ProtocolVersion::{V5, V311};
use Qos::{AtLeastOnce, ExactlyOnce};

/// Topics that subscribers take and leave.
const FICKLE: usize = 3;

/// Retained messages of each publisher.
const REGISTERS: usize = 4;

/// All clients, entered in the record.
pub fn members(record: &mut Record, registers: &mut Registers) -> Vec<Member> {
    // Recipients come first.
    let mut roles = subscribers(record);
    roles.extend(publishers(record, registers));
    roles.extend(mortals(record));
    roles.into_iter().map(Member::new).collect()
}

fn role(name: &str, version: ProtocolVersion) -> Role {
    Role {
        name: name.to_owned(),
        version,
        keeping: Keeping::Durable,
        numbering: Numbering::Upwards,
        streams: Vec::new(),
        registers: Vec::new(),
        subscriptions: Vec::new(),
        constancy: Constancy::Constant,
        receive_maximum: None,
        will: None,
        absence: 10,
        amnesia: 0,
    }
}

fn subscribers(record: &mut Record) -> Vec<Role> {
    let mut roles = Vec::new();
    // Name, version, receive maximum, QoS, absence.
    for (name, version, receive_maximum, qos, absence) in [
        ("steady-5", V5, Some(8), ExactlyOnce, 5),
        ("steady-3", V311, None, ExactlyOnce, 5),
        ("sleeper-5", V5, Some(64), ExactlyOnce, 70),
        ("sleeper-3", V311, None, ExactlyOnce, 70),
        ("modest-5", V5, None, AtLeastOnce, 20),
    ] {
        let recipient = record.recipient(name, Order::PerStream);
        let filters = ["stream/#", "will/#"];
        let subscriptions = filters.map(|it| Subscription::new(it, qos, recipient)).into();
        roles.push(Role { subscriptions, receive_maximum, absence, ..role(name, version) });
    }
    for (name, version) in [("fickle-5", V5), ("fickle-3", V311)] {
        let recipient = record.recipient(name, Order::PerStream);
        let filter = |place| format!("fickle/{place}/#");
        let subscription = |place| Subscription::new(filter(place), ExactlyOnce, recipient);
        let subscriptions = (0..FICKLE).map(subscription).collect();
        let constancy = Constancy::Fickle;
        let (absence, amnesia) = (20, 10);
        roles.push(Role { subscriptions, constancy, absence, amnesia, ..role(name, version) });
    }
    let group = record.recipient("the shared subscription", Order::None);
    for (name, version) in [("sharer-5a", V5), ("sharer-3", V311), ("sharer-5b", V5)] {
        let subscription = Subscription::new("$share/group/shared/#", ExactlyOnce, group);
        roles.push(Role { subscriptions: vec![subscription], absence: 40, ..role(name, version) });
    }
    roles
}

fn publishers(record: &mut Record, registers: &mut Registers) -> Vec<Role> {
    let names = [("author-5a", V5), ("author-3a", V311), ("author-5b", V5), ("author-3b", V311)];
    let publisher = |(place, (name, version)): (usize, (&str, ProtocolVersion))| {
        let mut streams = Vec::new();
        for qos in [AtLeastOnce, ExactlyOnce] {
            streams.push(record.stream(&format!("stream/{name}/{}", qos as u8), qos));
            streams.push(record.stream(&format!("shared/{name}/{}", qos as u8), qos));
        }
        for fickle in 0..FICKLE {
            let qos = if (place + fickle).is_multiple_of(2) { AtLeastOnce } else { ExactlyOnce };
            streams.push(record.stream(&format!("fickle/{fickle}/{name}"), qos));
        }
        let register = |number: usize| {
            let qos = if number.is_multiple_of(2) { AtLeastOnce } else { ExactlyOnce };
            (registers.register(&format!("register/{name}/{number}")), qos)
        };
        let registers = (0..REGISTERS).map(register).collect();
        let numbering = if place < 2 { Numbering::Lowest } else { Numbering::Upwards };
        Role { streams, registers, numbering, ..role(name, version) }
    };
    names.into_iter().enumerate().map(publisher).collect()
}

/// Clients that are there for their wills.
fn mortals(record: &mut Record) -> Vec<Role> {
    use Keeping::{Durable, Transient};
    // Name, version, session, QoS, delay in seconds, absence.
    let mortals = [
        ("mortal-5", V5, Durable, ExactlyOnce, 0, 20),
        ("mortal-3", V311, Durable, ExactlyOnce, 0, 20),
        ("modest-mortal-5", V5, Durable, AtLeastOnce, 0, 20),
        ("transient-5", V5, Transient, ExactlyOnce, 0, 20),
        ("transient-3", V311, Transient, ExactlyOnce, 0, 20),
        // Comes back before its will is due, always.
        ("patient-5", V5, Durable, ExactlyOnce, 3600, 0),
        // Stays away for longer than that, often.
        ("late-5", V5, Durable, ExactlyOnce, 1, 70),
    ];
    let mortal = |(name, version, keeping, qos, delay_s, absence): (&str, _, _, _, _, _)| {
        let will = Some(WillHabit { stream: record.wills(&format!("will/{name}"), qos), delay_s });
        Role { keeping, will, absence, ..role(name, version) }
    };
    mortals.map(mortal).into()
}
