//! docs/permissions.md as a program that is not meant to be quick: a filter is the set of topics that it
//! matches, out of all topics that matter.

use std::cmp::Ordering;
use std::collections::HashMap;

use hookmq_codec::Qos;
use hookmq_hooks::{Access, Action, Effect};

/// The levels that filters and values are made of.
pub const LITERALS: [&str; 6] = ["a", "b", "", "$x", "a.*", "ab"];

/// A level that no filter names, so that a wildcard is told from all that are named.
const FRESH: &str = "zz";

/// One level more than any filter has.
const DEPTH: usize = 4;

#[derive(Debug, Clone)]
pub struct Row {
    pub id: i64,
    pub action: Action,
    pub filter: String,
    pub allows: bool,
    pub priority: i64,
    pub maximum_qos: Qos,
    pub retain: bool,
    pub on_denial: Effect,
    /// None: of any name.
    pub share_names: Option<Vec<String>>,
    pub only_client_id: Option<String>,
}

#[derive(Debug)]
pub struct Who {
    pub tenant: String,
    pub username: String,
    pub client_id: Option<String>,
    /// And whether anybody but the client vouches for it.
    pub site: Option<(String, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Abstain,
    Allow { id: i64, maximum_qos: Qos },
    Deny { id: i64, effect: Effect },
}

/// A row that applies.
pub struct Applying<'a> {
    row: &'a Row,
    /// None: everything, as nobody can read what it denies.
    topics: Option<usize>,
}

/// All topics, and which of them each filter matches.
pub struct Reference {
    topics: Vec<String>,
    places: HashMap<String, usize>,
    filters: HashMap<String, usize>,
    sets: Vec<Vec<bool>>,
}

impl Default for Reference {
    fn default() -> Self {
        let levels: Vec<&str> = LITERALS.into_iter().chain([FRESH]).collect();
        let mut topics: Vec<String> = levels.iter().map(|level| (*level).to_owned()).collect();
        let mut longest = topics.clone();
        for _ in 1..DEPTH {
            let longer = longest
                .iter()
                .flat_map(|topic| levels.iter().map(move |level| format!("{topic}/{level}")));
            longest = longer.collect();
            topics.extend(longest.clone());
        }
        let places = topics.iter().cloned().zip(0..).collect();
        Self { topics, places, filters: HashMap::new(), sets: Vec::new() }
    }
}

impl Reference {
    pub fn topic(&self, any: usize) -> String {
        let topic = &self.topics[any % self.topics.len()];
        // As a set, `/#` has the empty topic, which no client can name.
        if topic.is_empty() { FRESH.to_owned() } else { topic.clone() }
    }

    /// Steps 1 and 2: which rows are for this client, and apply.
    pub fn applying<'a>(&mut self, rows: &'a [Row], who: &Who) -> Vec<Applying<'a>> {
        let mut applying = Vec::new();
        for row in rows {
            if row.only_client_id.is_some() && row.only_client_id != who.client_id {
                continue;
            }
            let topics = match is_readable(&row.filter) {
                false if row.allows => continue,
                false => None,
                true => match filled(&row.filter, who) {
                    None => continue,
                    Some(filter) => Some(self.set(&filter)),
                },
            };
            applying.push(Applying { row, topics });
        }
        applying
    }

    /// Steps 3 to 5: which of them match, and which of these stands first.
    pub fn decide(&mut self, applying: &[Applying<'_>], access: &Access<'_>) -> Answer {
        let mut first: Option<&Row> = None;
        for Applying { row, topics } in applying {
            if row.action != access.action || !self.speaks(row, *topics, access) {
                continue;
            }
            first = match first {
                Some(other) if stands_before(other, row) => Some(other),
                _ => Some(row),
            };
        }
        let Some(row) = first else { return Answer::Abstain };
        let publish = access.action == Action::Publish;
        let exceeds = publish && (access.qos > row.maximum_qos || access.retain && !row.retain);
        let unnamed = access.share_name.is_some_and(|name| {
            row.share_names.as_ref().is_some_and(|names| names.iter().all(|it| it != name))
        });
        match row.allows && !exceeds && !unnamed {
            true => Answer::Allow { id: row.id, maximum_qos: row.maximum_qos },
            false => Answer::Deny { id: row.id, effect: row.on_denial },
        }
    }

    fn speaks(&mut self, row: &Row, topics: Option<usize>, access: &Access<'_>) -> bool {
        let Some(set) = topics else { return true };
        if access.action != Action::Subscribe {
            return self.sets[set][self.places[access.topic]];
        }
        let asked = self.set(access.topic);
        let mut pairs = self.sets[set].iter().zip(&self.sets[asked]);
        match row.allows {
            true => pairs.all(|(row, asked)| *row || !*asked),
            false => pairs.any(|(row, asked)| *row && *asked),
        }
    }

    fn set(&mut self, filter: &str) -> usize {
        if let Some(place) = self.filters.get(filter) {
            return *place;
        }
        let levels: Vec<&str> = filter.split('/').collect();
        let of_topic = |topic: &String| {
            let topic: Vec<&str> = topic.split('/').collect();
            // A leading wildcard never matches $.
            let reserved = topic[0].starts_with('$') && matches!(levels[0], "+" | "#");
            !reserved && matches_levels(&levels, &topic)
        };
        self.sets.push(self.topics.iter().map(of_topic).collect());
        self.filters.insert(filter.to_owned(), self.sets.len() - 1);
        self.sets.len() - 1
    }
}

