//! Clients whose principal becomes another while they are connected.

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode, TopicName};
use hookmq_tests::client::{Client, at, publish};
use hookmq_tests::company::{Company, Engine};
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
