//! The tables, and their place in docs/performance.md.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};

use crate::machine;
use crate::report::{Figure, Run};
use crate::table::{Column, Form, Table, median};

const PAGE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- cargo xtask bench: begin -->";
const END: &str = "<!-- cargo xtask bench: end -->";

const TRAFFIC: [Column; 8] = [
    Column { title: "received/s", figure: Figure::Received, form: Form::Compared },
    Column { title: "broker, s/million", figure: Figure::BrokerTime, form: Form::Compared },
    Column { title: "of it kernel", figure: Figure::KernelShare, form: Form::Percent },
    Column { title: "p50", figure: Figure::MedianLatency, form: Form::Time },
    Column { title: "p99", figure: Figure::HighLatency, form: Form::Time },
    Column { title: "memory, MB", figure: Figure::Memory, form: Form::Number },
    Column { title: "load, s/million", figure: Figure::GeneratorTime, form: Form::Number },
    Column { title: "others, processors", figure: Figure::Noise, form: Form::Number },
];

const ACCEPTED: [Column; 3] = [
    Column { title: "a second", figure: Figure::Accepted, form: Form::Compared },
    Column { title: "broker, µs each", figure: Figure::AcceptTime, form: Form::Compared },
    Column { title: "memory, bytes each", figure: Figure::AcceptMemory, form: Form::Compared },
];

pub struct Page<'a> {
    /// With their versions.
    pub brokers: [Result<String>; 2],
    pub rounds: u32,
    pub seconds: u64,
    pub runs: &'a [Run],
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brokers: Vec<_> = self.brokers.iter().flatten().map(String::as_str).collect();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let noise = self.runs.iter().filter_map(|run| run.report.figures.get(&Figure::Noise));
        let mut noise: Vec<_> = noise.copied().collect();
        noise.sort_by(f64::total_cmp);
        writeln!(
            f,
            "{}; {}, Linux {}; medians of {} rounds of {} s. Other programs used {:.2} processors \
             in the median.\n",
            brokers.join(" and "),
            machine::processors(),
            kernel.trim(),
            self.rounds,
            self.seconds,
            median(&noise).unwrap_or(0.0),
        )?;
        writeln!(f, "{}", Table { columns: &TRAFFIC, runs: self.runs })?;
        writeln!(f, "{}", Table { columns: &ACCEPTED, runs: self.runs })?;
        for run in self.runs.iter().filter(|run| !run.report.remarks.is_empty()) {
            let remarks = run.report.remarks.join("; ");
            writeln!(
                f,
                "- {}, {}, round {}: {remarks}",
                run.row,
                run.broker.name(),
                run.round + 1
            )?;
        }
        Ok(())
    }
}

/// Puts the text between the marks of the page.
pub fn insert(text: &str) -> Result<()> {
    let page = fs::read_to_string(PAGE).with_context(|| format!("read {PAGE}"))?;
    let page = replace(&page, text).with_context(|| format!("{PAGE}: no {BEGIN} before {END}"))?;
    fs::write(PAGE, page).with_context(|| format!("write {PAGE}"))
}

fn replace(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_replace_what_stands_between_the_marks() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let replaced = replace(&page, "new\n").expect("marks");
        assert_eq!(replaced, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(replace(&replaced, "new"), Some(replaced.clone()));
        assert_eq!(replace("a", "new"), None);
    }
}
