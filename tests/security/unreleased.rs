//! Messages of QoS 2 that are never released.

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos, ReasonCode};
use hookmq_tests::client::{Client, packet_id, publish};
use hookmq_tests::scene::Scene;

use crate::{Bystanders, MIB};

fn unreleased(id: u16, dup: bool) -> Packet<'static> {
    let message = publish("t", b"x", Qos::ExactlyOnce);
    Packet::Publish(Publish { packet_id: Some(packet_id(id)), dup, ..message })
}

/// Sends messages with these ids, and waits for PUBREC.
fn send_unreleased(client: &mut Client, ids: impl IntoIterator<Item = u16>, dup: bool) {
    let ids: Vec<_> = ids.into_iter().collect();
    // So many that neither side waits for the other to read.
    for ids in ids.chunks(1000) {
        let bytes: Vec<u8> =
            ids.iter().flat_map(|&id| client.encode(&unreleased(id, dup))).collect();
        client.send_raw(&bytes);
        for &id in ids {
            assert_eq!(client.receive().acknowledges(packet_id(id)), ReasonCode::Success);
        }
    }
}

/// `[MQTT5-3.3.4-9]`
#[test]
fn more_than_the_receive_maximum_ends_the_connection_however_often_it_comes_back() {
    let scene = Scene::new(ProtocolVersion::V5, "receive_maximum: 20");
    let mut bystanders = Bystanders::new(&scene);
    let mut witness = scene.client("witness");
    witness.subscribe("t", Qos::AtMostOnce);
    let mut client = scene.session("hoarder");
    send_unreleased(&mut client, 1..=20, false);
    client.send(&unreleased(21, false));
    client.expect_disconnected(ReasonCode::ReceiveMaximumExceeded);
    for _ in 0..20 {
        witness.expect_message("t", b"x");
    }
    for _ in 0..3 {
        let mut client = scene.session("hoarder");
        // What came before is known and goes to nobody again; there is no room for more.
        send_unreleased(&mut client, 1..=20, true);
        client.send(&unreleased(21, false));
        client.expect_disconnected(ReasonCode::ReceiveMaximumExceeded);
    }
    witness.expect_nothing();
    bystanders.exchange();
}

/// A client of 3.1.1 cannot be told of a maximum; its packet ids are the bound.
#[test]
fn every_packet_id_may_wait_for_its_release_and_costs_little() {
    let scene = Scene::v311();
    let mut bystanders = Bystanders::new(&scene);
    let mut witness = scene.client("witness");
    bystanders.exchange();
    // What the store takes to write as much is not counted.
    send_unreleased(&mut scene.session("earlier"), 1..=65_535, false);
    scene.client("earlier").disconnect();
    let before = scene.broker.resident_bytes();
    let mut client = scene.session("hoarder");
    send_unreleased(&mut client, 1..=65_535, false);
    client.vanish();
    witness.subscribe("t", Qos::AtMostOnce);
    let mut client = scene.session("hoarder");
    send_unreleased(&mut client, (1..=65_535).step_by(7), true);
    witness.expect_nothing();
    let grown = scene.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "65,535 unreleased messages cost {grown} bytes");
    bystanders.exchange();
}
