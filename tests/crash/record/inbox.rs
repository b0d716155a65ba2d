//! A receiver's half of QoS 2, and what it shows of the sender's packet ids.

use std::collections::HashMap;

use hookmq_codec::PacketId;

use super::MessageKey;

/// The packet ids under which messages of QoS 2 have come.
#[derive(Debug, Default)]
pub struct Inbox {
    exchanges: HashMap<PacketId, Exchange>,
}

#[derive(Debug, Clone, Copy)]
struct Exchange {
    message: Option<MessageKey>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// PUBLISH has come.
    Held,
    /// PUBREL has come; PUBCOMP may not have left.
    Released,
    /// PUBCOMP was sent. The broker may not have got it, and may use the id for something else.
    Completed,
}

/// What a PUBLISH of QoS 2 is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    First,
    /// It has come before, and PUBREL has not.
    Again,
    /// As the broker must not send it.
    Wrong(String),
}

impl Inbox {
    /// A PUBLISH of QoS 1 or 2 has come under this id. What cannot be identified has no key.
    pub fn publish(&mut self, id: PacketId, message: Option<MessageKey>, dup: bool) -> Arrival {
        let first = Exchange { message, stage: Stage::Held };
        let Some(known) = self.exchanges.insert(id, first) else { return Arrival::First };
        match (known.stage, known.message == message) {
            (Stage::Completed, _) => Arrival::First,
            (Stage::Held, true) if dup => Arrival::Again,
            (Stage::Held, true) => Arrival::Wrong(format!("{id:?} came again without DUP")),
            (stage, _) => Arrival::Wrong(format!("{id:?} is of {:?}, {stage:?}", known.message)),
        }
    }

    /// A PUBLISH of QoS 1 has come under this id.
    pub fn publish_at_least_once(&mut self, id: PacketId) -> Result<(), String> {
        match self.exchanges.get(&id) {
            Some(known) if known.stage != Stage::Completed => {
                Err(format!("{id:?} of a message of QoS 1 is of {:?}", known.message))
            }
            _ => {
                self.exchanges.remove(&id);
                Ok(())
            }
        }
    }

    /// PUBREL has come.
    pub fn release(&mut self, id: PacketId) -> Result<(), String> {
        let Some(known) = self.exchanges.get_mut(&id) else {
            return Err(format!("PUBREL for {id:?}, under which nothing has come"));
        };
        if known.stage == Stage::Held {
            known.stage = Stage::Released;
        }
        Ok(())
    }

    /// PUBCOMP is sent.
    pub fn complete(&mut self, id: PacketId) {
        if let Some(known) = self.exchanges.get_mut(&id)
            && known.stage == Stage::Released
        {
            known.stage = Stage::Completed;
        }
    }

    /// The session has begun anew.
    pub fn clear(&mut self) {
        self.exchanges.clear();
    }
}
