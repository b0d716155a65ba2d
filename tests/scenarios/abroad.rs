//! Principals who reach into other tenants by a grant: what they see and do there, and how it ends.

use hookmq_codec::{ProtocolVersion, Publish, Qos, ReasonCode, SubscriptionOptions};
use hookmq_tests::client::{at, connect, publish, will};
use hookmq_tests::company::Engine;
use hookmq_tests::estate::Estate;
use hookmq_tests::wait::wait_until;
use serde_json::{Value, json};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

/// Plays a scenario on SQLite with both versions, and on Postgres with 5.0.
fn on_each(play: impl Fn(&Estate)) {
    for (engine, version) in [
        (Engine::Sqlite, VERSIONS[0]),
        (Engine::Sqlite, VERSIONS[1]),
        (Engine::Postgres, VERSIONS[1]),
    ] {
        eprintln!("{engine:?}, MQTT {}:", version.name());
        play(&Estate::start(engine, version));
    }
}

/// Plays a scenario on SQLite with both versions.
fn in_both(play: impl Fn(&Estate)) {
    for version in VERSIONS {
        eprintln!("MQTT {}:", version.name());
        play(&Estate::start(Engine::Sqlite, version));
    }
}

fn count(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

fn usage(estate: &Estate, tenant: &str, figure: &str) -> u64 {
    let (_, shown) = estate.admin().get(&format!("/api/v1/tenants/{tenant}"));
    shown["usage"][figure].as_u64().expect("a figure")
}

#[test]
fn a_principal_hears_and_speaks_in_another_tenant_and_the_record_says_so() {
    on_each(|estate| {
        let id = estate.grant("acme", &["cmd/+"], &["sensors/#", "+/state"]);
        let mut service = estate.client("service", "s");
        let mut device = estate.client("acme", "d");
        let mut other = estate.client("globex", "d");
        device.subscribe("cmd/#", Qos::ExactlyOnce);
        other.subscribe("#", Qos::ExactlyOnce);
        service.subscribe("$tenant/acme/sensors/#", Qos::ExactlyOnce);
        service.subscribe("$tenant/acme/pump/state", Qos::AtMostOnce);
        estate.pass((&mut device, "sensors/1"), (&mut service, "$tenant/acme/sensors/1"));
        estate.pass((&mut device, "sensors"), (&mut service, "$tenant/acme/sensors"));
        estate.pass((&mut device, "pump/state"), (&mut service, "$tenant/acme/pump/state"));
        estate.pass((&mut service, "$tenant/acme/cmd/1"), (&mut device, "cmd/1"));
        let whole = publish("$tenant/acme/cmd/2", b"twice", Qos::ExactlyOnce);
        assert_eq!(service.publish(whole), ReasonCode::Success);
        let received = device.expect_message("cmd/2", b"twice");
        assert_eq!(received.publish().qos, Qos::ExactlyOnce);
        device.acknowledge(&received);

        // What is granted is neither the other action nor another topic nor another tenant.
        device.publish(publish("valve/1", b"x", Qos::AtLeastOnce));
        for filter in ["$tenant/acme/#", "$tenant/acme/cmd/1", "$tenant/globex/sensors/#"] {
            estate.expect_refused(&mut service, filter);
        }
        for topic in ["$tenant/acme/sensors/1", "$tenant/acme/cmd/1/2", "$tenant/globex/cmd/1"] {
            estate.expect_unpublished(&mut service, topic);
        }
        let asked = |action: &str, topic: &str| {
            let question = json!({
                "tenant": "ops", "username": "service", "client_id": "x", "listener": "service",
                "action": action, "topic": topic,
            });
            let question = question.to_string();
            let (status, answer) = estate.admin().post("/api/v1/explain", question.as_bytes());
            assert_eq!(status, 200, "{answer}");
            answer["tenant_grant"]["id"].as_u64()
        };
        assert_eq!(asked("publish", "$tenant/acme/cmd/1"), Some(id));
        assert_eq!(asked("subscribe", "$tenant/acme/+/state"), Some(id));
        assert_eq!(asked("publish", "$tenant/nobody/cmd/1"), None);
        // Its own topics of the same name are another tenant's matter to nobody.
        service.publish(publish("cmd/1", b"home", Qos::AtLeastOnce));
        for client in [&mut service, &mut device, &mut other] {
            client.expect_nothing();
        }
        service.unsubscribe(&["$tenant/acme/sensors/#"]);
        device.publish(publish("sensors/1", b"unheard", Qos::AtLeastOnce));
        service.expect_nothing();
        assert_eq!(usage(estate, "acme", "guest_subscriptions"), 1);
        assert_eq!(usage(estate, "ops", "subscriptions"), 1);

        let mut again = estate.client("service", "s2");
        estate.pass((&mut again, "$tenant/acme/cmd/1"), (&mut device, "cmd/1"));
        estate.pass((&mut again, "$tenant/acme/cmd/1"), (&mut device, "cmd/1"));
        let log = estate.broker.log();
        let used = format!("what=\"used\" id={id} tenant=\"ops\" username=\"service\"");
        assert_eq!(count(&log, &used), 2, "once on each connection");
        assert_eq!(count(&log, "target_tenant=\"acme\" client_id=Some(\"s2\")"), 1);
        drop((service, again));
        wait_until("the guest is gone", || {
            (usage(estate, "acme", "guest_subscriptions") == 0).then_some(())
        });
    });
}

#[test]
fn what_a_tenant_retains_is_seen_from_abroad_and_what_is_left_there_is_the_tenants() {
    in_both(|estate| {
        estate.grant("acme", &["cmd/+"], &["#"]);
        let mut device = estate.client("acme", "d");
        device.publish(Publish { retain: true, ..publish("state", b"on", Qos::AtLeastOnce) });
        let mut service = estate.client("service", "s");
        service.subscribe("$tenant/acme/#", Qos::AtLeastOnce);
        let received = service.expect_message("$tenant/acme/state", b"on");
        assert!(received.publish().retain);
        service.acknowledge(&received);
        let left = publish("$tenant/acme/cmd/1", b"go", Qos::AtLeastOnce);
        service.publish(Publish { retain: true, ..left });
        let received = service.receive();
        assert_eq!(received.publish().payload, b"go", "it hears itself");
        device.subscribe("cmd/#", Qos::AtLeastOnce);
        assert!(device.expect_message("cmd/1", b"go").publish().retain);
        assert_eq!(usage(estate, "acme", "retained_messages"), 2);
        assert_eq!(usage(estate, "ops", "retained_messages"), 0);
    });
}

/// A subscription identifier, no local, retain as published: as with any other subscription.
#[test]
fn the_options_of_a_subscription_count_abroad() {
    let estate = Estate::start(Engine::Sqlite, VERSIONS[1]);
    estate.grant("acme", &["#"], &["#"]);
    let (mut service, mut device) = (estate.client("service", "s"), estate.client("acme", "d"));
    let options =
        SubscriptionOptions { no_local: true, retain_as_published: true, ..at(Qos::AtLeastOnce) };
    service.subscribe_with(&[("$tenant/acme/a/#", options)], Some(7));
    service.subscribe_with(&[("$tenant/acme/+/b", options)], Some(8));
    service.publish(publish("$tenant/acme/a/b", b"own", Qos::AtLeastOnce));
    device.publish(Publish { retain: true, ..publish("a/b", b"theirs", Qos::AtLeastOnce) });
    let received = service.expect_message("$tenant/acme/a/b", b"theirs");
    let seen = received.publish();
    let mut identifiers: Vec<_> =
        seen.properties.subscription_identifiers.iter().map(|it| it.get()).collect();
    identifiers.sort_unstable();
    assert_eq!((identifiers, seen.retain), (vec![7, 8], true));
    service.acknowledge(&received);
    service.expect_nothing();
}

#[test]
fn a_session_that_is_kept_gets_what_came_from_abroad_unless_the_grant_is_gone() {
    in_both(|estate| {
        let id = estate.grant("acme", &[], &["a/#"]);
        estate.grant("acme", &[], &["b/#"]);
        let mut service = estate.session("service", "s");
        service.subscribe("$tenant/acme/a/#", Qos::AtLeastOnce);
        service.subscribe("$tenant/acme/b/#", Qos::AtLeastOnce);
        service.disconnect();
        let mut device = estate.client("acme", "d");
        device.publish(publish("a/1", b"kept", Qos::AtLeastOnce));
        let mut service = estate.session("service", "s");
        let received = service.expect_message("$tenant/acme/a/1", b"kept");
        service.acknowledge(&received);
        service.disconnect();
        device.publish(publish("a/2", b"queued", Qos::AtLeastOnce));
        device.publish(publish("b/2", b"queued", Qos::AtLeastOnce));
        estate.withdraw("acme", id);
        estate.broker.wait_for_log(&format!("what=\"withdrawn\" id={id} "));
        assert_eq!(usage(estate, "acme", "guest_subscriptions"), 1, "also of who is away");
        device.publish(publish("a/3", b"after", Qos::AtLeastOnce));
        // By default, who has lost a subscription is disconnected, and the session goes on.
        let mut service = estate.session("service", "s");
        service.expect_disconnected(ReasonCode::NotAuthorized);
        let mut service = estate.session("service", "s");
        service.expect_message("$tenant/acme/b/2", b"queued");
        service.expect_nothing();
    });
}

#[test]
fn a_grant_that_is_given_again_while_the_client_is_away_counts_when_it_is_back() {
    let estate = Estate::start(Engine::Sqlite, VERSIONS[1]);
    let id = estate.grant("acme", &[], &["#"]);
    let mut service = estate.session("service", "s");
    service.subscribe("$tenant/acme/#", Qos::AtLeastOnce);
    service.disconnect();
    estate.withdraw("acme", id);
    estate.broker.wait_for_log("what=\"withdrawn\"");
    estate.grant("acme", &[], &["#"]);
    let mut service = estate.session("service", "s");
    service.expect_nothing();
    let mut device = estate.client("acme", "d");
    estate.pass((&mut device, "a"), (&mut service, "$tenant/acme/a"));
}

#[test]
fn a_withdrawn_grant_ends_what_it_let_in_and_nothing_else() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let tell = "permissions: {on_revocation: unsubscribe}";
        let estate = Estate::with(engine, VERSIONS[1], tell, "");
        let id = estate.grant("acme", &["#"], &["#"]);
        estate.grant("globex", &["#"], &["#"]);
        let mut service = estate.client("service", "s");
        let (mut acme, mut globex) = (estate.client("acme", "d"), estate.client("globex", "d"));
        acme.subscribe("#", Qos::AtLeastOnce);
        globex.subscribe("cmd", Qos::AtLeastOnce);
        service.subscribe("$tenant/acme/#", Qos::AtLeastOnce);
        service.subscribe("$tenant/globex/sensors", Qos::AtLeastOnce);
        let row = format!("DELETE FROM tenant_grants WHERE id = {id}");
        estate.tables.execute(&row);
        let told = service.receive();
        let told: Value = serde_json::from_slice(told.publish().payload).expect("JSON");
        assert_eq!(told["filter"], "$tenant/acme/#");
        estate.expect_unpublished(&mut service, "$tenant/acme/cmd");
        estate.expect_refused(&mut service, "$tenant/acme/#");
        acme.expect_nothing();
        acme.publish(publish("x", b"unheard", Qos::AtMostOnce));
        acme.receive();
        service.expect_nothing();
        estate.pass((&mut service, "$tenant/globex/cmd"), (&mut globex, "cmd"));
        estate.pass((&mut globex, "sensors"), (&mut service, "$tenant/globex/sensors"));
        // A row that is changed is another grant.
        estate.tables.execute("UPDATE tenant_grants SET publish = '[]' WHERE target = 'globex'");
        wait_until("the change is in force", || {
            let code = service.publish(publish("$tenant/globex/no", b"", Qos::AtLeastOnce));
            (code == ReasonCode::NotAuthorized).then_some(())
        });
        estate.pass((&mut globex, "sensors"), (&mut service, "$tenant/globex/sensors"));
    }
}

