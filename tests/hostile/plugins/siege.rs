//! A broker with hostile plugins, and bystanders who want nothing but to exchange messages.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, directory, plugins};
use hookmq_tests::client::{Client, connect, packet_id, publish};
use serde_json::{Value, json};
use tempfile::TempDir;
use wasm_encoder::{CustomSection, RawSection, Section};
use wasmparser::{Parser, Payload};

pub const MIB: u64 = 1 << 20;

/// Where nobody answers.
pub const NOWHERE: &str = "http://127.0.0.1:1";

pub const SECRET: &str = "geheim-4711";

/// Listeners for the tenants `main` and `other`, and `hostile` of the tenant `main`, where the plugin
/// of that name is asked in connect. A step is asked however often it fails.
const CONFIGURATION: &str = r#"
data_dir: data
listeners:
  - {name: main, bind: "tcp://127.0.0.1:0"}
  - {name: other, bind: "tcp://127.0.0.1:0"}
  - {name: hostile, bind: "tcp://127.0.0.1:0"}
admin: {bind: "127.0.0.1:0"}
steps: {breaker_failures: 1000000, breaker_failing_ms: 1000000}
plugins:
  KEYS
  grants:
    hostile: {log: true, emit: [granted/#]}
    asker: {log: true, clock: true, metric: true, kv: true, http: ["http://127.0.0.1:1"],
            secrets: {token: {file: token}}}
pipeline:
  connect:
    - {plugin: hostile, listeners: [hostile]}
    - {builtin: anonymous, listeners: [main, hostile], config: {tenant: main}}
    - {builtin: anonymous, listeners: [other], config: {tenant: other}}
  authorize:
    - {plugin: hostile, topics: [loop, trap, panic, grow, recurse, fail]}
    - {builtin: open}
  publish:
    - {plugin: hostile, topics: [publish/#]}
    - {plugin: asker, topics: [ask/#]}
  deliver: [{plugin: hostile, topics: [deliver/#]}]
"#;

/// A broker that is attacked.
pub struct Siege {
    pub broker: Broker,
    pub version: ProtocolVersion,
    bystanders: Mutex<Bystanders>,
}

/// Two clients who want nothing but to exchange messages.
struct Bystanders {
    publisher: Client,
    subscriber: Client,
    exchanged: u32,
}

impl Siege {
    /// The plugins `hostile` and `asker`, wherever they can do harm.
    pub fn new(version: ProtocolVersion) -> Self {
        Self::within(version, "time_ms: 100")
    }

    /// With these keys of the section `plugins`, in one line.
    pub fn within(version: ProtocolVersion, keys: &str) -> Self {
        let yaml = CONFIGURATION.replace("KEYS", keys);
        let manifest = asker_manifest(NOWHERE);
        let asker = with_manifest(&artefact("asker"), &manifest);
        Self::of(version, &yaml, &[("hostile", &artefact("hostile")), ("asker", &asker)])
    }

    /// With this configuration, whose listener `main` is for the bystanders, and these plugins.
    pub fn of(version: ProtocolVersion, yaml: &str, artefacts: &[(&str, &[u8])]) -> Self {
        Self::at(version, yaml, prepared(artefacts))
    }

    /// The same, in a directory that is ready.
    pub fn at(version: ProtocolVersion, yaml: &str, directory: TempDir) -> Self {
        let broker = Broker::with_config(yaml, directory);
        let main = broker.address("main");
        let bystander = |name| Client::connect(main, connect(version, name)).0;
        let mut subscriber = bystander("bystander 1");
        subscriber.subscribe("bystanders", Qos::AtLeastOnce);
        let publisher = bystander("bystander 2");
        let bystanders = Mutex::new(Bystanders { publisher, subscriber, exchanged: 0 });
        Self { broker, version, bystanders }
    }

    /// Another broker like this one, which finds the plugins compiled.
    fn again(&self, version: ProtocolVersion) -> Self {
        let directory = directory();
        let yaml = "hookmq.yaml";
        for part in ["plugins", "token", "data/compiled", yaml] {
            let to = directory.path().join(part);
            std::fs::create_dir_all(to.parent().expect("it lies in one")).expect("make it");
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(self.broker.directory().join(part)).arg(to);
            assert!(copy.status().expect("run cp").success());
        }
        let yaml = std::fs::read_to_string(directory.path().join(yaml)).expect("its yaml");
        Self::at(version, &yaml, directory)
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        self.broker.address(listener)
    }

    /// A client of the tenant `main`.
    pub fn client(&self, client_id: &str) -> Client {
        self.client_at("main", client_id)
    }

    pub fn client_at(&self, listener: &str, client_id: &str) -> Client {
        Client::connect(self.address(listener), connect(self.version, client_id)).0
    }

    /// The code of the CONNACK.
    pub fn attempt_at(&self, listener: &str, client_id: &str) -> ReasonCode {
        let (_, answer) = Client::attempt(self.address(listener), connect(self.version, client_id));
        match answer.packet() {
            Packet::ConnAck(connack) => connack.reason_code,
            other => panic!("not CONNACK: {other:?}"),
        }
    }

    /// As [`Self::attempt_at`]; none where the broker closes instead.
    pub fn try_at(&self, listener: &str, client_id: &str) -> Option<ReasonCode> {
        let mut client = Client::open(self.address(listener), self.version);
        client.send(&Packet::Connect(Box::new(connect(self.version, client_id))));
        match client.try_receive()?.packet() {
            Packet::ConnAck(connack) => Some(connack.reason_code),
            other => panic!("not CONNACK: {other:?}"),
        }
    }

    /// Uploads an artefact; gives the status and the words of a refusal.
    pub fn upload(&self, plugin: &str, artefact: &[u8]) -> (u16, String) {
        let path = format!("/api/v1/plugins/{plugin}");
        let (status, answer) = self.broker.admin().post(&path, artefact);
        (status, answer["error"]["message"].as_str().unwrap_or_default().to_owned())
    }

    /// The failures so far of all steps of a hook that are this plugin.
    pub fn failures(&self, hook: &str, plugin: &str) -> u64 {
        let (status, pipeline) = self.broker.admin().get("/api/v1/pipeline");
        assert_eq!(status, 200, "{pipeline}");
        let steps = pipeline[hook].as_array().expect("the steps of a hook");
        let of_plugin = |step: &&Value| step["program"]["name"] == plugin;
        steps.iter().filter(of_plugin).map(|step| step["failures"].as_u64().expect("a count")).sum()
    }

    /// Makes the attack while bystanders exchange messages, at least one. The broker survives it.
    #[track_caller]
    pub fn beside_others<R>(&self, attack: impl FnOnce() -> R) -> R {
        let mut bystanders = self.bystanders.lock().expect("nobody failed before");
        let bystanders = &mut *bystanders;
        let over = AtomicBool::new(false);
        let result = thread::scope(|scope| {
            let talk = scope.spawn(|| {
                while {
                    bystanders.exchange();
                    !over.load(Ordering::Relaxed)
                } {}
            });
            // Told even where the attack panics: the scope waits for the bystanders.
            let result = catch_unwind(AssertUnwindSafe(attack));
            over.store(true, Ordering::Relaxed);
            talk.join().expect("others are served");
            result
        });
        assert!(self.broker.is_running());
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Bystanders {
    fn exchange(&mut self) {
        self.exchanged += 1;
        let payload = self.exchanged.to_be_bytes();
        let id = packet_id((self.exchanged % 1000 + 1) as u16);
        let message = publish("bystanders", &payload, Qos::AtLeastOnce);
        self.publisher.publish(Publish { packet_id: Some(id), ..message });
        let received = self.subscriber.expect_message("bystanders", &payload);
        self.subscriber.acknowledge(&received);
    }
}

/// Plays `scenario` twice, for 3.1.1 and for 5.0, each on a broker of its own.
pub fn in_both_versions(scenario: impl Fn(&Siege)) {
    let first = Siege::new(ProtocolVersion::V311);
    eprintln!("MQTT {}:", first.version.name());
    scenario(&first);
    let second = first.again(ProtocolVersion::V5);
    drop(first);
    eprintln!("MQTT {}:", second.version.name());
    scenario(&second);
}

/// A fixture, as it was built.
pub fn artefact(fixture: &str) -> Vec<u8> {
    let file = plugins().join(format!("fixtures/{fixture}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// What the plugin `asker` says of itself where it may send requests to `origin`.
pub fn asker_manifest(origin: &str) -> String {
    let manifest = json!({
        "name": "asker", "version": "1.0.0", "hooks": ["connect", "publish"], "fields": ["payload"],
        "capabilities": ["log", "clock", "metric", "kv"], "http": [origin], "secrets": ["token"],
    });
    manifest.to_string()
}

/// An artefact that has no manifest, with this one behind it.
pub fn with_manifest(artefact: &[u8], manifest: &str) -> Vec<u8> {
    let mut bytes = artefact.to_vec();
    let section =
        CustomSection { name: "hookmq-manifest".into(), data: manifest.as_bytes().into() };
    section.append_to(&mut bytes);
    bytes
}

/// A core module with this manifest in the place of its own.
pub fn remanifested(module: &[u8], manifest: &str) -> Vec<u8> {
    let mut bytes = module[..8].to_vec();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.expect("a module");
        let is_manifest =
            matches!(&payload, Payload::CustomSection(it) if it.name() == "hookmq-manifest");
        if let Some((id, range)) = payload.as_section().filter(|_| !is_manifest) {
            RawSection { id, data: &module[range] }.append_to(&mut bytes);
        }
    }
    with_manifest(&bytes, manifest)
}

/// A directory with these plugins, and a secret.
pub fn prepared(artefacts: &[(&str, &[u8])]) -> TempDir {
    let directory = directory();
    let plugins = directory.path().join("plugins");
    std::fs::create_dir(&plugins).expect("make a directory");
    for (name, bytes) in artefacts {
        std::fs::write(plugins.join(format!("{name}.wasm")), bytes).expect("write a plugin");
    }
    let token = directory.path().join("token");
    std::fs::write(&token, format!("{SECRET}\n")).expect("write a secret");
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("keep a secret");
    directory
}
