//! The memory that the process takes: looked at every now and then. While it is short, nobody new is let
//! in and queues that are long grow no more; where that is not enough, they lose what nobody is guaranteed.
//!
//! The bounds of each queue say what one client may cost; this one says what all of them may.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tracing::{info, warn};

use super::Broker;
use super::limits::Limits;
use super::session_handle::SessionHandle;
use super::tenant::Tenant;

/// What a queue may always hold, in bytes: whoever keeps up has less.
pub const FRUGAL: usize = 16 << 10;

/// How often memory is looked at: far from the bound, and near it, where much may come between two looks.
const CALM: Duration = Duration::from_millis(100);
const ALERT: Duration = Duration::from_millis(10);

/// Of the bound, in percent: from where on it is looked at often; where memory is not short any more.
const NEAR: u64 = 70;
const ENOUGH: u64 = 95;

/// Of the memory there is, in percent, where no bound is set.
const DEFAULT_SHARE: u64 = 75;

/// What the process may take, and whether it does.
#[derive(Debug)]
pub struct Memory {
    /// Bytes.
    most: u64,
    resident: AtomicU64,
    short: AtomicBool,
}

impl Default for Memory {
    /// Without a bound.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Memory {
    pub fn of(limits: &Limits) -> Self {
        Self::new(match limits.memory {
            0 => default_bound(),
            bytes => bytes,
        })
    }

    fn new(most: u64) -> Self {
        Self { most, resident: AtomicU64::new(0), short: AtomicBool::new(false) }
    }

    /// The bound, in bytes.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// What the process had in memory when it was last looked at, in bytes.
    pub fn resident(&self) -> u64 {
        self.resident.load(Relaxed)
    }

    #[inline]
    pub fn is_short(&self) -> bool {
        self.short.load(Relaxed)
    }

    /// Takes note of so many resident bytes; gives how many are too many.
    fn note(&self, resident: u64) -> u64 {
        self.resident.store(resident, Relaxed);
        let was_short = self.is_short();
        let (resident_mib, most_mib) = (resident >> 20, self.most >> 20);
        if !was_short && resident > self.most {
            warn!(
                resident_mib,
                most_mib, "memory is short: nobody new is let in, queues stay small"
            );
            self.short.store(true, Relaxed);
        } else if was_short && resident < self.most / 100 * ENOUGH {
            info!(resident_mib, most_mib, "memory is not short any more");
            self.short.store(false, Relaxed);
        }
        resident.saturating_sub(self.most)
    }
}

/// Looks at the memory for as long as the task lives.
pub async fn run(broker: Arc<Broker>) {
    let memory = &broker.memory;
    loop {
        let resident = match resident() {
            Ok(resident) => resident,
            Err(error) => {
                warn!(%error, "the memory that the broker takes cannot be told: it has no bound");
                std::future::pending().await
            }
        };
        let excess = memory.note(resident);
        // Where there is nothing to let go of, all sessions are not looked through all the time.
        let is_stuck = excess > 0 && shed(&broker, excess) == 0;
        let is_near = resident > memory.most / 100 * NEAR;
        tokio::time::sleep(if is_near && !is_stuck { ALERT } else { CALM }).await;
    }
}

/// Drops so many bytes of QoS 0 that wait, of the longest queues first; gives how many these were.
fn shed(broker: &Broker, excess: u64) -> u64 {
    let sessions = |tenant: &Arc<Tenant>| -> Vec<Arc<SessionHandle>> {
        tenant.sessions.lock().values().cloned().collect()
    };
    let all = broker.tenants().into_iter().flat_map(|tenant| sessions(&tenant));
    let mut long: Vec<_> = all
        .map(|session| (session.mailbox.bytes_in_memory(), session))
        .filter(|(bytes, _)| *bytes > FRUGAL)
        .collect();
    long.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let mut freed = 0;
    for (_, session) in long {
        if freed >= excess {
            break;
        }
        let (messages, bytes) = session.mailbox.shed();
        broker.metrics.messages_overflowed.add(messages);
        freed += bytes;
    }
    freed
}

/// What the process has in memory, in bytes (proc(5), `status`).
fn resident() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    kibibytes(&status, "VmRSS:").ok_or_else(|| io::Error::other("no VmRSS in /proc/self/status"))
}

/// The bytes in a line such as `MemTotal:  1024 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// The bound where none is set: of what the machine has, or the control group that the process is in.
fn default_bound() -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of_group = |file: &Path| fs::read_to_string(Path::new("/sys/fs/cgroup").join(file)).ok();
    let most = least(&machine, &groups, of_group);
    most.map_or(u64::MAX, |most| most / 100 * DEFAULT_SHARE)
}

/// The least of `MemTotal` and of what the control groups, their own and above, allow.
fn least(meminfo: &str, groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut bounds: Vec<u64> = kibibytes(meminfo, "MemTotal:").into_iter().collect();
    for line in groups.lines() {
        // `0::/path` of version 2, `4:memory:/path` of version 1.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("", "memory.max"),
            it if it.split(',').any(|it| it == "memory") => ("memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // Within a container the path may lead nowhere, and its own group is at the top.
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let bound = read(&Path::new(root).join(group).join(file));
            bounds.extend(bound.and_then(|bound| bound.trim().parse::<u64>().ok()));
        }
    }
    bounds.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_until_there_is_enough_again() {
        let memory = Memory::new(1000 << 20);
        assert_eq!(memory.note(1000 << 20), 0);
        assert!(!memory.is_short());
        assert_eq!(memory.note(1001 << 20), 1 << 20);
        assert!(memory.is_short());
        assert_eq!(memory.note(960 << 20), 0);
        assert!(memory.is_short());
        memory.note(940 << 20);
        assert!(!memory.is_short());
    }

    #[test]
    fn the_least_bound_of_all_groups_counts() {
        let meminfo = "MemTotal:       1000 kB\nMemFree:  1 kB\n";
        let no_files = |_: &Path| None;
        assert_eq!(least(meminfo, "", no_files), Some(1000 << 10));
        assert_eq!(least("", "0::/a/b\n", no_files), None);
        let second = |file: &Path| match file.to_str() {
            Some("a/b/memory.max") => Some("max\n".into()),
            Some("a/memory.max") => Some("4096\n".into()),
            _ => None,
        };
        assert_eq!(least(meminfo, "0::/a/b\n", second), Some(4096));
        let first = |file: &Path| {
            (file == Path::new("memory/memory.limit_in_bytes")).then(|| "8192\n".into())
        };
        assert_eq!(least(meminfo, "5:cpu:/x\n4:memory:/docker/1\n", first), Some(8192));
    }
}
