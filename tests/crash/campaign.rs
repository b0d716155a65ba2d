//! The broker is started, killed at a random instant, and started again, as often as is asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hookmq_codec::PacketType;
use hookmq_tests::broker::{Broker, OPEN_LISTENER, directory};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::bounds::Bounds;
use crate::fleet::{Answer, Attendance, Fleet, Until};
use crate::record::{Check, Figures, Violation};
use crate::settings::{Length, Settings};

/// Kills of which one is followed by a reckoning.
const RECKONING: u32 = 4;

/// Reckonings of which one waits for wills with a delay.
const LONG_RECKONING: u32 = 8;

/// The longest stretch of load.
const STRETCH: Duration = Duration::from_millis(350);

/// Broken promises of one kind that are told.
const TOLD: usize = 5;

pub struct Campaign {
    settings: Settings,
    fault: Fault,
    rng: StdRng,
    broker: Broker,
    fleet: Fleet,
    /// When the present broker was started.
    started: Instant,
    /// Where it listens, once that is known.
    address: Option<SocketAddr>,
    summary: Summary,
}

/// What happens to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Kill,
    /// All its clients lose their connections, and it goes on.
    Cut,
    /// It is told to stop, or killed, and these go on with its data, in turn.
    Replace(Versions),
}

/// Two brokers, the one that runs first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    pub now: PathBuf,
    pub next: PathBuf,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Summary {
    seed: u64,
    kills: u32,
    /// Of `kills`, before the broker listened.
    at_start: u32,
    /// Of `kills`, how often it was told to stop instead.
    stops: u32,
    reckonings: u32,
    taken_over: u64,
    longest_restart: Duration,
    longest_reckoning: Duration,
    /// Under load, all lives together.
    worked: Duration,
    acknowledged_under_load: u64,
    lasted: Duration,
    figures: Figures,
}

/// Promises that were broken.
#[derive(Debug)]
pub struct Broken {
    pub violations: Vec<Violation>,
    /// What the broker has left, and what the clients did.
    pub directory: PathBuf,
}

impl Campaign {
    /// # Panics
    /// Where the broker does not start.
    pub fn new(settings: Settings, fault: Fault) -> Self {
        let started = Instant::now();
        let mut rng = StdRng::seed_from_u64(settings.seed);
        let yaml = Bounds::wide(&mut rng).yaml();
        let broker = match &fault {
            Fault::Replace(versions) => Broker::with_binary(&versions.now, &yaml, directory()),
            Fault::Kill | Fault::Cut => Broker::with_config(&yaml, directory()),
        };
        let mut fleet = Fleet::new(settings.seed);
        fleet.record.forgets_dup =
            matches!(&fault, Fault::Replace(Versions { now, next }) if now != next);
        Self {
            settings,
            fault,
            rng,
            broker,
            fleet,
            started,
            address: None,
            summary: Summary { seed: settings.seed, ..Summary::default() },
        }
    }

    /// Gives the promises that were broken, too, up to the first reckoning that shows one.
    pub fn run(mut self) -> (Summary, Option<Broken>) {
        let begin = Instant::now();
        self.reckon();
        self.work_and_kill();
        while self.fleet.record.violations().is_empty() && !self.is_over(begin) {
            if self.rng.random_ratio(1, 5) {
                self.kill_at_start();
            } else {
                self.work_and_kill();
            }
            if self.rng.random_ratio(1, RECKONING) {
                self.reckon();
            }
        }
        self.reckon();
        self.summary.lasted = begin.elapsed();
        self.summary.figures = self.fleet.record.figures;
        self.summary.taken_over = self.fleet.taken_over;
        match self.fleet.record.violations() {
            [] => (self.summary, None),
            violations => {
                let (violations, directory) = (violations.to_vec(), self.broker.keep_directory());
                let history = directory.join("history.txt");
                self.fleet.record.history.write(&history).expect("write the history");
                self.broker.kill();
                (self.summary, Some(Broken { violations, directory }))
            }
        }
    }

    fn is_over(&self, begin: Instant) -> bool {
        match self.settings.length {
            Length::Kills(kills) => self.summary.kills >= kills,
            Length::Time(time) => begin.elapsed() >= time,
        }
    }

    /// The broker may be doing anything on its way to listening, and a little behind.
    fn kill_at_start(&mut self) {
        let most = self.summary.longest_restart.as_micros() as u64 * 5 / 4;
        std::thread::sleep(Duration::from_micros(self.rng.random_range(0..=most)));
        self.summary.at_start += 1;
        self.kill();
    }

    fn work_and_kill(&mut self) {
        let address = self.listening();
        self.fleet.connect(address, Attendance::Some);
        let until = Until {
            at: Instant::now() + STRETCH.mul_f64(self.rng.random()),
            behind: self.rng.random_ratio(1, 2).then(|| self.answer()),
        };
        let window = *[1, 4, 16, 64].choose(&mut self.rng).expect("there are some");
        let (began, before) = (Instant::now(), self.fleet.record.figures.acknowledged);
        self.fleet.work(address, window, until);
        self.summary.worked += began.elapsed();
        let acknowledged = self.fleet.record.figures.acknowledged - before;
        self.summary.acknowledged_under_load += acknowledged;
        self.kill();
    }

