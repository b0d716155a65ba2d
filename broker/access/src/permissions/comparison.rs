//! What one set of permissions allows and another does not, as filters.
//!
//! Two sets that differ at a topic differ wherever the rule that decides in the one and the rule that
//! decides in the other meet, outside of what stands before them. So each two rules of which one is not
//! in both sets are asked about a topic that fits these two and nothing narrower.

use std::collections::{BTreeSet, HashSet};

use hookmq_codec::{Qos, filter_covers, filter_intersects};
use hookmq_hooks::{Access, Action};

use super::bound::Rule;
use super::{BoundPermissions, ShareNames, Terms};

/// Pairs of rules that are looked at for one action; with more, the comparison is not complete.
const MAX_PAIRS: usize = 100_000;

/// Levels of a topic that are looked at; with deeper filters, the comparison is not complete.
const MAX_DEPTH: usize = 32;

/// Differences among which those are looked for that say nothing new.
const MAX_REDUCED: usize = 1000;

/// What may be done at a topic, or with a filter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leave {
    /// Denied, or not allowed by any permission.
    No,
    Yes {
        maximum_qos: Qos,
        /// To publish retained messages.
        retain: bool,
        /// To subscribe together with others.
        share_names: ShareNames,
    },
}

/// Whether rights to receive are asked about where no permission speaks of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveAsked {
    WhereStated,
    Always,
}

/// At some topics of `filter`, more or less is allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub action: &'static str,
    pub filter: String,
    pub before: Leave,
    pub after: Leave,
}

/// All that differs between two sets.
#[derive(Debug, Default)]
pub struct Comparison {
    pub differences: Vec<Difference>,
    /// False where there was more to compare than is looked at.
    pub complete: bool,
}

impl Leave {
    /// Whether all that `other` allows is allowed.
    fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::No) => true,
            (Self::No, Self::Yes { .. }) => false,
            (
                Self::Yes { maximum_qos, retain, share_names },
                Self::Yes { maximum_qos: q, retain: r, share_names: s },
            ) => maximum_qos >= q && (*retain || !r) && share_names.include_all(s),
        }
    }
}

impl Difference {
    pub fn loses(&self) -> bool {
        !self.after.includes(&self.before)
    }

    pub fn gains(&self) -> bool {
        !self.before.includes(&self.after)
    }
}

/// Compares two sets of the same client. A filter is named where at least one of its topics, or the
/// subscription to it as a whole, is judged otherwise; none is named that another one covers which has
/// changed alike.
pub fn compare(
    before: &BoundPermissions,
    after: &BoundPermissions,
    receive: ReceiveAsked,
) -> Comparison {
    let mut comparison = Comparison { complete: true, ..Comparison::default() };
    for action in [Action::Publish, Action::Subscribe, Action::Receive] {
        let sides = [before, after].map(|set| Side::new(set, action, receive));
        Pairing::new(&sides).compare(&mut comparison);
    }
    comparison.differences.sort();
    comparison
}

/// One of the sets, asked about one action.
struct Side<'a> {
    set: &'a BoundPermissions,
    action: Action,
    /// Nobody asks: all that comes is received.
    open: bool,
    /// Distinct, each with what it says.
    rules: HashSet<Saying<'a>>,
}

type Saying<'a> = (&'a str, i64, &'a [u8], Terms, &'a ShareNames);

impl<'a> Side<'a> {
    fn new(set: &'a BoundPermissions, action: Action, receive: ReceiveAsked) -> Self {
        let open = action == Action::Receive
            && receive == ReceiveAsked::WhereStated
            && !set.speak_of_receive();
        let rules = set.rules(action).iter().map(saying).collect();
        Self { set, action, open, rules }
    }

    fn leave(&self, topic: &str) -> Leave {
        let unlimited = Leave::Yes {
            maximum_qos: Qos::ExactlyOnce,
            retain: true,
            share_names: ShareNames::Any,
        };
        if self.open {
            return unlimited;
        }
        let (action, qos) = (self.action, Qos::AtMostOnce);
        let access = Access { action, topic, qos, retain: false, share_name: None };
        let Some(permission) = self.set.first_that_speaks(&access) else { return Leave::No };
        match (action, permission.terms) {
            (_, Terms::Deny) => Leave::No,
            (Action::Receive, Terms::Allow { .. }) => unlimited,
            (Action::Publish, Terms::Allow { maximum_qos, retain }) => {
                Leave::Yes { maximum_qos, retain, share_names: ShareNames::Any }
            }
            (Action::Subscribe, Terms::Allow { maximum_qos, .. }) => {
                let share_names = permission.share_names.clone();
                Leave::Yes { maximum_qos, retain: true, share_names }
            }
        }
    }
}

/// A denial that cannot be read reaches everything.
fn saying(rule: &Rule) -> Saying<'_> {
    let permission = rule.permission();
    let filter = rule.filter().unwrap_or("#");
    let rank = permission.filter.specificity();
    (filter, permission.priority, rank, permission.terms, &permission.share_names)
}

