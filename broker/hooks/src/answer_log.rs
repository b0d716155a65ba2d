//! A step whose answers are explained in the log: some of them, at a bounded rate.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use crate::{Note, Question, Version};

/// A real answer, without payloads.
#[derive(Clone, Copy)]
pub struct LoggedAnswer<'a> {
    pub question: &'a Question,
    pub version: &'a Version,
    /// As [`Answer::describe`](crate::Answer::describe) shows it, [`redacted`](crate::redacted).
    pub answer: &'a Value,
    pub took: Duration,
    /// The permission's row id, the rule's line.
    pub notes: &'a [Note],
    /// Answers since the last one that was logged.
    pub left_out: u64,
}

/// Answers of one step that are logged in a second. The others are counted.
const MOST: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// Whose turn it is to be logged.
#[derive(Debug)]
pub(crate) struct AnswerLog(Mutex<Window>);

#[derive(Debug)]
struct Window {
    start: Instant,
    logged: u32,
    left_out: u64,
}

impl AnswerLog {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Window { start: now, logged: 0, left_out: 0 }))
    }

    /// Whether the present answer is logged; then, how many before it were not.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock();
        if now.saturating_duration_since(window.start) >= SECOND {
            (window.start, window.logged) = (now, 0);
        }
        if window.logged >= MOST {
            window.left_out += 1;
            return None;
        }
        window.logged += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_rate_is_counted() {
        let start = Instant::now();
        let log = AnswerLog::new(start);
        assert_eq!((0..15).filter_map(|_| log.admit(start)).count(), 10);
        assert_eq!(log.admit(start + SECOND), Some(5));
        assert_eq!(log.admit(start + SECOND), Some(0));
    }
}
