//! The decision against a reference that follows the definition word by word.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use hookmq_access::{
    BoundPermissions, DenialReason, FilterPattern, Holder, Permission, PermissionSet, Ruling,
    ShareNames, Terms,
};
use hookmq_codec::Qos;
use hookmq_hooks::{Access, Action, Effect};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Values {
    username: String,
    client_id: Option<String>,
}

/// A permission that speaks for the holder, with its values put in.
struct Speaking<'a> {
    permission: &'a Permission,
    levels: Vec<String>,
}

fn levels(topic: &str) -> Vec<&str> {
    topic.split('/').collect()
}

/// None where the permission does not apply.
fn put_in(permission: &Permission, values: &Values) -> Option<Vec<String>> {
    let text = permission.filter.as_str();
    let mut filled = text.to_owned();
    for (placeholder, value) in
        [("{username}", Some(&values.username)), ("{client_id}", values.client_id.as_ref())]
    {
        if !text.contains(placeholder) {
            continue;
        }
        let value = value?;
        let misfit = value.is_empty() || value.chars().any(|it| "+#/\0".contains(it));
        if misfit || (value.starts_with('$') && text.starts_with(placeholder)) {
            return None;
        }
        filled = filled.replace(placeholder, value);
    }
    Some(levels(&filled).into_iter().map(str::to_owned).collect())
}

fn fits(filter: &[String], topic: &[&str]) -> bool {
    let wild = matches!(filter[0].as_str(), "+" | "#");
    !(wild && topic[0].starts_with('$')) && fits_from(filter, topic)
}

fn fits_from(filter: &[String], topic: &[&str]) -> bool {
    match (filter, topic) {
        ([last], _) if last == "#" => true,
        ([], []) => true,
        ([], _) | (_, []) => false,
        ([level, filter @ ..], [name, topic @ ..]) => {
            (level == "+" || level == name) && fits_from(filter, topic)
        }
    }
}

/// Greater is asked first.
fn compare(one: &Permission, other: &Permission) -> Ordering {
    let by_priority = one.priority.cmp(&other.priority);
    let mut order = by_priority;
    let (mut a, mut b) = (one.filter.as_str().split('/'), other.filter.as_str().split('/'));
    while order == Ordering::Equal {
        let (a, b) = (a.next(), b.next());
        order = class(a).cmp(&class(b));
        if a.is_none() && b.is_none() {
            break;
        }
    }
    let denies = |it: &Permission| it.terms == Terms::Deny;
    order
        .then(denies(one).cmp(&denies(other)))
        .then_with(|| one.terms.cmp(&other.terms))
        .then_with(|| other.id.cmp(&one.id))
}

fn class(level: Option<&str>) -> u8 {
    match level {
        Some("#") => 0,
        None => 1,
        Some("+") => 2,
        Some(level) if level.contains('{') => 3,
        Some(_) => 4,
    }
}

fn speaking<'a>(
    permissions: &'a [Permission],
    values: &Values,
    action: Action,
) -> Vec<Speaking<'a>> {
    permissions
        .iter()
        .filter(|permission| permission.action == action)
        .filter_map(|permission| Some(Speaking { permission, levels: put_in(permission, values)? }))
        .collect()
}

fn first<'a>(candidates: impl Iterator<Item = &'a Permission>) -> Option<&'a Permission> {
    candidates.max_by(|one, other| compare(one, other))
}

fn ruling(permission: Option<&Permission>, access: &Access<'_>) -> Ruling {
    let Some(permission) = permission else { return Ruling::NoMatch };
    let publish = access.action == Action::Publish;
    let deny =
        |reason| Ruling::Deny { permission: permission.id, effect: permission.on_denial, reason };
    match permission.terms {
        Terms::Deny => deny(DenialReason::Denied),
        Terms::Allow { maximum_qos, retain } => {
            if publish && access.qos > maximum_qos {
                deny(DenialReason::QosAbove { maximum: maximum_qos })
            } else if publish && access.retain && !retain {
                deny(DenialReason::Retain)
            } else {
                Ruling::Allow { permission: permission.id, maximum_qos }
            }
        }
    }
}

