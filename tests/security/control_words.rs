//! What an answer of a connect step comes to by its control word, be it a builtin, a plugin or a rule.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use hookmq_codec::{Connect, ProtocolVersion, ReasonCode};
use hookmq_tests::broker::{Broker, directory, plugins};
use hookmq_tests::client::{Client, connect};
use hookmq_tests::company::Tables;
use hookmq_tests::guarded::{connack_of, secret};
use hookmq_tests::tokens::{now, token_by_secret};
use hookmq_tests::wait::wait_until;
use serde_json::json;

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";

const PASSWORD: &str = "pencil";

/// Knows whoever says so.
const KNOWN: &str = r#"
fn connect(client) {
    let id = client.claimed_client_id;
    if id.starts_with("broken") { throw "as it was told"; }
    if id.starts_with("known") { return accept(#{ tenant: "acme", username: "pump" }); }
    deny("a stranger")
}
"#;

/// Asked behind the others. Of most clients it has no opinion.
const DOOR: &str = r#"
fn connect(client) {
    let id = client.claimed_client_id;
    if id.contains("locked") { return deny("the door is locked"); }
    if !id.contains("guest") { return next(#{}); }
    if client.username == () { accept(#{ tenant: "acme", username: "guest" }) } else { accept(#{}) }
}
"#;

const STEPS: [(&str, &str); 3] = [
    ("builtin", "builtin: password, config: {tenant: acme}"),
    (
        "plugin",
        "plugin: jwt-identity, config: {algorithms: [HS256], keys: {hmac_secret: jwt}, issuer: me,
         audiences: [mqtt], identity: {tenant: {value: acme}, username: {claim: sub}}}",
    ),
    ("rule", "rule: known"),
];

/// What becomes of a client that the step accepts, and of one that it does not, where the door has no
/// opinion, lets it in, and does not.
const WORDS: [(&str, [Outcome; 3], [Outcome; 3]); 3] = [
    ("required", [AS_PUMP, AS_PUMP, REFUSED], [REFUSED, REFUSED, REFUSED]),
    // The door is not asked about whom the step has accepted.
    ("sufficient", [AS_PUMP, AS_PUMP, AS_PUMP], [REFUSED, AS_GUEST, REFUSED]),
    // What the step says of a client counts, and not that it accepts it.
    ("optional", [REFUSED, AS_PUMP, REFUSED], [REFUSED, AS_GUEST, REFUSED]),
];

type Outcome = Option<&'static str>;

const AS_PUMP: Outcome = Some("pump");
const AS_GUEST: Outcome = Some("guest");
const REFUSED: Outcome = None;

const AT_THE_DOOR: [&str; 3] = ["plain", "guest", "locked"];

fn broker() -> Broker {
    let directory = directory();
    let file = |name: &str| directory.path().join(name);
    fs::create_dir(file("rules")).expect("make a folder");
    fs::write(file("rules/known.rhai"), KNOWN).expect("write a rule");
    fs::write(file("rules/door.rhai"), DOOR).expect("write a rule");
    fs::write(file("jwt.secret"), SECRET).expect("write a secret");
    fs::set_permissions(file("jwt.secret"), Permissions::from_mode(0o600)).expect("keep it");
    let (mut listeners, mut steps) = (String::new(), String::new());
    for (kind, step) in STEPS {
        for (word, ..) in WORDS {
            listeners += &format!("  - {{name: {kind}-{word}, bind: \"tcp://127.0.0.1:0\"}}\n");
            steps += &format!("    - {{{step}, listeners: [{kind}-{word}], control: {word}}}\n");
        }
    }
    let yaml = format!(
        "data_dir: data
admin: {{bind: \"127.0.0.1:0\"}}
abuse: {{failures_per_address: 0, failures_per_username: 0}}
database: {{poll_interval_ms: 20}}
plugins:
  dir: {:?}
  grants:
    jwt-identity: {{log: true, metric: true, clock: true, kv: true,
                    secrets: {{jwt: {{file: jwt.secret}}}}}}
listeners:
{listeners}pipeline:
  connect:
{steps}    - {{rule: door}}
  authorize: [{{builtin: open}}]
",
        plugins()
    );
    let broker = Broker::with_config(&yaml, directory);
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    let hash = secret(&["password"], PASSWORD);
    Tables::Sqlite(broker.directory().join("data/hookmq.db")).execute(&format!(
        "INSERT INTO tenants (name) VALUES ('acme');
        INSERT INTO principals (tenant, username) VALUES ('acme', 'pump');
        INSERT INTO credentials (tenant, username, kind, secret)
            VALUES ('acme', 'pump', 'password', '{hash}');"
    ));
    broker
}

/// As whom the client is in.
fn outcome(broker: &Broker, listener: &str, packet: Connect<'_>) -> Option<String> {
    let client_id = packet.client_id.to_owned();
    let (client, answer) = Client::attempt(broker.address(listener), packet);
    if connack_of(&answer).reason_code != ReasonCode::Success {
        return None;
    }
    let (_, clients) = broker.admin().get("/api/v1/clients?tenant=acme");
    let items = clients["items"].as_array().expect("a list of clients");
    let own = items.iter().find(|item| item["client_id"] == *client_id).expect("it is connected");
    client.disconnect();
    Some(own["username"].as_str().expect("a name").to_owned())
}

#[test]
fn a_control_word_means_the_same_for_a_builtin_a_plugin_and_a_rule() {
    let broker = broker();
    let token = |subject: &str, issuer: &str| {
        let claims = json!({"sub": subject, "iss": issuer, "aud": "mqtt", "exp": now() + 3600});
        token_by_secret(SECRET, &claims)
    };
    let (good, bad) = (token("pump", "me"), token("pump", "another"));
    for (kind, _) in STEPS {
        let (right, wrong) = match kind {
            "plugin" => (&*good, &*bad),
            _ => (PASSWORD, "pencils"),
        };
        for (word, accepted, not_accepted) in WORDS {
            for (prefix, password, expected) in [
                ("known", right, accepted),
                ("stranger", wrong, not_accepted),
                // For the rule, which then fails.
                ("broken", wrong, not_accepted),
            ] {
                for (door, expected) in AT_THE_DOOR.iter().zip(expected) {
                    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
                        let client_id = format!("{prefix}-{door}");
                        let packet = Connect {
                            username: Some("pump"),
                            password: Some(password.as_bytes()),
                            ..connect(version, &client_id)
                        };
                        let listener = format!("{kind}-{word}");
                        let outcome = outcome(&broker, &listener, packet);
                        assert_eq!(outcome.as_deref(), expected, "{client_id} at {listener}");
                    }
                }
            }
        }
    }
}
