//! Sessions without clients: how many there may be, and what is kept for them.

use hookmq_codec::{Packet, Qos, ReasonCode};
use hookmq_tests::client::{Client, connect_to_session, publish};
use hookmq_tests::scene::{Scene, in_both_versions_within};
use hookmq_tests::wait::wait_until;

use crate::{Bystanders, MIB, metric};

fn session_count(scene: &Scene) -> u64 {
    let (_, status) = scene.broker.admin().get("/api/v1/status");
    status["tenants"][0]["sessions"].as_u64().expect("a number of sessions")
}

/// `[MQTT5-3.2.2-22]`: the session expiry interval in CONNACK is the one that holds.
#[test]
fn sessions_for_ever_are_shortened_and_so_many_are_kept_and_no_more() {
    const LONGEST: u32 = 604_800;
    in_both_versions_within("sessions: 102", |scene| {
        let mut bystanders = Bystanders::new(scene);
        let forever = |name| connect_to_session(scene.version, name, u32::MAX);
        let names: Vec<_> = (0..100).map(|number| format!("hoarder {number}")).collect();
        for name in &names {
            let (client, answer) = Client::connect(scene.address, forever(name));
            let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
            let told = scene.version.is_v5().then_some(LONGEST);
            assert_eq!(connack.properties.session_expiry_interval, told);
            client.vanish();
        }
        wait_until("all sessions are there", || (session_count(scene) == 102).then_some(()));
        for _ in 0..3 {
            let (mut client, answer) = Client::attempt(scene.address, forever("one more"));
            let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
            let refusal = match scene.version.is_v5() {
                true => ReasonCode::QuotaExceeded,
                false => ReasonCode::ServerUnavailable,
            };
            assert_eq!(connack.reason_code, refusal);
            client.expect_closed();
        }
        let (_, answer) = Client::connect(scene.address, forever(&names[0]));
        assert!(answer.session_present(), "those that are there stay");
        bystanders.exchange();
    });
}

/// The payload is kept once, however many sessions are due a copy.
#[test]
fn large_messages_for_many_absent_clients_are_kept_once_and_what_is_too_much_is_counted() {
    const SESSIONS: u64 = 300;
    in_both_versions_within("queue_bytes: 1048576", |scene| {
        let mut bystanders = Bystanders::new(scene);
        let names: Vec<_> = (0..SESSIONS).map(|number| format!("absent {number}")).collect();
        for name in &names {
            let mut client = scene.session(name);
            client.subscribe("large", Qos::AtLeastOnce);
            client.disconnect();
        }
        bystanders.exchange();
        let before = scene.broker.resident_bytes();
        let mut publisher = scene.client("publisher");
        let mut payload = vec![b'x'; 300 << 10];
        for number in 0..10 {
            payload[0] = number;
            publisher.publish(publish("large", &payload, Qos::AtLeastOnce));
        }
        let grown = scene.broker.resident_bytes().saturating_sub(before);
        assert!(grown < 64 * MIB, "3 MB for {SESSIONS} sessions cost {grown} bytes");
        wait_until("what was dropped is counted", || {
            let dropped = metric(scene, "hookmq_messages_overflowed_total");
            (dropped == 7 * SESSIONS).then_some(())
        });
        for name in [&names[0], &names[299]] {
            let mut client = scene.session(name);
            for number in 0..3 {
                payload[0] = number;
                let received = client.expect_message("large", &payload);
                client.acknowledge(&received);
            }
            client.expect_nothing();
        }
        bystanders.exchange();
    });
}
