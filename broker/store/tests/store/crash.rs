//! The power goes at any write: what was durable is there, commits are whole, and nothing else is.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use hookmq_store::{Ledger, MessageId, Verify};

use crate::model::{TINY, Traffic};
use crate::picture::{Picture, read};
use crate::random::{Random, seeds};
use crate::redb_engine::RedbEngine;
use crate::scenes::{NOW, load};
use crate::simulated::{Kind, SimulatedDisk, Trouble};

/// What was appended, and how far it was promised.
struct History {
    /// After each transaction, by its last commit.
    pictures: BTreeMap<u64, Picture>,
    durable: u64,
    /// Above every id that a durable transaction may hold.
    next_id: MessageId,
}

/// Appends until the disk fails or `transactions` are written.
fn run(disk: &SimulatedDisk, history: &mut History, traffic: &mut Traffic, transactions: usize) {
    let Ok(engine) = RedbEngine::open(disk.clone()) else { return };
    let Ok((mut ledger, damages)) = Ledger::load(Box::new(engine), TINY, 0, Verify::All) else {
        return;
    };
    assert_eq!(damages, []);
    let mut picture = history.pictures[&ledger.last_commit()].clone();
    picture.restart();
    for _ in 0..transactions {
        let count = traffic.random.below(4);
        let commits: Vec<_> = (0..count).map(|_| traffic.commit(&mut picture)).collect();
        let (last, next_id) = (ledger.last_commit() + count as u64, MessageId(traffic.next_id));
        history.pictures.insert(last, picture.clone());
        if ledger.commit(&commits, next_id, NOW).is_err() {
            return;
        }
        (history.durable, history.next_id) = (last, next_id);
    }
}

/// Opens what the disk has left and compares it with what was promised.
fn expect_promises(disk: &SimulatedDisk, history: &mut History, seed: u64) {
    let mut ledger = load(Box::new(RedbEngine::open(disk.clone()).unwrap()), TINY);
    let last = ledger.last_commit();
    assert!(last >= history.durable, "seed {seed}: {last} before {}", history.durable);
    let picture = history.pictures.get(&last).expect("whole transactions alone");
    assert_eq!(&read(&mut ledger), picture, "seed {seed}");
    assert!(ledger.next_id() >= history.next_id, "seed {seed}: ids would be given again");
    history.pictures.split_off(&(last + 1));
    (history.durable, history.next_id) = (last, ledger.next_id());
}

fn new_history() -> History {
    let pictures = BTreeMap::from([(0, Picture::default())]);
    History { pictures, durable: 0, next_id: MessageId(0) }
}

/// A disk with an empty database: redb cannot open a file whose making was cut short.
fn formatted() -> SimulatedDisk {
    static FORMATTED: OnceLock<Vec<u8>> = OnceLock::new();
    let content = FORMATTED.get_or_init(|| {
        let disk = SimulatedDisk::default();
        drop(RedbEngine::open(disk.clone()).unwrap());
        disk.content()
    });
    SimulatedDisk::of(content.clone())
}

fn formatted_with(trouble: Trouble) -> SimulatedDisk {
    let disk = formatted();
    disk.arm(trouble);
    disk
}

/// How many steps a life of so many transactions takes.
fn steps(seed: u64, transactions: usize) -> u64 {
    let disk = formatted();
    run(&disk, &mut new_history(), &mut Traffic::new(seed), transactions);
    disk.steps()
}

fn power_cuts(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let mut random = Random::new(seed);
        let mut traffic = Traffic::new(seed);
        let mut history = new_history();
        let mut disk = formatted();
        // The power goes several times in the life of one store, also while it recovers.
        for _ in 0..3 {
            let at = 1 + random.below(120) as u64;
            let content = disk.content();
            disk = SimulatedDisk::of(content);
            disk.arm(Trouble { at, kind: Kind::PowerCut });
            run(&disk, &mut history, &mut traffic, 12);
            disk = disk.after_power_cut(&mut random);
            expect_promises(&disk, &mut history, seed);
        }
    }
}

#[test]
fn after_a_power_cut_what_was_durable_is_there_and_nothing_else() {
    power_cuts(seeds(1500).filter(|seed| seed % 2 == 0));
}

#[test]
fn after_another_power_cut_what_was_durable_is_there_and_nothing_else() {
    power_cuts(seeds(1500).filter(|seed| seed % 2 == 1));
}

#[test]
fn a_power_cut_at_every_single_step_of_one_life() {
    for at in 1..=steps(7, 8) {
        let disk = formatted_with(Trouble { at, kind: Kind::PowerCut });
        let mut history = new_history();
        run(&disk, &mut history, &mut Traffic::new(7), 8);
        let disk = disk.after_power_cut(&mut Random::new(at));
        expect_promises(&disk, &mut history, at);
    }
}

#[test]
fn a_disk_that_is_full_or_broken_loses_nothing_that_was_durable() {
    for kind in [Kind::Full, Kind::Broken] {
        for seed in seeds(150) {
            let mut random = Random::new(seed);
            let at = 1 + random.below(120) as u64;
            let disk = formatted_with(Trouble { at, kind });
            let mut history = new_history();
            run(&disk, &mut history, &mut Traffic::new(seed), 12);
            let disk = disk.after_power_cut(&mut random);
            expect_promises(&disk, &mut history, seed);
        }
    }
}

/// A bit that rots is in a record that nobody needs, or it is told.
#[test]
fn a_flipped_bit_is_never_silent() {
    let disk = SimulatedDisk::default();
    let mut history = new_history();
    run(&disk, &mut history, &mut Traffic::new(3), 12);
    let (content, expected) = (disk.content(), &history.pictures[&history.durable]);
    // Most of the file is empty yet.
    let used: Vec<usize> = (0..content.len()).filter(|place| content[*place] != 0).collect();
    let mut told = 0;
    for seed in seeds(400) {
        let mut random = Random::new(seed);
        let mut rotten = content.clone();
        let (place, bit) = (*random.pick(&used).unwrap(), random.below(8));
        rotten[place] ^= 1 << bit;
        let disk = SimulatedDisk::of(rotten);
        // redb may stop with a panic where its own pages are wrong.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let engine = RedbEngine::open(disk.clone()).ok()?;
            let loaded = Ledger::load(Box::new(engine), TINY, history.durable, Verify::All);
            let (mut ledger, damages) = loaded.ok()?;
            damages.is_empty().then(|| read(&mut ledger))
        }));
        match opened {
            Ok(Some(picture)) => assert_eq!(&picture, expected, "bit {bit} at {place}"),
            Ok(None) | Err(_) => told += 1,
        }
    }
    assert!(told > 0, "some bits matter");
}
