//! Clients who try to reach a tenant that is not theirs, by every spelling that there is.

use std::num::NonZeroU16;

use hookmq_codec::{Packet, ProtocolVersion, Publish, PublishProperties, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, OPEN_LISTENER};
use hookmq_tests::client::{Client, at, connect, publish, will};
use hookmq_tests::company::Engine;
use hookmq_tests::estate::Estate;
use hookmq_tests::wait::wait_until;

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

/// Of the tenant `acme`, of one that nobody has made, and of none at all.
const FILTERS: [&str; 18] = [
    "$tenant/acme/a",
    "$tenant/acme/#",
    "$tenant/acme/+",
    "$tenant/acme",
    "$tenant/acme/",
    "$tenant/acme//a",
    "$tenant/nobody/a",
    "$tenant/nobody/#",
    "$tenant/ops/a",
    "$tenant/+/a",
    "$tenant/+/#",
    "$tenant/#",
    "$tenant//a",
    "$tenant/",
    "$tenant/acme/$SYS/#",
    "$tenant/acme/$tenant/globex/#",
    "$share/g/$tenant/acme/a",
    "$share/$tenant/$tenant/acme/#",
];

const TOPICS: [&str; 11] = [
    "$tenant/acme/a",
    "$tenant/acme",
    "$tenant/acme/",
    "$tenant/acme//a",
    "$tenant/nobody/a",
    "$tenant/ops/a",
    "$tenant//a",
    "$tenant/",
    "$tenant/acme/$SYS/a",
    "$tenant/acme/$share/g/a",
    "$tenant/acme/$tenant/globex/a",
];

/// Spelled so that it only looks like another tenant's, they are topics of the client's own.
const OWN: [&str; 6] = [
    "$tenant",
    "$Tenant/acme/a",
    "$tenants/acme/a",
    "/$tenant/acme/a",
    "a/$tenant/acme/a",
    "acme/a",
];

/// Plays a scenario with both versions.
fn in_both(play: impl Fn(&Estate)) {
    for version in VERSIONS {
        eprintln!("MQTT {}:", version.name());
        play(&Estate::start(Engine::Sqlite, version));
    }
}

/// Clients of the tenants, subscribed to whatever they may be.
fn witnesses(estate: &Estate) -> Vec<Client> {
    let witness = |principal| {
        let mut witness = estate.client(principal, "witness");
        for filter in ["#", "+/#", "$SYS/x/#", "$share/g/+/a"] {
            witness.subscribe(filter, Qos::AtLeastOnce);
        }
        witness
    };
    ["acme", "globex", "stranger"].map(witness).into()
}

/// What the client is answered, without what is another's with each packet.
fn answer(client: &mut Client, wish: &Packet<'_>) -> (u8, Option<String>) {
    client.send(wish);
    let received = client.receive();
    match received.packet() {
        Packet::SubAck(suback) => {
            (suback.reason_codes[0] as u8, suback.properties.reason_string.map(str::to_owned))
        }
        Packet::PubAck(ack) => {
            (ack.reason_code as u8, ack.properties.reason_string.map(str::to_owned))
        }
        other => panic!("neither SUBACK nor PUBACK: {other:?}"),
    }
}

#[test]
fn without_a_grant_no_filter_and_no_topic_reaches_another_tenant() {
    in_both(|estate| {
        // There is one for somebody else, so that the way is open.
        estate.grant("acme", &["#"], &["#"]);
        let mut witnesses = witnesses(estate);
        let mut device = estate.client("acme", "d");
        device.publish(Publish { retain: true, ..publish("a", b"kept", Qos::AtLeastOnce) });
        let kept = witnesses[0].receive();
        witnesses[0].acknowledge(&kept);
        let mut stranger = estate.client("stranger", "s");
        for filter in FILTERS {
            estate.expect_refused(&mut stranger, filter);
        }
        for topic in TOPICS {
            for retain in [false, true] {
                for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                    let message = Publish { retain, ..publish(topic, b"not to be seen", qos) };
                    let code = stranger.publish(message);
                    if estate.version.is_v5() && qos != Qos::AtMostOnce {
                        assert_eq!(code, ReasonCode::NotAuthorized, "{topic}");
                    }
                }
            }
        }
        stranger.subscribe("#", Qos::AtLeastOnce);
        stranger.subscribe("+/acme/#", Qos::AtLeastOnce);
        device.publish(publish("a", b"acme's own", Qos::AtMostOnce));
        witnesses[0].receive();
        for client in witnesses.iter_mut().chain([&mut stranger]) {
            client.expect_nothing();
        }
        for figure in ["subscriptions", "guest_subscriptions", "retained_messages"] {
            let (_, shown) = estate.admin().get("/api/v1/tenants/ops");
            let expected = if figure == "subscriptions" { 6 } else { 0 };
            assert_eq!(shown["usage"][figure], expected, "{figure}");
        }
    });
}

