//! Clocks that stand anywhere when a store is written, swept and read again.

use std::time::{Duration, Instant};

use hookmq_store::{
    Change, MessageId, NewRecord, Presence, QueueKey, StoredMessage, UnixMillis, WallClock,
};

use crate::model::{Disk, TINY};
use crate::scenes::{NOW, copy, load, opened, record, session};
use crate::suite::MemoryDisk;

const HOUR: u64 = 3_600_000;
const YEAR: u64 = 365 * 24 * HOUR;

/// Where a clock may stand: at its ends, on both sides of 2038 and 2106, and around the present.
fn moments() -> Vec<UnixMillis> {
    let second = |seconds: u64| seconds * 1000;
    let ends = [0, 1, u64::MAX - 1, u64::MAX];
    let overflows = [i32::MAX as u64, u32::MAX as u64].map(second);
    let overflows = overflows.into_iter().flat_map(|it| [it - HOUR, it, it + 1000, it + HOUR]);
    let near = [NOW.0 - YEAR, NOW.0 - HOUR, NOW.0, NOW.0 + HOUR, NOW.0 + YEAR];
    ends.into_iter().chain(overflows).chain(near).map(UnixMillis).collect()
}

/// One message without an end and one for an hour, written when the clock stood at `now`.
fn written(now: UnixMillis) -> MemoryDisk {
    let disk = MemoryDisk::default();
    let queue = || QueueKey::Session(session("a"));
    let for_an_hour = NewRecord {
        expires_at: Some(now.after(Duration::from_millis(HOUR))),
        ..record(MessageId(2), b"x")
    };
    let closed = Change::SessionClosed { session: session("a"), at: now, expiry_interval: 3600 };
    let changes = vec![
        opened("a"),
        Change::Queued { record: record(MessageId(1), b"x"), copies: vec![copy(queue())] },
        Change::Queued { record: for_an_hour, copies: vec![copy(queue())] },
        closed,
    ];
    load(disk.engine(), TINY).commit([&changes], MessageId(3), now).unwrap();
    disk
}

fn waiting(disk: &MemoryDisk) -> Vec<u64> {
    let ledger = load(disk.engine(), TINY);
    ledger
        .index()
        .queue(&QueueKey::Session(session("a")))
        .unwrap()
        .iter()
        .map(|it| it.id().0)
        .collect()
}

/// Its own end, when it was stored, and what is left of it by a clock that stands at `now`.
fn left(stored: StoredMessage, now: UnixMillis) -> Option<Duration> {
    let clock = WallClock { instant: Instant::now(), unix: now };
    let ends = stored.expires_at?;
    let left = ends.left(stored.stored_at, now);
    let message = stored.into_message(&clock);
    assert_eq!(message.expires_at(), clock.instant.checked_add(left));
    Some(left)
}

#[test]
fn a_message_is_swept_when_its_time_is_over_and_no_other_wherever_clocks_stand() {
    for wrote in moments() {
        for swept in moments() {
            let disk = written(wrote);
            let mut ledger = load(disk.engine(), TINY);
            let change = vec![Change::Expired { at: swept }];
            ledger.commit([&change], MessageId(3), swept).unwrap();
            ledger.finish(swept).unwrap();
            drop(ledger);
            let left = waiting(&disk);
            assert_eq!(left[0], 1, "{wrote:?} {swept:?}: it has no end");
            let ends = wrote.after(Duration::from_millis(HOUR));
            if swept < ends {
                assert_eq!(left, [1, 2], "{wrote:?} {swept:?}: its time is not over");
            }
            // Whole seconds count, and those of 32 bits: what ends later waits to be fetched.
            let counts = ends.0.div_ceil(1000) <= u64::from(u32::MAX);
            if counts && swept.0 / 1000 > ends.0 / 1000 {
                assert_eq!(left, [1], "{wrote:?} {swept:?}: its time is over");
            }
        }
    }
}

#[test]
fn nothing_lasts_longer_than_it_was_to_last_wherever_clocks_stand() {
    for wrote in moments() {
        for read in moments() {
            let disk = written(wrote);
            let mut ledger = load(disk.engine(), TINY);
            assert_eq!(left(ledger.message(MessageId(1)).unwrap(), read), None);
            let left = left(ledger.message(MessageId(2)).unwrap(), read).unwrap();
            assert!(left <= Duration::from_millis(HOUR), "{wrote:?} {read:?}: {left:?}");
            let ends = wrote.after(Duration::from_millis(HOUR));
            assert_eq!(left.is_zero(), read >= ends || ends == wrote, "{wrote:?} {read:?}");
            let state = ledger.index().session(&session("a")).unwrap();
            assert_eq!(state.presence, Presence::Left(wrote));
        }
    }
}
