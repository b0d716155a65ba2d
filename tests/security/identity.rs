//! Clients whose principal becomes another while they are connected, or who claim what is another's.

use hookmq_codec::{Connect, ProtocolVersion, Qos, ReasonCode, TopicName};
use hookmq_tests::client::{Client, at, connect, connect_to_session, publish};
use hookmq_tests::company::{Company, Engine};
use hookmq_tests::guarded::connack_of;
use hookmq_tests::wait::wait_until;

const V5: ProtocolVersion = ProtocolVersion::V5;

const OF_THE_SITE: &str = "
    INSERT INTO permissions (tenant, subject_kind, action, filter) VALUES
        ('acme', 'everyone', 'subscribe', 'sites/{attribute:site}'),
        ('acme', 'everyone', 'publish', 'sites/{attribute:site}');";

fn move_to(company: &Company, site: &str) {
    company.execute(&format!(
        "UPDATE principals SET attributes = '{{\"site\": \"{site}\"}}' WHERE username = 'reader'"
    ));
}

fn wait_until_subscribed(client: &mut Client, filter: &str) {
    wait_until("the change is in force", || {
        let granted = client.subscribe_with(&[(filter, at(Qos::AtMostOnce))], None);
        (granted == [ReasonCode::Success]).then_some(())
    });
}

#[test]
fn a_changed_attribute_gives_rights_and_takes_them() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let tell = "permissions: {on_revocation: unsubscribe}\n";
        let company = Company::start(engine, V5, tell, &[]);
        let mut reader = company.client("reader", "r");
        company.execute(OF_THE_SITE);
        move_to(&company, "north");
        wait_until_subscribed(&mut reader, "sites/north");
        move_to(&company, "south");
        let told = reader.receive();
        assert_eq!(told.publish().topic.map(TopicName::as_str), Some("$SYS/session/revoked"));
        reader.subscribe("sites/south", Qos::AtMostOnce);
        // What it may publish has become another at the same moment.
        let mut writer = company.client("writer", "w");
        reader.publish(publish("sites/north", b"not allowed", Qos::AtMostOnce));
        writer.publish(publish("sites/north", b"not subscribed", Qos::AtMostOnce));
        reader.publish(publish("sites/south", b"allowed", Qos::AtMostOnce));
        reader.expect_message("sites/south", b"allowed");
        reader.expect_nothing();
    }
}

/// Whoever knows the client id of somebody else gets nothing by it and ends nothing.
#[test]
fn a_session_belongs_to_its_principal() {
    for version in [ProtocolVersion::V311, V5] {
        let company = Company::start(Engine::Sqlite, version, "", &[("subscribe", "a/#")]);
        let expect_refused = || {
            for packet in [connect_to_session(version, "r", 600), connect(version, "r")] {
                let (mut client, answer) = Client::attempt(company.address("other"), packet);
                let refused = connack_of(&answer).reason_code;
                assert_eq!(refused, ReasonCode::ClientIdentifierNotValid);
                client.expect_closed();
            }
        };
        let (mut reader, _) = company.session("reader", "r");
        reader.subscribe("a/#", Qos::AtLeastOnce);
        expect_refused();
        reader.expect_nothing();
        reader.disconnect();
        company.client("writer", "w").publish(publish("a/1", b"kept", Qos::AtLeastOnce));
        expect_refused();
        let (mut reader, connack) = company.session("reader", "r");
        assert!(connack.session_present());
        reader.expect_message("a/1", b"kept");
        // Its own principal ends it.
        let packet = Connect { clean_start: true, ..connect(version, "r") };
        let (mut fresh, connack) = company.connect("reader", packet);
        assert!(!connack.session_present());
        fresh.expect_nothing();
    }
}
