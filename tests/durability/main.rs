//! What survives SIGKILL, directed: one promise each. The crash test looks for what nobody thought of.

#![allow(clippy::unwrap_used)]

mod abroad;
mod backlog;
mod clock_jumps;
mod exchanges;
mod failing_disk;
mod files;
mod full_disk;
mod order;
mod power_cut;
mod published;
mod shared;
mod slow_disk;
mod state;
mod trouble;
mod wills;

use hookmq_codec::{Connect, ProtocolVersion, Qos};
use hookmq_tests::broker::{Broker, OPEN_LISTENER};
use hookmq_tests::client::{Client, connect, connect_to_session};

/// A broker whose store outlives it, and the version that its clients speak.
struct Stage {
    broker: Broker,
    version: ProtocolVersion,
}

/// Plays `scenario` for 3.1.1 and for 5.0, each on a broker of its own.
fn in_both_versions(scenario: impl Fn(&mut Stage)) {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        eprintln!("MQTT {}:", version.name());
        scenario(&mut Stage::new(version, ""));
    }
}

impl Stage {
    fn new(version: ProtocolVersion, sections: &str) -> Self {
        Self { broker: Broker::open_with_sections(sections), version }
    }

    /// Kills the broker and starts it again.
    fn crash(&mut self) {
        self.broker.address(OPEN_LISTENER);
        self.broker.restart();
    }

    fn connect(&self, connect: Connect<'_>) -> Client {
        Client::connect(self.broker.address(OPEN_LISTENER), connect).0
    }

    /// A client with a clean start, whose session ends with the connection.
    fn client(&self, client_id: &str) -> Client {
        self.connect(connect(self.version, client_id))
    }

    /// A client that begins a session which outlives the connection, or goes on with it.
    fn session(&self, client_id: &str) -> Client {
        self.connect(connect_to_session(self.version, client_id, 3600))
    }

    /// Leaves a session that is subscribed to `filter`.
    fn away(&self, client_id: &str, filter: &str, qos: Qos) {
        let mut client = self.session(client_id);
        client.subscribe(filter, qos);
        client.disconnect();
    }

    /// As [`Self::session`], for a session that must be there.
    #[track_caller]
    fn resume(&self, client_id: &str) -> Client {
        let connect = connect_to_session(self.version, client_id, 3600);
        let (client, answer) = Client::connect(self.broker.address(OPEN_LISTENER), connect);
        assert!(answer.session_present(), "the session of {client_id} is forgotten");
        client
    }

    /// Waits until everything that was said before is durable, whether it was acknowledged or not.
    fn flush(&self) {
        self.session("flush").disconnect();
        self.client("flush").disconnect();
    }

    /// Sessions that outlive their connections, as the admin API sees them, and what waits for each.
    fn sessions(&self) -> Vec<(String, u64)> {
        let (status, body) = self.broker.admin().get("/api/v1/clients");
        assert_eq!(status, 200, "{body}");
        let sessions = body["items"].as_array().unwrap().iter();
        let sessions = sessions.filter(|it| it["outlives_connection"] == true);
        let id = |it: &serde_json::Value| it["client_id"].as_str().unwrap().to_owned();
        sessions.map(|it| (id(it), it["queued"].as_u64().unwrap())).collect()
    }
}
