//! What the members of a shared subscription are promised together.

use std::collections::BTreeMap;

use hookmq_codec::{Qos, TopicFilter, TopicName};

use super::{Due, Gone, Message, MessageNumber, Session};

/// Each message waits for one of them: in the queue that they share, or with the member that fetched it.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub due: BTreeMap<MessageNumber, Due>,
}

impl Group {
    /// At which QoS the members get messages on `topic`; the other value says whether that is certain. All
    /// members ask for the same QoS here.
    pub fn grants<'a>(
        filter: &TopicFilter,
        members: impl Iterator<Item = &'a Session>,
        topic: &str,
    ) -> Option<(Qos, bool)> {
        let topic = TopicName::new(topic).expect("it was decoded");
        if !filter.matches(topic) {
            return None;
        }
        let (mut highest, mut certain) = (None, false);
        for member in members {
            let Some(granted) = member.subscriptions.get(filter) else { continue };
            highest = highest.max(granted.values().flatten().copied().max());
            let is_there = member.exists.certain() == Some(&true) && !member.begins_anew;
            certain |= is_there && granted.certain().is_some_and(Option::is_some);
        }
        highest.map(|qos| (qos, certain))
    }

    /// As [`Session::doubt`].
    pub fn doubt(&mut self, messages: &[Message], unanswered: &[MessageNumber]) {
        for number in unanswered {
            let new = Due { certain: false, qos: messages[*number].qos, gone: Gone::No };
            self.due.entry(*number).or_insert(new).certain = false;
        }
    }

    /// A member has acknowledged a message, or was told so.
    pub fn goes(&mut self, message: MessageNumber, gone: Gone) {
        if let Some(due) = self.due.get_mut(&message) {
            due.gone = due.gone.max(gone);
        }
    }
}
