//! Medians of the rounds, in Markdown.

use std::fmt::{self, Write};

use crate::brokers::Kind;
use crate::report::{Figure, Run};

/// One table: a line for each row and broker that has its figures.
pub struct Table<'a> {
    pub columns: &'a [Column],
    pub runs: &'a [Run],
}

pub struct Column {
    pub title: &'static str,
    pub figure: Figure,
    pub form: Form,
}

/// How a column shows a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Number,
    /// The same, with how far the rounds lie apart, and how many times the first broker's it is.
    Compared,
    Percent,
    /// Of microseconds.
    Time,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles: Vec<_> = self.columns.iter().map(|column| column.title).collect();
        writeln!(f, "| load | broker | {} |", titles.join(" | "))?;
        writeln!(f, "|---|---|{}", "---:|".repeat(titles.len()))?;
        let mut rows: Vec<&str> = self.runs.iter().map(|run| &*run.row).collect();
        rows.dedup();
        for row in rows {
            for broker in [Kind::HookMq, Kind::Mosquitto, Kind::Relay] {
                let cells: Vec<_> =
                    self.columns.iter().map(|column| self.cell(row, broker, column)).collect();
                if cells[0].is_some() {
                    let cells: Vec<_> = cells.into_iter().map(Option::unwrap_or_default).collect();
                    writeln!(f, "| {row} | {} | {} |", broker.name(), cells.join(" | "))?;
                }
            }
        }
        Ok(())
    }
}

impl Table<'_> {
    fn cell(&self, row: &str, broker: Kind, column: &Column) -> Option<String> {
        let values = self.values(row, broker, column.figure);
        let value = median(&values)?;
        let mut cell = match column.form {
            Form::Number | Form::Compared => number(value),
            Form::Percent => format!("{:.0} %", value * 100.0),
            Form::Time => time(value),
        };
        if column.form == Form::Compared {
            if values.len() > 1 && value > 0.0 {
                let spread = values[values.len() - 1] - values[0];
                write!(cell, " ±{:.0} %", spread / value * 50.0).ok()?;
            }
            let first = median(&self.values(row, Kind::HookMq, column.figure));
            if let Some(first) = first.filter(|first| broker != Kind::HookMq && *first > 0.0) {
                write!(cell, " ({:.2}×)", value / first).ok()?;
            }
        }
        Some(cell)
    }

    /// In ascending order.
    fn values(&self, row: &str, broker: Kind, figure: Figure) -> Vec<f64> {
        let runs = self.runs.iter().filter(|run| run.row == row && run.broker == broker);
        let mut values: Vec<_> =
            runs.filter_map(|run| run.report.figures.get(&figure).copied()).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// The middle of values in order, or of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

/// Three digits, or all that stand before the point, in groups of three.
fn number(value: f64) -> String {
    match value.abs() {
        0.0..9.995 => format!("{value:.2}"),
        9.995..99.95 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let groups: Vec<_> =
                digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
            groups.join(",")
        }
    }
}

fn time(microseconds: f64) -> String {
    match microseconds {
        0.0..1000.0 => format!("{} µs", number(microseconds)),
        _ => format!("{} ms", number(microseconds / 1000.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    fn run(broker: Kind, value: f64) -> Run {
        let figures = [(Figure::Received, value)].into();
        let report = Report { figures, remarks: Vec::new() };
        Run { row: "fan-in".to_owned(), broker, round: 0, report }
    }

    #[test]
    fn a_line_shows_the_median_the_spread_and_the_ratio() {
        let runs = [90.0, 110.0, 100.0].map(|value| run(Kind::HookMq, value));
        let others = [run(Kind::Mosquitto, 50.0)];
        let runs: Vec<_> = runs.into_iter().chain(others).collect();
        let column = Column { title: "received/s", figure: Figure::Received, form: Form::Compared };
        let table = Table { columns: &[column], runs: &runs }.to_string();
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            ["| fan-in | HookMQ | 100 ±10 % |", "| fan-in | Mosquitto | 50.0 (0.50×) |"]
        );
    }

    #[test]
    fn a_row_without_the_figures_is_left_out() {
        let column = Column { title: "a second", figure: Figure::Accepted, form: Form::Number };
        let table = Table { columns: &[column], runs: &[run(Kind::HookMq, 1.0)] }.to_string();
        assert_eq!(table.lines().count(), 2);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0]), Some(1.0));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }

    #[test]
    fn numbers_are_as_long_as_they_are_exact() {
        let shown = [0.0, 1.234, 9.999, 12.34, 123.4, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.00", "1.23", "10.0", "12.3", "123", "1,234,567"]);
        assert_eq!(time(12.34), "12.3 µs");
        assert_eq!(time(12_340.0), "12.3 ms");
    }
}
