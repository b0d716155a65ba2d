//! Which moments the power goes in, and what each of them breaks.

use std::fmt;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::disk::Disk;
use super::found::Found;
use super::image::Image;
use super::promises::Promises;
use super::recording::Event;

/// How the power goes, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub cuts: u32,
}

/// What was before what is recorded: a disk, and what was promised.
#[derive(Debug, Clone, Default)]
pub struct Past {
    pub disk: Disk,
    promises: Promises,
}

/// The power goes behind the event of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cut {
    event: usize,
    number: u32,
}

/// What a power cut has broken.
pub struct Breach {
    plan: Plan,
    cut: Cut,
    broken: Vec<String>,
    last_events: Vec<String>,
    /// What was on the disk.
    image: Image,
}

/// One in so many stores is closed and opened again.
const SETTLED: u32 = 5;

impl Plan {
    /// Gives the first breach, and how many answers had left at most.
    pub fn run(&self, mut past: Past, events: &[Event]) -> Result<u64, Box<Breach>> {
        let mut applied = 0;
        for cut in self.cuts(events) {
            past.apply(&events[applied..=cut.event]);
            applied = cut.event + 1;
            let image = past.disk.after_power_cut(&mut self.random(cut.number));
            let broken = look(&image, &past.promises, cut.number % SETTLED == 0);
            if !broken.is_empty() {
                let last_events = last(&events[..=cut.event]);
                return Err(Box::new(Breach { plan: *self, cut, broken, last_events, image }));
            }
        }
        Ok(past.promises.answers)
    }

    /// What is left of each cut, and is the past of what comes behind it.
    pub fn left(&self, events: &[Event]) -> Vec<(Past, Image)> {
        let mut past = Past::default();
        let mut applied = 0;
        let cuts = self.cuts(events).into_iter().map(|cut| {
            past.apply(&events[applied..=cut.event]);
            applied = cut.event + 1;
            let image = past.disk.after_power_cut(&mut self.random(cut.number));
            let mut behind = Past { disk: Disk::of(&image), promises: past.promises.clone() };
            behind.apply(&[Event::Ended]);
            (behind, image)
        });
        cuts.collect()
    }

    /// In the order of events. Most events are writes, and most of what can go wrong is elsewhere.
    fn cuts(&self, events: &[Event]) -> Vec<Cut> {
        let of = |wanted: fn(&Event) -> bool| -> Vec<usize> {
            (0..events.len()).filter(|it| wanted(&events[*it])).collect()
        };
        let kinds = [
            of(|it| matches!(it, Event::Sent { .. })),
            of(|it| {
                !matches!(it, Event::Sent { .. } | Event::Received { .. } | Event::Write { .. })
            }),
            of(|it| matches!(it, Event::Write { .. })),
        ];
        let kinds: Vec<_> = kinds.into_iter().filter(|it| !it.is_empty()).collect();
        let mut cuts: Vec<Cut> = (0..self.cuts)
            .map(|number| {
                let mut rng = self.random(number);
                let kind = &kinds[rng.random_range(0..kinds.len())];
                Cut { event: *kind.choose(&mut rng).expect("it is not empty"), number }
            })
            .collect();
        cuts.sort_unstable();
        cuts
    }

    fn random(&self, cut: u32) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ u64::from(cut) << 32)
    }
}

impl Past {
    fn apply(&mut self, events: &[Event]) {
        for event in events {
            self.disk.apply(event);
            self.promises.apply(event);
        }
    }
}

/// The last events, the oldest first.
fn last(events: &[Event]) -> Vec<String> {
    const SHOWN: usize = 25;
    let events = events.iter().rev().filter(|it| !matches!(it, Event::Nothing)).take(SHOWN);
    let mut last: Vec<String> = events.map(|it| format!("{it:?}")).collect();
    last.reverse();
    last
}

/// Opens what is on the disk, and gives what is wrong with it.
fn look(image: &Image, promises: &Promises, settle: bool) -> Vec<String> {
    let place = scratch();
    image.write(place.path());
    match Found::read(&place.path().join("data/store"), settle) {
        Ok(found) => found.judge(promises),
        Err(reason) => vec![format!("it is not opened: {reason}")],
    }
}

/// In memory where there is such a file system: what is synced there is not looked at.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("hookmq-power-cut-");
    builder.tempdir_in(memory).or_else(|_| builder.tempdir()).expect("make a directory")
}

impl Breach {
    /// Leaves what was on the disk, to be looked at.
    pub fn keep(&self) -> PathBuf {
        let place = tempfile::Builder::new().prefix("hookmq-power-cut-").tempdir().unwrap().keep();
        self.image.write(&place);
        place
    }

    pub fn brief(&self) -> String {
        format!("cut {} behind event {}: {}", self.cut.number, self.cut.event, self.broken[0])
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, cut, broken, last_events, .. } = self;
        writeln!(f, "HOOKMQ_POWER_CUT_SEED={} HOOKMQ_POWER_CUTS={}", plan.seed, plan.cuts)?;
        writeln!(f, "cut {}, behind event {}:", cut.number, cut.event)?;
        broken.iter().take(20).try_for_each(|it| writeln!(f, "  {it}"))?;
        writeln!(f, "{} promises are broken; the last events were", broken.len())?;
        last_events.iter().try_for_each(|it| writeln!(f, "  {it}"))
    }
}
