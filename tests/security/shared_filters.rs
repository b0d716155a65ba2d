//! What a shared subscription may reach: its filter is judged, and where the permission says so the name of
//! the group.

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::{Client, at, publish};
use hookmq_tests::company::{Company, Engine};

const TELL: &str = "permissions: {on_revocation: unsubscribe}\n";

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

/// Whoever may hear what workers share must not take it from them.
#[test]
fn a_permission_may_name_the_groups_that_a_client_may_join() {
    for (engine, version) in [(Engine::Sqlite, VERSIONS[0]), (Engine::Postgres, VERSIONS[1])] {
        let company = Company::start(engine, version, TELL, &[("subscribe", "x/#")]);
        let refused = company.refusal();
        let mut reader = company.client("reader", "r");
        reader.subscribe("$share/workers/x/#", Qos::AtLeastOnce);
        restrict(&company, r#"["audit", "logs"]"#);
        expect_lost(&mut reader, "$share/workers/x/#");
        let mut ask =
            |filter: &str| reader.subscribe_with(&[(filter, at(Qos::AtLeastOnce))], None)[0];
        for filter in ["$share/audit/x/#", "$share/logs/x/1", "x/#"] {
            assert_eq!(ask(filter), ReasonCode::GrantedQos1, "{filter}");
        }
        for filter in ["$share/Audit/x/#", "$share/audit2/x/#", "$share/x/x/1"] {
            assert_eq!(ask(filter), refused, "{filter}");
        }
        assert!(company.broker.log().contains(r#"topic="x/1" share_name="x" reason"#));
        restrict(&company, r#"["logs"]"#);
        expect_lost(&mut reader, "$share/audit/x/#");
        let mut writer = company.client("writer", "w");
        writer.publish(publish("x/1", b"1", Qos::AtLeastOnce));
        for _ in ["alone", "with logs"] {
            let received = reader.expect_message("x/1", b"1");
            reader.acknowledge(&received);
        }
        reader.expect_nothing();
    }
}

fn restrict(company: &Company, share_names: &str) {
    company.execute(&format!(
        "UPDATE permissions SET share_names = '{share_names}' WHERE action = 'subscribe'"
    ));
}

fn expect_lost(client: &mut Client, filter: &str) {
    let told = client.receive();
    let told = String::from_utf8_lossy(told.publish().payload).into_owned();
    assert!(told.contains(&format!("\"filter\":\"{filter}\"")), "{told}");
}