#[test]
fn a_grant_ends_at_its_time() {
    in_both(|estate| {
        let said = json!({"publish": ["#"], "subscribe": ["#"], "expires_in_s": 2});
        let id = estate.grant_as("acme", said);
        estate.broker.wait_for_log(&format!("what=\"given\" id={id} "));
        let (mut service, mut device) = (estate.client("service", "s"), estate.client("acme", "d"));
        let mut sender = estate.client("service", "sender");
        service.subscribe("$tenant/acme/#", Qos::AtLeastOnce);
        device.subscribe("cmd", Qos::AtLeastOnce);
        estate.pass((&mut sender, "$tenant/acme/cmd"), (&mut device, "cmd"));
        let heard = service.expect_message("$tenant/acme/cmd", b"$tenant/acme/cmd");
        service.acknowledge(&heard);
        service.expect_disconnected(ReasonCode::NotAuthorized);
        estate.broker.wait_for_log(&format!("what=\"expired\" id={id} "));
        assert_eq!(usage(estate, "acme", "guest_subscriptions"), 0);
        estate.expect_unpublished(&mut sender, "$tenant/acme/cmd");
        estate.expect_refused(&mut sender, "$tenant/acme/#");
        device.expect_nothing();
    });
}

#[test]
fn nothing_crosses_once_the_database_has_been_away_for_too_long() {
    let known = "database: {url: \"$URL\", keep_known_ms: 500, timeout_ms: 500}";
    let estate = Estate::with(Engine::Postgres, VERSIONS[1], known, "");
    estate.grant("acme", &["#"], &["#"]);
    let (mut device, mut service) = (estate.client("acme", "d"), estate.session("service", "s"));
    service.subscribe("$tenant/acme/#", Qos::AtLeastOnce);
    let mut sender = estate.client("service", "sender");
    estate.pass((&mut sender, "$tenant/acme/a"), (&mut service, "$tenant/acme/a"));
    estate.tables.postgres().stop().expect("stop Postgres");
    // Nobody can say whether it has lost the subscription, so that it keeps it and has to wait.
    service.expect_disconnected(ReasonCode::ServerBusy);
    estate.expect_unpublished(&mut sender, "$tenant/acme/a");
    estate.expect_refused(&mut sender, "$tenant/acme/a");
    device.publish(publish("a", b"meanwhile", Qos::AtLeastOnce));
    estate.tables.postgres().resume().expect("start Postgres");
    wait_until("grants are known again", || {
        let code = sender.publish(publish("$tenant/acme/b", b"", Qos::AtLeastOnce));
        (code != ReasonCode::NotAuthorized).then_some(())
    });
    let mut service = estate.session("service", "s");
    let received = service.expect_message("$tenant/acme/a", b"meanwhile");
    service.acknowledge(&received);
}

