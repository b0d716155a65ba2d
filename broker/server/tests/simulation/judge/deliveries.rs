//! Who gets which message, how often, and in which order.

use std::collections::{BTreeMap, HashMap, HashSet};

use hookmq_codec::Qos;

use super::session::{Incarnation, Subscribed};
use super::{Account, Published};
use crate::history::{Sent, What, Wire};

/// A message as a client has it.
struct Given<'a> {
    number: usize,
    link: usize,
    sent: &'a Sent,
}

pub fn judge(account: &Account<'_>, violations: &mut Vec<String>) {
    let mut given: Vec<Vec<Given<'_>>> = Vec::new();
    given.resize_with(account.incarnations.len(), Vec::new);
    let mut retained: Vec<HashSet<&str>> = vec![HashSet::new(); given.len()];
    for (number, event) in account.events.iter().enumerate() {
        let link = account.links.get(&event.link);
        let Some(incarnation) = link.and_then(|link| link.incarnation) else { continue };
        match &event.what {
            What::Delivered(sent) => {
                given[incarnation].push(Given { number, link: event.link, sent });
            }
            What::Written(Wire::Publish(sent)) if sent.retain => {
                retained[incarnation].insert(&sent.key);
            }
            _ => {}
        }
    }
    for ((incarnation, given), retained) in account.incarnations.iter().zip(&given).zip(&retained) {
        has_all_that_is_due(account, incarnation, given, violations);
        has_nothing_twice(account, incarnation, given, violations);
        is_in_order(account, incarnation, given, retained, violations);
    }
    was_asked_for(account, violations);
    judge_shared(account, &given, violations);
}

/// Nothing is sent to a client without a subscription that fits, or did when it was first sent.
fn was_asked_for(account: &Account<'_>, violations: &mut Vec<String>) {
    let mut known: HashSet<(usize, &str)> = HashSet::new();
    for (number, event) in account.events.iter().enumerate() {
        let What::Written(Wire::Publish(sent)) = &event.what else { continue };
        let Some(incarnation) = account.links[&event.link].incarnation else { continue };
        if !known.insert((incarnation, &sent.key)) {
            continue;
        }
        let message = account.messages.get(&*sent.key).filter(|_| !sent.retain);
        let (began, ended) = match message {
            Some(it) => (it.began, it.over),
            // A will begins at some time that nobody is told, and what is retained long before.
            None => (0, None),
        };
        let incarnation = &account.incarnations[incarnation];
        let fits = |it: &Subscribed| it.may_bring(&sent.topic, began, ended, number);
        if !incarnation.subscriptions.iter().any(fits) {
            let client = incarnation.client;
            violations.push(format!("event {number}: {} was not for client {client}", sent.key));
        }
    }
}

/// Whoever is connected in the end, in a session, has all that was acknowledged for it.
fn has_all_that_is_due(
    account: &Account<'_>,
    incarnation: &Incarnation,
    given: &[Given<'_>],
    violations: &mut Vec<String>,
) {
    if incarnation.ends.is_some() {
        return;
    }
    let has: HashSet<&str> = given.iter().map(|it| &*it.sent.key).collect();
    for (key, message) in &account.messages {
        if message.acknowledged.is_none() {
            continue;
        }
        let brings = |it: &Subscribed| {
            it.filter.share_name().is_none()
                && it.qos > Qos::AtMostOnce
                && it.surely_brings(&message.topic, message.began)
        };
        if incarnation.subscriptions.iter().any(brings) && !has.contains(key) {
            let client = incarnation.client;
            violations.push(format!("{key} was acknowledged and never came to client {client}"));
        }
    }
}

/// QoS 2 comes once to a session; anything comes once over a connection that was published once.
fn has_nothing_twice(
    account: &Account<'_>,
    incarnation: &Incarnation,
    given: &[Given<'_>],
    violations: &mut Vec<String>,
) {
    let client = incarnation.client;
    let (mut exactly, mut once) = (HashSet::new(), HashSet::new());
    for Given { number, link, sent } in given.iter().filter(|it| !it.sent.retain) {
        let key = &*sent.key;
        let published = account.messages.get(key);
        if sent.qos == Qos::ExactlyOnce && !exactly.insert(key) {
            violations
                .push(format!("event {number}: {key} of QoS 2 comes again to client {client}"));
        }
        let is_repeated = published.is_some_and(|it| it.times > 1 && it.qos < Qos::ExactlyOnce);
        if !once.insert((link, key)) && !is_repeated && sent.qos < Qos::ExactlyOnce {
            violations.push(format!("event {number}: {key} comes twice over connection {link}"));
        }
    }
}

/// What a client has published on one topic and with one QoS comes in its order. What was sent as retained,
/// too, may come once in place of twice, and later after a crash: a session's queue has it once.
fn is_in_order(
    account: &Account<'_>,
    incarnation: &Incarnation,
    given: &[Given<'_>],
    retained: &HashSet<&str>,
    violations: &mut Vec<String>,
) {
    let mut last: HashMap<(usize, &str, Qos, Qos), usize> = HashMap::new();
    let mut had = HashSet::new();
    let is_shared = incarnation.subscriptions.iter().any(|it| it.filter.share_name().is_some());
    if is_shared {
        return;
    }
    for Given { number, sent, .. } in given {
        let Some(published) = account.messages.get(&*sent.key) else { continue };
        if !had.insert(&*sent.key) || retained.contains(&*sent.key) {
            continue;
        }
        let Published { link, topic, qos, began, latest, .. } = published;
        let publisher = account.links[link].client;
        let last = last.entry((publisher, topic, *qos, sent.qos)).or_default();
        if *latest < *last {
            let to = incarnation.client;
            violations.push(format!("event {number}: {} comes too late to client {to}", sent.key));
        }
        *last = (*last).max(*began);
    }
}

/// Of a shared subscription some member has each message, and of QoS 2 one member, once.
fn judge_shared(account: &Account<'_>, given: &[Vec<Given<'_>>], violations: &mut Vec<String>) {
    let is_member =
        |it: &Incarnation| it.subscriptions.iter().any(|it| it.filter.share_name().is_some());
    let members = account.incarnations.iter().zip(given).filter(|(it, _)| is_member(it));
    let members: Vec<_> = members.collect();
    let mut had: BTreeMap<&str, usize> = BTreeMap::new();
    for given in members.iter().flat_map(|(_, given)| given.iter()) {
        let count = had.entry(&given.sent.key).or_default();
        *count += 1;
        if *count > 1 && given.sent.qos == Qos::ExactlyOnce {
            let (number, key) = (given.number, &given.sent.key);
            violations.push(format!("event {number}: {key} of QoS 2 comes to a second member"));
        }
    }
    for (key, message) in &account.messages {
        if message.acknowledged.is_none() {
            continue;
        }
        let brings = |it: &Subscribed| {
            it.filter.share_name().is_some() && it.surely_brings(&message.topic, message.began)
        };
        let is_due =
            |(it, _): &(&Incarnation, _)| it.ends.is_none() && it.subscriptions.iter().any(brings);
        if members.iter().any(is_due) && !had.contains_key(key) {
            violations.push(format!("{key} was acknowledged and came to no member"));
        }
    }
}
