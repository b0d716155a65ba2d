//! The store's figures in Prometheus' text form.

use std::fmt::Write;

use hookmq_store::{Durability, Figures, Room, WRITING_BOUNDS};

use super::escaped;
use crate::broker::protocol::Promise;

/// Nothing where nothing is stored. Writing to a string does not fail.
pub(super) fn write(text: &mut String, figures: Option<Figures>) {
    let Some(figures) = figures else { return };
    for (name, kind, value) in [
        ("commits_total", "counter", figures.commits),
        ("changes_total", "counter", figures.changes),
        ("written_bytes_total", "counter", figures.bytes_written),
        ("queued_commits", "gauge", figures.queued_commits as u64),
        ("queued_changes", "gauge", figures.queued_changes as u64),
        ("queued_bytes", "gauge", figures.queued_bytes as u64),
        ("waiting", "gauge", figures.waiting as u64),
        ("file_bytes", "gauge", figures.file_bytes),
    ] {
        let _ = writeln!(text, "# TYPE hookmq_store_{name} {kind}\nhookmq_store_{name} {value}");
    }
    text.push_str("# TYPE hookmq_store_room gauge\n");
    for (name, room) in
        [("open", Room::Open), ("busy", Room::Busy), ("full", Room::Full), ("failed", Room::Failed)]
    {
        let is_so = u8::from(figures.room == room);
        let _ = writeln!(text, "hookmq_store_room{{state=\"{name}\"}} {is_so}");
    }
    let name = "hookmq_store_transaction_seconds";
    let _ = writeln!(text, "# TYPE {name} histogram");
    let mut below = 0;
    for (count, bound) in figures.writing_up_to.into_iter().zip(WRITING_BOUNDS) {
        below += count;
        let bound = bound.as_secs_f64();
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {below}");
    }
    let (all, sum) = (figures.transactions, figures.writing.as_secs_f64());
    let _ =
        writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {sum}\n{name}_count {all}");
}

/// What acknowledgements stand for, by default and where it is otherwise.
pub(super) fn write_promise(text: &mut String, promise: &Promise) {
    let name = "hookmq_store_durability";
    let _ = writeln!(text, "# TYPE {name} gauge");
    let mut write = |whose: &str, durability: Durability| {
        let mode = durability.name();
        let _ = writeln!(text, "{name}{{{whose}mode=\"{mode}\"}} 1");
    };
    write("", promise.durability);
    for (label, names) in
        [("listener", &promise.memory_listeners), ("tenant", &promise.memory_tenants)]
    {
        for name in names {
            write(&format!("{label}=\"{}\",", escaped(name)), Durability::Memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn figures_are_lines_and_no_store_is_no_line() {
        let mut text = String::new();
        write(&mut text, None);
        assert_eq!(text, "");
        let figures = Figures {
            commits: 9,
            changes: 20,
            transactions: 6,
            bytes_written: 4_000,
            writing: Duration::from_millis(3_250),
            writing_up_to: [1, 0, 2, 0, 0, 2],
            queued_commits: 3,
            queued_changes: 4,
            queued_bytes: 500,
            waiting: 2,
            room: Room::Busy,
            file_bytes: 8_192,
        };
        write(&mut text, Some(figures));
        for line in [
            "# TYPE hookmq_store_commits_total counter",
            "hookmq_store_commits_total 9",
            "hookmq_store_changes_total 20",
            "hookmq_store_written_bytes_total 4000",
            "# TYPE hookmq_store_queued_commits gauge",
            "hookmq_store_queued_commits 3",
            "hookmq_store_queued_changes 4",
            "hookmq_store_queued_bytes 500",
            "hookmq_store_waiting 2",
            "hookmq_store_file_bytes 8192",
            "hookmq_store_room{state=\"open\"} 0",
            "hookmq_store_room{state=\"busy\"} 1",
            "hookmq_store_transaction_seconds_bucket{le=\"0.001\"} 1",
            "hookmq_store_transaction_seconds_bucket{le=\"0.025\"} 3",
            "hookmq_store_transaction_seconds_bucket{le=\"2.5\"} 5",
            "hookmq_store_transaction_seconds_bucket{le=\"+Inf\"} 6",
            "hookmq_store_transaction_seconds_sum 3.25",
            "hookmq_store_transaction_seconds_count 6",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }
}