#[test]
fn a_tenant_that_is_disabled_or_deleted_is_not_reached() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let estate = Estate::start(engine, VERSIONS[1]);
        estate.grant("acme", &["#"], &["#"]);
        estate.grant("globex", &["#"], &["#"]);
        let mut service = estate.client("service", "s");
        service.subscribe("$tenant/acme/#", Qos::AtLeastOnce);
        let disable = json!({"enabled": false}).to_string();
        assert_eq!(estate.admin().patch("/api/v1/tenants/acme", disable.as_bytes()).0, 200);
        service.expect_disconnected(ReasonCode::NotAuthorized);
        let mut service = estate.client("service", "s");
        estate.expect_unpublished(&mut service, "$tenant/acme/x");
        estate.expect_refused(&mut service, "$tenant/acme/#");
        let enable = json!({"enabled": true}).to_string();
        assert_eq!(estate.admin().patch("/api/v1/tenants/acme", enable.as_bytes()).0, 200);
        wait_until("the tenant is enabled", || {
            let code = service.publish(publish("$tenant/acme/x", b"", Qos::AtLeastOnce));
            (code != ReasonCode::NotAuthorized).then_some(())
        });
        service.subscribe("$tenant/acme/#", Qos::AtLeastOnce);
        assert_eq!(estate.admin().delete("/api/v1/tenants/acme").0, 204);
        service.expect_disconnected(ReasonCode::NotAuthorized);
        let mut service = estate.client("service", "s");
        estate.expect_unpublished(&mut service, "$tenant/acme/x");
        // A tenant of the same name is another one.
        let acme = json!({"name": "acme"}).to_string();
        assert_eq!(estate.admin().post("/api/v1/tenants", acme.as_bytes()).0, 201);
        estate.expect_unpublished(&mut service, "$tenant/acme/x");
        let (_, grants) = estate.admin().get("/api/v1/tenants/ops/grants");
        assert_eq!(grants["items"].as_array().map(Vec::len), Some(1), "{grants}");
        assert_eq!(grants["items"][0]["target"], "globex");
    }
}

