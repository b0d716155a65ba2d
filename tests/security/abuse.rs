//! Who is banned, fails or comes again and again, and what the log says of it.

use hookmq_codec::{Connect, Packet, ProtocolVersion, Publish, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, OPEN_LISTENER, add_rules, directory};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::company::{Company, Engine};
use hookmq_tests::guarded::{Guarded, PASSWORD, connack_of};
use hookmq_tests::scene::Scene;
use hookmq_tests::scram::ScramClient;
use hookmq_tests::wait::wait_until;
use serde_json::Value;

use crate::expect_refused;

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

/// Who comes as `thief` is refused, and nobody may publish below `secret/`.
const RULE: &str = r#"
fn connect(client) { if client.claimed_username == "thief" { deny("a thief") } else { next(#{}) } }
fn authorize(client, access) {
    if access.topic.starts_with("secret/") { deny("it is secret") } else { abstain() }
}
"#;

fn ruled(sections: &str) -> Broker {
    let directory = directory();
    add_rules(directory.path(), &[("rule", RULE)]);
    let yaml = format!(
        "data_dir: data
admin: {{bind: \"127.0.0.1:0\"}}
listeners: [{{name: plain, bind: \"tcp://127.0.0.1:0\"}}]
{sections}
pipeline:
  connect: [{{rule: rule}}, {{builtin: anonymous}}]
  authorize: [{{rule: rule}}, {{builtin: open}}]
"
    );
    Broker::with_config(&yaml, directory)
}

/// What CONNACK says to an attempt.
fn answer(company: &Company, username: &str, client_id: &str) -> ReasonCode {
    let attempt = connect(company.version, client_id);
    let (client, answer) = Client::attempt(company.address(username), attempt);
    client.vanish();
    connack_of(&answer).reason_code
}

fn told(version: ProtocolVersion, reason_code: ReasonCode) -> ReasonCode {
    match (version.is_v5(), reason_code) {
        (true, code) => code,
        (false, ReasonCode::Banned) => ReasonCode::NotAuthorized,
        (false, _) => ReasonCode::ServerUnavailable,
    }
}

#[test]
fn who_is_banned_is_disconnected_and_kept_out_until_the_ban_is_lifted() {
    for (engine, version) in [
        (Engine::Sqlite, VERSIONS[0]),
        (Engine::Sqlite, VERSIONS[1]),
        (Engine::Postgres, VERSIONS[1]),
    ] {
        let company = Company::start(engine, version, "", &[]);
        let banned = told(version, ReasonCode::Banned);
        // Who is named, and whether that is `other`, too.
        for (tenant, kind, subject, other_too) in [
            ("'acme'", "principal", "reader", false),
            ("NULL", "principal", "reader", false),
            ("'acme'", "client_id", "r", false),
            ("NULL", "client_id", "r", false),
            ("'acme'", "tenant", "", true),
            ("'acme'", "address", "127.0.0.0/8", true),
            ("NULL", "address", "127.0.0.1", true),
        ] {
            eprintln!("{engine:?} {version:?}: {kind} {subject:?} of {tenant}");
            let mut reader = company.client("reader", "r");
            let mut other = company.client("other", "o");
            company.execute(&format!(
                "INSERT INTO bans (tenant, kind, subject, reason)
                VALUES ({tenant}, '{kind}', '{subject}', 'misbehaved')"
            ));
            reader.expect_disconnected(ReasonCode::AdministrativeAction);
            assert_eq!(answer(&company, "reader", "r"), banned);
            match other_too {
                true => other.expect_disconnected(ReasonCode::AdministrativeAction),
                false => other.expect_nothing(),
            }
            company.execute("DELETE FROM bans");
            wait_until("the ban is lifted", || {
                (answer(&company, "reader", "r") == ReasonCode::Success).then_some(())
            });
        }
        let line = company.broker.wait_for_log("kind=\"banned\"");
        assert!(line.contains("audit") && line.contains("misbehaved"), "{line}");
        // An address of all tenants is refused before any step is asked: nobody knows the tenant.
        assert!(company.broker.admin().metric("connects_banned_total") >= 14);
    }
}

#[test]
fn nobody_comes_in_while_the_bans_have_never_been_read() {
    // Nobody listens there. The steps let everybody in, and do not ask the database.
    let away = "database: {url: \"postgres://hookmq@127.0.0.1:1/hookmq\", timeout_ms: 200}";
    let broker = Broker::open_with_sections(away);
    for version in VERSIONS {
        let (_, answer) = Client::attempt(broker.address(OPEN_LISTENER), connect(version, "c"));
        assert_eq!(connack_of(&answer).reason_code, ReasonCode::ServerUnavailable);
    }
    assert!(broker.log().contains("the bans have not been read yet"), "{}", broker.log());
}

#[test]
fn a_ban_of_somebody_else_or_of_yesterday_disturbs_nobody() {
    let company = Company::start(Engine::Sqlite, VERSIONS[1], "", &[]);
    let mut reader = company.client("reader", "r");
    company.execute(
        "INSERT INTO bans (tenant, kind, subject, expires_at) VALUES
            ('acme', 'principal', 'reader', '2020-01-01'),
            ('globex', 'principal', 'reader', NULL),
            ('globex', 'tenant', '', NULL),
            ('globex', 'address', '127.0.0.1', NULL),
            (NULL, 'address', '127.0.0.2/31', NULL),
            (NULL, 'address', '127.0.0.1.1', NULL),
            (NULL, 'principal', 'writer', NULL)",
    );
    let writer = || answer(&company, "writer", "w");
    wait_until("the bans are in force", || (writer() == ReasonCode::Banned).then_some(()));
    company.broker.wait_for_log("a ban cannot be read");
    reader.expect_nothing();
    assert_eq!(answer(&company, "reader", "r2"), ReasonCode::Success);
}

#[test]
fn a_ban_ends_by_itself() {
    let company = Company::start(Engine::Sqlite, VERSIONS[1], "", &[]);
    let mut reader = company.client("reader", "r");
    company.execute(
        "INSERT INTO bans (tenant, kind, subject, expires_at) VALUES
            ('acme', 'principal', 'reader', strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+3 seconds'))",
    );
    reader.expect_disconnected(ReasonCode::AdministrativeAction);
    wait_until("the ban is over", || {
        (answer(&company, "reader", "r") == ReasonCode::Success).then_some(())
    });
}

/// N02: passwords are tried until the address waits; who is known there does not.
#[test]
fn an_address_that_fails_too_often_waits_but_not_who_is_known_there() {
    let hold = "abuse: {failures_per_address: 3, first_hold_ms: 600000, longest_hold_ms: 600000}";
    let guarded = Guarded::new(hold);
    guarded.client("pump").disconnect();
    for client_id in ["x", "y", "z"] {
        let (_, answer) = guarded.attempt(client_id, &ScramClient::new("valve", "pencils"));
        assert_eq!(connack_of(&answer).reason_code, ReasonCode::NotAuthorized);
    }
    let valve = ScramClient::new("valve", PASSWORD);
    let (mut held, answer) = guarded.begin("valve", &valve);
    assert_eq!(connack_of(&answer).reason_code, ReasonCode::ConnectionRateExceeded);
    held.expect_closed();
    guarded.client("pump");
    assert_eq!(guarded.broker.admin().metric("connects_held_back_total"), 1);
    guarded.broker.wait_for_log("kind=\"held_back\"");
}

#[test]
fn a_name_that_others_fail_under_waits_in_both_versions_and_other_names_do_not() {
    let abuse = "abuse: {failures_per_username: 3, first_hold_ms: 600000, longest_hold_ms: 600000}";
    for version in VERSIONS {
        let broker = ruled(abuse);
        let attempt = |username| {
            let connect = Connect { username: Some(username), ..connect(version, "a") };
            let (_, answer) = Client::attempt(broker.address("plain"), connect);
            connack_of(&answer).reason_code
        };
        for _ in 0..3 {
            assert_eq!(attempt("thief"), ReasonCode::NotAuthorized);
        }
        assert_eq!(attempt("thief"), told(version, ReasonCode::ConnectionRateExceeded));
        assert_eq!(attempt("pump"), ReasonCode::Success);
    }
}

#[test]
fn a_client_that_connects_too_often_is_kept_out_and_others_are_not() {
    for version in VERSIONS {
        let scene = Scene::with_sections(version, "abuse: {connects_per_client_id: 3}");
        for _ in 0..3 {
            scene.client("flapping").disconnect();
        }
        let (mut client, answer) = Client::attempt(scene.address, scene.connect_packet("flapping"));
        let refusal = told(version, ReasonCode::ConnectionRateExceeded);
        assert_eq!(connack_of(&answer).reason_code, refusal);
        client.expect_closed();
        scene.client("steady");
    }
}

/// S02
#[test]
fn what_strangers_say_is_one_bounded_record_and_no_label() {
    let forged = "a\r\n{\"level\":\"INFO\",\"fields\":{\"message\":\"client refused\"}}\r\n";
    let long = "\u{1b}[31m\"x\"\u{202e}".repeat(5000);
    for version in VERSIONS {
        let broker = ruled("log: {format: json}\nlimits: {client_id_length: 65535}");
        let address = wait_until("the broker listens", || {
            let records = records(&broker);
            let line = records.iter().find(|it| it["fields"]["listener"] == "plain");
            line.and_then(|it| it["fields"]["address"].as_str()?.parse().ok())
        });
        let names = [forged, &long, "\u{1b}[2J\u{7}", "\\\"}"];
        for name in names {
            let username = Some("thief");
            let connect = Connect { username, ..connect(version, name) };
            expect_refused(&mut sent(address, connect));
        }
        for name in names {
            let mut client = Client::connect(address, connect(version, name)).0;
            let topic = format!("secret/{}", &name[..name.len().min(30_000)]);
            // Its levels and its characters may be refused, too, before it is authorized.
            client.send(&Packet::Publish(Publish { ..publish(&topic, b"", Qos::AtMostOnce) }));
            client.send(&Packet::PingReq);
            client.try_receive();
        }
        let mut garbled = Client::open(address, version);
        let packet = Packet::Connect(Box::new(connect(version, "garbled")));
        let bytes = garbled.encode(&packet);
        let at = bytes.windows(7).position(|it| it == b"garbled").expect("the client id");
        garbled.send_raw(&[&bytes[..at], b"\xff\xfe\xc0\xaf\x80\r\n"].concat());
        expect_refused(&mut garbled);
        wait_until("all are told", || {
            let records = records(&broker);
            let told = records.iter().filter(|it| it["fields"]["message"] == "client refused");
            (told.count() == names.len()).then_some(())
        });
        let admin = admin(&broker, &records(&broker));
        let (_, metrics) = admin.get("/api/v1/metrics");
        let metrics = metrics.as_str().expect("metrics are text");
        assert!(!metrics.contains("client refused") && !metrics.contains('\u{1b}'), "{metrics}");
    }
}

#[test]
fn acts_of_administrators_are_on_record_and_the_token_is_not() {
    let broker = ruled("");
    let admin = broker.admin();
    let actor = "HookMQ-Actor: jane doe\r\nContent-Length: 0\r\n";
    admin.raw("POST /api/v1/rules/reload?secret=1", actor, b"").expect("an answer");
    let line = broker.wait_for_log("admin request");
    for part in ["audit", "kind=\"admin\"", "who=\"jane doe\"", "method=\"POST\"", "status=200"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(line.contains("path=\"/api/v1/rules/reload\"") && !line.contains("secret"), "{line}");
    assert_eq!(admin.delete("/api/v1/clients/default/nobody").0, 404);
    broker.wait_for_log("status=404");
    assert_eq!(admin.with_token("wrong-token").get("/api/v1/status").0, 401);
    broker.wait_for_log("kind=\"admin_refused\"");
    admin.get("/api/v1/status");
    let token = std::fs::read_to_string(broker.directory().join("data/admin.token"));
    let log = broker.log();
    assert!(!log.contains(token.expect("the token").trim()) && !log.contains("wrong-token"));
    assert_eq!(log.matches("admin request").count(), 3);
}

fn sent(address: std::net::SocketAddr, connect: Connect<'_>) -> Client {
    let mut client = Client::open(address, connect.version);
    let bytes = client.encode(&Packet::Connect(Box::new(connect)));
    client.try_send_raw(&bytes);
    client
}

/// The broker's log, of which each line is one record of at most 1 KiB.
#[track_caller]
fn records(broker: &Broker) -> Vec<Value> {
    let log = broker.log();
    // The last line may not be whole yet.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().map(|line| {
        assert!(line.len() <= 1024 && !line.contains(char::is_control), "{line}");
        serde_json::from_str(line).expect("JSON")
    });
    lines.collect()
}

fn admin(broker: &Broker, records: &[Value]) -> hookmq_tests::admin::AdminClient {
    let listening = records.iter().find(|it| it["fields"]["message"] == "admin API listening");
    let address = listening.and_then(|it| it["fields"]["address"].as_str()?.parse().ok());
    let token = std::fs::read_to_string(broker.directory().join("data/admin.token"));
    hookmq_tests::admin::AdminClient::new(
        address.expect("an address"),
        token.expect("the token").trim(),
    )
}
