//! Who publishes what, and who gets it.

use std::fmt::Write;

/// How publishers, topics and subscribers belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Each publisher has a topic; every subscriber gets all of them.
    FanIn,
    /// All publish to one topic, and every subscriber gets it.
    FanOut,
    /// Publisher number i reaches subscriber number i and nobody else.
    Pairs,
    /// So many filters, dealt out to the subscribers; each message fits one of them.
    Table { filters: u64 },
}

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub shape: Shape,
    pub publishers: usize,
    pub subscribers: usize,
}

/// Levels under which the filters of a table lie.
const GROUPS: u64 = 1000;

enum Kind {
    Exact,
    SingleLevel,
    MultiLevel,
}

impl Plan {
    pub fn filters(&self, subscriber: usize) -> Vec<String> {
        match self.shape {
            Shape::FanIn => vec!["devices/+/telemetry".to_owned()],
            Shape::FanOut => vec!["devices/u0/telemetry".to_owned()],
            Shape::Pairs => vec![format!("devices/u{subscriber}/telemetry")],
            Shape::Table { filters } => {
                (subscriber as u64..filters).step_by(self.subscribers).map(filter).collect()
            }
        }
    }

    /// Puts the topic of a message into `topic`.
    pub fn topic(&self, publisher: usize, sequence: u64, topic: &mut String) {
        topic.clear();
        let written = match self.shape {
            Shape::FanIn | Shape::Pairs => write!(topic, "devices/u{publisher}/telemetry"),
            Shape::FanOut => write!(topic, "devices/u0/telemetry"),
            Shape::Table { filters } => {
                let number = scatter((publisher as u64) << 40 ^ sequence) % filters;
                let group = number % GROUPS;
                match kind(number) {
                    Kind::Exact => write!(topic, "sites/g{group}/d{number}/t"),
                    Kind::SingleLevel => write!(topic, "sites/g{group}/x/p{number}"),
                    Kind::MultiLevel => write!(topic, "sites/g{group}/h{number}/a/b"),
                }
            }
        };
        written.expect("a string takes all");
    }

    /// Whether a publisher's messages all have one topic.
    pub fn has_fixed_topics(&self) -> bool {
        !matches!(self.shape, Shape::Table { .. })
    }

    /// How many subscribers get each message.
    pub fn copies(&self) -> u64 {
        match self.shape {
            Shape::FanIn | Shape::FanOut => self.subscribers as u64,
            Shape::Pairs | Shape::Table { .. } => 1,
        }
    }

    pub fn clients(&self) -> usize {
        self.publishers + self.subscribers
    }

    /// Ledgers that tell what has arrived. A message for all subscribers is accounted for at each of them.
    pub fn ledgers(&self) -> usize {
        self.publishers * self.copies() as usize
    }

    /// Which ledger tells of this publisher's messages at this subscriber.
    #[inline]
    pub fn ledger(&self, publisher: usize, subscriber: usize) -> usize {
        match self.shape {
            Shape::FanIn | Shape::FanOut => subscriber * self.publishers + publisher,
            Shape::Pairs | Shape::Table { .. } => publisher,
        }
    }
}

fn filter(number: u64) -> String {
    let group = number % GROUPS;
    match kind(number) {
        Kind::Exact => format!("sites/g{group}/d{number}/t"),
        Kind::SingleLevel => format!("sites/g{group}/+/p{number}"),
        Kind::MultiLevel => format!("sites/g{group}/h{number}/#"),
    }
}

/// 70 of 100 are exact, 20 have a `+`, 10 a `#`; mixed, as a multiple of a number prime to 100 is.
fn kind(number: u64) -> Kind {
    match number * 37 % 100 {
        0..70 => Kind::Exact,
        70..90 => Kind::SingleLevel,
        _ => Kind::MultiLevel,
    }
}

/// Seemingly random, and the same each time (the finalizer of MurmurHash3).
fn scatter(number: u64) -> u64 {
    let mixed = (number ^ number >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ mixed >> 33
}

#[cfg(test)]
mod tests {
    use hookmq_codec::{TopicName, filter_matches};

    use super::*;

    /// How many filters of each subscriber fit the message.
    fn hits(plan: &Plan, publisher: usize, sequence: u64) -> Vec<usize> {
        let mut topic = String::new();
        plan.topic(publisher, sequence, &mut topic);
        let topic = TopicName::new(&topic).expect("a topic");
        let fits = |filter: &String| filter_matches(filter, topic);
        let filters = (0..plan.subscribers).map(|subscriber| plan.filters(subscriber));
        filters.map(|filters| filters.iter().filter(|it| fits(it)).count()).collect()
    }

    #[test]
    fn each_message_has_as_many_receivers_as_the_plan_says() {
        let plan = |shape| Plan { shape, publishers: 3, subscribers: 3 };
        for shape in [Shape::FanIn, Shape::Pairs, Shape::Table { filters: 5000 }] {
            let plan = plan(shape);
            for (publisher, sequence) in (0..3).flat_map(|it| (0..100).map(move |n| (it, n))) {
                let hits = hits(&plan, publisher, sequence);
                assert_eq!(hits.iter().sum::<usize>() as u64, plan.copies(), "{shape:?}");
            }
        }
        let plan = Plan { publishers: 1, ..plan(Shape::FanOut) };
        assert_eq!(hits(&plan, 0, 0), [1, 1, 1]);
        assert_eq!(plan.copies(), 3);
    }

    #[test]
    fn a_table_has_its_filters_each_once() {
        let plan = Plan { shape: Shape::Table { filters: 5000 }, publishers: 1, subscribers: 7 };
        let mut filters: Vec<_> = (0..7).flat_map(|subscriber| plan.filters(subscriber)).collect();
        filters.sort_unstable();
        filters.dedup();
        assert_eq!(filters.len(), 5000);
        assert_eq!(filters.iter().filter(|filter| filter.contains('+')).count(), 1000);
        assert_eq!(filters.iter().filter(|filter| filter.ends_with('#')).count(), 500);
    }

    #[test]
    fn each_stream_has_a_ledger_of_its_own() {
        let plan = Plan { shape: Shape::FanIn, publishers: 3, subscribers: 2 };
        let mut ledgers: Vec<_> =
            (0..3).flat_map(|it| (0..2).map(move |to| plan.ledger(it, to))).collect();
        ledgers.sort_unstable();
        assert_eq!(ledgers, [0, 1, 2, 3, 4, 5]);
        assert_eq!(plan.ledgers(), 6);
    }
}
