//! Connect steps one behind the other: certificates, passwords and tokens, and who comes in by which.

use ProtocolVersion::{V5, V311};
use hookmq_codec::{Connect, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::Broker;
use hookmq_tests::client::{connect, publish};
use hookmq_tests::company::Tables;
use hookmq_tests::gate::{Gate, Yard};
use hookmq_tests::guarded::secret;
use hookmq_tests::tokens::{Issuer, KeyServer, now};
use hookmq_tests::wait::wait_until;
use serde_json::json;

/// A chain: its name, which is the listener's, and its steps, in which `AT` stands for it.
type Chain = (&'static str, String);

/// `by-token` is in the table of principals, and has no password.
const SEED: &str = "
    INSERT INTO tenants (name) VALUES ('acme');
    INSERT INTO principals (tenant, username) VALUES
        ('acme', 'pump'), ('acme', 'valve'), ('acme', 'by-token');
    INSERT INTO permissions (tenant, subject_kind, action, filter) VALUES
        ('acme', 'everyone', 'publish', 'open/#');
";

const CERTIFICATE: &str = "{builtin: certificate, listeners: [AT], control: CONTROL, config: \
    {mappings: [{trust_anchor: devices, tenant: acme, username: \"{cn}\"}]}}";
const PASSWORD: &str =
    "{builtin: password, listeners: [AT], control: CONTROL, config: {tenant: acme, checks: 1}}";
const OWN_ID: &str = "{builtin: password, listeners: [AT], control: CONTROL, config: \
    {tenant: acme, checks: 1, client_id: \"{username}-*\"}}";
const DATABASE: &str = "{builtin: database, listeners: [AT]}";
const ANONYMOUS: &str = "{builtin: anonymous, listeners: [AT], control: CONTROL, config: \
    {tenant: acme, username: guest}}";

fn required(step: &str) -> String {
    step.replace("CONTROL", "required")
}

fn sufficient(step: &str) -> String {
    step.replace("CONTROL", "sufficient")
}

fn chains(token: &str) -> Vec<Chain> {
    let chain = |steps: &[String]| steps.join(", ");
    let database = DATABASE.to_owned();
    vec![
        ("both", chain(&[required(CERTIFICATE), required(PASSWORD), database.clone()])),
        ("proven", chain(&[required(CERTIFICATE), required(token), database.clone()])),
        ("either", chain(&[sufficient(CERTIFICATE), required(token)])),
        ("token", chain(&[required(token), database.clone()])),
        ("word", chain(&[sufficient(token), required(PASSWORD)])),
        ("fallback", chain(&[sufficient(PASSWORD), required(ANONYMOUS)])),
        ("own", chain(&[required(OWN_ID), database])),
    ]
}

fn gate(issuer: &KeyServer) -> Gate {
    let yard = Yard::lay_out();
    let token = issuer.step("CONTROL", "", "").replacen('{', "{listeners: [AT], ", 1);
    let chains = chains(&token);
    let listeners = chains.iter().map(|(name, _)| {
        format!(
            "{{name: {name}, bind: \"tls://127.0.0.1:0\", tls: {{certificate: server.crt, \
             key: server.key, client_certificates: optional, \
             trust_anchors: [{{name: devices, file: devices.crt}}]}}}}"
        )
    });
    let steps = chains.iter().map(|(name, steps)| steps.replace("AT", name));
    let yaml = format!(
        "data_dir: data
abuse: {{failures_per_address: 0, failures_per_username: 0}}
admin: {{bind: \"127.0.0.1:0\"}}
database: {{poll_interval_ms: 20}}
listeners: [{}]
pipeline:
  connect: [{}]
  authorize:
    - {{builtin: database, listeners: [both, proven, token, own]}}
    - {{builtin: open, listeners: [either, word, fallback]}}
",
        listeners.collect::<Vec<_>>().join(", "),
        steps.collect::<Vec<_>>().join(", "),
    );
    let Yard { directory, server, devices, guests } = yard;
    let broker = Broker::with_config(&yaml, directory);
    let gate = Gate { broker, server, devices, guests };
    let admin = gate.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    let hash = secret(&["password"], "canary-7");
    let credential = |username: &str| {
        format!(
            "INSERT INTO credentials (tenant, username, kind, secret)
             VALUES ('acme', '{username}', 'password', '{hash}');"
        )
    };
    let tables = Tables::Sqlite(gate.path("data/hookmq.db"));
    tables.execute(&[SEED, &credential("pump"), &credential("valve")].concat());
    gate
}

/// What a client shows, and the username that it has then, or the code that it is refused with.
struct Case<'a> {
    chain: &'static str,
    certificate: Option<&'static str>,
    username: Option<&'static str>,
    password: Option<&'a str>,
    becomes: Result<&'static str, ReasonCode>,
}

const REFUSED: Result<&str, ReasonCode> = Err(ReasonCode::NotAuthorized);
const CONTRADICTED: Result<&str, ReasonCode> = Err(ReasonCode::BadUserNameOrPassword);

#[test]
fn each_chain_lets_in_whom_it_says() {
    let issuer = Issuer::new("a");
    let keys = KeyServer::of(&issuer);
    let gate = gate(&keys);
    let devices: Vec<_> =
        ["pump", "valve"].iter().map(|name| (*name, gate.issue(&gate.devices, name, 1))).collect();
    let (pump, valve) = (issuer.token_for("pump"), issuer.token_for("valve"));
    let (by_token, nobody) = (issuer.token_for("by-token"), issuer.token_for("nobody"));
    let old = issuer.token(&json!({"sub": "pump", "exp": now() - 60}));
    let right = Some("canary-7");
    let case = |chain, certificate, username, password, becomes| Case {
        chain,
        certificate,
        username,
        password,
        becomes,
    };
    let cases = [
        // Certificate and password.
        case("both", Some("pump"), Some("pump"), right, Ok("pump")),
        case("both", Some("pump"), Some("pump"), Some("canary-8"), REFUSED),
        case("both", Some("pump"), None, None, REFUSED),
        case("both", None, Some("pump"), right, REFUSED),
        case("both", Some("pump"), Some("valve"), right, CONTRADICTED),
        // Certificate and token.
        case("proven", Some("pump"), Some("pump"), Some(&pump), Ok("pump")),
        case("proven", Some("pump"), Some("pump"), Some(&valve), REFUSED),
        case("proven", Some("pump"), Some("pump"), Some(&old), REFUSED),
        case("proven", Some("pump"), None, None, REFUSED),
        case("proven", None, Some("pump"), Some(&pump), REFUSED),
        // Certificate or token.
        case("either", Some("pump"), None, None, Ok("pump")),
        case("either", Some("pump"), Some("pump"), Some(&old), Ok("pump")),
        case("either", None, Some("by-token"), Some(&by_token), Ok("by-token")),
        case("either", None, Some("nobody"), Some(&nobody), Ok("nobody")),
        case("either", None, Some("pump"), Some(&old), REFUSED),
        case("either", None, None, None, REFUSED),
        case("either", None, Some("valve"), Some(&pump), CONTRADICTED),
        // The certificate contradicts CONNECT, so the token decides, which does not.
        case("either", Some("pump"), Some("valve"), Some(&valve), Ok("valve")),
        // Token, then the database.
        case("token", None, Some("by-token"), Some(&by_token), Ok("by-token")),
        case("token", None, Some("nobody"), Some(&nobody), REFUSED),
        case("token", Some("pump"), None, None, REFUSED),
        // Token or password.
        case("word", None, Some("by-token"), Some(&by_token), Ok("by-token")),
        case("word", None, Some("pump"), right, Ok("pump")),
        case("word", None, Some("pump"), Some(&old), REFUSED),
        case("word", None, Some("valve"), Some(&pump), REFUSED),
        // Password, or nobody in particular.
        case("fallback", None, Some("pump"), right, Ok("pump")),
        case("fallback", None, None, None, Ok("guest")),
        case("fallback", None, Some("pump"), Some("canary-8"), Ok("guest")),
    ];
    for (number, case) in cases.iter().enumerate() {
        for version in [V311, V5] {
            let username = case.username.or(case.password.map(|_| "pump"));
            let what = format!("case {number} at {}, {version:?}", case.chain);
            let client_id = format!("client-{number}-{}", version.name().replace('.', ""));
            let packet = Connect {
                username,
                password: case.password.map(str::as_bytes),
                ..connect(version, &client_id)
            };
            let identity = devices.iter().find(|(name, _)| Some(*name) == case.certificate);
            let identity = identity.map(|(_, stem)| stem.as_path());
            let outcome = gate.try_at(case.chain, identity, packet);
            match (case.becomes, outcome) {
                (Ok(username), Ok(_client)) => {
                    assert_eq!(gate.username(&client_id), username, "{what}");
                }
                (Err(code), Err(told)) => assert_eq!(told, Some(told_as(version, code)), "{what}"),
                (becomes, outcome) => {
                    panic!("{what}: {becomes:?}, {:?}\n{}", outcome.err(), gate.broker.log())
                }
            }
        }
    }
}

/// The code's byte in CONNACK.
fn told_as(version: ProtocolVersion, code: ReasonCode) -> u8 {
    match (version, code) {
        (V5, code) => code as u8,
        (_, ReasonCode::ClientIdentifierNotValid) => 2,
        (_, ReasonCode::BadUserNameOrPassword) => 4,
        _ => 5,
    }
}

/// Who knows a password has the client ids that begin with its name, and no others.
#[test]
fn a_client_id_belongs_to_who_knows_the_password() {
    let issuer = Issuer::new("a");
    let keys = KeyServer::of(&issuer);
    let gate = gate(&keys);
    for version in [V311, V5] {
        let attempt = |client_id: &str| {
            let (username, password) = (Some("pump"), Some(&b"canary-7"[..]));
            let packet = Connect { username, password, ..connect(version, client_id) };
            gate.try_at("own", None, packet)
        };
        for own in ["pump-1", "pump-x.y"] {
            let mut client = attempt(own).unwrap_or_else(|code| panic!("{own}: {code:?}"));
            let code = client.publish(publish("open/a", b"x", Qos::AtLeastOnce));
            assert_ne!(code, ReasonCode::NotAuthorized);
        }
        for foreign in ["valve-1", "pump", "pump-", "pump-1-2", "1"] {
            let refused = attempt(foreign).err();
            let code = told_as(version, ReasonCode::ClientIdentifierNotValid);
            assert_eq!(refused, Some(Some(code)), "{foreign}");
        }
    }
}
