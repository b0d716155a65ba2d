//! What clients were promised, judged from all that has happened.
//!
//! Events are in one order, as the broker's end of each connection saw them. A promise holds from the
//! event at which the answer left; what was asked for may be in force from the event at which the broker
//! had read it. Where these leave open what is due, nothing is judged.

mod deliveries;
mod ownership;
mod retained;
mod session;
mod traffic;
mod wills;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hookmq_codec::{Qos, ReasonCode};

use crate::history::{Coming, Event, Sent, Step, What, Wire};
use session::Incarnation;

/// Everything that is wrong.
pub fn judge(events: &[Event]) -> Vec<String> {
    let account = Account::of(events);
    let mut violations = Vec::new();
    traffic::judge(&account, &mut violations);
    session::judge(&account, &mut violations);
    ownership::judge(&account, &mut violations);
    deliveries::judge(&account, &mut violations);
    retained::judge(&account, &mut violations);
    wills::judge(&account, &mut violations);
    violations
}

/// The same events, by what they are about.
struct Account<'a> {
    events: &'a [Event],
    links: BTreeMap<usize, Connection>,
    messages: HashMap<&'a str, Published>,
    incarnations: Vec<Incarnation>,
}

/// One connection. Numbers are those of events.
#[derive(Default)]
struct Connection {
    client: usize,
    number: usize,
    coming: Option<(usize, Coming)>,
    /// CONNACK: when, and whether a session was present or why it was refused.
    answer: Option<(usize, Result<bool, ReasonCode>)>,
    cut: Option<usize>,
    left: Option<(usize, ReasonCode)>,
    dropped: Option<usize>,
    told: Option<(usize, ReasonCode)>,
    blocked: Option<usize>,
    incarnation: Option<usize>,
}

/// A message, as its publisher has it.
struct Published {
    /// The connection that it first came over.
    link: usize,
    topic: String,
    qos: Qos,
    /// When the broker first had it, and how often it came.
    began: usize,
    /// When it came last, and how often.
    latest: usize,
    times: usize,
    /// When its acknowledgement first left.
    acknowledged: Option<usize>,
    /// When nothing that it brings about was left to do: the acknowledgement of its last coming.
    over: Option<usize>,
}

impl Connection {
    fn is_served(&self) -> bool {
        matches!(self.answer, Some((_, Ok(_))))
    }

    /// The first moment at which it may have been over, for the broker.
    fn ends(&self) -> Option<usize> {
        let left = self.left.map(|(at, _)| at);
        [self.cut, left, self.dropped].into_iter().flatten().min()
    }
}

impl<'a> Account<'a> {
    fn of(events: &'a [Event]) -> Self {
        let (links, messages) = (BTreeMap::new(), HashMap::new());
        let mut account = Self { events, links, messages, incarnations: Vec::new() };
        let mut under_way: HashMap<(usize, u16), &str> = HashMap::new();
        for (number, event) in events.iter().enumerate() {
            account.note(number, event, &mut under_way);
        }
        account.incarnations = session::incarnations(&mut account);
        account
    }

    fn note(
        &mut self,
        number: usize,
        Event { link, what, .. }: &'a Event,
        under_way: &mut HashMap<(usize, u16), &'a str>,
    ) {
        if let What::Opened { client } = what {
            let connection = Connection { client: *client, number: *link, ..Default::default() };
            self.links.insert(*link, connection);
            return;
        }
        let Some(connection) = self.links.get_mut(link) else { return };
        match what {
            What::Read(Wire::Connect(it)) => connection.coming = Some((number, it.clone())),
            What::Read(Wire::Disconnect(code)) => {
                connection.left.get_or_insert((number, *code));
            }
            What::Written(Wire::ConnAck { present, code }) => {
                let answer = if code.is_failure() { Err(*code) } else { Ok(*present) };
                connection.answer = Some((number, answer));
            }
            What::Written(Wire::Disconnect(code)) => connection.told = Some((number, *code)),
            What::Blocked => connection.blocked = Some(number),
            What::Cut => {
                connection.cut.get_or_insert(number);
            }
            What::Dropped => {
                connection.dropped.get_or_insert(number);
            }
            What::Read(Wire::Publish(sent)) => {
                self.published(*link, number, sent);
                under_way.insert((*link, sent.id), &sent.key);
            }
            What::Written(Wire::Ack(step @ (Step::Ack | Step::Rec), id, code))
                if !code.is_failure() =>
            {
                let key = under_way.get(&(*link, *id)).copied();
                let message = key.and_then(|key| self.messages.get_mut(key));
                let is_answer =
                    |it: &&mut Published| (it.qos == Qos::AtLeastOnce) == (*step == Step::Ack);
                if let Some(message) = message.filter(is_answer) {
                    message.acknowledged.get_or_insert(number);
                    message.over = Some(number);
                }
            }
            _ => {}
        }
    }

    fn published(&mut self, link: usize, number: usize, sent: &'a Sent) {
        let message = self.messages.entry(&sent.key).or_insert_with(|| Published {
            link,
            topic: sent.topic.clone(),
            qos: sent.qos,
            began: number,
            latest: number,
            times: 0,
            acknowledged: None,
            over: None,
        });
        message.times += 1;
        (message.latest, message.over) = (number, None);
    }

    fn at(&self, number: usize) -> Duration {
        self.events[number].at
    }

    /// The connections of each client, in the order in which the broker had their CONNECT.
    fn by_client(&self) -> BTreeMap<usize, Vec<&Connection>> {
        let mut clients: BTreeMap<usize, Vec<&Connection>> = BTreeMap::new();
        for link in self.links.values().filter(|it| it.coming.is_some()) {
            clients.entry(link.client).or_default().push(link);
        }
        for links in clients.values_mut() {
            links.sort_by_key(|it| it.coming.as_ref().map(|(at, _)| *at));
        }
        clients
    }

    /// The numbers of events of this kind.
    fn all(&self, is_wanted: impl Fn(&What) -> bool) -> Vec<usize> {
        let events = self.events.iter().enumerate();
        events.filter(|(_, it)| is_wanted(&it.what)).map(|(number, _)| number).collect()
    }

    fn crashes(&self) -> Vec<usize> {
        self.all(|it| matches!(it, What::Crashed))
    }

    fn stops(&self) -> Vec<usize> {
        self.all(|it| matches!(it, What::Stopping))
    }
}
