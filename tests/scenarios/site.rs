//! A company's broker: certificates, rules, plugins, a database, a configuration, and who may do what.

use std::path::{Path, PathBuf};
use std::process::Command;

use hookmq_tests::broker::{Broker, directory, plugins};
use hookmq_tests::certificates::{Authority, Validity};
use hookmq_tests::mosquitto::{Door, Subscriber};
use hookmq_tests::postgres::Postgres;
use hookmq_tests::wait::wait_until;
use serde_json::Value;
use tempfile::TempDir;

/// Tenant, principals, roles and permissions, in SQL that both databases take.
const SEED: &str = "
    INSERT INTO tenants (name) VALUES ('acme');
    INSERT INTO principals (tenant, username) VALUES
        ('acme', 'sensor-1'), ('acme', 'operator-1'), ('acme', 'guest');
    INSERT INTO principal_roles (tenant, username, role) VALUES
        ('acme', 'sensor-1', 'device'), ('acme', 'operator-1', 'operator');
    INSERT INTO permissions (tenant, subject_kind, subject, action, filter) VALUES
        ('acme', 'role', 'device', 'publish', 'devices/{username}/#'),
        ('acme', 'role', 'operator', 'subscribe', '#'),
        ('acme', 'role', 'viewer', 'subscribe', 'devices/#'),
        ('acme', 'role', 'viewer', 'subscribe', 'alarms/#');
";

const RULES: [&str; 3] = ["certificate_identity", "threshold_alarm", "redact_by_role"];

/// Principals of the company, and whoever would like to be one.
const IMPOSTOR: &str = "rogue-1";
const EXPIRED: &str = "expired-1";
const BADLY_NAMED: &str = "Sensor_9";

/// Where the company keeps who may do what.
pub enum Database {
    Sqlite,
    Postgres { server: Postgres, url: String },
}

pub struct Site {
    pub broker: Broker,
    database: Database,
}

impl Database {
    /// A running server with an empty database.
    pub fn postgres() -> Self {
        let server = Postgres::start().expect("start Postgres");
        let url = server.create_database().expect("make a database");
        Self::Postgres { server, url }
    }

    /// A server that does not run yet.
    pub fn postgres_away() -> Self {
        let server = Postgres::prepare().expect("prepare Postgres");
        let url = server.url("postgres");
        Self::Postgres { server, url }
    }

    fn url(&self, directory: &Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite:{}", sqlite_file(directory).display()),
            Self::Postgres { url, .. } => url.clone(),
        }
    }
}

impl Site {
    /// Starts the broker of the company.
    pub fn start(database: Database) -> Self {
        let directory = lay_out();
        let yaml = configuration(&database.url(directory.path()));
        Self { broker: Broker::with_config(&yaml, directory), database }
    }

    /// Waits until the broker has made its tables, and fills them with the database's own client.
    pub fn seed(&self) {
        wait_until("the broker is ready", || (self.get("ready").0 == 200).then_some(()));
        let mut client = match &self.database {
            Database::Sqlite => {
                let mut client = Command::new("sqlite3");
                client.args(["-bail", "-cmd", ".timeout 10000"]);
                client.arg(sqlite_file(self.broker.directory())).arg(SEED);
                client
            }
            Database::Postgres { url, .. } => {
                let mut client = Command::new("psql");
                client.args([url, "--quiet", "--set=ON_ERROR_STOP=1", "--command", SEED]);
                client
            }
        };
        output(&mut client, "apt-get install sqlite3 postgresql-client");
    }

    pub fn postgres(&self) -> &Postgres {
        match &self.database {
            Database::Postgres { server, .. } => server,
            Database::Sqlite => panic!("this site has no Postgres"),
        }
    }

    pub fn guest(&self) -> Door {
        Door::plain(self.broker.address("plain"))
    }

    pub fn sensor(&self) -> Door {
        self.holder_of("sensor-1")
    }

    pub fn operator(&self) -> Door {
        self.holder_of("operator-1")
    }

    /// A certificate of an authority that the broker does not know.
    pub fn impostor(&self) -> (Door, &'static str) {
        (self.holder_of(IMPOSTOR), IMPOSTOR)
    }

    pub fn expired(&self) -> (Door, &'static str) {
        (self.holder_of(EXPIRED), EXPIRED)
    }

    pub fn badly_named(&self) -> (Door, &'static str) {
        (self.holder_of(BADLY_NAMED), BADLY_NAMED)
    }

    /// Subscribes, and returns when the broker knows of it.
    pub fn subscribe(&self, door: &Door, filter: &str) -> Subscriber {
        let before = self.subscriptions();
        let subscriber = door.subscribe(filter);
        wait_until("the broker has subscribed", || (self.subscriptions() > before).then_some(()));
        subscriber
    }

    pub fn rule_file(&self, name: &str) -> PathBuf {
        self.broker.directory().join(format!("rules/{name}.rhai"))
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.curl("GET", path, None)
    }

    /// What `file` holds is the body.
    pub fn post(&self, path: &str, file: Option<&Path>) -> (u16, Value) {
        self.curl("POST", path, file)
    }

