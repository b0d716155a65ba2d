//! Who is due messages: a session, or all members of a shared subscription together.

use std::collections::HashMap;

use hookmq_codec::{Qos, TopicName, filter_matches};

use super::message::Due;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecipientId(pub(super) usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Messages of one client to one topic come in the order in which they were sent.
    PerStream,
    /// Several members share the messages.
    None,
}

#[derive(Debug)]
pub(super) struct Recipient {
    pub name: String,
    pub order: Order,
    filters: Vec<Filter>,
    /// The highest number that has come, by stream.
    pub latest: HashMap<usize, u64>,
}

/// No two filters of a recipient match the same topic.
#[derive(Debug)]
struct Filter {
    text: String,
    qos: Qos,
    state: State,
}

/// What the recipient knows about a subscription of its.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    /// SUBSCRIBE or UNSUBSCRIBE is not answered.
    Changing,
    Held,
}

impl Recipient {
    pub fn new(name: &str, order: Order) -> Self {
        Self { name: name.to_owned(), order, filters: Vec::new(), latest: HashMap::new() }
    }

    /// Whether a message that is sent now is due.
    pub fn due(&self, topic: TopicName<'_>) -> Due {
        let filter = self.filters.iter().find(|it| filter_matches(&it.text, topic));
        match filter.map(|filter| filter.state) {
            None | Some(State::Absent) => Due::Never,
            Some(State::Changing) => Due::Perhaps,
            Some(State::Held) => Due::Certainly,
        }
    }

    /// The QoS that was asked for on this topic.
    pub fn granted(&self, topic: &str) -> Option<Qos> {
        self.filters.iter().find(|it| matches(&it.text, topic)).map(|it| it.qos)
    }

    /// Gives whether that changes anything: a subscription that is held stays held.
    pub fn subscribing(&mut self, filter: &str, qos: Qos) -> bool {
        match self.find(filter) {
            Some(it) if it.state == State::Held => return false,
            Some(it) => (it.state, it.qos) = (State::Changing, qos),
            None => {
                let text = filter.to_owned();
                self.filters.push(Filter { text, qos, state: State::Changing });
            }
        }
        true
    }

    pub fn subscribed(&mut self, filter: &str) {
        self.set(filter, State::Held);
    }

    pub fn unsubscribing(&mut self, filter: &str) {
        self.set(filter, State::Changing);
    }

    pub fn unsubscribed(&mut self, filter: &str) {
        self.set(filter, State::Absent);
    }

    /// Gives the filters of which it is not known any more whether they are there.
    pub fn ending(&mut self) -> Vec<String> {
        let there = self.filters.iter_mut().filter(|it| it.state != State::Absent);
        let doubtful = there.map(|filter| {
            filter.state = State::Changing;
            filter.text.clone()
        });
        doubtful.collect()
    }

    pub fn ended(&mut self) {
        self.filters.iter_mut().for_each(|filter| filter.state = State::Absent);
    }

    fn set(&mut self, filter: &str, state: State) {
        self.find(filter).expect("SUBSCRIBE was sent for it").state = state;
    }

    fn find(&mut self, filter: &str) -> Option<&mut Filter> {
        self.filters.iter_mut().find(|it| it.text == filter)
    }
}

pub(super) fn matches(filter: &str, topic: &str) -> bool {
    TopicName::new(topic).is_ok_and(|topic| filter_matches(filter, topic))
}
