//! What one measurement has come to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::brokers::Kind;
use crate::load::{Crowd, Load, SetUp, Shape, Traffic};

/// One measurement.
pub struct Run {
    pub row: String,
    pub broker: Kind,
    pub round: u32,
    pub report: Report,
}

#[derive(Default)]
pub struct Report {
    pub figures: BTreeMap<Figure, f64>,
    /// What was wrong: losses, errors.
    pub remarks: Vec<String>,
}

/// What is measured. The name is that of the figure in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Messages that subscribers got in a second.
    Received,
    /// Processor time of the broker for each of them, in microseconds: seconds for a million.
    BrokerTime,
    /// How much of it is the kernel's: 0 to 1.
    KernelShare,
    /// The load's processor time for each of them, in microseconds.
    GeneratorTime,
    /// Microseconds from when a message was due until it was read.
    MedianLatency,
    HighLatency,
    /// Megabytes of the broker, at the end.
    Memory,
    /// Processors that neither broker nor load used.
    Noise,
    /// Connections or subscriptions, in a second.
    Accepted,
    /// Processor time of the broker for each of them, in microseconds.
    AcceptTime,
    /// Bytes of the broker's memory for each of them.
    AcceptMemory,
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::Received => "received_per_s",
            Self::BrokerTime => "broker_us_per_message",
            Self::KernelShare => "kernel_share",
            Self::GeneratorTime => "generator_us_per_message",
            Self::MedianLatency => "latency_p50_us",
            Self::HighLatency => "latency_p99_us",
            Self::Memory => "memory_mb",
            Self::Noise => "other_processors",
            Self::Accepted => "accepted_per_s",
            Self::AcceptTime => "broker_us_per_accepted",
            Self::AcceptMemory => "bytes_per_accepted",
        }
    }
}

impl Report {
    pub fn failed(error: String) -> Self {
        Self { remarks: vec![error], ..Self::default() }
    }

    pub fn of_traffic(load: &Load, traffic: &Traffic) -> Self {
        let mut report = Self::default();
        let messages = traffic.received as f64;
        let seconds = traffic.measured.as_secs_f64();
        let processor = &traffic.processor;
        let mut set = |figure, value: f64| {
            report.figures.insert(figure, value);
        };
        set(Figure::Received, messages / seconds);
        if traffic.received > 0 {
            set(Figure::BrokerTime, microseconds(processor.broker) / messages);
            set(Figure::GeneratorTime, microseconds(processor.generator) / messages);
        }
        set(Figure::KernelShare, processor.kernel.as_secs_f64() / processor.broker.as_secs_f64());
        for (figure, share) in [(Figure::MedianLatency, 0.5), (Figure::HighLatency, 0.99)] {
            if let Some(latency) = traffic.latencies.quantile(share) {
                set(figure, microseconds(latency));
            }
        }
        set(Figure::Memory, traffic.resident as f64 / 1e6);
        set(Figure::Noise, processor.others().as_secs_f64() / seconds);
        if let Shape::Table { filters } = load.plan.shape {
            report.set_up(&traffic.set_up, filters as f64);
        }
        let faults = &traffic.faults;
        let counts = [
            ("lost", faults.lost),
            ("duplicates", faults.duplicates),
            ("out of order", faults.disordered),
            ("unacknowledged", faults.unacknowledged),
            ("stalls", faults.stalls),
            ("clients disconnected", faults.disconnected),
        ];
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        report.remarks.extend(counts.map(|(what, count)| format!("{what}: {count}")));
        report.remarks.extend(faults.first_error.clone());
        report
    }

    pub fn of_crowd(crowd: &Crowd) -> Self {
        let mut report = Self::default();
        report.set_up(&crowd.set_up, crowd.clients as f64);
        let noise = crowd.processor.others().as_secs_f64() / crowd.set_up.lasted.as_secs_f64();
        report.figures.insert(Figure::Noise, noise);
        report
    }

    fn set_up(&mut self, set_up: &SetUp, count: f64) {
        self.figures.extend([
            (Figure::Accepted, count / set_up.lasted.as_secs_f64()),
            (Figure::AcceptTime, microseconds(set_up.processor) / count),
            (Figure::AcceptMemory, set_up.grown as f64 / count),
        ]);
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, round {}:", self.row, self.broker.name(), self.round + 1)?;
        for (figure, value) in &self.report.figures {
            write!(f, " {} {value:.2}", figure.name())?;
        }
        self.report.remarks.iter().try_for_each(|remark| write!(f, " | {remark}"))
    }
}

/// All runs, as they were.
pub fn json(runs: &[Run]) -> Result<String> {
    let runs = runs.iter().map(|run| {
        let figures: BTreeMap<_, _> =
            run.report.figures.iter().map(|(figure, value)| (figure.name(), value)).collect();
        json!({
            "row": run.row,
            "broker": run.broker.name(),
            "round": run.round + 1,
            "figures": figures,
            "remarks": run.report.remarks,
        })
    });
    Ok(serde_json::to_string_pretty(&runs.collect::<Vec<_>>())?)
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
