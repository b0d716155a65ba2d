//! What the store tells of itself while it works.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookmq_store::{Figures, Recovery, Room, Store, StoreBounds, StoreOptions};

use crate::faults::{Mood, Scene, scene};
use crate::scenes::{append_durably, opened, queued, until, wait_durable, waker};

#[test]
fn figures_count_what_is_written_and_show_what_waits() {
    let bounds = StoreBounds { queued_changes: 4, ..StoreBounds::default() };
    let Scene { store, lever, .. } = scene(bounds);
    let new = store.figures();
    assert_eq!((new.commits, new.transactions, new.bytes_written), (0, 0, 0));
    assert_eq!((new.queued_commits, new.waiting, new.room), (0, 0, Room::Open));
    lever.set(Mood::Stuck);
    store.append(vec![opened("a"), opened("b")]);
    until(|| lever.begun() == 1);
    let message = |payload: &[u8]| queued(store.next_id(), payload, &["a", "b"]);
    store.append(vec![message(&[7; 10_000]), opened("c")]);
    store.append(vec![message(b"x"), message(b"x")]);
    let last = store.append(vec![opened("d")]);
    store.wake_when_durable(last, &waker());
    let Figures { queued_commits, queued_changes, queued_bytes, waiting, room, commits, .. } =
        store.figures();
    assert_eq!((queued_commits, queued_changes, waiting, commits), (3, 5, 1, 0));
    assert!((10_000..20_000).contains(&queued_bytes), "{queued_bytes}");
    assert_eq!(room, Room::Busy);
    lever.set(Mood::Well);
    wait_durable(&*store, last);
    until(|| store.figures().waiting == 0);
    let done = store.figures();
    assert_eq!((done.commits, done.changes, done.transactions), (4, 7, 2));
    assert_eq!(done.bytes_written, lever.bytes.load(Ordering::SeqCst) as u64);
    assert!(done.bytes_written > 10_000);
    assert_eq!((done.queued_commits, done.queued_changes, done.queued_bytes), (0, 0, 0));
    assert_eq!(done.room, Room::Open);
    assert!(done.writing > Duration::ZERO);
    assert!(done.writing_up_to.iter().sum::<u64>() <= 2);
    assert_eq!(done.file_bytes, 0, "it is in memory");
}

#[test]
fn a_store_on_disk_tells_how_large_its_files_are() {
    let place = tempfile::tempdir().unwrap();
    let store = Recovery::open(&StoreOptions::new(place.path())).unwrap().serve(|_| {}).unwrap();
    let before = store.figures().file_bytes;
    append_durably(&*store, vec![opened("a"), queued(store.next_id(), &[7; 100_000], &["a"])]);
    assert!(store.figures().file_bytes >= before + 100_000);
}
