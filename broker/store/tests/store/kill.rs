//! A process that is killed: what it said was durable is there.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hookmq_core::CommitSequence;
use hookmq_store::{
    CheckpointBounds, Durability, MessageId, Recovery, Store, StoreBounds, StoreOptions,
};

use crate::random::{Random, seeds};
use crate::scenes::{dequeued, opened, queued, session, wait};

/// Where the child keeps its store; without it the test below has nothing to do.
const PLACE: &str = "HOOKMQ_STORE_CHILD";

fn options(place: &Path, durability: Durability) -> StoreOptions {
    // Checkpoints nearly always.
    let checkpoint = CheckpointBounds { log: 20_000, piece: 4_000, trim: 50 };
    let bounds = StoreBounds { checkpoint, ..StoreBounds::default() };
    StoreOptions { durability, bounds, ..StoreOptions::new(place) }
}

/// The child: appends as fast as it can and says what is durable, until it is killed. Message `n` holds
/// `n`; of every ten, the first seven are taken out again ten later.
#[test]
fn child() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let (kind, place) = place.split_once(':').unwrap();
    let durability = if kind == "os" { Durability::Os } else { Durability::Fsync };
    let recovery = Recovery::open(&options(Path::new(place), durability)).unwrap();
    let store = recovery.serve(|_| {}).unwrap();
    if store.durable() == CommitSequence::NONE {
        store.append(vec![opened("a")]);
    }
    let mut out = std::io::stdout();
    loop {
        let mut last = CommitSequence::NONE;
        let mut last_id = MessageId(0);
        for _ in 0..20 {
            let id = store.next_id();
            let mut changes = vec![queued(id, &id.0.to_le_bytes(), &["a"])];
            if id.0 > 10 && (id.0 - 10) % 10 < 7 {
                changes.push(dequeued(MessageId(id.0 - 10), "a"));
            }
            (last, last_id) = (store.append(changes), id);
        }
        wait(|waker| {
            store.wake_when_durable(last, waker);
            store.durable() >= last
        });
        writeln!(out, "durable {} {}", last.0, last_id.0).unwrap();
        out.flush().unwrap();
    }
}

/// Runs the child until it has said that something is durable, and then a while.
fn run_and_kill(place: &Path, kind: &str, random: &mut Random) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(PLACE, format!("{kind}:{}", place.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (said, lines) = std::sync::mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let mut words = line.split_whitespace().skip_while(|it| !it.ends_with("durable"));
            let (_, commit, id) = (words.next(), words.next(), words.next());
            let number = |it: Option<&str>| it.and_then(|it| it.parse::<u64>().ok());
            if let (Some(commit), Some(id)) = (number(commit), number(id)) {
                said.send((commit, id)).unwrap();
            }
        }
    });
    let mut durable = lines.recv_timeout(Duration::from_secs(60)).unwrap();
    // At any instant: in the midst of a transaction, a checkpoint, a transfer.
    std::thread::sleep(Duration::from_micros(random.below(60_000) as u64));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    while let Ok(later) = lines.try_recv() {
        durable = later;
    }
    durable
}

fn killed_at_any_instant(kind: &str, durability: Durability, times: u64) {
    let place = tempfile::tempdir().unwrap();
    let mut random = Random::new(times);
    // Ids that were given and not appended when the process was killed; none is given again.
    let mut gaps = BTreeSet::new();
    for round in 0..times {
        let (commit, id) = run_and_kill(place.path(), kind, &mut random);
        let mut recovery = Recovery::open(&options(place.path(), durability)).unwrap();
        let state = recovery.index().session(&session("a")).unwrap();
        let ids: Vec<u64> = state.queue.iter().map(|it| it.id().0).collect();
        let last = *ids.last().unwrap();
        assert!(last >= id, "round {round}: message {id} was durable with commit {commit}");
        // Those that were taken out are gone, and all others are there.
        let appended = |id: u64| id <= last && !gaps.contains(&id);
        let kept = |id: &u64| appended(*id) && (id % 10 >= 7 || !appended(id + 10));
        let expected: Vec<u64> = (1..=last).filter(kept).collect();
        assert_eq!(ids, expected, "round {round}");
        for id in ids {
            let stored = recovery.message(MessageId(id)).unwrap();
            assert_eq!(stored.message.payload(), id.to_le_bytes());
        }
        gaps.extend(last + 1..recovery.next_id().0);
    }
}

#[test]
fn what_a_killed_process_called_durable_is_there() {
    killed_at_any_instant("fsync", Durability::Fsync, seeds(24).end.min(1000));
}

#[test]
fn what_a_killed_process_called_written_is_there() {
    killed_at_any_instant("os", Durability::Os, seeds(12).end.min(1000));
}
