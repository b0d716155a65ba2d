//! What nobody may read anywhere: passwords, tokens, keys and payloads, whatever goes wrong with them.

mod scram;

use std::fs;
use std::io::Write;
use std::path::Path;

use hookmq_codec::{Connect, Packet, ProtocolVersion, Publish, Qos, ReasonCode};
use hookmq_tests::admin::AdminClient;
use hookmq_tests::broker::{Broker, directory, plugins};
use hookmq_tests::certificates::{Authority, replace};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::company::Tables;
use hookmq_tests::fault_proxy::{Fault, FaultProxy};
use hookmq_tests::guarded::{Guarded, connack_of, secret};
use hookmq_tests::postgres::Postgres;
use hookmq_tests::tokens::{Issuer, now};
use hookmq_tests::wait::wait_until;
use hookmq_tests::websocket::request;
use hookmq_tests::wire::{tcp, tls_config, tls_with};
use serde_json::json;

const PASSWORD: &str = "canary-password";
const GUESS: &str = "canary-guess";
const DATABASE: &str = "canary-database";
const HEADER: &str = "canary-header";
/// Of a message that is denied, lost in a plugin, in a rule, or retained.
const DENIED: &[u8] = b"{\"canary-denied\": ";
const KEPT: &[u8] = b"canary-kept";

/// Fails where an error could quote the message. Of topics and of names of functions it does.
const CLUMSY: &str = r#"
fn connect(client) { client.claimed_username.no_such_field }
fn authorize(client, access) {
    if access.topic.starts_with("denied") { deny("it is closed") } else { abstain() }
}
fn publish(client, message) {
    switch message.level(1) {
        "index" => message.levels[message.text],
        "pattern" => regex_matches(message.text, "[" + message.text),
        "metric" => metric_count(message.text),
        "sum" => message.text - 1,
        "answer" => message.text,
        "loop" => loop { message.text.len() },
        _ => pass(),
    }
}
"#;

const CLUMSINESS: [&str; 6] = ["index", "pattern", "metric", "sum", "answer", "loop"];

const SEED: &str = "
    INSERT INTO tenants (name) VALUES ('acme');
    INSERT INTO principals (tenant, username) VALUES ('acme', 'pump');
";

const LISTENERS: [&str; 6] = ["password", "scram", "token", "panic", "clumsy", "open"];

