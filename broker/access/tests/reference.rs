//! Decisions compared with a reference that is written from docs/permissions.md and shares no code with
//! what it checks: filters are sets of topics here, and rows are compared one by one.

#![allow(clippy::unwrap_used)]

#[path = "reference/naive.rs"]
mod naive;

use std::collections::BTreeMap;
use std::sync::Arc;

use hookmq_access::{FilterPattern, Holder, Permission, PermissionSet, Ruling, ShareNames, Terms};
use hookmq_codec::Qos;
use hookmq_hooks::{Access, Action, Attribute, Effect, Voucher};
use naive::{Answer, LITERALS, Reference, Row, Who};

const SEED: u64 = 0x5eed_0fa5_eed5;
const SETS: usize = 25_000;
const QUESTIONS: usize = 48;

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((it ^ (it >> 31)) % sides as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.roll(count) == 0
    }
}

const ACTIONS: [Action; 3] = [Action::Publish, Action::Subscribe, Action::Receive];
/// Names of shared subscriptions.
const SHARES: [&str; 3] = ["a", "b", "{username}"];
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
const PLACEHOLDERS: [&str; 5] =
    ["{username}", "{tenant}", "{client_id}", "{attribute:site}", "a{attribute:site}"];

/// What a row's filter may be that nothing can be made of.
const UNREADABLE: [&str; 4] = ["$share/g/a", "{user}/a", "a/#/b", "a{"];

/// What a name may be; some fit no placeholder.
const NAMES: [&str; 12] = ["a", "b", "a.*", "ab", "$x", "", "#", "+", "a/b", "a\0", "a+", "/"];
const SITES: [&str; 6] = ["b", "", "+", "b/c", "#", "b\0"];

/// A filter of up to three levels; `levels` are those that are not wildcards.
fn filter(dice: &mut Dice, levels: &[&str]) -> String {
    loop {
        let depth = 1 + dice.roll(3);
        let mut parts: Vec<&str> =
            (0..depth).map(|_| if dice.one_in(4) { "+" } else { dice.pick(levels) }).collect();
        if dice.one_in(3) {
            parts[depth - 1] = "#";
        }
        let text = parts.join("/");
        if !text.is_empty() {
            return text;
        }
    }
}

fn row(dice: &mut Dice, id: i64) -> Row {
    let with_placeholders: Vec<&str> = LITERALS.into_iter().chain(PLACEHOLDERS).collect();
    let filter = match dice.one_in(25) {
        true => dice.pick(&UNREADABLE).to_owned(),
        false => filter(dice, &with_placeholders),
    };
    Row {
        id,
        action: dice.pick(&ACTIONS),
        filter,
        allows: dice.roll(3) > 0,
        priority: dice.pick(&[0, 0, 0, 1, -1]),
        maximum_qos: dice.pick(&[Qos::ExactlyOnce, Qos::ExactlyOnce, Qos::AtLeastOnce]),
        retain: !dice.one_in(4),
        on_denial: dice.pick(&[Effect::Refuse, Effect::AcknowledgeAndDrop, Effect::Disconnect]),
        share_names: dice.one_in(3).then(|| {
            SHARES.iter().filter(|_| dice.one_in(2)).map(|name| (*name).to_owned()).collect()
        }),
        only_client_id: dice.one_in(6).then(|| dice.pick(&["a", "b"]).to_owned()),
    }
}

fn who(dice: &mut Dice) -> Who {
    let vouchers =
        [None, Some(Voucher::Claim), Some(Voucher::Tls), Some(Voucher::Step("s".into()))];
    let voucher = vouchers[dice.roll(vouchers.len())].clone();
    Who {
        tenant: dice.pick(&NAMES).to_owned(),
        username: dice.pick(&NAMES).to_owned(),
        client_id: dice.one_in(2).then(|| dice.pick(&NAMES).to_owned()),
        site: voucher.map(|voucher| (dice.pick(&SITES).to_owned(), voucher != Voucher::Claim)),
    }
}

fn permission(row: &Row) -> Permission {
    Permission {
        id: row.id,
        action: row.action,
        filter: FilterPattern::lenient(&row.filter),
        terms: match row.allows {
            true => Terms::Allow { maximum_qos: row.maximum_qos, retain: row.retain },
            false => Terms::Deny,
        },
        priority: row.priority,
        on_denial: row.on_denial,
        share_names: row.share_names.clone().map_or(ShareNames::Any, ShareNames::only),
        only_client_id: row.only_client_id.as_deref().map(Into::into),
    }
}

fn attributes(who: &Who) -> BTreeMap<Arc<str>, Attribute> {
    let site = who.site.as_ref().map(|(value, vouched)| {
        let vouched_by = if *vouched { Voucher::Tls } else { Voucher::Claim };
        (Arc::from("site"), Attribute { value: value.clone(), vouched_by })
    });
    site.into_iter().collect()
}

fn answer(ruling: Ruling) -> Answer {
    match ruling {
        Ruling::NoMatch => Answer::Abstain,
        Ruling::Allow { permission, maximum_qos } => Answer::Allow { id: permission, maximum_qos },
        Ruling::Deny { permission, effect, .. } => Answer::Deny { id: permission, effect },
    }
}

#[test]
fn a_million_decisions_are_those_of_the_reference() {
    let mut dice = Dice(SEED);
    let mut reference = Reference::default();
    let mut answers = [0usize; 3];
    for _ in 0..SETS {
        let count = 1 + dice.roll(5);
        // Ids that do not follow the order of the rows.
        let rows: Vec<_> = (0..count).map(|place| row(&mut dice, (place * 7 % 5) as i64)).collect();
        let who = who(&mut dice);
        let set = PermissionSet::new(rows.iter().map(permission));
        let attributes = attributes(&who);
        let bound = set.bind(&Holder {
            tenant: &who.tenant,
            username: &who.username,
            client_id: who.client_id.as_deref(),
            attributes: &attributes,
        });
        let applying = reference.applying(&rows, &who);
        for _ in 0..QUESTIONS {
            let action = dice.pick(&ACTIONS);
            let topic = match action {
                Action::Subscribe => filter(&mut dice, &LITERALS),
                Action::Publish | Action::Receive => reference.topic(dice.roll(usize::MAX)),
            };
            let (qos, retain) = (dice.pick(&QOS), dice.one_in(3));
            let share_name = match action {
                Action::Subscribe if dice.one_in(2) => Some(dice.pick(&SHARES)),
                _ => None,
            };
            let access = Access { action, topic: &topic, qos, retain, share_name };
            let got = answer(bound.decide(&access));
            let expected = reference.decide(&applying, &access);
            assert_eq!(got, expected, "{access:?} of {who:?} by {rows:#?}");
            answers[match got {
                Answer::Abstain => 0,
                Answer::Allow { .. } => 1,
                Answer::Deny { .. } => 2,
            }] += 1;
        }
    }
    assert!(answers.iter().sum::<usize>() > 1_000_000);
    // Each kind of answer is put to the test.
    assert!(answers.iter().all(|count| *count > 50_000), "{answers:?}");
}
