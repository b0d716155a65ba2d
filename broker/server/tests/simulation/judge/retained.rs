//! The last acknowledged value of each topic is the one that is retained.

use std::collections::BTreeMap;

use super::{Account, Published};
use crate::history::{What, Wire};

/// One that was to be retained. Numbers are those of events.
struct Written<'a> {
    key: &'a str,
    began: usize,
    acknowledged: Option<usize>,
    over: Option<usize>,
}

pub fn judge(account: &Account<'_>, violations: &mut Vec<String>) {
    let mut topics: BTreeMap<&str, Vec<Written<'_>>> = BTreeMap::new();
    for event in account.events {
        if let What::Read(Wire::Publish(sent)) = &event.what
            && sent.retain
            && let Some(message) = account.messages.get(&*sent.key)
        {
            let Published { began, acknowledged, over, .. } = *message;
            let written = Written { key: &sent.key, began, acknowledged, over };
            topics.entry(&sent.topic).or_default().push(written);
        }
    }
    // Who comes last looks at all of them.
    let Some(reader) = account.links.values().last() else { return };
    let seen = account.events.iter().filter(|it| it.link == reader.number);
    let seen: BTreeMap<&str, &str> = seen
        .filter_map(|it| match &it.what {
            What::Delivered(sent) if sent.retain => Some((&*sent.topic, &*sent.key)),
            _ => None,
        })
        .collect();
    for (topic, written) in topics {
        let value = seen.get(topic).copied();
        let began_behind = |end: usize| {
            written.iter().find(|it| it.acknowledged.is_some() && it.began > end).map(|it| it.key)
        };
        let later = match value.and_then(|value| written.iter().find(|it| it.key == value)) {
            Some(it) => it.over.and_then(began_behind),
            None => began_behind(0),
        };
        if let Some(later) = later {
            violations
                .push(format!("{topic} retains {value:?}, and {later} was acknowledged later"));
        }
    }
}
