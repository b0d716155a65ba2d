//! What is measured, row by row.

use std::time::Duration;

use hookmq_codec::Qos;

use crate::brokers::{Guest, Kind, Setting};
use crate::load::{Form, Load, Names, Pace, Plan, Shape};

/// Bytes of a payload.
const PAYLOAD: usize = 64;

pub struct Row {
    pub name: String,
    pub setting: Setting,
    pub brokers: &'static [Kind],
    pub task: Task,
}

pub enum Task {
    Traffic(Load),
    /// So many clients connect, and are idle.
    Connect {
        clients: usize,
    },
}

const BOTH: &[Kind] = &[Kind::HookMq, Kind::Mosquitto];
/// With what the sockets alone cost.
const ALL: &[Kind] = &[Kind::HookMq, Kind::Mosquitto, Kind::Relay];
const ALONE: &[Kind] = &[Kind::HookMq];

/// All of them; each measures for so long.
pub fn rows(measured: Duration) -> Vec<Row> {
    let rows = Rows { measured };
    [rows.plain(), rows.in_numbers(), rows.secured(), rows.durable(), rows.of_its_own()]
        .into_iter()
        .flatten()
        .collect()
}

impl Row {
    /// Open files that the broker and the load each need, beside a few.
    pub fn sockets(&self) -> usize {
        match &self.task {
            Task::Traffic(load) => load.plan.clients(),
            Task::Connect { clients } => *clients,
        }
    }
}

struct Rows {
    measured: Duration,
}

impl Rows {
    fn plain(&self) -> Vec<Row> {
        use Qos::{AtLeastOnce, AtMostOnce, ExactlyOnce};
        let mut rows = Vec::new();
        for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
            let load = self.load(Shape::FanIn, 20, 1, qos);
            rows.push(open(format!("fan-in 20→1, QoS {}", qos as u8), load));
        }
        for qos in [AtMostOnce, AtLeastOnce] {
            let brokers = if qos == AtMostOnce { ALL } else { BOTH };
            let name = format!("pairs 20→20, QoS {}", qos as u8);
            rows.push(Row { brokers, ..open(name, self.pairs(20, qos)) });
        }
        for qos in [AtMostOnce, AtLeastOnce] {
            let load = self.load(Shape::FanOut, 1, 100, qos);
            let load = Load { pace: windows(200), ..load };
            rows.push(open(format!("fan-out 1→100, QoS {}", qos as u8), load));
        }
        let load = Load { pace: Pace::Rate(2000.0), ..self.pairs(10, AtLeastOnce) };
        rows.push(open("latency at 2,000/s, QoS 1".to_owned(), load));
        rows
    }

    fn in_numbers(&self) -> Vec<Row> {
        let connect = Row {
            name: "connect 10,000".to_owned(),
            setting: Setting::Open,
            brokers: BOTH,
            task: Task::Connect { clients: 10_000 },
        };
        let shape = Shape::Table { filters: 200_000 };
        let load = self.load(shape, 10, 100, Qos::AtMostOnce);
        let load = Load { pace: windows(100), ..load };
        vec![connect, open("subscriptions 200,000, QoS 0".to_owned(), load)]
    }

    fn secured(&self) -> Vec<Row> {
        let row = |name: &str, setting, load| Row {
            setting,
            ..open(format!("pairs 20→20, {name}"), load)
        };
        let users = |qos| Load { names: Names::Users, ..self.pairs(20, qos) };
        let plain = self.pairs(20, Qos::AtMostOnce);
        vec![
            row("passwords and permissions, QoS 0", Setting::Users(20), users(Qos::AtMostOnce)),
            row("passwords and permissions, QoS 1", Setting::Users(20), users(Qos::AtLeastOnce)),
            row("TLS, QoS 0", Setting::Tls, plain.clone()),
            Row { brokers: ALONE, ..row("WebSocket, QoS 0", Setting::WebSocket, plain) },
        ]
    }

    fn durable(&self) -> Vec<Row> {
        let durable = |pairs| Load { durable: true, ..self.pairs(pairs, Qos::AtLeastOnce) };
        let row =
            |name: &str, load| Row { setting: Setting::Stored, ..open(name.to_owned(), load) };
        let at_a_rate = Load { pace: Pace::Rate(2000.0), ..durable(10) };
        vec![
            row("pairs 20→20, sessions on disk, QoS 1", durable(20)),
            row("latency at 2,000/s, sessions on disk, QoS 1", at_a_rate),
        ]
    }

    fn of_its_own(&self) -> Vec<Row> {
        let alone =
            |name: String, setting, load| Row { setting, brokers: ALONE, ..open(name, load) };
        let hooks = Load { form: Form::Json, ..self.pairs(20, Qos::AtMostOnce) };
        let mut rows = Vec::new();
        for (name, guest) in
            [("rate-guard", Guest::RateGuard), ("json-transform", Guest::JsonTransform)]
        {
            let name = format!("pairs 20→20, {name} and a rule, QoS 0");
            rows.push(alone(name, Setting::Hooks(guest), hooks.clone()));
        }
        for tenants in [1, 10, 100, 1000] {
            let load = Load {
                names: Names::Tenants(tenants),
                pace: windows(20),
                ..self.pairs(1000, Qos::AtMostOnce)
            };
            let name = format!("pairs 1,000→1,000, tenants {}, QoS 0", count(tenants));
            rows.push(alone(name, Setting::TenantsByName, load));
        }
        for clients in [200, 1000, 10_000] {
            let load = self.load(Shape::FanIn, clients, 1, Qos::AtLeastOnce);
            let load = Load { pace: Pace::Rate(clients as f64), ..load };
            let name = format!("connections {} at 1/s, QoS 1", count(clients));
            rows.push(alone(name, Setting::Open, load));
        }
        rows
    }

    fn pairs(&self, pairs: usize, qos: Qos) -> Load {
        self.load(Shape::Pairs, pairs, pairs, qos)
    }

    fn load(&self, shape: Shape, publishers: usize, subscribers: usize, qos: Qos) -> Load {
        Load {
            plan: Plan { shape, publishers, subscribers },
            qos,
            pace: windows(500),
            names: Names::None,
            form: Form::Binary,
            payload: PAYLOAD,
            durable: false,
            warm_up: Duration::from_secs(1),
            measured: self.measured,
        }
    }
}

fn open(name: String, load: Load) -> Row {
    Row { name, setting: Setting::Open, brokers: BOTH, task: Task::Traffic(load) }
}

fn windows(undelivered: u64) -> Pace {
    Pace::Windows { undelivered, unacknowledged: 100 }
}

/// With a comma between thousands.
fn count(number: usize) -> String {
    match (number / 1000, number % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_a_name_of_its_own() {
        let mut names: Vec<_> =
            rows(Duration::from_secs(1)).into_iter().map(|row| row.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn thousands_have_a_comma() {
        let shown = [7, 1000, 10_000, 12_345].map(count);
        assert_eq!(shown, ["7", "1,000", "10,000", "12,345"]);
    }
}
