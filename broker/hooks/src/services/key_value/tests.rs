//! The store's bounds, lifetimes and rehearsals.

use super::*;

const P: Keeper<'_> = Keeper { kind: ProgramKind::Plugin, name: "p" };
const Q: Keeper<'_> = Keeper { kind: ProgramKind::Plugin, name: "q" };
const RULE: Keeper<'_> = Keeper { kind: ProgramKind::Rule, name: "p" };
const SECOND: Duration = Duration::from_secs(1);

fn store(entries: usize, bytes: usize) -> KeyValueStore {
    KeyValueStore::new(KeyValueLimits { entries, bytes, ..KeyValueLimits::default() })
}

#[test]
fn each_program_of_each_tenant_sees_its_own() {
    let (store, now) = (store(10, 1000), Instant::now());
    store.set("a", P, "k", b"1".to_vec(), None, now).unwrap();
    assert_eq!(store.get("a", P, "k", now), Some(b"1".to_vec()));
    for (tenant, program, key) in [("b", P, "k"), ("a", Q, "k"), ("a", RULE, "k"), ("a", P, "l")] {
        assert_eq!(store.get(tenant, program, key, now), None);
    }
    store.delete("a", Q, "k");
    store.delete("a", RULE, "k");
    assert_eq!(store.usage("a"), (1, 2));
    store.delete("a", P, "k");
    assert_eq!((store.get("a", P, "k", now), store.usage("a")), (None, (0, 0)));
}

#[test]
fn all_that_a_program_keeps_is_forgotten_at_once_and_makes_room() {
    let (store, now) = (store(3, 1000), Instant::now());
    for key in ["1", "2"] {
        store.set("a", P, key, vec![0; 9], None, now).unwrap();
    }
    store.set("a", Q, "1", vec![0; 9], None, now).unwrap();
    store.forget("a", P);
    store.forget("b", P);
    assert_eq!((store.usage("a"), store.get("a", P, "1", now)), ((1, 10), None));
    assert_eq!(store.get("a", Q, "1", now), Some(vec![0; 9]));
    store.forget("a", Q);
    assert_eq!((store.usage("a"), store.tenants.lock().shelves.len()), ((0, 0), 0));
}

#[test]
fn values_are_forgotten_in_time_and_make_room() {
    let (store, now) = (store(2, 1000), Instant::now());
    store.set("a", P, "1", vec![], Some(SECOND), now).unwrap();
    store.set("a", P, "2", vec![], None, now).unwrap();
    assert_eq!(store.set("a", P, "3", vec![], None, now), Err(KeyValueError::Full));
    store.set("a", P, "2", vec![0; 10], None, now).unwrap();
    assert_eq!(store.get("a", P, "1", now + SECOND), None);
    store.set("a", P, "3", vec![], None, now + 2 * SECOND).unwrap();
    assert_eq!(store.usage("a"), (2, 12));
}

#[test]
fn the_bounds_hold_and_what_was_there_stays() {
    let (store, now) = (store(10, 20), Instant::now());
    store.set("a", P, "k", vec![1; 10], None, now).unwrap();
    for size in [20, 64 << 10, (64 << 10) + 1] {
        assert!(store.set("a", P, "k", vec![2; size], None, now).is_err());
    }
    let long = "k".repeat(257);
    let refused = store.set("a", P, &long, vec![], None, now);
    assert_eq!(refused, Err(KeyValueError::KeyTooLong(256)));
    assert_eq!(store.get("a", P, "k", now), Some(vec![1; 10]));
    assert_eq!(store.usage("a"), (1, 11));
    store.set("b", P, "k", vec![1; 19], None, now).unwrap();
}

