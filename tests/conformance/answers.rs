//! What clients are told: codes that the specification lists for the packet, whatever a hook has said.

use hookmq_codec::{Connect, Packet, PacketType, Publish, Qos, ReasonCode};
use hookmq_tests::client::{Client, at, packet_id, publish};
use hookmq_tests::scene::{Scene, in_both_versions_with_rule};

/// Denies with the code that the user name is, drops with the code that the topic ends with.
const RULE: &str = r#"
fn connect(client) {
    if client.claimed_username == () {
        return next(#{});
    }
    deny(parse_int(client.claimed_username), "as the client wishes")
}

fn authorize(client, access) {
    if access.topic == "forbidden" { deny("it is forbidden") } else { abstain() }
}

fn publish(client, message) {
    if message.level(0) == "drop" { drop(parse_int(message.level(1))) } else { pass() }
}
"#;

fn witness(scene: &Scene) -> Client {
    let mut witness = scene.client("witness");
    witness.subscribe("#", Qos::AtMostOnce);
    witness
}

/// `[MQTT5-3.1.4-2]` `[MQTT5-3.2.2-6]` `[MQTT5-3.2.2-7]` `[MQTT5-3.2.2-8]` `[MQTT311-3.2.2-4]`
/// `[MQTT311-3.2.2-5]`
#[test]
fn a_refusing_connack_has_a_listed_code_and_no_session_present() {
    in_both_versions_with_rule(RULE, |scene| {
        scene.session("a").disconnect();
        for code in 0x80..=0xA2 {
            let username = code.to_string();
            let connect = Connect {
                clean_start: false,
                username: Some(&username),
                ..scene.connect_packet("a")
            };
            let (mut client, answer) = Client::attempt(scene.address, connect);
            assert!(!answer.session_present());
            let said = answer.bytes()[3];
            if scene.version.is_v5() {
                let asked = ReasonCode::from_byte(code);
                let listed = asked.filter(|asked| asked.is_allowed_in(PacketType::ConnAck));
                assert_eq!(said, listed.unwrap_or(ReasonCode::NotAuthorized) as u8, "{code:x}");
            } else {
                assert!((1..=5).contains(&said), "{said} for {code:x}");
            }
            client.expect_closed();
        }
        let (_client, answer) = Client::connect(
            scene.address,
            hookmq_tests::client::connect_to_session(scene.version, "a", 3600),
        );
        assert!(answer.session_present(), "the refusals have left the session alone");
    });
}

/// `[MQTT5-3.4.2-1]` `[MQTT5-3.5.2-1]` `[MQTT311-3.3.5-2]`
#[test]
fn a_publish_that_is_not_authorised_is_answered_and_goes_nowhere() {
    in_both_versions_with_rule(RULE, |scene| {
        let mut witness = witness(scene);
        let mut client = scene.client("publisher");
        let told = match scene.version.is_v5() {
            true => ReasonCode::NotAuthorized,
            false => ReasonCode::Success,
        };
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let reason_code = client.publish(publish("forbidden", b"x", qos));
            assert!(qos == Qos::AtMostOnce || reason_code == told, "{reason_code}");
        }
        client.expect_nothing();
        witness.expect_nothing();
    });
}

/// `[MQTT5-3.4.2-1]` `[MQTT5-3.5.2-1]` `[MQTT5-4.3.3-9]`
#[test]
fn a_message_that_a_hook_drops_is_refused_and_its_packet_id_is_free() {
    in_both_versions_with_rule(RULE, |scene| {
        let mut witness = witness(scene);
        let mut client = scene.client("publisher");
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for code in [0x80u8, 0x83, 0x87, 0x90, 0x97, 0x99] {
                let topic = format!("drop/{code}");
                let packet_id = Some(packet_id(1));
                let said = client.publish(Publish { packet_id, ..publish(&topic, b"x", qos) });
                if scene.version.is_v5() {
                    assert_eq!(said as u8, code);
                }
                let said = client.publish(Publish { packet_id, ..publish("t", b"new", qos) });
                assert_eq!(said, ReasonCode::Success);
                witness.expect_message("t", b"new");
            }
        }
        witness.expect_nothing();
    });
}

/// `[MQTT5-3.8.4-7]` `[MQTT5-3.9.3-1]` `[MQTT5-3.9.3-2]` `[MQTT311-3.8.4-5]` `[MQTT311-3.9.3-1]`
/// `[MQTT311-3.9.3-2]`
#[test]
fn a_filter_that_is_not_authorised_is_refused_in_its_place() {
    in_both_versions_with_rule(RULE, |scene| {
        let mut client = scene.client("a");
        let filters = ["t", "forbidden", "t/#"].map(|filter| (filter, at(Qos::AtLeastOnce)));
        let refusal = match scene.version.is_v5() {
            true => ReasonCode::NotAuthorized,
            false => ReasonCode::UnspecifiedError,
        };
        let granted = ReasonCode::GrantedQos1;
        assert_eq!(client.subscribe_with(&filters, None), [granted, refusal, granted]);
        client.send(&Packet::PingReq);
        assert_eq!(client.receive().packet(), Packet::PingResp);
    });
}
