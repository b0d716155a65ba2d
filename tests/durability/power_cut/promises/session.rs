//! What one session is promised.

use std::collections::BTreeMap;

use hookmq_codec::{PacketId, Qos, TopicFilter, TopicName};

use super::register::Register;
use super::{Message, MessageNumber};

/// Sessions that end with their connections are not in the store.
#[derive(Debug, Clone, Default)]
pub struct Session {
    pub exists: Register<bool>,
    /// While CONNECT with clean start is not answered, it may be the old one, none, or the new one.
    pub begins_anew: bool,
    pub subscriptions: BTreeMap<TopicFilter, Register<Option<Qos>>>,
    /// Of QoS 2: whether the client has used the packet id and not released it.
    pub received: BTreeMap<u16, Register<bool>>,
    pub will: Register<Option<Vec<u8>>>,
    /// Seconds that it outlives its connection.
    pub expiry_interval: Register<u32>,
    pub due: BTreeMap<MessageNumber, Due>,
    /// By the packet ids under which they left, as long as the client has not acknowledged them.
    pub sent: BTreeMap<u16, MessageNumber>,
    /// Of QoS 2, by packet id.
    pub exchanges: BTreeMap<u16, Exchange>,
}

/// A message that the session may be due.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// False where the subscription changed meanwhile.
    pub certain: bool,
    pub qos: Qos,
    pub gone: Gone,
}

/// Whether the client has acknowledged a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gone {
    No,
    /// It did, and no answer was given to it.
    Perhaps,
    /// It got PUBREL.
    Yes,
}

/// A message of QoS 2 that has left.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    pub message: MessageNumber,
    pub stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Sent,
    /// PUBREC has come.
    Received,
    /// PUBREL has left.
    Released,
    /// PUBCOMP has come.
    Completed,
}

impl Session {
    /// At which QoS it gets messages on `topic`; the other value says whether that is certain.
    pub fn grants(&self, topic: &str) -> Option<(Qos, bool)> {
        let topic = TopicName::new(topic).expect("it was decoded");
        let (mut highest, mut certain) = (None, false);
        for (filter, granted) in &self.subscriptions {
            if filter.share_name().is_none() && filter.matches(topic) {
                highest = highest.max(granted.values().flatten().copied().max());
                certain |= granted.certain().is_some_and(Option::is_some);
            }
        }
        let exists = self.exists.certain() == Some(&true) && !self.begins_anew;
        highest.map(|qos| (qos, certain && exists))
    }

    /// A subscription changes while the `unanswered` messages are on their way to the queue.
    pub fn doubt(
        &mut self,
        messages: &[Message],
        filters: &[TopicFilter],
        unanswered: &[MessageNumber],
    ) {
        for number in unanswered.iter().filter(|it| messages[**it].fits(filters)) {
            let new = Due { certain: false, qos: messages[*number].qos, gone: Gone::No };
            self.due.entry(*number).or_insert(new).certain = false;
        }
    }

    /// A subscription ends: what waits for it may be given to the client still, or not.
    pub fn let_go(&mut self, messages: &[Message], filters: &[TopicFilter]) {
        for (number, due) in &mut self.due {
            due.certain &= !messages[*number].fits(filters);
        }
    }

    /// PUBLISH leaves.
    pub fn sends(&mut self, message: MessageNumber, packet_id: PacketId, qos: Qos) {
        self.sent.insert(packet_id.get(), message);
        if qos == Qos::ExactlyOnce {
            self.exchanges.insert(packet_id.get(), Exchange { message, stage: Stage::Sent });
        }
    }

    /// PUBACK or PUBREC has come; gives the message.
    pub fn acknowledged(&mut self, packet_id: PacketId) -> Option<MessageNumber> {
        let number = self.sent.remove(&packet_id.get())?;
        if let Some(due) = self.due.get_mut(&number) {
            due.gone = Gone::Perhaps;
        }
        self.advance(packet_id, Stage::Received);
        Some(number)
    }

    /// PUBREL leaves; gives the message.
    pub fn releases(&mut self, packet_id: PacketId) -> Option<MessageNumber> {
        self.advance(packet_id, Stage::Released);
        let number = self.exchanges.get(&packet_id.get())?.message;
        if let Some(due) = self.due.get_mut(&number) {
            due.gone = Gone::Yes;
        }
        Some(number)
    }

    /// PUBCOMP has come.
    pub fn completed(&mut self, packet_id: PacketId) {
        self.advance(packet_id, Stage::Completed);
    }

    fn advance(&mut self, packet_id: PacketId, stage: Stage) {
        if let Some(exchange) = self.exchanges.get_mut(&packet_id.get()) {
            exchange.stage = exchange.stage.max(stage);
        }
    }
}