/// The definition for a topic: of all that match, the one that stands first.
fn reference(permissions: &[Permission], values: &Values, access: &Access<'_>) -> Ruling {
    let topic = levels(access.topic);
    let matching = speaking(permissions, values, access.action);
    let matching = matching.iter().filter(|it| fits(&it.levels, &topic));
    ruling(first(matching.map(|it| it.permission)), access)
}

/// The definition for a filter, over all topics of a small world.
fn subscribe_reference(permissions: &[Permission], values: &Values, access: &Access<'_>) -> Ruling {
    let wanted: Vec<String> = levels(access.topic).into_iter().map(str::to_owned).collect();
    let world = world();
    let due: Vec<&Vec<&str>> = world.iter().filter(|topic| fits(&wanted, topic)).collect();
    let matching = speaking(permissions, values, Action::Subscribe);
    let matching = matching.iter().filter(|it| match it.permission.terms {
        Terms::Deny => due.iter().any(|topic| fits(&it.levels, topic)),
        Terms::Allow { .. } => due.iter().all(|topic| fits(&it.levels, topic)),
    });
    ruling(first(matching.map(|it| it.permission)), access)
}

/// All topics of up to four levels; `z` is in no filter.
fn world() -> Vec<Vec<&'static str>> {
    let names = ["a", "b", "$x", "z"];
    let mut world: Vec<Vec<&str>> = names.iter().map(|name| vec![*name]).collect();
    let mut start = 0;
    for _ in 1..4 {
        let end = world.len();
        for at in start..end {
            for name in names {
                let longer = world[at].iter().copied().chain([name]).collect();
                world.push(longer);
            }
        }
        start = end;
    }
    world
}

