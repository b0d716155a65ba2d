//! Programs that are pushed by API, by the operator and by tenants: what was granted is there behind every
//! power cut, as a whole.

mod found;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use hookmq_codec::ProtocolVersion;
use hookmq_tests::broker::{Broker, add_rules, directory, plugins};
use hookmq_tests::wait::wait_until;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::disk::Disk;
use super::image::Image;
use super::promises::Register;
use super::recording::{COMPILED, Event, Recorder};
use super::{End, differences, traced, variable};
use crate::Stage;
use found::{Found, in_force, kept, sha256};
use traffic::{Asked, Push, Pushing, SECOND, artefact};

const TENANTS: &str = "data/tenant-rules";
const PROGRAMS: &str = "data/programs";

/// What lives of a broker have done, and what it was asked, by number.
struct Recording {
    events: Vec<Event>,
    asked: Vec<Asked>,
    stage: Stage,
}

/// A broker with a rule of the operator's, and a place for those of tenants.
fn stage() -> Stage {
    let directory = directory();
    add_rules(directory.path(), &[("stamp", &traffic::rule("file"))]);
    let yaml = format!(
        "data_dir: data
listeners: [{{name: listener-1, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
plugins: {{dir: {:?}}}
tenant_rules: {{pushes_per_minute: 10000}}
pipeline:
  connect: [{{builtin: anonymous}}]
  authorize: [{{builtin: open}}]
  publish: [{{builtin: tenant_rules}}, {{rule: stamp}}]
",
        plugins()
    );
    Stage { broker: Broker::with_config(&yaml, directory), version: ProtocolVersion::V5 }
}

fn wait_until_ready(stage: &Stage) {
    let admin = stage.broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
}

/// Records lives, of which the first begins with nothing. None where that cannot be done here.
fn record(ends: &[End]) -> Option<Recording> {
    let mut stage = stage();
    wait_until_ready(&stage);
    assert!(stage.broker.terminate().success());
    let root = stage.broker.directory().canonicalize().unwrap();
    std::fs::remove_dir_all(root.join("data")).unwrap();
    let mut recorder = Recorder::new(root.to_str().unwrap());
    let mut kept = BufWriter::new(File::create(root.join("pushed.trace")).unwrap());
    let mut asked = Vec::new();
    for (life, end) in ends.iter().enumerate() {
        let pushing = Pushing::new(life, std::mem::take(&mut asked));
        (recorder, kept) = traced(&mut stage, recorder, kept, |stage| {
            wait_until_ready(stage);
            pushing.run(&stage.broker.admin());
            match end {
                End::Terminate => assert!(stage.broker.terminate().success()),
                End::Kill => {
                    let _unanswered = pushing.begin_last(&stage.broker.admin());
                    stage.broker.kill();
                }
            }
        })?;
        asked = pushing.into_asked();
        let unknown = recorder.end();
        let differ = |recorder: &Recorder| {
            [TENANTS, PROGRAMS]
                .map(|it| differences(Disk::default(), &recorder.events, &root, it))
                .concat()
        };
        if !differ(&recorder).is_empty() {
            recorder.forget(&unknown);
        }
        assert_eq!(differ(&recorder), Vec::<String>::new(), "not all was recorded");
    }
    Some(Recording { events: recorder.events, asked, stage })
}

/// What each program is, by its place; none where it is not there.
#[derive(Default)]
struct Promises(BTreeMap<String, Register<Option<String>>>);

impl Promises {
    fn apply(&mut self, event: &Event, asked: &[Asked]) {
        let (Event::Asked(number) | Event::Answered { request: number, .. }) = event else {
            return;
        };
        let Asked { place, becomes } = &asked[*number as usize];
        let register = self.0.entry(place.clone()).or_default();
        match event {
            Event::Answered { granted: true, .. } => register.confirm(becomes),
            Event::Answered { .. } => panic!("request {number} is refused: {place}"),
            _ => register.begin(becomes.clone()),
        }
    }

    /// What is broken by what is found.
    fn judge(&self, found: &Found) -> Vec<String> {
        let places: BTreeSet<_> = self.0.keys().chain(found.keys()).collect();
        let broken = places.into_iter().filter_map(|place| {
            let (found, promised) = (found.get(place).cloned(), self.0.get(place));
            let is_kept = promised.is_some_and(|it| it.allows(&found));
            (!is_kept).then(|| format!("{place} is {found:?}, promised was {promised:?}"))
        });
        broken.collect()
    }
}

/// Lets the power go behind each event that concerns programs, so often; gives what each cut has left, and
/// the promises, to `look`. Its first complaint is given.
fn cut(
    events: &[Event],
    asked: &[Asked],
    seed: u64,
    mut look: impl FnMut(&Image, &Promises) -> Vec<String>,
) -> Result<u32, String> {
    const CUTS: u64 = 4;
    let (mut disk, mut promises, mut cuts) = (Disk::default(), Promises::default(), 0);
    for (number, event) in events.iter().enumerate() {
        disk.apply(event);
        promises.apply(event, asked);
        let text = format!("{event:?}");
        let concerns = [TENANTS, PROGRAMS, "request ", "sync data"];
        if !concerns.iter().any(|it| text.contains(it)) {
            continue;
        }
        for cut in 0..CUTS {
            let mut rng = StdRng::seed_from_u64(seed ^ (number as u64 * CUTS + cut) << 20);
            cuts += 1;
            let broken = look(&disk.after_power_cut(&mut rng), &promises);
            if let Some(first) = broken.first() {
                return Err(format!("behind event {number}, {text}: {first}"));
            }
        }
    }
    Ok(cuts)
}

fn look(image: &Image, promises: &Promises) -> Vec<String> {
    match kept(image) {
        Ok(found) => promises.judge(&found),
        Err(reason) => vec![reason],
    }
}

#[test]
fn what_is_pushed_survives_every_power_cut() {
    let seed = variable("HOOKMQ_POWER_CUT_SEED").unwrap_or_else(rand::random);
    eprintln!("HOOKMQ_POWER_CUT_SEED={seed}");
    let ends = [End::Kill, End::Terminate, End::Kill];
    let Some(Recording { events, asked, mut stage }) = record(&ends) else { return };
    let answered = events.iter().filter(|it| matches!(it, Event::Answered { .. })).count();
    match cut(&events, &asked, seed, look) {
        Ok(cuts) => eprintln!("{cuts} power cuts, {answered} answers"),
        Err(broken) => {
            let place = stage.broker.keep_directory();
            panic!("{broken}; the trace is in {}", place.display());
        }
    }
    serves_what_is_left(&mut stage, &events, &asked, seed);
}

/// The broker starts on what some power cuts have left, and has in force what was granted.
fn serves_what_is_left(stage: &mut Stage, events: &[Event], asked: &[Asked], seed: u64) {
    const STARTS: usize = 5;
    let mut left = Vec::new();
    let mut rng = StdRng::seed_from_u64(seed);
    let answers: Vec<usize> = events
        .iter()
        .enumerate()
        .filter(|(_, it)| matches!(it, Event::Answered { .. }))
        .map(|(number, _)| number)
        .collect();
    let (mut disk, mut promises) = (Disk::default(), Promises::default());
    for (number, event) in events.iter().enumerate() {
        disk.apply(event);
        promises.apply(event, asked);
        let every = answers.len() / STARTS;
        if answers.binary_search(&number).is_ok_and(|it| it % every == every - 1) {
            left.push((disk.after_power_cut(&mut rng), promises.0.clone()));
        }
    }
    let root = stage.broker.directory().canonicalize().unwrap();
    for (image, promised) in left {
        replace_data(&root, &image);
        stage.broker.start();
        wait_until_ready(stage);
        let broken = Promises(promised).judge(&in_force(&stage.broker.admin()));
        assert_eq!(broken, Vec::<String>::new());
        stage.broker.kill();
    }
}

/// What was compiled of the operator's plugins stays: it takes long.
fn replace_data(root: &Path, image: &Image) {
    let aside = root.join("compiled");
    std::fs::rename(root.join(COMPILED), &aside).unwrap();
    std::fs::remove_dir_all(root.join("data")).unwrap();
    image.write(root);
    std::fs::rename(aside, root.join(COMPILED)).unwrap();
}

/// A process was killed between the renaming of a file and the sync of its name. The machine goes on, and
/// somebody pushes the same again.
#[test]
fn what_is_found_at_a_push_is_as_safe_as_what_it_writes() {
    let mut broken = Vec::new();
    for push in [Push::Artefact, Push::Rule, Push::Operators] {
        let Some(Recording { mut events, asked, mut stage }) = record(&[End::Terminate]) else {
            return;
        };
        let is_renamed = |it: &Event| match (it, push) {
            (Event::Renamed { to, .. }, Push::Rule) => {
                *to == format!("{TENANTS}/{}.json", sha256(b"a"))
            }
            (Event::Renamed { to, .. }, Push::Operators) => to.ends_with("standing.json"),
            (Event::Renamed { to, .. }, Push::Artefact) => {
                to.ends_with(&format!("{}.wasm", sha256(&artefact(SECOND))))
            }
            _ => false,
        };
        let renamed = events.iter().position(is_renamed).unwrap();
        events.truncate(renamed + 1);
        let mut disk = Disk::default();
        events.iter().for_each(|it| disk.apply(it));
        let root = stage.broker.directory().canonicalize().unwrap();
        replace_data(&root, &disk.seen());
        let pushing = Pushing::new(0, asked);
        let recorder = Recorder::new(root.to_str().unwrap());
        let kept = BufWriter::new(File::create(root.join("again.trace")).unwrap());
        let again = traced(&mut stage, recorder, kept, |stage| {
            wait_until_ready(stage);
            pushing.push_again(&stage.broker.admin(), push);
            stage.broker.kill();
        });
        let Some((mut recorder, _)) = again else { return };
        recorder.end();
        events.push(Event::Ended);
        events.extend(recorder.events);
        let outcome = cut(&events, &pushing.into_asked(), 1, look);
        broken.extend(outcome.err().map(|it| format!("{push:?}: {it}")));
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// The tests above see what they are for.
#[test]
fn a_push_that_is_not_synced_is_found_out() {
    let Some(Recording { events, asked, .. }) = record(&[End::Terminate]) else { return };
    let survives = |events: &[Event]| cut(events, &asked, 1, look);
    survives(&events).unwrap();
    let without = |is_left_out: &dyn Fn(&str) -> bool| -> Vec<Event> {
        let left_out = |it: &Event| matches!(it, Event::SyncEnded(path) if is_left_out(path));
        events.iter().map(|it| if left_out(it) { Event::Nothing } else { it.clone() }).collect()
    };
    let in_place = events.iter().filter_map(written_in_place).collect();
    let shelf = |path: &str| path.starts_with(TENANTS) && path.len() > TENANTS.len();
    for (what, events) in [
        (
            "syncs of tenants' files",
            without(&|it| it.starts_with(TENANTS) && it.ends_with(".json.part")),
        ),
        (
            "syncs of artefacts",
            without(&|it| it.starts_with(TENANTS) && it.ends_with(".wasm.part")),
        ),
        ("syncs of the tenants' directory", without(&|it| it == TENANTS)),
        ("syncs of shelves", without(&|it| shelf(it) && !it.ends_with(".part"))),
        (
            "syncs of the operator's files",
            without(&|it| it.starts_with(PROGRAMS) && it.ends_with(".json.part")),
        ),
        (
            "syncs of the operator's versions",
            without(&|it| it.starts_with(PROGRAMS) && it.ends_with(".rhai.part")),
        ),
        (
            "syncs of the operator's directories",
            without(&|it| it.starts_with(PROGRAMS) && !it.ends_with(".part")),
        ),
        ("renames", in_place),
    ] {
        let broken = survives(&events).err();
        eprintln!("without {what}: {}", broken.unwrap_or_else(|| panic!("{what} are not needed")));
    }
}

/// As if files were not renamed, but written where they stay.
fn written_in_place(event: &Event) -> Option<Event> {
    let place = |path: &String| path.strip_suffix(".part").unwrap_or(path).to_owned();
    Some(match event {
        Event::NewFile(path) => Event::NewFile(place(path)),
        Event::Write { path, offset, data } => {
            Event::Write { path: place(path), offset: *offset, data: data.clone() }
        }
        Event::Length { path, length } => Event::Length { path: place(path), length: *length },
        Event::SyncBegun(path) => Event::SyncBegun(place(path)),
        Event::SyncEnded(path) => Event::SyncEnded(place(path)),
        Event::Renamed { from, .. } if from.ends_with(".part") => return None,
        other => other.clone(),
    })
}
