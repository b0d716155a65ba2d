//! A broker with principals and permissions in a database, which a test changes with the database's own
//! client: one listener for each principal, who is admitted there without a word.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use hookmq_codec::{Connect, Packet, ProtocolVersion, Qos, ReasonCode};

use crate::broker::{Broker, directory};
use crate::client::{Client, Received, at, connect, connect_to_session};
use crate::postgres::Postgres;
use crate::wait::wait_until;

/// Where the company keeps who may do what.
pub enum Tables {
    Sqlite(PathBuf),
    Postgres { server: Postgres, url: String },
}

/// The kind of database that a scenario is played on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

pub struct Company {
    pub broker: Broker,
    pub tables: Tables,
    pub version: ProtocolVersion,
}

/// The principals, all of the tenant `acme`. Each has the role `staff`.
pub const STAFF: [&str; 3] = ["reader", "other", "writer"];

const SEED: &str = "
    INSERT INTO tenants (name) VALUES ('acme');
    INSERT INTO principals (tenant, username) VALUES
        ('acme', 'reader'), ('acme', 'other'), ('acme', 'writer');
    INSERT INTO principal_roles (tenant, username, role) VALUES
        ('acme', 'reader', 'staff'), ('acme', 'other', 'staff'), ('acme', 'writer', 'staff');
    INSERT INTO permissions (tenant, subject_kind, subject, action, filter) VALUES
        ('acme', 'principal', 'writer', 'publish', '#');
";

impl Tables {
    /// Runs SQL that both kinds of database take, as an operator would.
    pub fn execute(&self, sql: &str) {
        let mut client = match self {
            Self::Sqlite(file) => {
                let mut client = Command::new("sqlite3");
                client.args([
                    "-bail",
                    "-cmd",
                    ".timeout 10000",
                    "-cmd",
                    "PRAGMA foreign_keys = ON",
                ]);
                client.arg(file).arg(sql);
                client
            }
            Self::Postgres { url, .. } => {
                let mut client = Command::new("psql");
                client.args([url, "--quiet", "--set=ON_ERROR_STOP=1", "--command", sql]);
                client
            }
        };
        let output = client.output().expect("apt-get install sqlite3 postgresql-client");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn postgres(&self) -> &Postgres {
        match self {
            Self::Postgres { server, .. } => server,
            Self::Sqlite(_) => panic!("the company has no Postgres"),
        }
    }
}

impl Company {
    /// With these sections of the configuration beside listeners and pipeline, and `permissions`: the
    /// rows that `subscriptions` makes, each an action and a filter, for the principal `reader` and
    /// for `other`.
    pub fn start(
        engine: Engine,
        version: ProtocolVersion,
        sections: &str,
        permissions: &[(&str, &str)],
    ) -> Self {
        let directory = directory();
        let (tables, url) = match engine {
            Engine::Sqlite => {
                let file = directory.path().join("data/hookmq.db");
                let url = format!("sqlite:{}", file.display());
                (Tables::Sqlite(file), url)
            }
            Engine::Postgres => {
                let server = Postgres::start().expect("start Postgres");
                let url = server.create_database().expect("make a database");
                (Tables::Postgres { server, url: url.clone() }, url)
            }
        };
        let broker = Broker::with_config(&configuration(&url, sections), directory);
        let company = Self { broker, tables, version };
        company.wait_until_ready();
        let mut seed = SEED.to_owned();
        for (action, filter) in permissions {
            for username in ["reader", "other"] {
                seed += &allow(username, action, filter);
            }
        }
        company.tables.execute(&seed);
        for name in STAFF {
            wait_until("the principal is known", || {
                let attempt = connect(version, "first");
                let (client, answer) = Client::attempt(company.address(name), attempt);
                client.vanish();
                let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
                (connack.reason_code == ReasonCode::Success).then_some(())
            });
        }
        company
    }

    pub fn wait_until_ready(&self) {
        let admin = self.broker.admin();
        wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    }

    pub fn execute(&self, sql: &str) {
        self.tables.execute(sql);
    }

    /// Takes a permission of the principal's away.
    pub fn revoke(&self, username: &str, action: &str, filter: &str) {
        self.execute(&format!(
            "DELETE FROM permissions
            WHERE subject = '{username}' AND action = '{action}' AND filter = '{filter}'"
        ));
    }

    pub fn allow(&self, username: &str, action: &str, filter: &str) {
        self.execute(&allow(username, action, filter));
    }

    pub fn address(&self, username: &str) -> SocketAddr {
        self.broker.address(username)
    }

    /// A client of the principal whose session ends with it.
    pub fn client(&self, username: &str, client_id: &str) -> Client {
        self.connect(username, connect(self.version, client_id)).0
    }

    /// A client with a session that goes on.
    pub fn session(&self, username: &str, client_id: &str) -> (Client, Received) {
        self.connect(username, connect_to_session(self.version, client_id, 600))
    }

    pub fn connect(&self, username: &str, connect: Connect<'_>) -> (Client, Received) {
        Client::connect(self.address(username), connect)
    }

    /// What SUBACK says of a filter that is not permitted.
    pub fn refusal(&self) -> ReasonCode {
        match self.version.is_v5() {
            true => ReasonCode::NotAuthorized,
            false => ReasonCode::UnspecifiedError,
        }
    }

    /// Waits until the principal, by another client, may or may not subscribe to the filter.
    pub fn wait_until_subscribing(&self, username: &str, filter: &str, may: bool) {
        wait_until("the change is in force", || {
            let mut witness = self.client(username, "witness of rights");
            let granted = witness.subscribe_with(&[(filter, at(Qos::AtMostOnce))], None);
            witness.disconnect();
            (granted[0].is_failure() != may).then_some(())
        });
    }
}

fn allow(username: &str, action: &str, filter: &str) -> String {
    format!(
        "INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
        VALUES ('acme', 'principal', '{username}', '{action}', '{filter}');"
    )
}

fn configuration(url: &str, sections: &str) -> String {
    let database = match sections.contains("database:") {
        true => String::new(),
        false => format!("database: {{url: \"{url}\"}}\n"),
    };
    let sections = sections.replace("$URL", url);
    let mut yaml =
        format!("data_dir: data\nadmin: {{bind: \"127.0.0.1:0\"}}\n{database}{sections}\n");
    yaml += "listeners:\n";
    for name in STAFF {
        yaml += &format!("  - {{name: {name}, bind: \"tcp://127.0.0.1:0\"}}\n");
    }
    yaml += "pipeline:\n  connect:\n";
    for name in STAFF {
        let config = format!("config: {{tenant: acme, username: {name}}}");
        yaml += &format!("    - {{builtin: anonymous, listeners: [{name}], {config}}}\n");
    }
    yaml += "    - {builtin: database}\n  authorize: [{builtin: database}]\n";
    yaml
}
