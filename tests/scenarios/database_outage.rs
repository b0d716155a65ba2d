//! The broker starts before its database, says so, and serves when the database comes.

use hookmq_tests::wait::wait_until;
use serde_json::json;

use crate::first_light::said;
use crate::site::{Database, Site};

const TOPIC: &str = "devices/sensor-1/telemetry";

#[test]
fn a_broker_waits_for_its_database() {
    let site = Site::start(Database::postgres_away());
    let reason = wait_until("the broker misses its database", || {
        let (status, body) = site.get("ready");
        assert_eq!((status, &body["ready"]), (503, &json!(false)));
        // At first it only has not been reached yet.
        body["reason"].as_str().filter(|reason| !reason.contains("yet")).map(str::to_owned)
    });
    assert!(!reason.is_empty());

    let refused = site.sensor().publish(TOPIC, "{}", &["-q", "1", "-V", "mqttv5"]);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(said(&refused).contains("server unavailable"), "{refused:?}");
    let line = site.broker.wait_for_log("client refused");
    assert!(
        line.contains("client_id=\"sensor-1\"") && line.contains("step=\"database\""),
        "{line}"
    );
    assert!(site.broker.is_running());

    site.postgres().resume().expect("start Postgres");
    site.seed();
    let telemetry = site.subscribe(&site.guest(), TOPIC);
    let payload = json!({"temperature_f": 50}).to_string();
    let published = site.sensor().publish(TOPIC, &payload, &["-q", "1"]);
    assert!(published.status.success(), "{published:?}");
    assert_eq!(telemetry.next_json()["temperature"], json!(10.0));
}
