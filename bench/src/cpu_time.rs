//! Processor time in place of wall time: the same on a busy machine and a quiet one, nearly.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};

/// What the calling thread has run.
pub struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_time()
    }

    fn end(&self, start: Duration) -> Duration {
        thread_time() - start
    }

    fn add(&self, left: &Duration, right: &Duration) -> Duration {
        *left + *right
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, time: &Duration) -> f64 {
        time.as_nanos() as f64
    }

    /// Nanoseconds, as wall time has.
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

#[allow(unsafe_code)]
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, and `time` is one.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "the system counts the processor time of threads");
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Lets others run before the calling thread.
#[allow(unsafe_code)]
pub fn lower_priority() {
    // SAFETY: the call takes numbers alone. 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    assert_eq!(result, 0, "anybody may lower a priority");
}

/// Has the calling thread run only when nobody else would: where many threads of a low priority are ready,
/// each of them still has slices of milliseconds, one after another.
#[allow(unsafe_code)]
pub fn run_when_idle() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads one sched_param, and `parameters` is one. 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) };
    assert_eq!(result, 0, "anybody may lower a priority");
}
