//! Comparisons, by table and against every topic of a small world.

use std::collections::BTreeMap;

use hookmq_codec::{TopicName, filter_matches};
use hookmq_hooks::Effect;
use proptest::prelude::*;

use super::*;
use crate::{FilterPattern, Holder, Permission, PermissionSet};

fn permission(id: i64, action: Action, filter: &str, terms: Terms, priority: i64) -> Permission {
    let (filter, on_denial) = (FilterPattern::new(filter).unwrap(), Effect::Refuse);
    Permission {
        id,
        action,
        filter,
        terms,
        share_names: ShareNames::Any,
        priority,
        on_denial,
        only_client_id: None,
    }
}

fn bound(permissions: Vec<Permission>) -> BoundPermissions {
    let holder =
        Holder { tenant: "t", username: "u", client_id: None, attributes: &BTreeMap::new() };
    PermissionSet::new(permissions).bind(&holder)
}

const ALLOW: Terms = Terms::Allow { maximum_qos: Qos::ExactlyOnce, retain: true };
const YES: Leave =
    Leave::Yes { maximum_qos: Qos::ExactlyOnce, retain: true, share_names: ShareNames::Any };

fn publish(rules: &[(&str, Terms)]) -> BoundPermissions {
    let rules = rules.iter().zip(1..);
    bound(rules.map(|((it, terms), id)| permission(id, Action::Publish, it, *terms, 0)).collect())
}

fn told(before: &BoundPermissions, after: &BoundPermissions) -> Vec<(String, bool)> {
    let comparison = compare(before, after, ReceiveAsked::WhereStated);
    assert!(comparison.complete);
    comparison.differences.iter().map(|it| (it.filter.clone(), it.loses())).collect()
}

#[test]
fn filters_that_are_lost_and_gained_are_named_once() {
    let lost = |filter: &str| (filter.to_owned(), true);
    let gained = |filter: &str| (filter.to_owned(), false);
    let wide = publish(&[("a/#", ALLOW)]);
    let narrow = publish(&[("a/b", ALLOW), ("a/c/#", ALLOW)]);
    assert_eq!(told(&wide, &narrow), [lost("a/#")]);
    assert_eq!(told(&narrow, &wide), [gained("a/#")]);
    assert_eq!(told(&wide, &wide), []);
    let denied = publish(&[("a/#", ALLOW), ("a/secret", Terms::Deny)]);
    assert_eq!(told(&wide, &denied), [lost("a/secret")]);
    let crossing = publish(&[("+/b", ALLOW)]);
    let crossed = publish(&[("+/b", ALLOW), ("a/+", Terms::Deny)]);
    assert_eq!(told(&crossing, &crossed), [lost("a/b")]);
    let renamed = publish(&[("b/#", ALLOW)]);
    assert_eq!(told(&wide, &renamed), [lost("a/#"), gained("b/#")]);
    let without_effect = publish(&[("a/#", ALLOW), ("a/b", ALLOW), ("c", Terms::Deny)]);
    assert_eq!(told(&wide, &without_effect), []);
}

#[test]
fn less_of_the_same_is_a_loss() {
    let full = publish(&[("a", ALLOW)]);
    let terms = Terms::Allow { maximum_qos: Qos::AtLeastOnce, retain: false };
    let comparison = compare(&full, &publish(&[("a", terms)]), ReceiveAsked::WhereStated);
    let share_names = ShareNames::Any;
    let after = Leave::Yes { maximum_qos: Qos::AtLeastOnce, retain: false, share_names };
    let (action, filter) = ("publish", "a".into());
    assert_eq!(comparison.differences, [Difference { action, filter, before: YES, after }]);
    assert!(comparison.differences[0].loses() && !comparison.differences[0].gains());
}

#[test]
fn fewer_names_to_share_by_are_a_loss() {
    let shared_by = |share_names: ShareNames| {
        let permission = permission(1, Action::Subscribe, "a", ALLOW, 0);
        bound(vec![Permission { share_names, ..permission }])
    };
    let only =
        |names: &[&str]| shared_by(ShareNames::only(names.iter().map(|name| (*name).to_owned())));
    let lost = [("a".to_owned(), true)];
    let gained = [("a".to_owned(), false)];
    assert_eq!(told(&shared_by(ShareNames::Any), &only(&["x"])), lost);
    assert_eq!(told(&only(&["x", "y"]), &only(&["y"])), lost);
    assert_eq!(told(&only(&[]), &only(&["x"])), gained);
    assert_eq!(told(&only(&["x"]), &shared_by(ShareNames::Any)), gained);
    assert_eq!(told(&only(&["x", "y"]), &only(&["y", "x"])), []);
    let comparison = compare(&only(&["x"]), &only(&["y"]), ReceiveAsked::WhereStated);
    assert!(comparison.differences[0].loses() && comparison.differences[0].gains());
}

