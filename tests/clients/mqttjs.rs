//! MQTT.js: in Node, over TCP and WebSocket, and in a page in a browser.

use std::process::Command;

use hookmq_tests::broker::{Broker, OPEN_LISTENER};

use crate::foreign::{installed, run, source};

/// Plays scenarios of `mqttjs/scenarios.js` in these versions, each on a broker of its own.
fn play(scheme: &str, versions: &[&str], scenarios: &[&str]) {
    for version in versions {
        eprintln!("MQTT {version}:");
        let broker = Broker::open_at(&format!("{}://127.0.0.1:0", bind_scheme(scheme)));
        let url = format!("{scheme}://{}", broker.address(OPEN_LISTENER));
        let mut node = Command::new("node");
        node.env("NODE_PATH", installed("node/node_modules"));
        node.arg(source("mqttjs/node.js")).args([&*url, version]).args(scenarios);
        run(&mut node);
    }
}

/// What the broker calls MQTT.js's `mqtt`.
fn bind_scheme(scheme: &str) -> &str {
    if scheme == "mqtt" { "tcp" } else { scheme }
}

const ALL: &[&str] = &["3.1", "3.1.1", "5.0"];

#[test]
fn messages_of_every_quality_go_both_ways() {
    play("mqtt", ALL, &["qualities"]);
}

#[test]
fn a_retained_message_waits_until_it_is_cleared() {
    play("mqtt", ALL, &["retained"]);
}

#[test]
fn a_will_is_published_for_who_is_lost_and_not_for_who_leaves() {
    play("mqtt", ALL, &["will"]);
}

#[test]
fn a_session_keeps_what_comes_while_its_client_is_away() {
    play("mqtt", ALL, &["session"]);
}

#[test]
fn a_client_that_comes_back_by_itself_goes_on() {
    play("mqtt", ALL, &["reconnect"]);
}

#[test]
fn properties_arrive_as_they_were_sent() {
    play("mqtt", &["5.0"], &["properties"]);
}

#[test]
fn aliases_stand_for_their_topics() {
    play("mqtt", &["5.0"], &["aliases"]);
}

#[test]
fn all_of_that_goes_over_websocket_too() {
    play("ws", ALL, &[]);
}