fn bound(permissions: &[Permission], values: &Values) -> BoundPermissions {
    PermissionSet::new(permissions.iter().cloned()).bind(&Holder {
        tenant: "acme",
        username: &values.username,
        client_id: values.client_id.as_deref(),
        attributes: &BTreeMap::new(),
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn a_topic() -> impl Strategy<Value = String> {
    let level = prop::sample::select(&["a", "b", "", "$x", "aa"][..]);
    prop::collection::vec(level, 1..=4)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic is not empty", |topic| !topic.is_empty())
}

fn a_filter(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let level = prop::sample::select(names);
    let end = prop::sample::select(&["", "", "/#"][..]);
    let some = (prop::collection::vec(level, 1..=3), end)
        .prop_map(|(levels, end)| levels.join("/") + end)
        .prop_filter("a filter is not empty", |filter| !filter.is_empty());
    prop_oneof![12 => some, 1 => Just("#".to_owned())]
}

fn permissions(
    names: &'static [&'static str],
    action: impl Strategy<Value = Action> + Clone + 'static,
) -> impl Strategy<Value = Vec<Permission>> {
    let qos = prop::sample::select(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][..]);
    let terms = prop_oneof![
        2 => Just(Terms::Deny),
        3 => (qos, any::<bool>())
            .prop_map(|(maximum_qos, retain)| Terms::Allow { maximum_qos, retain }),
    ];
    let effect = prop::sample::select(&[Effect::Refuse, Effect::Disconnect][..]);
    let one = (a_filter(names), action, terms, 0..2_i64, effect);
    prop::collection::vec(one, 0..7).prop_map(|rows| {
        let numbered = (1..).zip(rows);
        let permission =
            |(id, (filter, action, terms, priority, on_denial)): (_, (String, _, _, _, _))| {
                Permission {
                    id,
                    action,
                    filter: FilterPattern::new(&filter).expect("the strategy makes valid filters"),
                    terms,
                    share_names: ShareNames::Any,
                    priority,
                    on_denial,
                    only_client_id: None,
                }
            };
        numbered.map(permission).collect()
    })
}

fn values() -> impl Strategy<Value = Values> {
    let username = prop::sample::select(&["a", "b", "$x", "a/b", "+", "#", ""][..]);
    let client_id = prop::option::of(prop::sample::select(&["a", "b", "$x", "a/b"][..]));
    (username, client_id).prop_map(|(username, client_id)| Values {
        username: username.to_owned(),
        client_id: client_id.map(str::to_owned),
    })
}

const NAMES: &[&str] = &["a", "b", "", "$x", "+", "{username}", "{client_id}", "a{username}"];
/// Without empty levels: where `/#` ends, only the empty topic would tell, and there is none.
const WHOLE_NAMES: &[&str] = &["a", "b", "$x", "+", "{username}", "{client_id}"];

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn topics_are_decided_as_the_definition_says(
        permissions in permissions(
            NAMES,
            prop::sample::select(&[Action::Publish, Action::Publish, Action::Receive][..]),
        ),
        values in values(),
        topic in a_topic(),
        qos in 0..3_u8,
        retain in any::<bool>(),
        action in prop::sample::select(&[Action::Publish, Action::Receive][..]),
    ) {
        let qos = Qos::from_bits(qos).unwrap();
        let access = Access { action, topic: &topic, qos, retain, share_name: None };
        let expected = reference(&permissions, &values, &access);
        prop_assert_eq!(bound(&permissions, &values).decide(&access), expected);
    }
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn filters_are_decided_as_the_definition_says(
        permissions in permissions(WHOLE_NAMES, Just(Action::Subscribe)),
        values in values(),
        filter in a_filter(&["a", "b", "$x", "+"]),
    ) {
        let access = Access {
            action: Action::Subscribe,
            topic: &filter,
            qos: Qos::AtMostOnce,
            retain: false, share_name: None };
        let expected = subscribe_reference(&permissions, &values, &access);
        prop_assert_eq!(bound(&permissions, &values).decide(&access), expected);
    }

    #[test]
    fn an_allowed_filter_brings_only_topics_that_are_allowed_one_by_one(
        permissions in permissions(WHOLE_NAMES, Just(Action::Subscribe)),
        values in values(),
        filter in a_filter(&["a", "b", "$x", "+"]),
    ) {
        let (qos, retain) = (Qos::AtMostOnce, false);
        let subscribe = Access { action: Action::Subscribe, topic: &filter, qos, retain, share_name: None };
        if !matches!(bound(&permissions, &values).decide(&subscribe), Ruling::Allow { .. }) {
            return Ok(());
        }
        let receive: Vec<Permission> = permissions
            .into_iter()
            .map(|permission| Permission { action: Action::Receive, ..permission })
            .collect();
        let receive = bound(&receive, &values);
        let wanted: Vec<String> = levels(&filter).into_iter().map(str::to_owned).collect();
        for topic in world().into_iter().filter(|topic| fits(&wanted, topic)) {
            let topic = topic.join("/");
            let access = Access { action: Action::Receive, topic: &topic, qos, retain, share_name: None };
            let ruling = receive.decide(&access);
            prop_assert!(matches!(ruling, Ruling::Allow { .. }), "{} {:?}", topic, ruling);
        }
    }
}

fn permission(id: i64, filter: &str, terms: Terms) -> Permission {
    Permission {
        id,
        action: Action::Publish,
        filter: FilterPattern::lenient(filter),
        terms,
        share_names: ShareNames::Any,
        priority: 0,
        on_denial: Effect::AcknowledgeAndDrop,
        only_client_id: None,
    }
}

const ALLOW: Terms = Terms::Allow { maximum_qos: Qos::ExactlyOnce, retain: true };

fn publish<'a>(topic: &'a str) -> Access<'a> {
    Access { action: Action::Publish, topic, qos: Qos::AtMostOnce, retain: false, share_name: None }
}

