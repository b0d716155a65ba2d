//! A message that was sent: what it looks like, and to whom it is due.

use std::collections::VecDeque;
use std::time::Instant;

use hookmq_codec::{PacketId, Qos};

/// The number of a message in its stream, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    pub stream: usize,
    pub number: u64,
}

impl MessageKey {
    /// What the message says; [`number`] reads it.
    pub fn payload(self, topic: &str) -> Vec<u8> {
        payload(topic, self.number)
    }
}

/// Wills that are kept when all else is settled: some of them may still be waiting for their delay.
const WILLS: usize = 64;

/// The number, and bytes that no other message has: few for most, as much as a page of the store for some.
pub fn payload(topic: &str, number: u64) -> Vec<u8> {
    let mix = (number ^ (topic.len() as u64) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let length = match mix >> 58 {
        0 => 20_000,
        1..=7 => 1_000,
        8..=31 => 100,
        _ => 0,
    };
    let mut payload = format!("{number} {topic} ").into_bytes();
    payload.resize(payload.len() + length, mix as u8);
    payload
}

/// The number of the message that these bytes are in whole.
pub fn number(topic: &str, bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    let number = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
    (number > 0 && payload(topic, number) == bytes).then_some(number)
}

/// Messages of one client to one topic.
#[derive(Debug)]
pub(super) struct Stream {
    pub topic: String,
    pub qos: Qos,
    pub is_of_wills: bool,
    /// Those since everything was settled last.
    messages: VecDeque<Sent>,
    /// The number of the first of `messages`.
    first: u64,
    /// So many of `messages` are decided, and owed to nobody.
    done: usize,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub times: u32,
    pub fate: Fate,
    /// The life of the broker in which the fate was decided.
    pub decided_in: u32,
    /// Of a will with a delay.
    pub not_before: Option<Instant>,
    /// By recipient.
    pub copies: Box<[CopyOf]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing was said: it may be there or not.
    Open,
    Kept,
    Cancelled,
}

#[derive(Debug)]
pub(super) struct CopyOf {
    pub due: Due,
    pub got: u32,
    /// The connection and packet id of the latest delivery.
    pub carried: Option<(u64, Option<PacketId>)>,
}

/// Whether the recipient was subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Certainly,
    Perhaps,
    Never,
}

impl Stream {
    pub fn new(topic: &str, qos: Qos) -> Self {
        let (topic, messages) = (topic.to_owned(), VecDeque::new());
        Self { topic, qos, is_of_wills: false, messages, first: 1, done: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.last() == 0
    }

    /// The number of the latest message; 0 where there is none.
    pub fn last(&self) -> u64 {
        self.first + self.messages.len() as u64 - 1
    }

    pub fn push(&mut self, sent: Sent, stream: usize) -> MessageKey {
        self.messages.push_back(sent);
        MessageKey { stream, number: self.last() }
    }

    /// None for one that was settled.
    pub fn find(&mut self, key: MessageKey) -> Option<&mut Sent> {
        let place = key.number.checked_sub(self.first)?;
        self.messages.get_mut(usize::try_from(place).ok()?)
    }

    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Sent)> {
        (self.first..).zip(&self.messages)
    }

    pub fn blur(&mut self, recipient: usize, settled_too: bool) {
        for sent in self.messages.iter_mut().filter(|it| settled_too || it.fate == Fate::Open) {
            sent.copies[recipient].due = Due::Perhaps;
        }
    }

    /// What the broker has taken does not come any more; what is on its way to the broker may.
    pub fn end(&mut self, recipient: usize) {
        for sent in self.messages.iter_mut().filter(|it| it.fate != Fate::Open) {
            sent.copies[recipient].due = Due::Never;
        }
    }

    pub fn nothing_is_owed(&mut self) -> bool {
        let open_is_done = self.is_of_wills;
        let is_done =
            |sent: &Sent| (open_is_done || sent.fate != Fate::Open) && sent.owed().next().is_none();
        // The fate of a will is decided late, and not in the order of their numbers.
        let from = if self.is_of_wills { 0 } else { self.done };
        self.done = from + self.messages.range(from..).take_while(|sent| is_done(sent)).count();
        self.done == self.messages.len()
    }

    /// Forgets what cannot come any more.
    pub fn clear(&mut self) {
        let kept = if self.is_of_wills { WILLS.min(self.messages.len()) } else { 0 };
        let forgotten = self.messages.len() - kept;
        self.messages.drain(..forgotten);
        self.first += forgotten as u64;
        self.done = 0;
    }
}

impl Sent {
    pub fn new(due: Vec<Due>) -> Self {
        let copies = due.into_iter().map(|due| CopyOf { due, got: 0, carried: None }).collect();
        Self { times: 1, fate: Fate::Open, decided_in: 0, not_before: None, copies }
    }

    pub fn came(&mut self) -> bool {
        self.copies.iter().any(|copy| copy.got > 0)
    }

    /// The recipients that must get it and have not.
    pub fn owed(&self) -> impl Iterator<Item = (usize, &CopyOf)> {
        let kept = self.fate == Fate::Kept;
        let copies = self.copies.iter().enumerate();
        copies.filter(move |(_, copy)| kept && copy.due == Due::Certainly && copy.got == 0)
    }
}
