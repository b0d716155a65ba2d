//! Load averages over 1, 5 and 15 minutes, as Mosquitto and Unix have them.

use std::time::Instant;

use crate::broker::metrics::Metrics;

/// What happens per minute, averaged so that what is longer ago counts less.
pub struct Loads {
    at: Instant,
    series: [Series; 9],
}

struct Series {
    /// Of the three averages.
    topics: [&'static str; 3],
    read: fn(&Metrics) -> u64,
    last: u64,
    averages: [f64; 3],
}

/// After so many minutes a figure counts 1/e.
const MINUTES: [f64; 3] = [1.0, 5.0, 15.0];

macro_rules! series {
    ($($name:literal: $read:expr;)*) => {
        [$(Series {
            topics: [
                concat!("$SYS/broker/load/", $name, "/1min"),
                concat!("$SYS/broker/load/", $name, "/5min"),
                concat!("$SYS/broker/load/", $name, "/15min"),
            ],
            read: $read,
            last: 0,
            averages: [0.0; 3],
        },)*]
    };
}

impl Loads {
    pub fn new(metrics: &Metrics, now: Instant) -> Self {
        let mut series = series! {
            "messages/received": |metrics| metrics.traffic.sum().packets_received;
            "messages/sent": |metrics| metrics.traffic.sum().packets_sent;
            "bytes/received": |metrics| metrics.traffic.sum().bytes_received;
            "bytes/sent": |metrics| metrics.traffic.sum().bytes_sent;
            "publish/received": |metrics| metrics.traffic.sum().messages_received;
            "publish/sent": |metrics| metrics.traffic.sum().messages_sent;
            "publish/dropped": |metrics| metrics.messages_dropped();
            "connections": |metrics| metrics.connections_accepted.value();
            "sockets": |metrics| metrics.sockets_accepted.value();
        };
        for series in &mut series {
            series.last = (series.read)(metrics);
        }
        Self { at: now, series }
    }

    /// Takes in what has happened since the last time.
    pub fn update(&mut self, metrics: &Metrics, now: Instant) {
        let minutes = now.duration_since(self.at).as_secs_f64() / 60.0;
        if minutes <= 0.0 {
            return;
        }
        self.at = now;
        for series in &mut self.series {
            let value = (series.read)(metrics);
            let rate = (value - series.last) as f64 / minutes;
            series.last = value;
            for (average, span) in series.averages.iter_mut().zip(MINUTES) {
                *average = rate + (-minutes / span).exp() * (*average - rate);
            }
        }
    }

    /// Per minute, by topic.
    pub fn figures(&self) -> Vec<(&'static str, f64)> {
        let figures = |series: &Series| series.topics.into_iter().zip(series.averages);
        self.series.iter().flat_map(figures).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_steady_rate_becomes_the_average_the_sooner_the_shorter_the_span() {
        let metrics = Metrics::default();
        let mut now = Instant::now();
        let mut loads = Loads::new(&metrics, now);
        for _ in 0..30 {
            metrics.sockets_accepted.add(10);
            now += Duration::from_secs(10);
            loads.update(&metrics, now);
        }
        let figures: Vec<f64> = loads
            .figures()
            .into_iter()
            .filter(|(topic, _)| topic.contains("/sockets/"))
            .map(|(_, value)| value)
            .collect();
        // 60 a minute, for five minutes: 60 * (1 - exp(-5/span)).
        for (value, span) in figures.iter().zip([1.0, 5.0, 15.0]) {
            let expected = 60.0 * (1.0 - f64::exp(-5.0 / span));
            assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
        }
        assert_eq!(figures.len(), 3);
    }
}