#[test]
fn what_only_looks_like_another_tenants_topic_is_the_clients_own() {
    in_both(|estate| {
        let mut stranger = estate.client("stranger", "s");
        let mut other = estate.client("acme", "o");
        other.subscribe("#", Qos::AtLeastOnce);
        for topic in OWN {
            stranger.subscribe(topic, Qos::AtLeastOnce);
            let code = stranger.publish(publish(topic, b"own", Qos::AtLeastOnce));
            assert_eq!(code, ReasonCode::Success);
            let received = stranger.expect_message(topic, b"own");
            stranger.acknowledge(&received);
        }
        other.expect_nothing();
    });
}

/// Nor does a grant for something else make a difference: whether a tenant exists cannot be told.
#[test]
fn a_tenant_that_is_closed_is_like_one_that_does_not_exist() {
    in_both(|estate| {
        estate.grant("globex", &["#"], &["#"]);
        let _device = estate.client("acme", "d");
        let mut answers = Vec::new();
        for tenant in ["acme", "nobody", "\u{202e}", "a b"] {
            let mut service = estate.client("service", "s");
            let topic = format!("$tenant/{tenant}/a");
            service.send_subscribe(&[(&topic, at(Qos::AtLeastOnce))], None);
            let suback = service.receive();
            let Packet::SubAck(suback) = suback.packet() else { panic!("not SUBACK") };
            let subscribed = (suback.reason_codes.clone(), format!("{:?}", suback.properties));
            let packet_id = Some(hookmq_tests::client::packet_id(7));
            let message = Publish { packet_id, ..publish(&topic, b"x", Qos::AtLeastOnce) };
            let published = answer(&mut service, &Packet::Publish(message));
            let mut connect = connect(estate.version, "w");
            connect.will = Some(will(&topic, b"x"));
            let (_, refused) = Client::attempt(estate.broker.address("service"), connect);
            let Packet::ConnAck(connack) = refused.packet() else { panic!("not CONNACK") };
            assert_ne!(connack.reason_code, ReasonCode::Success);
            let willed = format!("{:?}", connack);
            answers.push((subscribed, published, willed));
        }
        for other in &answers[1..] {
            assert_eq!(*other, answers[0]);
        }
    });
}

#[test]
fn a_will_reaches_no_other_tenant_without_a_grant() {
    in_both(|estate| {
        let mut witnesses = witnesses(estate);
        for topic in TOPICS {
            let mut connect = connect(estate.version, "s");
            connect.will = Some(will(topic, b"not to be seen"));
            let (mut client, answer) = Client::attempt(estate.broker.address("stranger"), connect);
            let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
            assert_eq!(connack.reason_code, ReasonCode::NotAuthorized, "{topic}");
            client.expect_closed();
        }
        witnesses.iter_mut().for_each(Client::expect_nothing);
    });
}

#[test]
fn a_topic_alias_is_no_other_way() {
    let estate = Estate::start(Engine::Sqlite, VERSIONS[1]);
    let id = estate.grant("acme", &["a"], &[]);
    let (mut service, mut device) = (estate.client("service", "s"), estate.client("acme", "d"));
    let mut stranger = estate.client("stranger", "x");
    device.subscribe("#", Qos::AtLeastOnce);
    let named = Publish {
        topic_alias: NonZeroU16::new(1),
        ..publish("$tenant/acme/a", b"1", Qos::AtLeastOnce)
    };
    let short = || Publish { topic: None, payload: b"2", ..named.clone() };
    assert_eq!(service.publish(named.clone()), ReasonCode::Success);
    assert_eq!(service.publish(short()), ReasonCode::Success);
    for payload in [b"1", b"2"] {
        let received = device.expect_message("a", payload);
        device.acknowledge(&received);
    }
    // The alias outlives the grant, which it does not stand for.
    estate.withdraw("acme", id);
    estate.broker.wait_for_log("what=\"withdrawn\"");
    for client in [&mut service, &mut stranger] {
        assert_eq!(client.publish(named.clone()), ReasonCode::NotAuthorized);
        assert_eq!(client.publish(short()), ReasonCode::NotAuthorized);
    }
    device.expect_nothing();
}

