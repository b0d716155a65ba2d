//! `hookmq rule bench` and `hookmq plugin bench`: what a call of a program costs on this machine.
//!
//! The program is called in this process as a connection's worker calls it, in batches. It is a
//! measurement, not a test: no figure is a failure.

mod input;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use hookmq_hooks::{Answer, FailureKind, Hook, Meter, Program, Question, StepFailure, VerdictKind};
use tokio::runtime::Runtime;

use self::input::Input;

/// What is asked, and for how long.
#[derive(Debug, Args)]
pub struct BenchOptions {
    /// Only this hook; otherwise each that the program has.
    #[arg(long)]
    hook: Option<HookName>,
    /// How long each hook is measured.
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    #[command(flatten)]
    input: Input,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HookName {
    Connect,
    Authorize,
    Publish,
    Deliver,
}

/// How long a batch takes about, so that the clock's own cost and resolution do not matter.
const BATCH: Duration = Duration::from_millis(2);

/// Characters of an answer that are shown.
const SHOWN: usize = 300;

/// One hook's figures.
struct Figures {
    /// Nanoseconds per call of each batch, in ascending order; at least one.
    batches: Vec<f64>,
    calls_per_batch: u32,
    meter: Meter,
}

impl BenchOptions {
    /// Measures each hook and prints what it finds under `title`.
    ///
    /// # Errors
    /// Where the program has no such hook, or what it is to be asked is malformed.
    pub fn run(&self, title: &str, program: &dyn Program) -> Result<()> {
        println!("{title}");
        let wanted = |hook: &Hook| self.hook.is_none_or(|only| only.hook() == *hook);
        let hooks = Hook::ALL.into_iter().filter(|hook| program.hooks().contains(*hook));
        let hooks: Vec<Hook> = hooks.filter(wanted).collect();
        ensure!(!hooks.is_empty(), "{} has no such hook", program.identity());
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        for hook in hooks {
            let question = self.input.question(hook, program)?;
            println!("  {}: {}", name(hook), input::outline(&question));
            println!("    answer   {}", self::answer(program, &question, &runtime));
            let figures = measure(program, &question, Duration::from_secs(self.seconds), &runtime);
            figures.print();
        }
        let footprint = program.footprint();
        match footprint.instances {
            0 => println!("  memory: a rule in the broker's own engine holds none between calls"),
            n => {
                println!("  memory: {} bytes of linear memory in {n} instance(s)", footprint.bytes)
            }
        }
        if cfg!(debug_assertions) {
            println!("  This hookmq was built for development; a release build is faster.");
        }
        Ok(())
    }
}

impl HookName {
    fn hook(self) -> Hook {
        match self {
            Self::Connect => Hook::Connect,
            Self::Authorize => Hook::Authorize,
            Self::Publish => Hook::Publish,
            Self::Deliver => Hook::Deliver,
        }
    }
}

fn name(hook: Hook) -> String {
    format!("{hook:?}").to_lowercase()
}

/// Doubles the calls of a batch until one is long enough, then repeats it. What comes before that is
/// not counted: it warms up.
fn measure(
    program: &dyn Program,
    question: &Question,
    length: Duration,
    runtime: &Runtime,
) -> Figures {
    let unmeasured = Meter::default();
    let mut calls_per_batch = 1;
    // The shorter of two: one may have been interrupted.
    let length_of = |calls| {
        let once = || batch(program, question, calls, &unmeasured, runtime);
        once().min(once())
    };
    while length_of(calls_per_batch) < BATCH && calls_per_batch < 1 << 24 {
        calls_per_batch *= 2;
    }
    let meter = Meter::default();
    let start = Instant::now();
    let mut batches = Vec::new();
    while batches.is_empty() || start.elapsed() < length {
        let took = batch(program, question, calls_per_batch, &meter, runtime);
        batches.push(took.as_nanos() as f64 / f64::from(calls_per_batch));
    }
    batches.sort_by(f64::total_cmp);
    Figures { batches, calls_per_batch, meter }
}

/// Asks so many times, counts the answers, and tells how long it took.
fn batch(
    program: &dyn Program,
    question: &Question,
    calls: u32,
    meter: &Meter,
    runtime: &Runtime,
) -> Duration {
    let start = Instant::now();
    match question {
        Question::Connect(attempt) => runtime.block_on(async {
            for _ in 0..calls {
                meter.count(&program.connect(attempt).await);
            }
        }),
        Question::Authorize(client, access) => {
            (0..calls).for_each(|_| meter.count(&program.authorize(client, &access.view())));
        }
        Question::Publish(client, message) => {
            (0..calls).for_each(|_| meter.count(&program.publish(client, message)));
        }
        Question::Deliver(client, message) => {
            (0..calls).for_each(|_| meter.count(&program.deliver(client, message)));
        }
    }
    start.elapsed()
}

/// The first answer, so that one sees what is measured.
fn answer(program: &dyn Program, question: &Question, runtime: &Runtime) -> String {
    fn shown<T: Answer>(answer: Result<T, StepFailure>) -> String {
        match answer {
            Ok(answer) => answer.describe().to_string().chars().take(SHOWN).collect(),
            Err(failure) => format!("none, it fails: {failure}"),
        }
    }
    match question {
        Question::Connect(attempt) => shown(runtime.block_on(program.connect(attempt))),
        Question::Authorize(client, access) => shown(program.authorize(client, &access.view())),
        Question::Publish(client, message) => shown(program.publish(client, message)),
        Question::Deliver(client, message) => shown(program.deliver(client, message)),
    }
}

impl Figures {
    fn print(&self) {
        let (median, p99) = (self.percentile(50), self.percentile(99));
        let batches = self.batches.len();
        println!("    time     {median:.0} ns per call, the median of {batches} batches");
        println!("             {p99:.0} ns, the 99th percentile of batches");
        println!("    calls    {} in batches of {}", self.meter.calls(), self.calls_per_batch);
        println!("    verdicts {}", self.verdicts().join(", "));
    }

    fn percentile(&self, percent: usize) -> f64 {
        let last = self.batches.len() - 1;
        self.batches[(last * percent).div_ceil(100)]
    }

    fn verdicts(&self) -> Vec<String> {
        let kinds = VerdictKind::ALL.map(|kind| (kind.name(), self.meter.verdicts(kind)));
        let failures = FailureKind::ALL.map(|kind| (kind.name(), self.meter.failures(kind)));
        let verdicts = kinds.into_iter().map(|(name, count)| (name.to_owned(), count));
        let failures =
            failures.into_iter().map(|(name, count)| (format!("failed ({name})"), count));
        let all = verdicts.chain(failures).filter(|(_, count)| *count > 0);
        all.map(|(name, count)| format!("{count} {name}")).collect()
    }
}

/// `text`, or where it is `@file` the file's content.
pub(super) fn text_or_file(text: &str) -> Result<Vec<u8>> {
    match text.strip_prefix('@') {
        None => Ok(text.as_bytes().to_vec()),
        Some(file) => std::fs::read(file).with_context(|| format!("read {file}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_few_batches_are_the_upper_ones() {
        let figures =
            |batches: Vec<f64>| Figures { batches, calls_per_batch: 1, meter: Meter::default() };
        assert_eq!(figures(vec![7.0]).percentile(99), 7.0);
        let hundred = figures((1..=101).map(f64::from).collect());
        assert_eq!((hundred.percentile(50), hundred.percentile(99)), (51.0, 100.0));
        assert_eq!(figures(vec![1.0, 2.0]).percentile(50), 2.0);
    }
}
