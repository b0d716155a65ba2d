//! Sessions: which connections share one, what it is subscribed to, and whether "session present" is so.

use std::time::Duration;

use hookmq_codec::{Qos, TopicFilter, TopicName, filter_matches};

use super::{Account, Connection};
use crate::history::{What, Wire};

/// A session from its beginning to its end.
pub struct Incarnation {
    pub client: usize,
    pub links: Vec<usize>,
    pub subscriptions: Vec<Subscribed>,
    /// The first moment at which it may have ended.
    pub ends: Option<usize>,
}

/// From SUBSCRIBE on. Numbers are those of events.
pub struct Subscribed {
    pub filter: TopicFilter,
    pub qos: Qos,
    asked: usize,
    confirmed: Option<usize>,
    withdrawing: Option<usize>,
    withdrawn: Option<usize>,
    packet: (usize, u16),
}

impl Subscribed {
    fn covers(&self, topic: &str) -> bool {
        TopicName::new(topic).is_ok_and(|topic| filter_matches(self.filter.bare(), topic))
    }

    /// Whether it was in force, confirmed, from `began` to the end: what waits is forgotten with its
    /// subscription.
    pub fn surely_brings(&self, topic: &str, began: usize) -> bool {
        let is_confirmed = self.confirmed.is_some_and(|it| it < began);
        self.covers(topic) && is_confirmed && self.withdrawing.is_none()
    }

    /// Whether a message that came at `began`, and whose acknowledgement left at `ended`, may be one.
    pub fn may_bring(&self, topic: &str, began: usize, ended: Option<usize>, given: usize) -> bool {
        if !self.covers(topic) || self.asked > given {
            return false;
        }
        // What waits for a group is for members that come later, too.
        self.filter.share_name().is_some()
            || ended.is_none_or(|it| it > self.asked) && self.withdrawn.is_none_or(|it| it > began)
    }
}

/// What is known of the session of a client.
#[derive(Clone, Copy)]
enum Known {
    Nothing,
    /// There is one, as a connection has left it that asked for so many seconds.
    Kept(u32),
    Perhaps,
}

/// Sorts the connections that were let in by sessions, by what they were told.
pub fn incarnations(account: &mut Account<'_>) -> Vec<Incarnation> {
    let mut all: Vec<Incarnation> = Vec::new();
    let mut assigned = Vec::new();
    for (client, links) in account.by_client() {
        let (mut current, mut is_transient) = (None::<usize>, false);
        for link in links {
            let Some((began, coming)) = &link.coming else { continue };
            if coming.clean
                && let Some(current) = current
            {
                all[current].ends.get_or_insert(*began);
            }
            let Some((_, Ok(present))) = link.answer else {
                is_transient |= coming.clean || coming.expiry < HOUR;
                continue;
            };
            // Where the one before has ended unseen, another may have begun unseen.
            let is_other = std::mem::replace(&mut is_transient, coming.expiry == 0);
            if !present || is_other || current.is_none() {
                if let Some(current) = current {
                    all[current].ends.get_or_insert(*began);
                }
                let (links, subscriptions) = (Vec::new(), Vec::new());
                all.push(Incarnation { client, links, subscriptions, ends: None });
                current = Some(all.len() - 1);
            }
            let Some(current) = current else { continue };
            all[current].links.push(link.number);
            assigned.push((link.number, current));
        }
    }
    for (link, incarnation) in assigned {
        if let Some(link) = account.links.get_mut(&link) {
            link.incarnation = Some(incarnation);
        }
    }
    for incarnation in &mut all {
        incarnation.ends = incarnation.ends.or_else(|| {
            let last = &account.links[incarnation.links.last()?];
            last.ends()
        });
        incarnation.subscriptions = subscriptions(account, &incarnation.links);
    }
    all
}

