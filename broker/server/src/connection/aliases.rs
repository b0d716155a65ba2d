//! Topic aliases, so that a long topic is sent once (section 3.3.2.3.4): those that the broker gives its
//! clients, and those that they give.

use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU16;

use rustc_hash::FxBuildHasher;

/// What each alias stands for that the client has given.
#[derive(Debug, Default)]
pub struct IncomingAliases {
    /// By alias, from 1; empty where an alias is not set.
    topics: Vec<Box<str>>,
}

/// What the client knows each alias to stand for. A topic has one place, which its hash chooses; a
/// topic that comes there next takes the alias over.
#[derive(Debug, Default)]
pub struct OutgoingAliases {
    /// By alias, from 1. Allocated with the first topic.
    topics: Vec<Box<str>>,
    maximum: u16,
}

/// How a topic is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutgoingAlias {
    pub alias: NonZeroU16,
    /// The client knows what the alias stands for.
    pub known: bool,
}

/// Topics of this many bytes cost as much as an alias.
const SHORTEST: usize = 4;

/// Longer topics are sent in full, which bounds the memory of a connection.
const LONGEST: usize = 256;

impl IncomingAliases {
    pub fn topic(&self, alias: NonZeroU16) -> Option<&str> {
        let topic = self.topics.get(usize::from(alias.get()) - 1)?;
        (!topic.is_empty()).then_some(&**topic)
    }

    /// `alias` is not above the maximum, which bounds the memory.
    pub fn set(&mut self, alias: NonZeroU16, topic: &str) {
        let place = usize::from(alias.get()) - 1;
        if self.topics.len() <= place {
            self.topics.resize(place + 1, Box::default());
        }
        self.topics[place] = topic.into();
    }
}

impl OutgoingAliases {
    /// `maximum` is what the client has allowed, or less `[MQTT-3.1.2-26]` `[MQTT-3.1.2-27]`. None where it
    /// takes none.
    pub fn new(maximum: u16) -> Option<Box<Self>> {
        (maximum > 0).then(|| Box::new(Self { topics: Vec::new(), maximum }))
    }

    /// The alias of `topic`, which the packet that is encoded next must carry; none for a topic that is
    /// to be sent without.
    pub fn assign(&mut self, topic: &str) -> Option<OutgoingAlias> {
        if !(SHORTEST..=LONGEST).contains(&topic.len()) {
            return None;
        }
        if self.topics.is_empty() {
            self.topics.resize(self.maximum.into(), Box::default());
        }
        let mut hasher = FxBuildHasher.build_hasher();
        hasher.write(topic.as_bytes());
        // The upper half: the lower bits of this hash repeat over similar topics.
        let place = (hasher.finish() >> 32) as usize % self.topics.len();
        let known = *self.topics[place] == *topic;
        if !known {
            self.topics[place] = topic.into();
        }
        let alias = NonZeroU16::new(u16::try_from(place + 1).ok()?)?;
        Some(OutgoingAlias { alias, known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_once() {
        let mut aliases = OutgoingAliases::new(1).unwrap();
        let first = aliases.assign("long/topic").unwrap();
        assert_eq!((first.alias.get(), first.known), (1, false));
        assert!(aliases.assign("long/topic").unwrap().known);
        assert!(!aliases.assign("other/topic").unwrap().known, "it takes the alias over");
        assert!(!aliases.assign("long/topic").unwrap().known);
    }

    #[test]
    fn no_alias_is_above_the_maximum() {
        let mut aliases = OutgoingAliases::new(7).unwrap();
        for number in 0..1000 {
            let alias = aliases.assign(&format!("topic/{number}")).unwrap().alias;
            assert!((1..=7).contains(&alias.get()));
        }
    }

    #[test]
    fn what_gains_nothing_or_costs_too_much_is_sent_in_full() {
        let mut aliases = OutgoingAliases::new(7).unwrap();
        assert_eq!(aliases.assign("abc"), None);
        assert_eq!(aliases.assign(&"x".repeat(257)), None);
        assert!(OutgoingAliases::new(0).is_none());
    }
}
