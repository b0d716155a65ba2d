//! What a shared subscription may reach: its filter is judged, not the name of the group.

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::{at, publish};
use hookmq_tests::company::{Company, Engine};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

#[test]
fn a_shared_subscription_needs_the_right_to_its_filter_and_reaches_no_further() {
    for version in VERSIONS {
        let company = Company::start(Engine::Sqlite, version, "", &[("subscribe", "x/#")]);
        company.allow("other", "subscribe", "#");
        company.wait_until_subscribing("other", "#", true);
        let mut reader = company.client("reader", "r");
        let mut other = company.client("other", "o");
        let refused = company.refusal();
        for filter in ["$share/x/y/#", "$share/x/#", "$share/x/+/x", "$share/reader/$SYS/#"] {
            let granted = reader.subscribe_with(&[(filter, at(Qos::AtLeastOnce))], None);
            assert_eq!(granted, [refused], "{filter}");
        }
        for filter in ["$share/g/$SYS/#", "$share/g/$SYS/broker/uptime", "$share/g/$x", "$SYS/#"] {
            let granted = other.subscribe_with(&[(filter, at(Qos::AtLeastOnce))], None);
            assert_eq!(granted, [refused], "{filter}");
        }
        // A name that reads like a filter is a name.
        let granted = reader.subscribe_with(&[("$share/$SYS/x/#", at(Qos::AtLeastOnce))], None);
        assert_eq!(granted, [ReasonCode::GrantedQos1]);
        other.subscribe("$share/g/#", Qos::AtLeastOnce);
        let mut writer = company.client("writer", "w");
        writer.publish(publish("x/1", b"1", Qos::AtLeastOnce));
        for client in [&mut reader, &mut other] {
            let received = client.expect_message("x/1", b"1");
            client.acknowledge(&received);
            client.expect_nothing();
        }
    }
}
