//! Power cuts, of which the store is made to believe in any number: what the real binary does to its
//! files is recorded once, and for each cut a disk is made up that could have come of it.
//!
//! `HOOKMQ_POWER_CUTS` says how many cuts, `HOOKMQ_POWER_CUT_SEED` repeats them, and
//! `HOOKMQ_POWER_CUT_TRACE` names the file of a recording: one that is there is read again.

mod calls;
mod cuts;
mod disk;
mod found;
mod image;
mod load;
mod promises;
mod pushed;
mod recording;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use hookmq_codec::ProtocolVersion;
use hookmq_tests::broker::OPEN_LISTENER;
use hookmq_tests::faults::strace;

use crate::Stage;
use cuts::{Past, Plan};
use disk::Disk;
use image::Image;
use load::{Exchanging, SECTIONS, Traffic};
use recording::{CALLS, Event, Recorder};

/// Cuts where nothing else is said.
const CUTS: u32 = 200;

/// What a recording begins with, in the file that it is kept in, and what a life ends with.
const ROOT: &str = "root ";
const LIFE_ENDS: &str = "life ends";
/// What was under way when the process was killed has not happened.
const LIFE_IS_CUT: &str = "life is cut";

const STORE: &str = "data/store";
const DATABASE: &str = "data/store/store.sqlite";
const LOG: &str = "data/store/store.sqlite-wal";

/// What lives of a broker have done.
struct Recording {
    events: Vec<Event>,
    /// The lines that it was read from.
    trace: PathBuf,
    stage: Option<Stage>,
}

/// How a life ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Kill,
    Terminate,
}

/// Records lives, of which the first begins with nothing, with clients of 5.0 and 3.1.1 by turns. None where
/// that cannot be done here.
fn record(lives: &[(Traffic, End)], trace: Option<PathBuf>) -> Option<Recording> {
    let mut stage = Stage::new(ProtocolVersion::V5, SECTIONS);
    stage.flush();
    assert!(stage.broker.terminate().success());
    let root = stage.broker.directory().canonicalize().unwrap();
    std::fs::remove_dir_all(root.join("data")).unwrap();
    let trace = trace.unwrap_or_else(|| root.join("power-cut.trace"));
    let mut kept = BufWriter::new(File::create(&trace).unwrap());
    writeln!(kept, "{ROOT}{}", root.display()).unwrap();
    let mut recorder = Recorder::new(root.to_str().unwrap());
    let mut exchanging = Exchanging::default();
    for (traffic, end) in lives {
        stage.version = match traffic.life % 2 {
            0 => ProtocolVersion::V5,
            _ => ProtocolVersion::V311,
        };
        (recorder, kept) = traced(&mut stage, recorder, kept, |stage| {
            let clients = traffic.run(stage, &mut exchanging);
            match end {
                End::Kill => stage.broker.kill(),
                End::Terminate => assert!(stage.broker.terminate().success()),
            }
            drop(clients);
        })?;
        let unknown = recorder.end();
        let is_cut = !differences(Disk::default(), &recorder.events, &root, STORE).is_empty();
        if is_cut {
            recorder.forget(&unknown);
        }
        writeln!(kept, "{}", if is_cut { LIFE_IS_CUT } else { LIFE_ENDS }).unwrap();
        kept.flush().unwrap();
        let differences = differences(Disk::default(), &recorder.events, &root, STORE);
        if !differences.is_empty() {
            stage.broker.keep_directory();
            panic!("not all was recorded in {}: {differences:?}", trace.display());
        }
    }
    Some(Recording { events: recorder.events, trace, stage: Some(stage) })
}

/// Lets the broker live once, up to its end, and reads its trace.
fn traced(
    stage: &mut Stage,
    mut recorder: Recorder,
    mut kept: BufWriter<File>,
    life: impl FnOnce(&mut Stage),
) -> Option<(Recorder, BufWriter<File>)> {
    let mut strace = strace()?;
    let pipe = stage.broker.directory().join("pipe");
    if !pipe.exists() {
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    }
    // The last of two numbers counts.
    strace.arg("-o").arg(&pipe).args(["-s", "16777216", "-e", CALLS]);
    stage.broker.start_under(strace);
    let reading = std::thread::spawn(move || {
        for line in BufReader::with_capacity(1 << 20, File::open(pipe).unwrap()).lines() {
            let line = line.unwrap();
            writeln!(kept, "{line}").unwrap();
            recorder.line(&line);
        }
        (recorder, kept)
    });
    life(stage);
    Some(reading.join().unwrap())
}