    /// So many of these answers are got before the kill.
    fn answer(&mut self) -> (Answer, u32) {
        use PacketType::{ConnAck, PubAck, PubComp, PubRec, PubRel, Publish, SubAck, UnsubAck};
        let (answer, most) = *[
            (Answer::Packet(ConnAck), 20),
            (Answer::Packet(SubAck), 3),
            (Answer::Packet(UnsubAck), 3),
            (Answer::Close, 2),
            (Answer::Packet(PubAck), 200),
            (Answer::Packet(PubRec), 200),
            (Answer::Packet(PubRel), 200),
            (Answer::Packet(PubComp), 200),
            (Answer::Packet(Publish), 200),
        ]
        .choose(&mut self.rng)
        .expect("there are some");
        (answer, self.rng.random_range(1..=most))
    }

    fn kill(&mut self) {
        self.summary.kills += 1;
        if self.fault == Fault::Cut {
            return self.fleet.cut();
        }
        let is_asked = matches!(self.fault, Fault::Replace(_)) && self.address.is_some();
        match is_asked && self.rng.random_ratio(2, 3) {
            true => self.stop(),
            false => {
                let at = Instant::now();
                self.broker.kill();
                self.fleet.killed(at);
            }
        }
        self.address = None;
        self.reconfigure();
        match &mut self.fault {
            Fault::Replace(Versions { now, next }) => {
                std::mem::swap(now, next);
                self.broker.start_other(now);
            }
            Fault::Kill | Fault::Cut => self.broker.start(),
        }
        self.started = Instant::now();
    }

    fn stop(&mut self) {
        self.summary.stops += 1;
        let status = self.broker.terminate();
        assert!(status.success(), "the broker was told to stop and ended with {status}");
        self.fleet.stopped(Instant::now());
    }

    /// In some of its lives the broker has little room, so that kills meet what is rare otherwise.
    fn reconfigure(&mut self) {
        let bounds = match self.rng.random_ratio(1, 2) {
            true => Bounds::narrow(&mut self.rng),
            false => Bounds::wide(&mut self.rng),
        };
        let config = self.broker.directory().join("hookmq.yaml");
        std::fs::write(config, bounds.yaml()).expect("write the configuration");
        self.fleet.record.history.note(|| format!("{bounds:?}"));
    }

    /// All that was promised is asked for.
    fn reckon(&mut self) {
        let address = self.listening();
        let begin = Instant::now();
        self.fleet.read_registers(address);
        self.fleet.connect(address, Attendance::All);
        self.fleet.finish();
        self.summary.reckonings += 1;
        if self.summary.reckonings.is_multiple_of(LONG_RECKONING) {
            self.fleet.outwait_delays(self.started);
            self.fleet.finish();
        }
        self.fleet.settle();
        self.summary.longest_reckoning = self.summary.longest_reckoning.max(begin.elapsed());
    }

    fn listening(&mut self) -> SocketAddr {
        if let Some(address) = self.address {
            return address;
        }
        let address = self.broker.address(OPEN_LISTENER);
        self.summary.longest_restart = self.summary.longest_restart.max(self.started.elapsed());
        *self.address.insert(address)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { sent, acknowledged, delivered, redelivered } = self.figures;
        writeln!(f, "seed {}, {:.0?}", self.seed, self.lasted)?;
        write!(f, "{} kills, {} of them at the start", self.kills, self.at_start)?;
        match self.stops {
            0 => writeln!(f)?,
            stops => writeln!(f, ", {stops} of them ends that it was told of")?,
        }
        writeln!(f, "{} reckonings, the longest {:.0?}", self.reckonings, self.longest_reckoning)?;
        writeln!(f, "longest restart {:.0?}", self.longest_restart)?;
        let per_second = self.acknowledged_under_load as f64 / self.worked.as_secs_f64().max(1e-9);
        writeln!(f, "{} connections taken over", self.taken_over)?;
        writeln!(f, "{per_second:.0} messages acknowledged per second under load")?;
        write!(f, "{sent} messages, {acknowledged} acknowledged, {delivered} deliveries")?;
        write!(f, ", {redelivered} of them or in addition to them again")
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_check: BTreeMap<Check, Vec<&str>> = BTreeMap::new();
        for violation in &self.violations {
            by_check.entry(violation.check).or_default().push(&violation.text);
        }
        for (check, texts) in by_check {
            writeln!(f, "{check:?}: {} broken promises", texts.len())?;
            for text in texts.iter().take(TOLD) {
                writeln!(f, "  {text}")?;
            }
        }
        write!(f, "data_dir, the log and history.txt are in {}", self.directory.display())
    }
}