/// What is asked of both sides.
struct Pairing<'a> {
    sides: &'a [Side<'a>; 2],
    /// A level that no rule names.
    any: String,
    /// Levels of the deepest rule.
    depth: usize,
}

impl<'a> Pairing<'a> {
    fn new(sides: &'a [Side<'a>; 2]) -> Self {
        let filters = || sides.iter().flat_map(|side| side.rules.iter().map(|rule| rule.0));
        let mut any = String::from("any");
        while filters().any(|filter| filter.contains(&any)) {
            any.push('~');
        }
        let depth = filters().map(|filter| filter.split('/').count()).max().unwrap_or(1);
        Self { sides, any, depth }
    }

    fn compare(&self, comparison: &mut Comparison) {
        let mut filters = BTreeSet::new();
        comparison.complete &= self.depth <= MAX_DEPTH && self.candidates(&mut filters);
        let mut found = Vec::new();
        for filter in filters {
            let mut changes: Vec<_> = self.points(&filter).map(|it| self.leaves(&it)).collect();
            if self.sides[0].action == Action::Subscribe {
                changes.push(self.leaves(&filter));
            }
            changes.sort_unstable();
            changes.dedup();
            for [before, after] in changes.into_iter().filter(|[before, after]| before != after) {
                let action = name(self.sides[0].action);
                found.push(Difference { action, filter: filter.clone(), before, after });
            }
        }
        comparison.differences.extend(reduced(found));
    }

    fn leaves(&self, topic: &str) -> [Leave; 2] {
        [self.sides[0].leave(topic), self.sides[1].leave(topic)]
    }

    /// Where two rules meet of which one is new or gone, and these by themselves. False where there are
    /// more.
    fn candidates(&self, filters: &mut BTreeSet<String>) -> bool {
        let [before, after] = self.sides;
        let gone: Vec<_> = before.rules.difference(&after.rules).map(|rule| rule.0).collect();
        let new: Vec<_> = after.rules.difference(&before.rules).map(|rule| rule.0).collect();
        let mut changed: BTreeSet<&str> = gone.into_iter().chain(new).collect();
        if before.open != after.open {
            changed.insert("#");
        }
        let all: BTreeSet<&str> =
            before.rules.iter().chain(&after.rules).map(|rule| rule.0).collect();
        filters.extend(changed.iter().map(|&filter| filter.to_owned()));
        if changed.len().saturating_mul(all.len()) > MAX_PAIRS {
            return false;
        }
        for one in changed {
            filters.extend(all.iter().filter_map(|other| meet(one, other)));
        }
        true
    }

    /// A topic of each length that fits `filter` and, beside it, only what covers it at that length.
    fn points(&self, filter: &str) -> impl Iterator<Item = String> {
        let mut levels: Vec<&str> = filter.split('/').collect();
        let longest = match levels.pop_if(|level| *level == "#") {
            Some(_) => self.depth.min(MAX_DEPTH) + 1,
            None => levels.len(),
        };
        let shortest = levels.len().max(1);
        (shortest..=longest.max(shortest)).map(move |length| {
            let level = |place| match levels.get(place) {
                Some(&"+") | None => &*self.any,
                Some(&level) => level,
            };
            (0..length).map(level).collect::<Vec<_>>().join("/")
        })
    }
}

/// The filter of all topics that match both.
fn meet(one: &str, other: &str) -> Option<String> {
    if !filter_intersects(one, other) {
        return None;
    }
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    let mut levels = Vec::new();
    loop {
        match (one.next(), other.next()) {
            (Some("#"), level) => {
                levels.extend(level.into_iter().chain(other));
                break;
            }
            (level, Some("#")) => {
                levels.extend(level.into_iter().chain(one));
                break;
            }
            (Some("+"), Some(level)) | (Some(level), Some(_)) => levels.push(level),
            // As they have a topic in common, both end here.
            (None, _) | (_, None) => break,
        }
    }
    Some(levels.join("/"))
}

/// Without those that say nothing that a wider one does not say.
fn reduced(found: Vec<Difference>) -> Vec<Difference> {
    if found.len() > MAX_REDUCED {
        return found;
    }
    let says_more = |wide: &Difference, narrow: &Difference| {
        (&wide.before, &wide.after) == (&narrow.before, &narrow.after)
            && wide.filter != narrow.filter
            && filter_covers(&wide.filter, &narrow.filter)
            // `#` and `+/#` cover each other.
            && !(wide.filter == "+/#" && narrow.filter == "#")
    };
    let new = |it: &&Difference| !found.iter().any(|wide| says_more(wide, it));
    found.iter().filter(new).cloned().collect()
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Publish => "publish",
        Action::Subscribe => "subscribe",
        Action::Receive => "receive",
    }
}

#[cfg(test)]
mod tests;