/// Where the files below `place` are not what the recording says: something has changed them unseen.
fn differences(mut disk: Disk, events: &[Event], root: &Path, place: &str) -> Vec<String> {
    events.iter().for_each(|it| disk.apply(it));
    let mut seen = disk.seen();
    seen.0.retain(|path, _| path.starts_with(place));
    seen.difference(&Image::read(root, place))
}

impl Recording {
    /// What a run that failed has left.
    fn again(trace: PathBuf) -> Self {
        let mut lines = BufReader::new(File::open(&trace).unwrap()).lines().map(Result::unwrap);
        let root = lines.next().expect("it begins with the directory");
        let mut recorder =
            Recorder::new(root.strip_prefix(ROOT).expect("it begins with the directory"));
        for line in lines {
            match &*line {
                LIFE_ENDS => _ = recorder.end(),
                LIFE_IS_CUT => {
                    let unknown = recorder.end();
                    recorder.forget(&unknown);
                }
                _ => recorder.line(&line),
            }
        }
        Self { events: recorder.events, trace, stage: None }
    }

    /// Lets the power go, and fails where a promise is broken by it.
    fn survives(&mut self, plan: &Plan) {
        let began = std::time::Instant::now();
        match plan.run(Past::default(), &self.events) {
            Ok(answers) => {
                let (cuts, events) = (plan.cuts, self.events.len());
                eprintln!(
                    "{cuts} power cuts, {events} events, {answers} answers: {:.0?}",
                    began.elapsed()
                );
            }
            Err(breach) => {
                if let Some(mut stage) = self.stage.take() {
                    stage.broker.keep_directory();
                }
                let (trace, place) = (self.trace.display(), breach.keep());
                panic!("{breach}HOOKMQ_POWER_CUT_TRACE={trace}, the disk is {}", place.display());
            }
        }
    }
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} cannot be {value:?}")))
}

#[test]
fn what_was_acknowledged_survives_every_power_cut() {
    let plan = Plan {
        seed: variable("HOOKMQ_POWER_CUT_SEED").unwrap_or_else(rand::random),
        cuts: variable("HOOKMQ_POWER_CUTS").unwrap_or(CUTS),
    };
    eprintln!("HOOKMQ_POWER_CUT_SEED={}", plan.seed);
    let traffic = |life| Traffic { life, messages: 200, large_messages: 250 };
    let lives = [(traffic(0), End::Kill), (traffic(1), End::Terminate), (traffic(2), End::Kill)];
    let recording = match variable::<PathBuf>("HOOKMQ_POWER_CUT_TRACE") {
        Some(trace) if trace.exists() => Some(Recording::again(trace)),
        trace => record(&lives, trace),
    };
    let Some(mut recording) = recording else { return };
    recording.survives(&plan);
    let begins_log =
        |it: &&Event| matches!(it, Event::Write { path, offset: 0, .. } if path == LOG);
    let logs = recording.events.iter().filter(begins_log).count();
    // One is made at the start and one behind the graceful end.
    assert!(logs > 3, "the log has hardly been transferred under load");
}

/// Of each start, another power cut so often.
const CUTS_OF_A_START: u32 = 30;

#[test]
fn a_start_behind_a_power_cut_survives_another_one() {
    let seed = variable("HOOKMQ_POWER_CUT_SEED").unwrap_or_else(rand::random);
    eprintln!("HOOKMQ_POWER_CUT_SEED={seed}");
    let traffic = Traffic { life: 0, messages: 40, large_messages: 0 };
    let Some(recording) = record(&[(traffic, End::Kill)], None) else { return };
    let Recording { events, stage: Some(mut stage), .. } = recording else { return };
    let mut starts = 0;
    for (past, image) in (Plan { seed, cuts: 6 }).left(&events) {
        if !image.0.contains_key(DATABASE) {
            continue;
        }
        let live = |stage: &mut Stage| {
            stage.broker.address(OPEN_LISTENER);
            stage.broker.kill();
        };
        let Some(events) = started(&mut stage, &past, &image, live) else { return };
        let plan = Plan { seed, cuts: CUTS_OF_A_START };
        if let Err(breach) = plan.run(past, &events) {
            panic!("{breach}the disk is {}", breach.keep().display());
        }
        starts += 1;
    }
    assert!(starts > 1, "hardly any power cut has left a store: {starts}");
}