#[test]
fn the_first_permission_to_receive_takes_all_others_away() {
    let silent = bound(vec![]);
    let speaking = bound(vec![permission(1, Action::Receive, "a/#", ALLOW, 0)]);
    assert_eq!(told(&silent, &speaking), [("#".to_owned(), true)]);
    let always = compare(&silent, &speaking, ReceiveAsked::Always);
    assert_eq!(always.differences.len(), 1);
    assert!(always.differences[0].gains(), "{:?}", always.differences);
}

#[test]
fn a_subscription_to_more_than_single_topics_is_compared_as_a_whole() {
    let subscribe = |rules: &[(&str, Terms)]| {
        let rules = rules.iter().zip(1..);
        let made = rules.map(|((it, terms), id)| permission(id, Action::Subscribe, it, *terms, 0));
        bound(made.collect())
    };
    let whole = subscribe(&[("a/#", ALLOW)]);
    let parts = subscribe(&[("a", ALLOW), ("a/+/#", ALLOW)]);
    assert_eq!(told(&whole, &parts), [("a/#".to_owned(), true)]);
}

#[test]
fn what_is_too_much_to_compare_is_said() {
    let many = |letter: &str| {
        let filters: Vec<_> = (0..400).map(|number| format!("{letter}/{number}/+")).collect();
        publish(&filters.iter().map(|filter| (&**filter, ALLOW)).collect::<Vec<_>>())
    };
    let comparison = compare(&many("a"), &many("b"), ReceiveAsked::WhereStated);
    assert!(!comparison.complete);
    assert_eq!(comparison.differences.len(), 800);
    let deep = publish(&[(&*vec!["a"; 40].join("/"), ALLOW)]);
    assert!(!compare(&deep, &publish(&[]), ReceiveAsked::WhereStated).complete);
}

fn any_filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just("+")];
    (prop::collection::vec(level, 0..3), any::<bool>()).prop_map(|(mut levels, multi)| {
        if multi || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn any_set(action: Action) -> impl Strategy<Value = BoundPermissions> {
    let terms = prop_oneof![
        Just(Terms::Deny),
        Just(ALLOW),
        Just(Terms::Allow { maximum_qos: Qos::AtMostOnce, retain: true }),
    ];
    prop::collection::vec((any_filter(), terms, 0..2i64), 0..5).prop_map(move |rules| {
        let rules = rules.into_iter().zip(1..);
        let made = rules.map(|((filter, terms, priority), id)| {
            permission(id, action, &filter, terms, priority)
        });
        bound(made.collect())
    })
}

fn pair() -> impl Strategy<Value = (Action, BoundPermissions, BoundPermissions)> {
    prop_oneof![Just(Action::Publish), Just(Action::Subscribe), Just(Action::Receive)]
        .prop_flat_map(|action| (Just(action), any_set(action), any_set(action)))
}

/// `c` is in no rule.
fn topics() -> Vec<String> {
    let mut topics: Vec<String> = vec![];
    let mut longest: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
    for _ in 0..4 {
        topics.extend(longest.iter().cloned());
        let longer =
            longest.iter().flat_map(|it| ["a", "b", "c"].map(|level| format!("{it}/{level}")));
        longest = longer.collect();
    }
    topics
}

proptest! {
    #[test]
    fn every_topic_that_changes_is_named_and_no_other((action, before, after) in pair()) {
        let comparison = compare(&before, &after, ReceiveAsked::WhereStated);
        prop_assert!(comparison.complete);
        let sides = [&before, &after].map(|it| Side::new(it, action, ReceiveAsked::WhereStated));
        let leaves = |topic: &str| [sides[0].leave(topic), sides[1].leave(topic)];
        let topics = topics();
        let fits = |difference: &Difference, topic: &str| {
            leaves(topic) == [difference.before.clone(), difference.after.clone()]
                && filter_matches(&difference.filter, TopicName::from_checked(topic))
        };
        for topic in &topics {
            let [before, after] = leaves(topic);
            let named = comparison.differences.iter().any(|it| fits(it, topic));
            prop_assert_eq!(named, before != after, "{} of {:?}", topic, comparison.differences);
        }
        for difference in &comparison.differences {
            let somewhere = topics.iter().any(|topic| fits(difference, topic))
                || leaves(&difference.filter) == [difference.before.clone(), difference.after.clone()];
            prop_assert!(somewhere, "{:?}", difference);
        }
    }
}