/// The response topic and the correlation data are handed on as they are, and are nothing but words.
#[test]
fn a_response_topic_opens_nothing() {
    let estate = Estate::start(Engine::Sqlite, VERSIONS[1]);
    estate.grant("acme", &["cmd"], &["request"]);
    let (mut service, mut device) = (estate.client("service", "s"), estate.client("acme", "d"));
    let mut other = estate.client("globex", "o");
    other.subscribe("#", Qos::AtLeastOnce);
    device.subscribe("#", Qos::AtLeastOnce);
    service.subscribe("$tenant/acme/request", Qos::AtLeastOnce);
    for topic in ["$tenant/globex/x", "$tenant/ops/x", "$SYS/x"] {
        let asking = |of| {
            let response_topic = Some(topic);
            let properties = PublishProperties { response_topic, ..PublishProperties::default() };
            Publish { properties, ..publish(of, b"ask", Qos::AtLeastOnce) }
        };
        assert_eq!(service.publish(asking("$tenant/acme/cmd")), ReasonCode::Success);
        let received = device.expect_message("cmd", b"ask");
        device.acknowledge(&received);
        assert_eq!(received.publish().properties.response_topic, Some(topic));
        estate.expect_unpublished(&mut device, topic);
        device.publish(asking("request"));
        let received = service.expect_message("$tenant/acme/request", b"ask");
        service.acknowledge(&received);
        assert_eq!(received.publish().properties.response_topic, Some(topic));
        estate.expect_unpublished(&mut service, topic);
        let own = device.receive();
        device.acknowledge(&own);
    }
    other.expect_nothing();
}

/// Takes a message anywhere that its payload names.
const EMITTER: &str = r#"
fn publish(client, message) {
    let words = message.text.split(" ");
    if words[0] == "emit" {
        emit(words[1], "emitted");
    }
    if words[0] == "move" {
        message.topic = words[1];
    }
}
"#;

#[test]
fn what_programs_make_of_a_message_stays_in_its_tenant() {
    for version in VERSIONS {
        let estate = Estate::with(Engine::Sqlite, version, "", EMITTER);
        estate.grant("acme", &["#"], &["#"]);
        estate.grant("globex", &["#"], &["#"]);
        let mut witnesses = witnesses(&estate);
        let mut home = witnesses.pop().expect("of ops");
        let (mut service, mut device) = (estate.client("service", "s"), estate.client("acme", "d"));
        for from in [("a", &mut device), ("$tenant/acme/a", &mut service)] {
            let (topic, client) = from;
            for wish in ["emit $tenant/globex/a", "emit $tenant/acme/b", "emit $tenant/ops/a"] {
                client.publish(publish(topic, wish.as_bytes(), Qos::AtLeastOnce));
                let received = witnesses[0].expect_message("a", wish.as_bytes());
                witnesses[0].acknowledge(&received);
            }
            for wish in ["move $tenant/globex/a", "move $tenant/acme/b", "move $tenant/nobody/b"] {
                client.publish(publish(topic, wish.as_bytes(), Qos::AtLeastOnce));
            }
        }
        // From home they reach no other tenant either, whatever their client may do itself.
        for wish in ["emit $tenant/globex/a", "move $tenant/globex/a"] {
            service.publish(publish("home", wish.as_bytes(), Qos::AtMostOnce));
        }
        let received = home.expect_message("home", b"emit $tenant/globex/a");
        assert_eq!(received.publish().qos, Qos::AtMostOnce);
        // A step keeps a message at home, and what it emits there is there.
        service.publish(publish("$tenant/acme/a", b"move here/b", Qos::AtMostOnce));
        home.expect_message("here/b", b"move here/b");
        service.publish(publish("$tenant/acme/a", b"emit here/c", Qos::AtMostOnce));
        witnesses[0].expect_message("a", b"emit here/c");
        home.expect_message("here/c", b"emitted");
        for client in witnesses.iter_mut().chain([&mut home, &mut service]) {
            client.expect_nothing();
        }
    }
}

