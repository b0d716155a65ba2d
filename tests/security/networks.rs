//! Addresses of IPv6, of which whoever has one has 2^64: a network counts as one.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use hookmq_codec::{Connect, ProtocolVersion, ReasonCode};
use hookmq_tests::broker::{Broker, add_rules, directory};
use hookmq_tests::client::{Client, connect};
use hookmq_tests::guarded::connack_of;
use hookmq_tests::wait::wait_until;
use hookmq_tests::wire::tcp;

use crate::proxy::binary_of;

const RULE: &str = r#"
fn connect(client) { if client.claimed_username == "thief" { deny("a thief") } else { next(#{}) } }
"#;

/// Three of one network, and what is outside of it, nearer and farther.
const INSIDE: [&str; 3] = ["2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::"];
const OUTSIDE: [&str; 4] = ["2001:db8:0:2::1", "2001:db8:1:1::1", "192.0.2.1", "192.0.2.2"];

fn broker(sections: &str) -> Broker {
    let directory = directory();
    add_rules(directory.path(), &[("rule", RULE)]);
    let yaml = format!(
        "data_dir: data
admin: {{bind: \"127.0.0.1:0\"}}
listeners:
  - {{name: plain, bind: \"tcp://127.0.0.1:0\", proxy_protocol: {{trusted: [127.0.0.0/8]}}}}
{sections}
pipeline:
  connect: [{{rule: rule}}, {{builtin: anonymous}}]
  authorize: [{{builtin: open}}]
"
    );
    Broker::with_config(&yaml, directory)
}

/// A connection on which a proxy has said that it comes from this address.
fn from(broker: &Broker, address: &str) -> Client {
    let ip: IpAddr = address.parse().expect("an address");
    let mut stream = tcp(broker.address("plain"));
    // A broker that closes at once need not hear it.
    let _ = stream.write_all(&binary_of(SocketAddr::new(ip, 4711)));
    Client::over(stream, ProtocolVersion::V5)
}

/// What CONNACK says; none where the connection is closed instead.
fn attempt(broker: &Broker, address: &str, username: &str) -> Option<ReasonCode> {
    let mut client = from(broker, address);
    let packet = Connect { username: Some(username), ..connect(ProtocolVersion::V5, address) };
    let bytes = client.encode(&hookmq_codec::Packet::Connect(Box::new(packet)));
    client.try_send_raw(&bytes);
    let answer = client.try_receive()?;
    client.vanish();
    Some(connack_of(&answer).reason_code)
}

#[test]
fn failures_of_one_network_have_all_of_it_wait_and_nobody_else() {
    let broker = broker(
        "abuse: {failures_per_address: 3, failures_per_username: 0, first_hold_ms: 600000, \
         longest_hold_ms: 600000}",
    );
    for address in INSIDE {
        assert_eq!(attempt(&broker, address, "thief"), Some(ReasonCode::NotAuthorized));
    }
    for address in INSIDE.iter().chain(&["2001:db8:0:1:abcd::7"]) {
        let held = attempt(&broker, address, "somebody");
        assert_eq!(held, Some(ReasonCode::ConnectionRateExceeded), "{address}");
    }
    for address in OUTSIDE {
        assert_eq!(attempt(&broker, address, "somebody"), Some(ReasonCode::Success), "{address}");
    }
}

/// As a proxy that listens for both kinds may say it.
#[test]
fn an_address_of_ipv4_in_ipv6_is_that_of_ipv4_and_no_network() {
    let broker = broker(
        "abuse: {failures_per_address: 2, failures_per_username: 0, first_hold_ms: 600000, \
         longest_hold_ms: 600000}",
    );
    for address in ["::ffff:192.0.2.1", "192.0.2.1"] {
        assert_eq!(attempt(&broker, address, "thief"), Some(ReasonCode::NotAuthorized));
    }
    for (address, code) in [
        ("::ffff:192.0.2.1", ReasonCode::ConnectionRateExceeded),
        ("192.0.2.1", ReasonCode::ConnectionRateExceeded),
        ("::ffff:192.0.2.2", ReasonCode::Success),
        ("192.0.2.2", ReasonCode::Success),
    ] {
        assert_eq!(attempt(&broker, address, "somebody"), Some(code), "{address}");
    }
}

#[test]
fn connections_of_one_network_count_together() {
    let broker = broker("limits: {connections_per_address: 2}");
    let open = |address| {
        let packet = connect(ProtocolVersion::V5, address);
        from(&broker, address).admitted(packet)
    };
    let mut here: Vec<_> = INSIDE[..2].iter().map(|address| open(address)).collect();
    assert_eq!(attempt(&broker, INSIDE[2], "somebody"), None);
    let shed = "connections_shed_total{bound=\"connections_per_address\"}";
    assert_eq!(broker.admin().metric(shed), 1);
    for address in OUTSIDE {
        assert_eq!(attempt(&broker, address, "somebody"), Some(ReasonCode::Success), "{address}");
    }
    here.pop().expect("one of two").disconnect();
    wait_until("there is room again", || attempt(&broker, INSIDE[2], "somebody"));
}
