//! Clients that fall silent without closing, as when their network is gone.

use hookmq_codec::{Connect, Qos};
use hookmq_tests::client::{Client, connect_to_session, publish, will};
use hookmq_tests::scene::{Scene, in_both_versions_within};
use hookmq_tests::wait::wait_until;

use crate::Bystanders;

fn is_connected(scene: &Scene, client_id: &str) -> bool {
    let (_, clients) = scene.broker.admin().get("/api/v1/clients");
    let items = clients["items"].as_array().expect("a list of clients");
    let client = items.iter().find(|client| client["client_id"] == client_id);
    client.expect("the session exists")["connected"].as_bool().expect("a flag")
}

/// `[MQTT5-3.1.2-22]`, `[MQTT311-3.1.2-24]`
#[test]
fn a_client_behind_a_dead_network_goes_offline_and_leaves_its_will() {
    in_both_versions_within("connections: 100", |scene| {
        let mut bystanders = Bystanders::new(scene);
        let mut witness = scene.client("witness");
        witness.subscribe("will", Qos::AtLeastOnce);
        let session = connect_to_session(scene.version, "silent", 3600);
        let last = will("will", b"gone");
        let connect = Connect { keep_alive: 1, will: Some(last), ..session.clone() };
        let mut silent = scene.connect(connect);
        silent.subscribe("t", Qos::AtLeastOnce);
        // Not even a packet that has begun is a sign of life.
        silent.send_raw(b"\x30\x20\0\x01t");
        assert!(is_connected(scene, "silent"));
        let received = witness.expect_message("will", b"gone");
        witness.acknowledge(&received);
        wait_until("the session is offline", || (!is_connected(scene, "silent")).then_some(()));
        bystanders.exchange();
        bystanders.publisher.publish(publish("t", b"kept", Qos::AtLeastOnce));
        let (mut back, answer) = Client::connect(scene.address, session);
        assert!(answer.session_present());
        back.expect_message("t", b"kept");
        witness.expect_nothing();
    });
}