#[test]
fn the_documented_examples_hold() {
    let row = |text: &str| -> Permission {
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap();
        let terms = if word() == "deny" { Terms::Deny } else { ALLOW };
        let action = if word() == "subscribe" { Action::Subscribe } else { Action::Publish };
        let permission = permission(1, word(), terms);
        let priority = words.next().map_or(0, |priority| priority.parse().unwrap());
        Permission { action, priority, ..permission }
    };
    let table: &[(&[&str], &str, &str)] = &[
        (&[], "publish a", "abstain"),
        (&["allow publish devices/{username}/#"], "publish devices/pump/x", "allow"),
        (&["allow publish devices/{username}/#"], "publish devices/valve/x", "abstain"),
        (&["allow publish a/#", "deny publish a/secret"], "publish a/b", "allow"),
        (&["allow publish a/#", "deny publish a/secret"], "publish a/secret", "deny"),
        (&["deny publish a/#", "allow publish a/b"], "publish a/b", "allow"),
        (&["allow publish a/+", "deny publish a/+"], "publish a/b", "deny"),
        (&["allow publish a/# 1", "deny publish a/b"], "publish a/b", "allow"),
        (&["allow publish +/b", "deny publish a/+"], "publish a/b", "deny"),
        (&["allow publish #"], "publish $SYS/x", "abstain"),
        (&["allow subscribe a/#"], "subscribe a/+/c", "allow"),
        (&["allow subscribe a/+"], "subscribe a/#", "abstain"),
        (&["allow subscribe a/#", "deny subscribe a/secret"], "subscribe a/b", "allow"),
        (&["allow subscribe a/#", "deny subscribe a/secret"], "subscribe a/+", "deny"),
        (&["deny subscribe a/#", "allow subscribe a/b/#"], "subscribe a/b/c", "allow"),
        (&["deny subscribe a/#", "allow subscribe a/b/#"], "subscribe a/#", "deny"),
    ];
    let values = Values { username: "pump".into(), client_id: None };
    for (rows, asked, expected) in table {
        let permissions: Vec<_> = rows.iter().map(|text| row(text)).collect();
        let (action, topic) = asked.split_once(' ').unwrap();
        let action = if action == "subscribe" { Action::Subscribe } else { Action::Publish };
        let answer = match bound(&permissions, &values).decide(&Access { action, ..publish(topic) })
        {
            Ruling::Allow { .. } => "allow",
            Ruling::Deny { .. } => "deny",
            Ruling::NoMatch => "abstain",
        };
        assert_eq!(answer, *expected, "{rows:?}: {asked}");
    }
}

#[test]
fn a_denial_that_cannot_be_read_denies_everything_and_an_allow_nothing() {
    let values = Values { username: "pump".into(), client_id: None };
    let denial = [permission(1, "a", ALLOW), permission(2, "a/#/b", Terms::Deny)];
    let (effect, reason) = (Effect::AcknowledgeAndDrop, DenialReason::Denied);
    for topic in ["a", "b", "$SYS/x"] {
        let ruling = bound(&denial, &values).decide(&publish(topic));
        assert_eq!(ruling, Ruling::Deny { permission: 2, effect, reason });
    }
    let allow = [permission(1, "{nobody}", ALLOW)];
    let allow = bound(&allow, &values);
    assert_eq!(allow.decide(&publish("{nobody}")), Ruling::NoMatch);
    assert_eq!(allow.not_applied()[0].0, 1);
}

#[test]
fn a_permission_for_a_client_id_needs_that_client_id_bound() {
    let only = Permission { only_client_id: Some("c1".into()), ..permission(1, "a", ALLOW) };
    for (client_id, allowed) in [(Some("c1"), true), (Some("c2"), false), (None, false)] {
        let values = Values { username: "pump".into(), client_id: client_id.map(str::to_owned) };
        let ruling = bound(std::slice::from_ref(&only), &values).decide(&publish("a"));
        assert_eq!(matches!(ruling, Ruling::Allow { .. }), allowed, "{client_id:?}");
    }
}
