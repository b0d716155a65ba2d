//! All clients in one thread, driven by what their connections bring.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use hookmq_codec::{Packet, PacketType, ProtocolVersion, Qos, ReasonCode, TopicName};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::wait::DEADLINE;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::cast;
use crate::former::Former;
use crate::link::{Event, Link};
use crate::member::{Member, Mood, Stage};
use crate::record::{Check, Record, Registers};

/// How often something happens that nothing has caused.
const WHIM: Duration = Duration::from_millis(4);

/// Without any packet for so long, nothing more comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// With packets coming all the while, which on a busy disk may be thousands that wait for it.
const LONGEST: Duration = Duration::from_secs(300);

/// A shorter delay of a will is waited for.
const SHORT_DELAY_S: u32 = 10;

#[derive(Debug)]
pub struct Fleet {
    pub record: Record,
    registers: Registers,
    members: Vec<Member>,
    rng: StdRng,
    events: Receiver<Event>,
    sender: Sender<Event>,
    connections: u64,
    former: Former,
    /// Connections that were closed for the sake of newer ones, or were to be.
    pub taken_over: u64,
    /// Connections whose end has not come as an event.
    open: usize,
}

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attendance {
    /// As each client is inclined to.
    Some,
    /// All that are due something.
    All,
}

/// When the broker is to be killed under load: at the instant, or before, right behind so many answers of
/// one kind.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    pub at: Instant,
    pub behind: Option<(Answer, u32)>,
}

/// What the broker does that tells of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Packet(PacketType),
    /// It closes a connection.
    Close,
}

impl Fleet {
    pub fn new(seed: u64) -> Self {
        let (mut record, mut registers) = (Record::default(), Registers::default());
        let members = cast::members(&mut record, &mut registers);
        let (sender, events) = channel();
        let rng = StdRng::seed_from_u64(seed);
        let former = Former::default();
        Self {
            record,
            registers,
            members,
            rng,
            events,
            sender,
            connections: 0,
            former,
            taken_over: 0,
            open: 0,
        }
    }

    /// Clients that are away connect.
    pub fn connect(&mut self, address: SocketAddr, attendance: Attendance) {
        for place in 0..self.members.len() {
            let member = &self.members[place];
            let stays_away = self.rng.random_range(0..100) < member.role.absence;
            if member.is_away() && (!stays_away || must_attend(member, attendance)) {
                self.connect_one(address, place);
            }
        }
    }

    fn connect_one(&mut self, address: SocketAddr, place: usize) {
        self.connections += 1;
        self.open += 1;
        let link = Link::open(address, place, self.connections, self.sender.clone());
        self.on(place, Mood::Finishing, Instant::now(), |member, stage| {
            member.connect(link, stage)
        });
    }

    /// Full load.
    pub fn work(&mut self, address: SocketAddr, window: usize, until: Until) {
        let mood = Mood::Busy { window };
        self.all_act(mood);
        let mut left = until.behind.map_or(u32::MAX, |(_, packets)| packets);
        let mut whim = Instant::now() + WHIM;
        while Instant::now() < until.at {
            match self.events.recv_timeout(whim.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    let counts = until.behind.is_some_and(|(it, _)| is_a(&event, it));
                    left -= u32::from(counts);
                    self.handle(event, mood);
                    if left == 0 {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.whim(address, mood);
                    whim = Instant::now() + WHIM;
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("one sender is ours"),
            }
        }
    }

    /// Something that nobody can foresee.
    fn whim(&mut self, address: SocketAddr, mood: Mood) {
        let place = self.rng.random_range(0..self.members.len());
        let what = self.rng.random_range(0..100);
        let member = &self.members[place];
        if member.is_away() {
            if what < 30 {
                self.connect_one(address, place);
            }
        } else if member.is_connected() {
            if what < 5 {
                return self.take_over(address, place, mood);
            }
            self.on(place, mood, Instant::now(), |member, stage| match what {
                5..10 => member.cut(stage),
                10..20 => member.leave(stage),
                20..60 => member.change_mind(stage),
                _ => member.act(stage),
            });
        }
    }

    /// A client connects while the connection that it has goes on.
    fn take_over(&mut self, address: SocketAddr, place: usize, mood: Mood) {
        let mut link = None;
        self.on(place, mood, Instant::now(), |member, stage| link = member.abandon(stage));
        self.former.add(link, &self.members[place].role);
        self.taken_over += 1;
        self.connect_one(address, place);
    }

    /// Waits until all is done that was begun, and all has come that must.
    pub fn finish(&mut self) {
        self.all_act(Mood::Finishing);
        let deadline = Instant::now() + LONGEST;
        while Instant::now() < deadline {
            let waiting = match self.is_finished() {
                true => Duration::ZERO,
                false => PATIENCE,
            };
            match self.events.recv_timeout(waiting) {
                Ok(event) => self.handle(event, Mood::Finishing),
                Err(_) => break,
            }
            while let Ok(event) = self.events.try_recv() {
                self.handle(event, Mood::Finishing);
            }
        }
    }

    fn is_finished(&mut self) -> bool {
        self.members.iter().all(Member::is_done)
            && self.former.are_closed()
            && self.record.nothing_is_owed()
    }

    /// What has not come by now does not come.
    pub fn settle(&mut self) {
        for member in self.members.iter().filter(|it| !it.is_done()) {
            let text = format!("{} waits in vain: {}", member.role.name, member.unfinished());
            self.record.violate(Check::Refused, text);
        }
        if !self.former.are_closed() {
            self.record.violate(Check::Refused, format!("still open: {:?}", self.former));
        }
        self.record.settle();
    }

    /// Waits for the wills whose short delay began at `start` or before.
    pub fn outwait_delays(&mut self, start: Instant) {
        let delays = self.members.iter().filter_map(short_delay);
        let Some(longest) = delays.max() else { return };
        let until = start + 2 * longest;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Ok(event) = self.events.recv_timeout(left) {
                self.handle(event, Mood::Finishing);
            }
        }
        for member in &mut self.members {
            if short_delay(member).is_some() && member.is_away() {
                member.delay_is_over(&mut self.record);
            }
        }
    }