    fn holder_of(&self, name: &str) -> Door {
        Door::tls(self.broker.address("devices"), self.broker.directory(), name)
    }

    fn subscriptions(&self) -> u64 {
        let (_, status) = self.get("status");
        let tenants = status["tenants"].as_array().expect("tenants");
        tenants.iter().filter_map(|tenant| tenant["subscriptions"].as_u64()).sum()
    }

    fn curl(&self, method: &str, path: &str, body: Option<&Path>) -> (u16, Value) {
        let address = self.broker.admin().address;
        let token = std::fs::read_to_string(self.broker.directory().join("data/admin.token"));
        let token = token.expect("read the admin token");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-X", method, "-w", "\n%{http_code}", "-H"]);
        curl.arg(format!("Authorization: Bearer {}", token.trim()));
        if let Some(file) = body {
            curl.arg("--data-binary").arg(format!("@{}", file.display()));
        }
        curl.arg(format!("http://{address}/api/v1/{path}"));
        let answer = output(&mut curl, "apt-get install curl");
        let (body, status) = answer.rsplit_once('\n').expect("a status behind the body");
        let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
        (status.parse().expect("a status"), body)
    }
}

/// What a command says, if it succeeds.
pub fn output(command: &mut Command, install: &str) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}: {install}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A directory with all that the configuration names.
fn lay_out() -> TempDir {
    let directory = directory();
    let path = directory.path();
    let authority = Authority::new("Acme Device CA");
    authority.save(&path.join("devices-ca.crt"));
    for name in ["sensor-1", "operator-1", BADLY_NAMED] {
        authority.issue_device(path, "acme", name, Validity::Current);
    }
    authority.issue_device(path, "acme", EXPIRED, Validity::Expired);
    Authority::new("Rogue CA").issue_device(path, "acme", IMPOSTOR, Validity::Current);
    let server_authority = Authority::new("Acme Server CA");
    server_authority.save(&path.join("server-ca.crt"));
    server_authority.issue_server(&path.join("server"));

    for folder in ["rules", "plugins"] {
        std::fs::create_dir(path.join(folder)).expect("make a folder");
    }
    let shipped = package().join("../rules");
    for rule in RULES {
        let file = format!("{rule}.rhai");
        let target = path.join("rules").join(&file);
        std::fs::copy(shipped.join(&file), target).expect("copy a rule");
    }
    edit(
        &path.join("rules/certificate_identity.rhai"),
        &[("\"devices\"", "\"acme-devices\""), ("\"HookMQ Device CA\"", "\"Acme Device CA\"")],
    );
    for (from, to) in [("json-transform.wasm", "json-transform.wasm"), (STAMP_1, "stamp.wasm")] {
        std::fs::copy(plugins().join(from), path.join("plugins").join(to)).expect("copy a plugin");
    }
    directory
}

/// A plugin in two versions, which adds its version to the payload.
pub const STAMP_1: &str = "fixtures/stamp-v1.wasm";
pub const STAMP_2: &str = "fixtures/stamp-v2.wasm";

/// Replaces text in a file that must hold it.
pub fn edit(file: &Path, replacements: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(file).expect("read a file");
    for (old, new) in replacements {
        assert!(text.contains(old), "{} does not hold {old}", file.display());
        text = text.replace(old, new);
    }
    std::fs::write(file, text).expect("write a file");
}

fn sqlite_file(directory: &Path) -> PathBuf {
    directory.join("data/hookmq.db")
}

fn configuration(database_url: &str) -> String {
    format!(
        r#"
data_dir: data
listeners:
  - name: plain
    bind: tcp://127.0.0.1:0
  - name: devices
    bind: tls://127.0.0.1:0
    tls:
      certificate: server.crt
      key: server.key
      client_certificates: required
      trust_anchors:
        - {{name: acme-devices, file: devices-ca.crt}}
database:
  url: "{database_url}"
admin:
  bind: 127.0.0.1:0
rules:
  dir: rules
plugins:
  dir: plugins
  grants:
    json-transform: {{log: true, clock: true}}
pipeline:
  connect:
    - {{rule: certificate_identity, control: required, listeners: [devices]}}
    - builtin: anonymous
      control: required
      listeners: [plain]
      config: {{tenant: acme, username: guest, roles: [viewer]}}
    - {{builtin: database, control: required}}
  authorize:
    - builtin: database
  publish:
    - plugin: json-transform
      topics: [devices/+/telemetry]
      on_failure: drop
      config:
        operations:
          - {{op: scale, field: temperature_f, factor: 0.5555555555555556, offset: -17.77777777777778, digits: 1}}
          - {{op: rename, from: temperature_f, to: temperature}}
          - {{op: timestamp, field: received_at}}
    - {{plugin: stamp, topics: [devices/+/telemetry]}}
    - rule: threshold_alarm
  deliver:
    - rule: redact_by_role
"#
    )
}

/// Where the package lies now; the test may have been built elsewhere.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the test").into()
}