#[test]
fn a_rehearsal_sees_what_it_writes_and_leaves_nothing() {
    let (store, now) = (store(10, 1000), Instant::now());
    let add = || store.increase("a", P, "n", 1, None, now);
    add().unwrap();
    store.set("a", P, "k", b"real".to_vec(), None, now).unwrap();
    let (seen, _) = rehearsal::rehearse(|| {
        store.set("a", P, "k", b"rehearsed".to_vec(), None, now).unwrap();
        let written = store.get("a", P, "k", now);
        store.delete("a", P, "k");
        (written, store.get("a", P, "k", now), add(), add())
    });
    assert_eq!(seen, (Some(b"rehearsed".to_vec()), None, Ok(2), Ok(3)));
    assert_eq!(store.get("a", P, "k", now), Some(b"real".to_vec()));
    assert_eq!(add(), Ok(2));
}

#[test]
fn a_rehearsal_keeps_no_more_than_a_tenant_may() {
    let (store, now) = (KeyValueStore::default(), Instant::now());
    let set = |key: &str, size| store.set("a", P, key, vec![0; size], None, now);
    let (kept, _) = rehearsal::rehearse(|| {
        assert_eq!(set("k", (64 << 10) + 1), Err(KeyValueError::ValueTooLong(64 << 10)));
        (0..1000).filter(|n| set(&n.to_string(), 60_000).is_ok()).count()
    });
    assert_eq!(kept, (4 << 20) / 60_000);
    assert_eq!(rehearsal::rehearse(|| set("k", 60_000)).0, Ok(()), "each begins anew");
}

#[test]
fn a_number_counts_in_a_window() {
    let (store, now) = (store(10, 1000), Instant::now());
    let add = |by, now| store.increase("a", P, "n", by, Some(10 * SECOND), now);
    assert_eq!(add(2, now), Ok(2));
    assert_eq!(add(3, now + 9 * SECOND), Ok(5));
    assert_eq!(add(1, now + 10 * SECOND), Ok(1));
    assert_eq!(add(i64::MAX, now + 11 * SECOND), Ok(i64::MAX));
    assert_eq!(store.increase("a", P, "ever", 1, Some(Duration::MAX), now), Ok(1));
    store.set("a", P, "n", b"x".to_vec(), None, now).unwrap();
    assert_eq!(add(1, now), Err(KeyValueError::NotANumber));
}

#[test]
fn a_rule_and_a_plugin_of_one_name_keep_apart() {
    let (store, now) = (store(10, 1000), Instant::now());
    store.set("a", P, "k", b"plugin".to_vec(), None, now).unwrap();
    store.set("a", RULE, "k", b"rule".to_vec(), None, now).unwrap();
    assert_eq!(store.get("a", P, "k", now), Some(b"plugin".to_vec()));
    assert_eq!(store.get("a", RULE, "k", now), Some(b"rule".to_vec()));
}

#[test]
fn an_entry_of_no_bytes_counts_as_one() {
    let (store, now) = (store(1, 1000), Instant::now());
    for _ in 0..3 {
        store.set("a", P, "", vec![], None, now).unwrap();
        assert_eq!(store.usage("a"), (1, 0));
    }
    assert_eq!(store.set("a", P, "k", vec![], None, now), Err(KeyValueError::Full));
}

#[test]
fn tenants_that_keep_nothing_any_more_are_forgotten() {
    let (store, now) = (store(10, 1000), Instant::now());
    let shelves = || store.tenants.lock().shelves.len();
    store.set("a", P, "k", vec![], None, now).unwrap();
    store.delete("a", P, "k");
    assert_eq!(shelves(), 0);
    for number in 0..1000 {
        let (tenant, now) = (number.to_string(), now + number * SECOND);
        store.set(&tenant, P, "k", vec![], Some(SECOND), now).unwrap();
        assert!(store.set(&format!("{tenant} "), P, &"k".repeat(257), vec![], None, now).is_err());
        assert!(store.increase(&format!("{tenant} "), P, "k", 1, Some(SECOND), now).is_ok());
    }
    assert!(shelves() < 20, "{}", shelves());
}
