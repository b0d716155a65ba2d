//! What belongs to a message: changes that are stored in one commit with it, and what hooks have made of
//! it.

use hookmq_codec::Qos;
use hookmq_core::NewMessage;
use hookmq_hooks::Emitted;
use hookmq_store::Change;

use super::{Desk, Judged, Publisher, Reply, Verdict, place};
use crate::broker::abroad::is_abroad;

/// A change that is stored in one commit with the next message, or else alone.
pub(super) struct Along {
    pub(super) change: Change,
    due: Due,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Not where the message is refused.
    Accepted,
    Always,
}

impl Publisher {
    /// As [`Self::publish`], with a change that is stored in the same commit; where the message is
    /// refused, not at all.
    pub fn publish_with(&mut self, parts: NewMessage<'_>, change: Change) -> Reply {
        self.publish_along(parts, Along { change, due: Due::Accepted })
    }

    /// Publishes a will; `cleared` is stored with it, or alone where nobody is due the message.
    pub fn publish_will(&mut self, parts: NewMessage<'_>, cleared: Change, judged: Judged) {
        if judged == Judged::Before {
            let place = place(&parts);
            let generation = self.desk.broker.access_generation();
            let route = self.routes.entry(parts.topic.as_str());
            let verdict =
                if is_abroad(parts.topic.as_str()) { Verdict::Abroad } else { Verdict::Allowed };
            (route.access_generation, route.verdicts[place]) = (generation, Some(verdict));
        }
        self.publish_along(parts, Along { change: cleared, due: Due::Always });
    }

    fn publish_along(&mut self, parts: NewMessage<'_>, along: Along) -> Reply {
        self.desk.along = Some(Box::new(along));
        let reply = self.publish(parts);
        match self.desk.along_with(&reply) {
            None => reply,
            Some(alone) => {
                let commit = self.desk.broker.store.append(vec![alone.change]);
                Reply { commit: reply.commit.max(commit), ..reply }
            }
        }
    }

    /// Emits what hooks have made of a message. What stands for one that is published `once` goes onward
    /// behind what is stored of that, as the message itself does: else it would be emitted again for a
    /// PUBLISH that comes again after a crash. Where the message has left its packet id to be stored, the
    /// first that is emitted is one commit with it.
    pub(super) fn follow(&mut self, reply: Reply, once: bool, emitted: Vec<Emitted>) -> Reply {
        if emitted.is_empty() {
            return reply;
        }
        self.desk.along = self.desk.along_with(&reply);
        self.desk.behind = once.then(|| Box::new(reply.commit));
        let commit = self.emit(emitted);
        self.desk.behind = None;
        Reply { commit: reply.commit.max(commit), ..reply }
    }
}

impl Desk {
    /// Whether a message of this QoS, the next, is published once, whatever happens: it is one of QoS 2, or
    /// a will, which the store has until it is published.
    pub(super) fn is_once(&self, qos: Qos) -> bool {
        qos == Qos::ExactlyOnce || self.along.as_ref().is_some_and(|it| it.due == Due::Always)
    }

    /// What is still to be stored behind a message with this reply.
    fn along_with(&mut self, reply: &Reply) -> Option<Box<Along>> {
        let accepted = !reply.reason_code.is_failure();
        self.along.take().filter(|it| accepted || it.due == Due::Always)
    }
}
