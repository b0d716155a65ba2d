//! The first day of a broker: configured, started, filled, used, refused, reprogrammed, stopped.

use std::process::{Command, Output};

use hookmq_codec::{ProtocolVersion, ReasonCode};
use hookmq_tests::broker::hookmq;
use hookmq_tests::certificates::EXPIRED_IN;
use hookmq_tests::client::{Client, connect};
use hookmq_tests::mosquitto::Subscriber;
use serde_json::{Value, json};

use crate::hot_swap;
use crate::site::{Database, Site, output};

const TELEMETRY: &str = "devices/sensor-1/telemetry";

#[test]
fn a_first_day_with_postgres() {
    first_day(Database::postgres());
}

/// Its clients are mosquitto's, which know no more than the specification.
///
/// `[MQTT311-7.0.0-2]`
#[test]
fn a_first_day_with_sqlite() {
    first_day(Database::Sqlite);
}

fn first_day(database: Database) {
    let mut site = Site::start(database);
    the_configuration_is_sound(&site);
    site.seed();
    let telemetry = site.subscribe(&site.guest(), "devices/+/telemetry");
    let alarms = site.subscribe(&site.guest(), "alarms/#");

    messages_are_transformed_redacted_and_watched(&site, &telemetry, &alarms);
    a_device_publishes_under_its_own_name_alone(&site, &telemetry);
    refused_certificates_are_named_in_the_log(&site);
    hot_swap::programs_are_replaced_while_messages_flow(&site, &telemetry, &alarms);
    hot_swap::broken_programs_are_refused(&site);
    every_route_asks_for_the_token(&site);
    a_stop_tells_the_clients(&mut site);
}

fn the_configuration_is_sound(site: &Site) {
    let mut check = hookmq();
    check.args(["check", "--config"]).arg(site.broker.directory().join("hookmq.yaml"));
    assert_eq!(output(&mut check, "").trim(), "ok");
}

fn messages_are_transformed_redacted_and_watched(
    site: &Site,
    telemetry: &Subscriber,
    alarms: &Subscriber,
) {
    let full_view = site.subscribe(&site.operator(), TELEMETRY);
    for (fahrenheit, celsius) in [(68, 20.0), (212, 100.0)] {
        let payload = json!({"temperature_f": fahrenheit, "location": "59.33,18.07"});
        let published = site.sensor().publish(TELEMETRY, &payload.to_string(), &["-q", "1"]);
        assert!(published.status.success(), "{published:?}");

        let seen = telemetry.next_json();
        assert_eq!(seen["temperature"], json!(celsius));
        assert!(seen["received_at"].is_u64(), "{seen}");
        assert_eq!(seen["temperature_f"], Value::Null);
        assert_eq!(seen["location"], Value::Null, "a viewer does not see it");
        let seen = full_view.next_json();
        assert_eq!(seen["temperature"], json!(celsius));
        assert_eq!(seen["location"], json!("59.33,18.07"), "an operator sees it");
    }
    let alarm = alarms.next_json();
    assert_eq!(alarm["temperature"], json!(100.0), "the first alarm is for what is too hot");
    assert_eq!(alarm["limit"], json!(80));
}

fn a_device_publishes_under_its_own_name_alone(site: &Site, telemetry: &Subscriber) {
    let foreign = "devices/sensor-2/telemetry";
    let refused = site.sensor().publish(foreign, "{}", &["-q", "1", "-V", "mqttv5"]);
    assert!(said(&refused).contains("not authorized"), "{refused:?}");
    let line = site.broker.wait_for_log(foreign);
    for part in ["access denied", "username=\"sensor-1\"", "action=Publish", "reason="] {
        assert!(line.contains(part), "{line}");
    }

    let own = json!({"temperature": 1}).to_string();
    assert!(site.sensor().publish(TELEMETRY, &own, &["-q", "1"]).status.success());
    assert_eq!(telemetry.next_json()["temperature"], json!(1), "nothing came before it");
}

fn refused_certificates_are_named_in_the_log(site: &Site) {
    let expired = format!("expired at {EXPIRED_IN}-01-01");
    for ((door, name), reason) in [
        (site.impostor(), "no trust anchor of this listener has issued it"),
        (site.expired(), &*expired),
        (site.badly_named(), "certificate CN 'Sensor_9' is not a device name"),
    ] {
        let refused = door.publish(TELEMETRY, "{}", &["-q", "1"]);
        assert!(!refused.status.success(), "{name}: {refused:?}");
        let line = site.broker.wait_for_log(name);
        assert!(line.contains("refused") && line.contains(reason), "{line}");
    }
}

fn every_route_asks_for_the_token(site: &Site) {
    let admin = site.broker.admin();
    for stranger in [admin.with_token(""), admin.with_token("not-the-token-of-this-broker")] {
        for path in
            ["status", "ready", "metrics", "clients", "pipeline", "rules", "plugins", "nowhere"]
        {
            let (status, body) = stranger.get(&format!("/api/v1/{path}"));
            assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")), "{path}");
        }
        for path in ["rules/reload", "plugins/stamp", "nowhere"] {
            assert_eq!(stranger.post(&format!("/api/v1/{path}"), b"x").0, 401, "{path}");
        }
        assert_eq!(stranger.delete("/api/v1/clients/acme/sensor-1").0, 401);
        assert_eq!(stranger.get("/").0, 401);
    }
    assert_eq!(admin.get("/api/v1/status").0, 200);
}

fn a_stop_tells_the_clients(site: &mut Site) {
    let address = site.broker.address("plain");
    let (mut witness, _) = Client::connect(address, connect(ProtocolVersion::V5, "witness"));
    let status = site.broker.terminate();
    assert!(status.success(), "{status}");
    witness.expect_disconnected(ReasonCode::ServerShuttingDown);
}

/// What a command has printed, in lower case.
pub fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{out}{err}").to_lowercase()
}

/// As `sha256sum` says it.
pub fn sha256(file: &std::path::Path) -> String {
    let sum = output(Command::new("sha256sum").arg(file), "apt-get install coreutils");
    sum.split(' ').next().expect("a sum").to_owned()
}