fn subscriptions(account: &Account<'_>, links: &[usize]) -> Vec<Subscribed> {
    let mut all: Vec<Subscribed> = Vec::new();
    let mut leaving: Vec<((usize, u16), TopicFilter)> = Vec::new();
    let events = account.events.iter().enumerate();
    for (number, event) in events.filter(|(_, it)| links.contains(&it.link)) {
        match &event.what {
            What::Read(Wire::Subscribe(id, filters)) => {
                // Another QoS takes the place of the one before.
                for (filter, _) in filters.iter().filter(|(_, qos)| *qos == Qos::AtMostOnce) {
                    for it in all.iter_mut().filter(|it| it.filter == *filter) {
                        it.withdrawing.get_or_insert(number);
                    }
                }
                all.extend(filters.iter().map(|(filter, qos)| Subscribed {
                    filter: filter.clone(),
                    qos: *qos,
                    asked: number,
                    confirmed: None,
                    withdrawing: None,
                    withdrawn: None,
                    packet: (event.link, *id),
                }));
            }
            What::Written(Wire::SubAck(id, codes)) if codes.iter().all(|it| !it.is_failure()) => {
                let packet = (event.link, *id);
                let asked = all.iter_mut().rfind(|it| it.packet == packet);
                asked.into_iter().for_each(|it| it.confirmed = Some(number));
            }
            What::Read(Wire::Unsubscribe(id, filters)) => {
                for it in all.iter_mut().filter(|it| filters.contains(&it.filter)) {
                    it.withdrawing.get_or_insert(number);
                }
                leaving.extend(filters.iter().map(|it| ((event.link, *id), it.clone())));
            }
            What::Written(Wire::UnsubAck(id)) => {
                let packet = (event.link, *id);
                let left = leaving.iter().rfind(|(it, _)| *it == packet).map(|(_, it)| it.clone());
                let withdrawn = all.iter_mut().filter(|it| Some(&it.filter) == left.as_ref());
                for it in withdrawn.filter(|it| it.withdrawing.is_some()) {
                    it.withdrawn.get_or_insert(number);
                }
            }
            _ => {}
        }
    }
    all
}

/// "Session present" says what is so.
pub fn judge(account: &Account<'_>, violations: &mut Vec<String>) {
    for links in account.by_client().into_values() {
        let mut known = Known::Nothing;
        let mut last: Option<&Connection> = None;
        for link in links {
            let Some((began, coming)) = &link.coming else { continue };
            if let Some((answered, Ok(present))) = link.answer {
                let expected = match known {
                    _ if coming.clean => Some(false),
                    Known::Nothing => Some(false),
                    Known::Perhaps => None,
                    Known::Kept(seconds) => lasts(account, last, seconds, *began, answered),
                };
                if expected.is_some_and(|it| it != present) {
                    let told = format!("event {answered}: session present is {present}");
                    violations.push(format!("{told}, of client {}", link.client));
                }
                known =
                    if coming.expiry == 0 { Known::Nothing } else { Known::Kept(coming.expiry) };
                last = Some(link);
                continue;
            }
            // It may have got as far as the session, and have changed it.
            let changes = coming.clean || !matches!(known, Known::Kept(it) if it == coming.expiry);
            if changes || coming.expiry < HOUR {
                known = Known::Perhaps;
            }
        }
    }
}

/// No simulation takes as long.
const HOUR: u32 = 3600;

/// Whether a session that `last` has left is there still, if that is sure.
fn lasts(
    account: &Account<'_>,
    last: Option<&Connection>,
    seconds: u32,
    began: usize,
    answered: usize,
) -> Option<bool> {
    if seconds >= HOUR {
        return Some(true);
    }
    let (last, seconds) = (last?, Duration::from_secs(seconds.into()));
    // Whoever is told to go has left the session by then, and so has who does not read it.
    let told = last.told.map(|(at, _)| at);
    let came = last.coming.as_ref().map_or(0, |(at, _)| *at);
    let stopped = account.stops().into_iter().find(|it| *it > came);
    let ends = last.ends().into_iter().chain(told).chain(stopped).min();
    let Some(ends) = ends else { return Some(true) };
    if account.at(answered).saturating_sub(account.at(ends)) < seconds {
        return Some(true);
    }
    let over = last.dropped.filter(|it| *it < began)?;
    // A crash has the time begin anew with the next broker.
    let restarted = account.all(|it| matches!(it, What::Started));
    let restarted = restarted.into_iter().find(|it| *it > over && *it < began);
    let crashed = account.crashes().into_iter().any(|it| it <= over);
    let over = if crashed { restarted.unwrap_or(over) } else { over };
    let longest = seconds + Duration::from_secs(2);
    (account.at(began).saturating_sub(account.at(over)) > longest).then_some(false)
}
