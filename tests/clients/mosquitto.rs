//! `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr`.

use hookmq_tests::broker::{Broker, OPEN_LISTENER};
use hookmq_tests::mosquitto::{Door, Subscriber};
use hookmq_tests::wait::wait_until;

/// A broker, and the way to it in one version of the protocol.
struct Scene {
    broker: Broker,
    door: Door,
    version: &'static str,
}

/// Plays `scenario` in every version that mosquitto speaks.
fn in_every_version(scenario: impl Fn(&Scene)) {
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        eprintln!("{version}:");
        scenario(&Scene::new(version));
    }
}

impl Scene {
    fn new(version: &'static str) -> Self {
        let broker = Broker::open_with(crate::LIMITS);
        let door = Door::plain(broker.address(OPEN_LISTENER)).with(&["-V", version]);
        Self { broker, door, version }
    }

    fn is_v5(&self) -> bool {
        self.version == "mqttv5"
    }

    /// Starts `mosquitto_sub`, and returns when the broker knows of its one subscription more.
    fn subscribe(&self, options: &[&str]) -> Subscriber {
        self.listen("mosquitto_sub", options)
    }

    fn listen(&self, program: &str, options: &[&str]) -> Subscriber {
        let before = self.subscriptions();
        let subscriber = self.door.listen(program, options);
        wait_until("the broker has subscribed", || (self.subscriptions() > before).then_some(()));
        subscriber
    }

    fn publish(&self, topic: &str, payload: &str, options: &[&str]) {
        let published = self.door.publish(topic, payload, options);
        assert!(published.status.success(), "{published:?}");
    }

    fn subscriptions(&self) -> u64 {
        let (_, status) = self.broker.admin().get("/api/v1/status");
        status["tenants"][0]["subscriptions"].as_u64().unwrap_or(0)
    }
}

#[test]
fn messages_of_every_quality_arrive_in_order() {
    in_every_version(|scene| {
        let subscriber = scene.subscribe(&["-t", "a/+", "-q", "2", "-F", "%t %q %r %p"]);
        for qos in ["0", "1", "2"] {
            scene.publish("a/b", "first", &["-q", qos]);
            scene.publish("a/c", "second", &["-q", qos]);
            assert_eq!(subscriber.next(), format!("a/b {qos} 0 first"));
            assert_eq!(subscriber.next(), format!("a/c {qos} 0 second"));
        }
    });
}

#[test]
fn a_retained_message_waits_for_who_comes_later_until_it_is_cleared() {
    in_every_version(|scene| {
        scene.publish("a", "kept", &["-r", "-q", "1"]);
        let options = ["-t", "#", "-F", "%t %r %p", "-C", "1"];
        let mut late = scene.door.listen("mosquitto_sub", &options);
        assert_eq!(late.next(), "a 1 kept");
        assert!(late.wait().success());
        scene.publish("a", "", &["-r", "-q", "1"]);
        let late = scene.subscribe(&options);
        scene.publish("a", "live", &[]);
        assert_eq!(late.next(), "a 0 live");
    });
}

#[test]
fn a_session_keeps_what_comes_while_its_client_is_away() {
    in_every_version(|scene| {
        let mut session = vec!["-i", "keeper", "-c", "-t", "a", "-q", "2"];
        if scene.is_v5() {
            session.extend(["-x", "3600"]);
        }
        let mut first = scene.door.listen("mosquitto_sub", &[&session[..], &["-E"]].concat());
        assert!(first.wait().success());
        for qos in ["1", "2"] {
            scene.publish("a", qos, &["-q", qos]);
        }
        let back = [&session[..], &["-F", "%q %p", "-C", "2"]].concat();
        let mut back = scene.door.listen("mosquitto_sub", &back);
        assert_eq!([back.next(), back.next()], ["1 1", "2 2"]);
        assert!(back.wait().success());
    });
}

#[test]
fn the_will_of_a_killed_client_is_published() {
    in_every_version(|scene| {
        let witness = scene.subscribe(&["-t", "will", "-q", "1", "-F", "%t %q %r %p"]);
        let will = ["--will-topic", "will", "--will-payload", "gone", "--will-qos", "1"];
        let mortal = scene.subscribe(&[&["-t", "other"], &will[..]].concat());
        drop(mortal);
        assert_eq!(witness.next(), "will 1 0 gone");
    });
}

#[test]
fn a_request_is_answered() {
    in_every_version(|scene| {
        let format = if scene.is_v5() { "%R %D %p" } else { "answer - %p" };
        let responder = scene.subscribe(&["-t", "question", "-q", "1", "-F", format]);
        let options = ["-t", "question", "-e", "answer", "-m", "6 * 7?", "-q", "1"];
        let correlation = ["-D", "publish", "correlation-data", "c-1"];
        let options = match scene.is_v5() {
            true => [&options[..], &correlation].concat(),
            false => options.to_vec(),
        };
        let mut requester = scene.listen("mosquitto_rr", &options);
        let question = responder.next();
        match scene.is_v5() {
            true => assert_eq!(question, "answer c-1 6 * 7?"),
            false => assert_eq!(question, "answer - 6 * 7?"),
        }
        let correlation: &[&str] = if scene.is_v5() { &correlation } else { &[] };
        scene.publish("answer", "42", correlation);
        assert_eq!(requester.next(), "42");
        assert!(requester.wait().success());
    });
}

#[test]
fn properties_arrive_as_they_were_sent() {
    let scene = Scene::new("mqttv5");
    let format = "%t|%P|%C|%R|%D|%F|%S|%p";
    let identifier = ["-D", "subscribe", "subscription-identifier", "7"];
    let subscriber =
        scene.subscribe(&[&["-t", "a", "-q", "1", "-F", format], &identifier[..]].concat());
    let properties = "-q 1 -D publish user-property b 1 -D publish user-property a 2 \
         -D publish user-property b 3 -D publish content-type text/plain \
         -D publish response-topic answers -D publish correlation-data c-1 \
         -D publish payload-format-indicator 1 -D publish message-expiry-interval 3600";
    scene.publish("a", "x", &properties.split_whitespace().collect::<Vec<_>>());
    assert_eq!(subscriber.next(), "a|b:1 a:2 b:3|text/plain|answers|c-1|1|7|x");
}

#[test]
fn an_alias_stands_for_its_topic() {
    let scene = Scene::new("mqttv5");
    let subscriber = scene.subscribe(&["-t", "#", "-q", "1", "-F", "%t %p"]);
    // From the second message on, mosquitto_pub leaves the topic out.
    let door = scene.door.with(&["-D", "publish", "topic-alias", "3"]);
    let mut publisher = door.publish_lines("a/long/topic");
    for line in ["one", "two", "three"] {
        publisher.publish(line);
        assert_eq!(subscriber.next(), format!("a/long/topic {line}"));
    }
    publisher.finish();
}
