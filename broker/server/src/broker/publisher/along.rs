//! Messages with which something else is stored, in one commit.

use hookmq_core::NewMessage;
use hookmq_store::Change;

use super::{Judged, Publisher, Reply, Verdict, place};
use crate::broker::abroad::is_abroad;

impl Publisher {
    /// As [`Self::publish`], with a change that is stored in the same commit; where the message is
    /// refused, not at all.
    pub fn publish_with(&mut self, parts: NewMessage<'_>, along: Change) -> Reply {
        self.desk.along = Some(Box::new(along));
        let reply = self.publish(parts);
        let accepted = !reply.reason_code.is_failure();
        match self.desk.along.take().filter(|_| accepted) {
            None => reply,
            Some(alone) => {
                let commit = self.desk.broker.store.append(vec![*alone]);
                Reply { commit: reply.commit.max(commit), ..reply }
            }
        }
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
        self.desk.along = Some(Box::new(cleared));
        self.publish(parts);
        if let Some(cleared) = self.desk.along.take() {
            self.desk.broker.store.append(vec![*cleared]);
        }
    }
}