/// Behind each of so many power cuts clients come again, and the power goes so often.
const STRETCHES: u32 = 3;
const CUTS_OF_A_STRETCH: u32 = 60;

#[test]
fn what_is_acknowledged_behind_a_power_cut_survives_another_one() {
    let seed = variable("HOOKMQ_POWER_CUT_SEED").unwrap_or_else(rand::random);
    eprintln!("HOOKMQ_POWER_CUT_SEED={seed}");
    let traffic = |life| Traffic { life, messages: 40, large_messages: 0 };
    let Some(recording) = record(&[(traffic(0), End::Kill)], None) else { return };
    let Recording { events, stage: Some(mut stage), .. } = recording else { return };
    let mut stretches = 0;
    for (past, image) in (Plan { seed, cuts: 2 * STRETCHES }).left(&events) {
        if !image.0.contains_key(DATABASE) || stretches == STRETCHES {
            continue;
        }
        stretches += 1;
        stage.version = match stretches % 2 {
            0 => ProtocolVersion::V311,
            _ => ProtocolVersion::V5,
        };
        let live = |stage: &mut Stage| {
            let clients = traffic(stretches).run(stage, &mut Exchanging::behind_a_cut());
            stage.broker.kill();
            drop(clients);
        };
        let Some(events) = started(&mut stage, &past, &image, live) else { return };
        let plan = Plan { seed, cuts: CUTS_OF_A_STRETCH };
        match plan.run(past, &events) {
            Ok(answers) => eprintln!("{answers} answers before and behind a power cut"),
            Err(breach) => panic!("{breach}the disk is {}", breach.keep().display()),
        }
    }
    assert!(stretches > 0, "no power cut has left a store");
}

/// The broker starts with what a power cut has left, and lives until it is killed.
fn started(
    stage: &mut Stage,
    past: &Past,
    image: &Image,
    live: impl FnOnce(&mut Stage),
) -> Option<Vec<Event>> {
    let root = stage.broker.directory().canonicalize().unwrap();
    std::fs::remove_dir_all(root.join("data")).unwrap();
    image.write(&root);
    let kept = BufWriter::new(File::create(root.join("start.trace")).unwrap());
    let recorder = Recorder::new(root.to_str().unwrap());
    let (mut recorder, _) = traced(stage, recorder, kept, live)?;
    let unknown = recorder.end();
    if !differences(past.disk.clone(), &recorder.events, &root, STORE).is_empty() {
        recorder.forget(&unknown);
    }
    let differences = differences(past.disk.clone(), &recorder.events, &root, STORE);
    assert!(differences.is_empty(), "not all was recorded: {differences:?}");
    Some(recorder.events)
}

/// The tests above see what they are for: each of the syncs is needed.
#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let traffic = |life| Traffic { life, messages: 40, large_messages: 0 };
    let Some(mut recording) =
        record(&[(traffic(0), End::Terminate), (traffic(1), End::Kill)], None)
    else {
        return;
    };
    let plan = Plan { seed: 1, cuts: CUTS };
    recording.survives(&plan);
    let events = &recording.events;
    let load = events.iter().position(|it| matches!(it, Event::Received { .. })).unwrap();
    // The names of the directories are synced at the start; all else matters later, too.
    for (path, from) in [("", 0), ("data", 0), (STORE, load), (LOG, load), (DATABASE, load)] {
        let breach = plan.run(Past::default(), &without_syncs(events, path, from)).err();
        let breach = breach.unwrap_or_else(|| panic!("syncs of {path:?} are not needed"));
        eprintln!("without syncs of {path:?}: {}", breach.brief());
    }
}

/// As if the disk, from an event on, only said that this file or directory is synced.
fn without_syncs(events: &[Event], path: &str, from: usize) -> Vec<Event> {
    let mut events = events.to_vec();
    let of_path = |it: &&mut Event| matches!(it, Event::SyncEnded(synced) if synced == path);
    events[from..].iter_mut().filter(of_path).for_each(|it| *it = Event::Nothing);
    events
}
