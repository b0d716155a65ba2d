//! Paho's client for Python.

use std::process::Command;

use hookmq_tests::broker::{Broker, OPEN_LISTENER};

use crate::foreign::{installed, run, source};

/// Plays a scenario of `paho/scenarios.py` in these versions, each on a broker of its own.
fn play(scenario: &str, versions: &[&str]) {
    for version in versions {
        eprintln!("MQTT {version}:");
        let broker = Broker::open();
        let port = broker.address(OPEN_LISTENER).port().to_string();
        let mut python = Command::new(installed("python/bin/python"));
        python.arg("-B").arg(source("paho/scenarios.py")).args([&*port, version, scenario]);
        run(&mut python);
    }
}

const ALL: &[&str] = &["3.1", "3.1.1", "5.0"];

#[test]
fn messages_of_every_quality_go_both_ways() {
    play("qualities", ALL);
}

#[test]
fn a_retained_message_waits_until_it_is_cleared() {
    play("retained", ALL);
}

#[test]
fn a_will_is_published_for_who_is_lost_and_not_for_who_leaves() {
    play("will", ALL);
}

#[test]
fn a_session_keeps_what_comes_while_its_client_is_away() {
    play("session", ALL);
}

#[test]
fn a_client_that_comes_back_by_itself_goes_on() {
    play("reconnect", ALL);
}

#[test]
fn properties_arrive_as_they_were_sent() {
    play("properties", &["5.0"]);
}

#[test]
fn an_alias_stands_for_its_topic_until_it_is_given_another() {
    play("aliases", &["5.0"]);
}

#[test]
fn messages_of_many_clients_keep_their_order_by_topic() {
    play("many_threads", ALL);
}
