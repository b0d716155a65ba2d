//! Shared subscriptions: each of their messages is with one member, or with none yet.

use std::collections::BTreeMap;

use hookmq_codec::TopicFilter;

use super::{Found, FoundMessage, FoundSession};
use crate::power_cut::promises::{Gone, Group, MessageNumber, Promises};

impl Found {
    /// All that waits for a shared subscription, and what its members have besides.
    pub(super) fn of_group(&self, filter: &TopicFilter) -> impl Iterator<Item = &FoundMessage> {
        let queue = self.shared.get(filter).into_iter().flat_map(|it| &it.queue);
        queue.chain(self.members(filter).flat_map(FoundSession::messages))
    }

    fn members(&self, filter: &TopicFilter) -> impl Iterator<Item = &FoundSession> {
        self.sessions.values().filter(|it| it.subscriptions.contains_key(filter))
    }

    pub(super) fn judge_groups(&self, promises: &Promises, broken: &mut Vec<String>) {
        for (filter, found) in &self.shared {
            let members = self.members(filter).count();
            if found.members as usize != members {
                broken.push(format!("{filter:?} has {} members, and {members}", found.members));
            }
            if !promises.groups.contains_key(filter) {
                broken.push(format!("nobody has subscribed to {filter:?}"));
            }
        }
        for (filter, group) in &promises.groups {
            let told = self.judge_group(filter, group, promises);
            broken.extend(told.into_iter().map(|it| format!("{filter:?}: {it}")));
        }
    }

    fn judge_group(&self, filter: &TopicFilter, group: &Group, promises: &Promises) -> Vec<String> {
        let mut broken = Vec::new();
        let mut there: BTreeMap<MessageNumber, usize> = BTreeMap::new();
        for found in self.of_group(filter) {
            let number = promises.by_payload.get(&found.payload);
            if let Some(number) = number.filter(|it| group.due.contains_key(it)) {
                *there.entry(*number).or_default() += 1;
            }
        }
        let queue = self.shared.get(filter).into_iter().flat_map(|it| &it.queue);
        for found in queue {
            match promises.by_payload.get(&found.payload) {
                Some(number) if group.due.contains_key(number) => {
                    let expiry_interval = promises.messages[*number].expiry_interval;
                    broken.extend(found.judge_lifetime(expiry_interval));
                }
                _ => broken.push("a message waits that is due to others".to_owned()),
            }
        }
        for (number, due) in &group.due {
            let message = &promises.messages[*number];
            let name = &message.name;
            match there.get(number).copied().unwrap_or(0) {
                0 if due.certain && due.gone == Gone::No && message.acknowledged => {
                    broken.push(format!("{name} was acknowledged and is lost"));
                }
                0 => {}
                _ if due.gone == Gone::Yes => {
                    broken.push(format!("{name} is back, and PUBREL was sent"));
                }
                1 => {}
                times => broken.push(format!("{name} is there {times} times")),
            }
        }
        broken
    }
}