fn configuration(database: &str) -> String {
    let mut listeners = String::new();
    for name in LISTENERS {
        listeners += &format!("  - {{name: {name}, bind: \"tcp://127.0.0.1:0\"}}\n");
    }
    format!(
        "data_dir: data
log: {{level: trace}}
admin: {{bind: \"127.0.0.1:0\"}}
abuse: {{failures_per_address: 0, failures_per_username: 0}}
database: {{url: \"{database}\", poll_interval_ms: 20}}
steps: {{recorded_every: 1, breaker_failures: 1000000, breaker_failing_ms: 1000000}}
plugins: {{dir: {:?}, grants: {{hostile: {{log: true, emit: [granted/#]}}}}}}
listeners:
{listeners}  - {{name: web, bind: \"ws://127.0.0.1:0\",
     websocket: {{path: /mqtt, origins: [\"https://good.example\"]}}}}
  - {{name: tls, bind: \"tls://127.0.0.1:0\", tls: {{certificate: server.crt, key: server.key}}}}
pipeline:
  connect:
    - {{builtin: password, listeners: [password, web, tls], config: {{tenant: acme}}}}
    - {{builtin: scram, listeners: [scram], config: {{tenant: acme, iterations: 4096}}}}
    - {{builtin: database, listeners: [password, scram, web, tls]}}
    - {{builtin: jwt, listeners: [token], config: {{tenant: acme, username: \"{{sub}}\",
         keys: [{{jwks_file: keys.json, algorithms: [ES256]}}]}}}}
    - {{plugin: hostile, listeners: [panic], config: {{always: panic}}}}
    - {{rule: clumsy, listeners: [clumsy]}}
    - {{builtin: anonymous, listeners: [panic, clumsy, open], config: {{tenant: acme}}}}
  authorize: [{{rule: clumsy}}, {{builtin: open}}]
  publish:
    - {{plugin: hostile, topics: [panic/#], config: {{always: panic}}}}
    - {{rule: clumsy, topics: [clumsy/#], explain: log}}
",
        plugins().join("fixtures")
    )
}

/// A broker and all that it must keep to itself, each with what it is.
struct Vault {
    broker: Broker,
    database: FaultProxy,
    issuer: Issuer,
    secrets: Vec<(&'static str, Vec<u8>)>,
    _server: Postgres,
}

impl Vault {
    fn fill() -> Self {
        let server = Postgres::start().expect("start Postgres");
        let url = server.create_database().expect("make a database");
        let database = FaultProxy::start(server.socket());
        let name = url.rsplit('/').next().expect("a name").to_owned();
        let through_proxy = format!("postgres://postgres:{DATABASE}@{}/{name}", database.address());
        let directory = directory();
        let issuer = Issuer::new("a");
        let file = |name: &str| directory.path().join(name);
        fs::write(file("keys.json"), json!({"keys": [issuer.jwk()]}).to_string()).expect("write");
        fs::create_dir(file("rules")).expect("make a folder");
        fs::write(file("rules/clumsy.rhai"), CLUMSY).expect("write the rule");
        let authority = Authority::new("CA");
        authority.save(&file("ca.crt"));
        authority.issue_server(&file("server"));
        let key = fs::read_to_string(file("server.key")).expect("read the key");
        // HOOKMQ_LOG has what libraries say as well.
        let broker = Broker::with_command(&configuration(&through_proxy), directory, |command| {
            command.env("HOOKMQ_LOG", "trace");
        });
        let admin = broker.admin();
        wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
        let hash = secret(&["password"], PASSWORD);
        let scram = secret(&["scram", "--iterations", "4096"], scram::PASSWORD);
        let tables = Tables::Postgres { server, url };
        tables.execute(&format!(
            "{SEED} INSERT INTO credentials (tenant, username, kind, secret)
             VALUES ('acme', 'pump', 'password', '{hash}'), ('acme', 'pump', 'scram-sha-256', '{scram}');"
        ));
        let Tables::Postgres { server, .. } = tables else { unreachable!("it is Postgres") };
        let made = admin.post("/api/v1/tenants/acme/tokens", br#"{"name": "ci"}"#).1;
        let token = made["token"].as_str().expect("a tenant's token").to_owned();
        let own = fs::read_to_string(broker.directory().join("data/admin.token"));
        let mut secrets: Vec<(_, Vec<u8>)> = [
            ("the password", PASSWORD),
            ("its hash", &hash),
            ("a wrong password", GUESS),
            ("the database's password", DATABASE),
            ("a header of a WebSocket", HEADER),
            ("the token of a tenant", &token),
            ("the token of the API", own.expect("the token").trim()),
        ]
        .map(|(what, text)| (what, text.as_bytes().to_vec()))
        .into();
        let lines = key.lines().filter(|line| !line.starts_with('-'));
        secrets.extend(lines.map(|line| ("a line of the key", line.as_bytes().to_vec())));
        secrets.push(("a payload", DENIED[2..15].to_vec()));
        secrets.extend(scram::kept(&scram));
        Self { broker, database, issuer, secrets, _server: server }
    }

    /// CONNECT with this password is answered, or the connection ends.
    fn attempt(&self, listener: &str, username: &str, password: &[u8]) -> Option<ReasonCode> {
        let version = ProtocolVersion::V5;
        let mut client = Client::open(self.broker.address(listener), version);
        client.send(&Packet::Connect(Box::new(login(username, password))));
        client.try_receive().map(|answer| connack_of(&answer).reason_code)
    }

    fn client(&self, listener: &str) -> Client {
        Client::connect(self.broker.address(listener), connect(ProtocolVersion::V5, "c")).0
    }

    /// Sends these bytes to a listener, and waits until it has had enough.
    fn knock(&self, listener: &str, bytes: &[u8]) {
        let mut stream = tcp(self.broker.address(listener));
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }

    #[track_caller]
    fn expect_untold(&self, told: &[u8], by: &str) {
        for (what, secret) in &self.secrets {
            assert!(!holds(told, secret), "{what} is in {by}");
        }
    }

    fn admin(&self) -> AdminClient {
        self.broker.admin()
    }
}

fn login<'a>(username: &'a str, password: &'a [u8]) -> Connect<'a> {
    let username = Some(username);
    Connect { username, password: Some(password), ..connect(ProtocolVersion::V5, "c") }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn passwords_go_wrong(vault: &Vault) {
    for listener in ["password", "tls", "web"] {
        vault.broker.address(listener);
    }
    let right = vault.attempt("password", "pump", PASSWORD.as_bytes());
    assert_eq!(right, Some(ReasonCode::Success));
    for username in ["pump", "nobody"] {
        let wrong = vault.attempt("password", username, GUESS.as_bytes());
        assert_eq!(wrong, Some(ReasonCode::NotAuthorized));
    }
    let config = tls_config(&vault.broker.directory().join("ca.crt"), None);
    let stream = tcp(vault.broker.address("tls"));
    let stream = tls_with(stream, &config, "127.0.0.1").expect("a handshake");
    let mut client = Client::over(stream, ProtocolVersion::V5);
    client.send(&Packet::Connect(Box::new(login("pump", GUESS.as_bytes()))));
    assert_eq!(connack_of(&client.receive()).reason_code, ReasonCode::NotAuthorized);
    let mut whole = Vec::new();
    let packet = Packet::Connect(Box::new(login("pump", PASSWORD.as_bytes())));
    packet.encode(ProtocolVersion::V5, &mut whole).expect("CONNECT");
    // A reserved flag, a string that is too long for the packet, and an end in the midst of the password.
    let [mut flag, mut long] = [whole.clone(), whole.clone()];
    flag[9] |= 1;
    let username = long.windows(4).position(|it| it == b"pump").expect("the user name");
    long[username - 1] = 200;
    for malformed in [&flag, &long, &whole[..whole.len() - 3]] {
        vault.knock("password", malformed);
        vault.knock("tls", malformed);
        vault.knock("web", malformed);
    }
    let bearer = format!("Bearer {HEADER}");
    for (path, origin) in [
        ("mqtt", "https://good.example"),
        ("mqtt", "https://evil.example"),
        ("elsewhere", "https://good.example"),
    ] {
        let path = format!("/{path}?token={HEADER}");
        let offer = ("Sec-WebSocket-Protocol", "mqtt");
        let headers = [("Authorization", &*bearer), ("Cookie", &bearer), ("Origin", origin), offer];
        vault.knock("web", request(&path, &headers).as_bytes());
    }
}

fn tokens_go_wrong(vault: &mut Vault) {
    let claims = |exp| json!({"sub": "pump", "exp": exp});
    let good = vault.issuer.token(&claims(now() + 3600));
    let old = vault.issuer.token(&claims(now() - 3600));
    let forged = Issuer::new("a").token(&claims(now() + 3600));
    let cut = good[..good.len() - 5].to_owned();
    for (token, is_in) in [(&good, true), (&old, false), (&forged, false), (&cut, false)] {
        let answer = vault.attempt("token", "pump", token.as_bytes()).expect("an answer");
        assert_eq!(answer == ReasonCode::Success, is_in);
        // The head is the same in all, and says nothing.
        for part in token.split('.').skip(1) {
            vault.secrets.push(("a part of a token", part.as_bytes().to_vec()));
        }
    }
    let answer = vault.admin().with_token(GUESS).get(&format!("/api/v1/status?token={GUESS}"));
    assert_eq!(answer.0, 401);
}

fn steps_go_wrong(vault: &Vault) {
    for listener in ["panic", "clumsy"] {
        let refused = vault.attempt(listener, "somebody", GUESS.as_bytes());
        assert_ne!(refused, Some(ReasonCode::Success), "{listener}");
    }
    let mut client = vault.client("open");
    let denied = client.publish(publish("denied", DENIED, Qos::AtLeastOnce));
    assert_eq!(denied, ReasonCode::NotAuthorized);
    let topics = CLUMSINESS.map(|how| format!("clumsy/{how}"));
    for topic in topics.iter().map(String::as_str).chain(["panic/x"]) {
        client.publish(publish(topic, DENIED, Qos::AtLeastOnce));
    }
    let asked = json!({"action": "connect", "listener": "password", "username": "pump",
        "password": GUESS});
    let (status, answer) = vault.admin().post("/api/v1/explain", asked.to_string().as_bytes());
    assert_eq!(status, 200, "{answer}");
    vault.expect_untold(answer.to_string().as_bytes(), "an explanation");
}

fn database_goes_wrong(vault: &Vault) {
    for fault in [Fault::Refuse, Fault::Garbage, Fault::Reset, Fault::Hang] {
        vault.database.set(fault);
        // Who has logged in before is tried against what is remembered.
        vault.attempt("password", "pump", GUESS.as_bytes());
        let answer = vault.attempt("password", "nobody", PASSWORD.as_bytes());
        assert_eq!(answer, Some(ReasonCode::ServerUnavailable), "{fault:?}");
    }
    vault.database.set(Fault::Refuse);
    let admin = vault.admin();
    wait_until("it is missed", || (admin.get("/api/v1/ready").0 == 503).then_some(()));
}

fn keys_go_wrong(vault: &Vault) {
    let key = vault.broker.directory().join("server.key");
    let text = fs::read_to_string(&key).expect("read the key");
    for bad in [&text[..text.len() / 2], &text.replace("PRIVATE KEY", "SECRET")] {
        replace(&key, bad);
        let (status, answer) = vault.admin().post("/api/v1/tls/reload", b"");
        assert_eq!(status, 422, "{answer}");
        vault.expect_untold(answer.to_string().as_bytes(), "the answer to a reload");
    }
}

/// Each that the API has.
const QUESTIONS: &[&str] = &[
    "status",
    "ready",
    "metrics",
    "clients",
    "clients?tenant=acme",
    "identities",
    "identities?tenant=acme",
    "tls",
    "pipeline",
    "rules",
    "rules/clumsy",
    "rules/clumsy/recent",
    "plugins",
    "plugins/hostile",
    "plugins/hostile/recent",
    "tenants",
    "tenants/acme",
    "tenants/acme/tokens",
    "tenants/acme/grants",
    "tenants/acme/bans",
];

/// With the database, and without.
fn expect_nothing_in_the_api(vault: &Vault, expected: &[u16]) {
    for question in QUESTIONS {
        let (status, answer) = vault.admin().get(&format!("/api/v1/{question}"));
        assert!(expected.contains(&status), "{question}: {status} {answer}");
        vault.expect_untold(answer.to_string().as_bytes(), question);
        let text = answer.as_str().unwrap_or_default();
        vault.expect_untold(text.as_bytes(), question);
    }
}

/// Files below the folder that hold `part`.
fn files_with(folder: &Path, part: &[u8], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_with(&path, part, found);
        } else if fs::read(&path).is_ok_and(|bytes| holds(&bytes, part)) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
}

#[test]
fn no_secret_leaves_its_place_whatever_goes_wrong() {
    let mut vault = Vault::fill();
    passwords_go_wrong(&vault);
    scram::goes_wrong(&mut vault);
    tokens_go_wrong(&mut vault);
    steps_go_wrong(&vault);
    let kept = Publish { retain: true, ..publish("kept", KEPT, Qos::AtLeastOnce) };
    assert!(!vault.client("open").publish(kept).is_failure());
    expect_nothing_in_the_api(&vault, &[200]);
    database_goes_wrong(&vault);
    keys_go_wrong(&vault);
    expect_nothing_in_the_api(&vault, &[200, 503]);

    let log = vault.broker.log();
    for said in
        ["kind=\"step\"", "access denied", "step failed", "DEBUG", "the database is not ready"]
    {
        assert!(log.contains(said), "it has come to pass: {said}");
    }
    vault.secrets.push(("a payload that is kept", KEPT.to_vec()));
    vault.expect_untold(log.as_bytes(), "the log");
    let data = vault.broker.directory().join("data");
    for (what, secret) in &vault.secrets {
        let mut found = Vec::new();
        files_with(&data, secret, &mut found);
        match *what {
            "the token of the API" => assert_eq!(found, ["admin.token"]),
            "a payload that is kept" => assert!(!found.is_empty(), "the store keeps it"),
            _ => assert!(found.is_empty(), "{what} is in {found:?}"),
        }
    }
}

#[test]
fn the_brokers_own_database_holds_hashes() {
    let site = Guarded::with_step("{builtin: password, config: {tenant: acme}}", "");
    let hash = secret(&["password"], PASSWORD);
    site.execute(&format!(
        "INSERT INTO credentials (tenant, username, kind, secret)
         VALUES ('acme', 'pump', 'password', '{hash}');"
    ));
    Client::connect(site.address, login("pump", PASSWORD.as_bytes()));
    let made = site.broker.admin().post("/api/v1/tenants/acme/tokens", br#"{"name": "ci"}"#).1;
    let token = made["token"].as_str().expect("a tenant's token");
    for (text, is_there) in [(PASSWORD, false), (token, false), (&*hash, true)] {
        let mut found = Vec::new();
        files_with(&site.broker.directory().join("data"), text.as_bytes(), &mut found);
        assert_eq!(!found.is_empty(), is_there, "{found:?}");
    }
}
