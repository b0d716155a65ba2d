//! What becomes of a client's wills.

use std::time::{Duration, Instant};

use hookmq_codec::{Qos, Will};
use hookmq_tests::client::will;

use super::{Stage, payload_of};
use crate::record::{MessageKey, Record};

/// A timer of the broker may be so much before what a client reckons.
const MARGIN: Duration = Duration::from_millis(100);

/// The will with which a client always connects.
#[derive(Debug)]
pub struct WillHabit {
    pub stream: usize,
    pub delay_s: u32,
}

/// The wills of the present connection and of the one before.
#[derive(Debug, Default)]
pub struct Testament {
    present: Option<MessageKey>,
    /// Of a connection that was lost, while its delay lasts.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    key: MessageKey,
    due_at: Instant,
    /// Whether a CONNECT was sent since, which may have cancelled it.
    is_doubtful: bool,
}

/// A will as CONNECT has it.
#[derive(Debug)]
pub struct Written {
    topic: String,
    payload: Vec<u8>,
    qos: Qos,
    delay_s: u32,
}

impl Testament {
    /// CONNECT is about to be sent, with this will.
    pub fn write(&mut self, habit: Option<&WillHabit>, record: &mut Record) -> Option<Written> {
        let habit = habit?;
        if let Some(waiting) = &mut self.waiting {
            waiting.is_doubtful = true;
        }
        let key = record.sent(habit.stream);
        self.present = Some(key);
        let topic = record.topic(key).to_owned();
        let (payload, qos) = (payload_of(key, record), record.qos(key));
        Some(Written { topic, payload, qos, delay_s: habit.delay_s })
    }

    /// CONNACK was read: the will before is cancelled, if its delay is not over.
    pub fn came_back(&mut self, stage: &mut Stage<'_>) {
        if let Some(waiting) = self.waiting.take_if(|it| stage.now + MARGIN < it.due_at) {
            stage.record.cancelled(waiting.key);
        }
        // Otherwise it may have come or not.
        self.waiting = None;
    }

    /// A connection whose CONNACK was read is lost.
    pub fn lost(&mut self, habit: Option<&WillHabit>, stage: &mut Stage<'_>) {
        let (Some(habit), Some(key)) = (habit, self.present.take()) else { return };
        if habit.delay_s == 0 {
            return stage.record.confirmed(key);
        }
        let due_at = stage.now + Duration::from_secs(habit.delay_s.into());
        stage.record.delayed(key, due_at - MARGIN);
        self.waiting = Some(Waiting { key, due_at, is_doubtful: false });
    }

    /// DISCONNECT was sent, and the broker has closed; or it was told to stop.
    pub fn revoked(&mut self, record: &mut Record) {
        if let Some(key) = self.present.take() {
            record.cancelled(key);
        }
    }

    /// The delay is over since the broker runs, and the client is not back.
    pub fn delay_is_over(&mut self, record: &mut Record) {
        if let Some(waiting) = self.waiting.take_if(|it| !it.is_doubtful) {
            record.confirmed(waiting.key);
        }
    }
}

impl Written {
    pub fn packet(&self) -> Will<'_> {
        let delay_interval = self.delay_s;
        Will { qos: self.qos, delay_interval, ..will(&self.topic, &self.payload) }
    }
}