    /// All connections are lost. None while its CONNECT is on its way: the broker might take it for the
    /// later one of two.
    pub fn cut(&mut self) {
        while self.members.iter().any(Member::is_connecting) {
            let event = self.events.recv_timeout(DEADLINE).expect("CONNACK comes");
            self.handle(event, Mood::Finishing);
        }
        for place in 0..self.members.len() {
            if !self.members[place].is_away() {
                self.on(place, Mood::Finishing, Instant::now(), |member, stage| member.cut(stage));
            }
        }
        self.record.history.life += 1;
    }

    /// The broker was killed at this instant. Takes in what it had sent.
    pub fn killed(&mut self, at: Instant) {
        self.take_in_the_rest();
        self.record.history.note(|| "the broker is killed".into());
        for place in 0..self.members.len() {
            if !self.members[place].is_away() {
                self.on(place, Mood::Finishing, at, |member, stage| member.killed(stage));
            }
        }
        self.record.history.life += 1;
    }

    /// The broker was told to stop, and has.
    pub fn stopped(&mut self, at: Instant) {
        self.take_in_the_rest();
        self.record.history.note(|| "the broker has stopped".into());
        for place in 0..self.members.len() {
            if !self.members[place].is_away() {
                self.on(place, Mood::Finishing, at, |member, stage| member.stopped(stage));
            }
        }
        self.record.history.life += 1;
    }

    /// What a process that is gone has sent. Its farewells are no packets of a session.
    fn take_in_the_rest(&mut self) {
        while self.open > 0 {
            let event =
                self.events.recv_timeout(DEADLINE).expect("the sockets of a gone process end");
            match &event.packet {
                Some(packet) if is_farewell(packet) => {}
                Some(_) => self.handle(event, Mood::Finishing),
                None => self.open -= 1,
            }
        }
        self.former = Former::default();
    }

    fn handle(&mut self, event: Event, mood: Mood) {
        self.open -= usize::from(event.packet.is_none());
        if let Some(wrong) = self.former.handle(&event) {
            self.record.violate(Check::Refused, wrong);
        }
        if self.members[event.member].has(event.connection) {
            let now = Instant::now();
            self.on(event.member, mood, now, |member, stage| match event.packet {
                Some(bytes) => member.handle(&bytes, stage),
                None => member.closed(stage),
            });
        }
    }

    fn all_act(&mut self, mood: Mood) {
        for place in 0..self.members.len() {
            self.on(place, mood, Instant::now(), |member, stage| member.act(stage));
        }
    }

    fn on(
        &mut self,
        place: usize,
        mood: Mood,
        now: Instant,
        act: impl FnOnce(&mut Member, &mut Stage<'_>),
    ) {
        let Self { record, registers, rng, .. } = self;
        act(&mut self.members[place], &mut Stage { record, registers, rng, mood, now });
    }

    /// Compares what is retained, while nobody is connected.
    pub fn read_registers(&mut self, address: SocketAddr) {
        let (mut client, _) = Client::connect(address, connect(ProtocolVersion::V5, "reader"));
        client.subscribe("register/#", Qos::AtMostOnce);
        client.subscribe("end", Qos::AtMostOnce);
        client.send(&Packet::Publish(publish("end", b"", Qos::AtMostOnce)));
        let mut seen = HashMap::new();
        loop {
            let received = client.receive_where(|it| matches!(it, Packet::Publish(_)));
            let message = received.publish();
            let topic = message.topic.map_or("", TopicName::as_str).to_owned();
            if topic == "end" {
                break;
            }
            seen.insert(topic, message.payload.to_vec());
        }
        client.disconnect();
        for wrong in self.registers.compare(&seen) {
            self.record.violate(Check::Retained, wrong);
        }
    }
}

/// DISCONNECT with "server shutting down".
fn is_farewell(packet: &[u8]) -> bool {
    packet.first() == Some(&((PacketType::Disconnect as u8) << 4))
        && packet.get(2) == Some(&(ReasonCode::ServerShuttingDown as u8))
}

fn must_attend(member: &Member, attendance: Attendance) -> bool {
    attendance == Attendance::All && short_delay(member).is_none()
}

fn short_delay(member: &Member) -> Option<Duration> {
    let delay_s = member.role.will.as_ref().map(|will| will.delay_s)?;
    (1..SHORT_DELAY_S).contains(&delay_s).then(|| Duration::from_secs(delay_s.into()))
}

fn is_a(event: &Event, answer: Answer) -> bool {
    let first = event.packet.as_ref().and_then(|packet| packet.first());
    match answer {
        Answer::Packet(packet_type) => first.is_some_and(|first| first >> 4 == packet_type as u8),
        Answer::Close => event.packet.is_none(),
    }
}