fn matches_levels(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        ([], []) => true,
        ([first, filter @ ..], [level, topic @ ..]) => {
            (*first == "+" || first == level) && matches_levels(filter, topic)
        }
        _ => false,
    }
}

fn is_readable(filter: &str) -> bool {
    let mut plain = filter.to_owned();
    for name in ["{username}", "{tenant}", "{client_id}", "{attribute:site}"] {
        plain = plain.replace(name, "x");
    }
    let levels: Vec<&str> = plain.split('/').collect();
    let misplaced = levels.iter().rev().skip(1).any(|level| *level == "#");
    !plain.contains(['{', '}']) && !plain.starts_with("$share/") && !misplaced
}

/// The filter with its values; none where one of them does not fit.
fn filled(filter: &str, who: &Who) -> Option<String> {
    let site = who.site.as_ref().filter(|(_, vouched)| *vouched).map(|(value, _)| value);
    let mut filled = filter.to_owned();
    for (name, value) in [
        ("{username}", Some(&who.username)),
        ("{tenant}", Some(&who.tenant)),
        ("{client_id}", who.client_id.as_ref()),
        ("{attribute:site}", site),
    ] {
        if !filter.contains(name) {
            continue;
        }
        let value = value?;
        let widens = value.is_empty() || value.contains(['+', '#', '/', '\0']);
        if widens || filter.starts_with(name) && value.starts_with('$') {
            return None;
        }
        filled = filled.replace(name, value);
    }
    Some(filled)
}

/// Step 4. What cannot be read is asked first within its priority.
fn stands_before(one: &Row, other: &Row) -> bool {
    let by_priority = other.priority.cmp(&one.priority);
    let readable = is_readable(&one.filter).cmp(&is_readable(&other.filter));
    let specific = match is_readable(&one.filter) && is_readable(&other.filter) {
        true => by_specificity(&one.filter, &other.filter),
        false => Ordering::Equal,
    };
    let generous = match one.allows && other.allows {
        true => (other.maximum_qos, other.retain, other.share_names.is_none()).cmp(&(
            one.maximum_qos,
            one.retain,
            one.share_names.is_none(),
        )),
        false => Ordering::Equal,
    };
    let order = by_priority
        .then(readable)
        .then(specific)
        .then(one.allows.cmp(&other.allows))
        .then(generous)
        .then(one.id.cmp(&other.id));
    order == Ordering::Less
}

/// Less: the first is the more specific.
fn by_specificity(one: &str, other: &str) -> Ordering {
    const ORDER: [&str; 5] = ["literal", "placeholder", "+", "end", "#"];
    let kind = |level: Option<&&str>| match level {
        None => "end",
        Some(&"+") => "+",
        Some(&"#") => "#",
        Some(level) if level.contains('{') => "placeholder",
        Some(_) => "literal",
    };
    let place = |kind: &str| ORDER.iter().position(|it| *it == kind);
    let (one, other): (Vec<_>, Vec<_>) = (one.split('/').collect(), other.split('/').collect());
    for level in 0..one.len().max(other.len()) {
        let order = place(kind(one.get(level))).cmp(&place(kind(other.get(level))));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}
