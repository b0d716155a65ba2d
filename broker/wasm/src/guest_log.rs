//! What guests write to the broker's log, bounded in length and rate, or to a journal of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_hooks::{is_rehearsed, note};
use parking_lot::Mutex;
use tracing::Level;

const MAX_LINE_BYTES: usize = 4 << 10;
const LINES_PER_WINDOW: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Keeps what a plugin logs in the place of the broker's log.
pub trait Journal: Send + Sync {
    /// Takes one line, which may be long and hold anything.
    fn write(&self, level: Level, line: &str);
}

/// The log of one version of a plugin, shared by all its instances.
pub(crate) struct GuestLog {
    plugin: String,
    window: Mutex<Window>,
    journal: Option<Arc<dyn Journal>>,
}

struct Window {
    start: Instant,
    lines: u32,
}

/// What to do with a line.
enum Admission {
    Write,
    /// The first line after so many were left out.
    WriteAfter(u32),
    Leave,
}

impl GuestLog {
    pub(crate) fn new(plugin: String, journal: Option<Arc<dyn Journal>>) -> Self {
        let window = Mutex::new(Window { start: Instant::now(), lines: 0 });
        Self { plugin, window, journal }
    }

    /// Writes a line, or counts it where the plugin has written too many.
    pub(crate) fn write(&self, tenant: &str, level: Level, line: &str) {
        if is_rehearsed() {
            return note("log", || cut(line, MAX_LINE_BYTES).to_owned());
        }
        if let Some(journal) = &self.journal {
            return journal.write(level, cut(line, MAX_LINE_BYTES));
        }
        let plugin = self.plugin.as_str();
        match self.window.lock().admit(Instant::now()) {
            Admission::Leave => return,
            Admission::Write => {}
            Admission::WriteAfter(left_out) => {
                tracing::warn!(plugin, left_out, "plugin wrote too many log lines");
            }
        }
        // Debug formatting escapes what could pass for another line.
        let line = cut(line, MAX_LINE_BYTES);
        match level {
            Level::ERROR => tracing::error!(plugin, tenant, ?line, "plugin log"),
            Level::WARN => tracing::warn!(plugin, tenant, ?line, "plugin log"),
            Level::INFO => tracing::info!(plugin, tenant, ?line, "plugin log"),
            Level::DEBUG => tracing::debug!(plugin, tenant, ?line, "plugin log"),
            Level::TRACE => tracing::trace!(plugin, tenant, ?line, "plugin log"),
        }
    }
}

impl Window {
    fn admit(&mut self, now: Instant) -> Admission {
        let left_out = self.lines.saturating_sub(LINES_PER_WINDOW);
        let fresh = now.duration_since(self.start) >= WINDOW;
        if fresh {
            (self.start, self.lines) = (now, 0);
        }
        self.lines = self.lines.saturating_add(1);
        match self.lines {
            _ if fresh && left_out > 0 => Admission::WriteAfter(left_out),
            1..=LINES_PER_WINDOW => Admission::Write,
            _ => Admission::Leave,
        }
    }
}

/// The longest beginning of `text` within `limit` bytes.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_counted_and_told_in_the_next_window() {
        let start = Instant::now();
        let mut window = Window { start, lines: 0 };
        for _ in 0..LINES_PER_WINDOW {
            assert!(matches!(window.admit(start), Admission::Write));
        }
        for _ in 0..7 {
            assert!(matches!(window.admit(start), Admission::Leave));
        }
        assert!(matches!(window.admit(start + WINDOW), Admission::WriteAfter(7)));
        assert!(matches!(window.admit(start + WINDOW), Admission::Write));
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 9), "aé");
    }
}