/// A shared subscription does not cross, whatever is granted.
#[test]
fn a_shared_subscription_reaches_no_other_tenant() {
    in_both(|estate| {
        estate.grant("acme", &["#"], &["#"]);
        let mut service = estate.client("service", "s");
        estate.expect_refused(&mut service, "$share/g/$tenant/acme/a");
        estate.expect_refused(&mut service, "$share/g/$tenant/acme/#");
        let mut device = estate.client("acme", "d");
        device.publish(publish("a", b"x", Qos::AtLeastOnce));
        service.expect_nothing();
    });
}

/// With a grant for everything in a tenant, what begins with `$` there is left out.
#[test]
fn a_grant_reaches_ordinary_topics_alone() {
    in_both(|estate| {
        estate.grant("acme", &["#"], &["#"]);
        let mut service = estate.client("service", "s");
        for filter in ["$tenant/acme/$SYS/#", "$tenant/acme/$x/a", "$tenant/+/a", "$tenant/#"] {
            estate.expect_refused(&mut service, filter);
        }
        service.subscribe("$tenant/acme/#", Qos::AtLeastOnce);
        for topic in ["$tenant/acme/$SYS/a", "$tenant/acme/$x", "$tenant/acme/$tenant/globex/a"] {
            estate.expect_unpublished(&mut service, topic);
        }
        let mut device = estate.client("acme", "d");
        device.publish(publish("$x/a", b"acme's", Qos::AtLeastOnce));
        service.expect_nothing();
    });
}

#[test]
fn without_a_database_every_other_tenant_is_closed() {
    for version in VERSIONS {
        let broker = Broker::open_with_sections("");
        let mut client = Client::connect(broker.address(OPEN_LISTENER), connect(version, "c")).0;
        let refusal = match version.is_v5() {
            true => ReasonCode::NotAuthorized,
            false => ReasonCode::UnspecifiedError,
        };
        for filter in FILTERS {
            let granted = client.subscribe_with(&[(filter, at(Qos::AtMostOnce))], None);
            assert_eq!(granted, [refusal], "{filter}");
        }
        client.subscribe("#", Qos::AtLeastOnce);
        for topic in TOPICS {
            let code = client.publish(publish(topic, b"x", Qos::AtLeastOnce));
            assert!(!version.is_v5() || code == ReasonCode::NotAuthorized, "{topic}");
        }
        client.expect_nothing();
        let (status, _) = broker.admin().get("/api/v1/tenants/default/grants");
        assert_eq!(status, 409);
    }
}

/// A subscription of another tenant's takes a place among those of the client's own tenant, what waits for
/// it is on its own tenant's account, and what it sends is in its own tenant's figures.
#[test]
fn a_service_pays_with_its_own_quota() {
    let quotas = "quotas: {tenants: {ops: {subscriptions: 2}}}";
    let estate = Estate::with(Engine::Sqlite, VERSIONS[1], quotas, "");
    estate.grant("acme", &["#"], &["#"]);
    let mut service = estate.client("service", "s");
    service.subscribe("$tenant/acme/a", Qos::AtLeastOnce);
    service.subscribe("$tenant/acme/b", Qos::AtLeastOnce);
    let granted = service.subscribe_with(&[("$tenant/acme/c", at(Qos::AtLeastOnce))], None);
    assert_eq!(granted, [ReasonCode::QuotaExceeded]);
    let mut device = estate.client("acme", "d");
    device.subscribe("x", Qos::AtLeastOnce);
    service.publish(publish("$tenant/acme/x", b"x", Qos::AtLeastOnce));
    device.expect_message("x", b"x");
    let figure = |tenant: &str, name: &str| {
        estate.admin().get(&format!("/api/v1/tenants/{tenant}")).1["usage"][name].as_u64()
    };
    wait_until("what has passed is counted", || {
        let service = (figure("ops", "messages_in"), figure("acme", "messages_in"));
        (service == (Some(1), Some(0)) && figure("acme", "messages_out") == Some(1)).then_some(())
    });
}
