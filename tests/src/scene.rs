//! A broker that is open to everybody, and the protocol version that its clients speak in a test.

use std::net::SocketAddr;

use hookmq_codec::{Connect, ProtocolVersion};

use crate::broker::{Broker, OPEN_LISTENER, add_rules, directory};
use crate::client::{Client, connect, connect_to_session};

/// Where a scenario plays.
pub struct Scene {
    pub broker: Broker,
    pub address: SocketAddr,
    pub version: ProtocolVersion,
}

/// Plays `scenario` twice, for 3.1.1 and for 5.0, each on a broker of its own.
pub fn in_both_versions(scenario: impl Fn(&mut Scene)) {
    in_both_versions_within("", scenario);
}

/// As [`in_both_versions`], with this body of the section `limits`.
pub fn in_both_versions_within(limits: &str, scenario: impl Fn(&mut Scene)) {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        eprintln!("MQTT {}:", version.name());
        scenario(&mut Scene::new(version, limits));
    }
}

/// As [`in_both_versions`], with one rule that is asked in connect, authorize and publish, before the
/// builtins that let everybody do anything.
pub fn in_both_versions_with_rule(rule: &str, scenario: impl Fn(&mut Scene)) {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        eprintln!("MQTT {}:", version.name());
        scenario(&mut Scene::with_rule(version, rule));
    }
}

impl Scene {
    pub fn v311() -> Self {
        Self::new(ProtocolVersion::V311, "")
    }

    pub fn v5() -> Self {
        Self::new(ProtocolVersion::V5, "")
    }

    /// `limits` is the body of the section of that name.
    pub fn new(version: ProtocolVersion, limits: &str) -> Self {
        let broker = if limits.is_empty() { Broker::open() } else { Broker::open_with(limits) };
        Self { address: broker.address(OPEN_LISTENER), broker, version }
    }

    /// With these sections of the configuration.
    pub fn with_sections(version: ProtocolVersion, sections: &str) -> Self {
        let broker = Broker::open_with_sections(sections);
        Self { address: broker.address(OPEN_LISTENER), broker, version }
    }

    /// See [`in_both_versions_with_rule`].
    pub fn with_rule(version: ProtocolVersion, rule: &str) -> Self {
        let directory = directory();
        add_rules(directory.path(), &[("rule", rule)]);
        let yaml = format!(
            "data_dir: data
listeners:
  - {{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}
pipeline:
  connect: [{{rule: rule}}, {{builtin: anonymous}}]
  authorize: [{{rule: rule}}, {{builtin: open}}]
  publish: [{{rule: rule}}]
"
        );
        let broker = Broker::with_config(&yaml, directory);
        Self { address: broker.address(OPEN_LISTENER), broker, version }
    }

    /// A client with a clean start.
    pub fn client(&self, client_id: &str) -> Client {
        self.connect(connect(self.version, client_id))
    }

    /// A client that resumes its session, which outlives the connection.
    pub fn session(&self, client_id: &str) -> Client {
        self.connect(connect_to_session(self.version, client_id, 3600))
    }

    pub fn connect(&self, connect: Connect<'_>) -> Client {
        Client::connect(self.address, connect).0
    }

    /// A clean CONNECT of the scene's version.
    pub fn connect_packet<'a>(&self, client_id: &'a str) -> Connect<'a> {
        connect(self.version, client_id)
    }
}
