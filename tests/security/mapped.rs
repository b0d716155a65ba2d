//! Certificate mappings in a table, which change while clients are connected.

use std::path::Path;

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::Client;
use hookmq_tests::company::{Engine, Tables};
use hookmq_tests::gate::{Gate, Yard, listener};
use hookmq_tests::postgres::Postgres;
use hookmq_tests::wait::wait_until;

const ANCHORS: &str = "client_certificates: required, trust_anchors:
    [{name: devices, file: devices.crt}, {name: guests, file: guests.crt}]";

const BY_TABLE: &str = "[{builtin: certificate, config: {mappings: database}}]";

/// A broker that has no mapping yet, but the tenants `acme` and `globex`.
fn gate(engine: Engine) -> (Gate, Tables) {
    let yard = Yard::lay_out();
    let (tables, url) = match engine {
        Engine::Sqlite => {
            let file = yard.path("data/hookmq.db");
            (Tables::Sqlite(file.clone()), format!("sqlite:{}", file.display()))
        }
        Engine::Postgres => {
            let server = Postgres::start().expect("start Postgres");
            let url = server.create_database().expect("make a database");
            (Tables::Postgres { server, url: url.clone() }, url)
        }
    };
    let database = format!("database: {{url: \"{url}\", poll_interval_ms: 20}}");
    let gate = yard.open(&format!("{}\n{database}", listener(ANCHORS)), BY_TABLE);
    let admin = gate.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    tables.execute("INSERT INTO tenants (name) VALUES ('acme'), ('globex')");
    (gate, tables)
}

/// Connects as soon as a mapping lets it.
fn admitted(gate: &Gate, identity: &Path, client_id: &str) -> Client {
    wait_until("the mapping is in force", || {
        gate.try_client(ProtocolVersion::V5, Some(identity), client_id).ok()
    })
}

fn is_refused(gate: &Gate, identity: &Path) -> bool {
    let refused = gate.try_client(ProtocolVersion::V5, Some(identity), "x").err();
    refused.is_some_and(|code| code == Some(ReasonCode::NotAuthorized as u8))
}

/// The client is connected, and is heard.
fn is_there(client: &mut Client) {
    client.subscribe("any", Qos::AtMostOnce);
}

#[test]
fn a_mapping_that_changes_counts_for_those_who_come_and_those_who_are_there() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let (gate, tables) = gate(engine);
        let pump = gate.issue(&gate.devices, "pump", 1);
        let valve = gate.issue(&gate.devices, "valve", 2);
        let guest = gate.issue(&gate.guests, "guest", 3);
        assert!(is_refused(&gate, &pump));
        tables.execute(
            "INSERT INTO certificate_mappings (trust_anchor, tenant, username)
            VALUES ('devices', 'acme', '{cn}')",
        );
        let mut pump_client = admitted(&gate, &pump, "p");
        let mut valve_client = admitted(&gate, &valve, "v");
        assert_eq!((gate.username("p"), gate.username("v")), ("pump".into(), "valve".into()));
        assert!(is_refused(&gate, &guest), "its anchor has no mapping");

        tables.execute(
            "INSERT INTO certificate_mappings
                (trust_anchor, match_field, match_value, tenant, username)
            VALUES ('devices', 'cn', 'pump', 'acme', 'dispatcher')",
        );
        pump_client.expect_disconnected(ReasonCode::NotAuthorized);
        let mut pump_client = gate.client(ProtocolVersion::V5, &pump, "p2");
        assert_eq!(gate.username("p2"), "dispatcher");
        is_there(&mut valve_client);

        // Another tenant's row takes one certificate.
        tables.execute(
            "INSERT INTO certificate_mappings (trust_anchor, issuer, match_field, match_value,
                tenant, username, roles, attributes, priority)
            VALUES ('devices', 'CN=devices', 'serial', '2', 'globex', 'lent-{cn}',
                '[\"lent\"]', '{\"from\": \"{issuer}\"}', 1)",
        );
        valve_client.expect_disconnected(ReasonCode::NotAuthorized);
        let mut valve_client = gate.client(ProtocolVersion::V5, &valve, "v");
        let (_, clients) = gate.admin().get("/api/v1/clients?tenant=globex");
        assert_eq!(clients["items"][0]["username"], "lent-valve");
        is_there(&mut pump_client);

        tables.execute("UPDATE certificate_mappings SET roles = '[\"other\"]' WHERE priority = 1");
        valve_client.expect_disconnected(ReasonCode::NotAuthorized);
        tables.execute("DELETE FROM certificate_mappings");
        pump_client.expect_disconnected(ReasonCode::NotAuthorized);
        assert!(is_refused(&gate, &pump) && is_refused(&gate, &valve));
    }
}

#[test]
fn a_row_that_cannot_be_used_identifies_nobody() {
    let (gate, tables) = gate(Engine::Sqlite);
    let pump = gate.issue(&gate.devices, "pump", 1);
    for values in [
        "'', 'acme', 'x', NULL, NULL",
        "'devices', 'nowhere', 'x', NULL, NULL",
        "'devices', 'acme', 'x', 'cn', NULL",
        "'devices', 'acme', 'x', 'shoe', '7'",
        "'devices', 'acme', 'x', 'serial', '1'",
    ] {
        let insert = format!(
            "INSERT INTO certificate_mappings
                (trust_anchor, tenant, username, match_field, match_value) VALUES ({values})"
        );
        assert!(std::panic::catch_unwind(|| tables.execute(&insert)).is_err(), "{values}");
    }
    tables.execute(
        "INSERT INTO certificate_mappings (trust_anchor, tenant, username)
        VALUES ('devices', 'acme', '{shoe}')",
    );
    gate.broker.wait_for_log("a certificate mapping cannot be used");
    assert!(is_refused(&gate, &pump));
}

#[test]
fn a_table_of_mappings_needs_a_database() {
    let yard = Yard::lay_out();
    let problems = yard.check(&listener(ANCHORS), BY_TABLE);
    assert!(problems.contains("it needs the section `database`"), "{problems}");
    let other = BY_TABLE.replace("database", "elsewhere");
    let problems = yard.check(&listener(ANCHORS), &other);
    assert!(problems.contains("a list of mappings, or `database`"), "{problems}");
}