#[test]
fn a_principal_with_a_grant_has_no_more_than_its_own_permissions() {
    on_each(|estate| {
        let said = json!({"username": "clerk", "publish": ["#"], "subscribe": ["#"]});
        let id = estate.grant_as("acme", said);
        estate.broker.wait_for_log(&format!("what=\"given\" id={id} "));
        let mut device = estate.client("acme", "d");
        device.subscribe("cmd/#", Qos::AtLeastOnce);
        let mut clerk = estate.client("clerk", "c");
        estate.expect_refused(&mut clerk, "$tenant/acme/sensors/#");
        estate.expect_unpublished(&mut clerk, "$tenant/acme/cmd/1");
        estate.tables.execute(
            "INSERT INTO permissions (tenant, subject_kind, subject, action, filter, max_qos) VALUES
            ('ops', 'principal', 'clerk', 'subscribe', '#', 2),
            ('ops', 'principal', 'clerk', 'publish', '#', 2),
            ('ops', 'principal', 'clerk', 'subscribe', '$tenant/+/sensors/#', 0),
            ('ops', 'principal', 'clerk', 'publish', '$tenant/acme/cmd/1', 2)",
        );
        wait_until("the permissions are in force", || {
            let filter = ("$tenant/acme/sensors/#", at(Qos::AtLeastOnce));
            let granted = clerk.subscribe_with(&[filter], None);
            (!granted[0].is_failure()).then(|| assert_eq!(granted, [ReasonCode::Success]))
        });
        estate.pass((&mut clerk, "$tenant/acme/cmd/1"), (&mut device, "cmd/1"));
        // `#` in a permission does not speak of other tenants.
        estate.expect_unpublished(&mut clerk, "$tenant/acme/cmd/2");
        estate.expect_refused(&mut clerk, "$tenant/acme/other");
        estate.expect_refused(&mut clerk, "$tenant/globex/sensors/#");
        device.expect_nothing();
        estate.pass((&mut device, "sensors/1"), (&mut clerk, "$tenant/acme/sensors/1"));
    });
}

#[test]
fn a_will_reaches_as_far_as_its_client() {
    in_both(|estate| {
        let id = estate.grant("acme", &["lost/#"], &[]);
        let mut device = estate.client("acme", "d");
        device.subscribe("#", Qos::AtLeastOnce);
        let with_will = |client_id, topic| {
            let mut connect = connect(estate.version, client_id);
            connect.will = Some(will(topic, b"gone"));
            connect
        };
        estate.connect("service", with_will("s", "$tenant/acme/lost/s")).vanish();
        let received = device.expect_message("lost/s", b"gone");
        device.acknowledge(&received);
        let lasting = estate.connect("service", with_will("s", "$tenant/acme/lost/s"));
        estate.withdraw("acme", id);
        estate.broker.wait_for_log("what=\"withdrawn\"");
        lasting.vanish();
        device.expect_nothing();
    });
}
