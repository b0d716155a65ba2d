//! What the kernel tells of processes: processor time and memory.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Processor time of a broker and of all others, since each began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Processor {
    /// The broker's, with that of its children.
    pub broker: Duration,
    /// How much of it the kernel used, which is mostly what sockets cost.
    pub kernel: Duration,
    /// This program's, which is the load's.
    pub generator: Duration,
    /// The whole machine's, what its host took from it included.
    machine: Duration,
}

impl Processor {
    pub fn now(broker: u32) -> Result<Self> {
        let mut times = Self { machine: machine()?, ..Self::default() };
        for id in family(broker)? {
            // A child may end in between; then it is its parent's time.
            if let Ok(process) = Process::read(id) {
                times.broker += ticks(process.user + process.kernel);
                times.kernel += ticks(process.kernel);
            }
        }
        let own = Process::read(std::process::id())?;
        times.generator = ticks(own.user + own.kernel);
        Ok(times)
    }

    /// What has been used since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            broker: self.broker.saturating_sub(before.broker),
            kernel: self.kernel.saturating_sub(before.kernel),
            generator: self.generator.saturating_sub(before.generator),
            machine: self.machine.saturating_sub(before.machine),
        }
    }

    /// What neither broker nor load has used: the noise.
    pub fn others(&self) -> Duration {
        self.machine.saturating_sub(self.broker + self.generator)
    }
}

/// Bytes of memory that a broker and its children have at present.
pub fn resident(broker: u32) -> Result<u64> {
    let of = |id| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kibibytes.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    Ok(family(broker)?.into_iter().map(of).sum())
}

/// Allows this program and what it starts as many open files as it may have; how many that is.
pub fn allow_files() -> Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(maximum.unwrap_or(u64::MAX))
}

/// The processors that there are, and what they are called.
pub fn processors() -> String {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let known = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = known.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{count} × {}", name.map_or("a processor", |(_, name)| name))
}

struct Process {
    parent: u32,
    /// Ticks, with those of children that have ended.
    user: u64,
    kernel: u64,
}

impl Process {
    fn read(id: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        Self::parse(&stat).with_context(|| format!("/proc/{id}/stat"))
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name before them may hold anything.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
        Some(Self {
            parent: number(1)? as u32,
            user: number(11)? + number(13)?,
            kernel: number(12)? + number(14)?,
        })
    }
}

/// The process and those below it.
fn family(id: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Ok(process) = Process::read(id) {
            parents.push((id, process.parent));
        }
    }
    let mut family = vec![id];
    let mut known = 0;
    while let Some(parent) = family.get(known).copied() {
        family.extend(parents.iter().filter(|(_, it)| *it == parent).map(|(id, _)| *id));
        known += 1;
    }
    Ok(family)
}

fn machine() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let times: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
    let busy = times.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    Ok(ticks(busy.map(|(_, time)| time).sum()))
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_a_name_that_holds_anything() {
        let stat = "42 (a ) b (c) 1) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 5 6 20 0 9 0 1";
        let process = Process::parse(stat).expect("a line of the kernel's");
        assert_eq!((process.parent, process.user, process.kernel), (7, 105, 26));
    }

    #[test]
    fn a_process_is_of_its_own_family() {
        assert!(family(std::process::id()).expect("/proc").contains(&std::process::id()));
        assert!(resident(std::process::id()).expect("/proc") > 0);
    }
}
