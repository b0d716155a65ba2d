//! What a publish hook makes of a PUBLISH of QoS 2 waits for the same as that.

use std::sync::Arc;

use hookmq_codec::{Qos, ReasonCode, TopicFilter, TopicName, Will};
use hookmq_core::Message;
use hookmq_hooks::{
    Client, Emission, HookSet, Program, ProgramIdentity, ProgramKind, PublishAnswer,
    PublishVerdict, StepFailure,
};

use crate::peer::{Keep, Peer, will};
use crate::world::{VERSIONS, World};

/// Emits a message on `alarm/0` and one on `alarm/1`, of these QoS, for each below `hooked`, which it
/// passes, consumes or refuses by its name.
pub struct Alarm {
    identity: ProgramIdentity,
    topics: [TopicFilter; 1],
}

impl Alarm {
    pub fn new() -> Self {
        let (kind, name) = (ProgramKind::Builtin, "alarm".into());
        let identity =
            ProgramIdentity { kind, name, version: String::new(), sha256: String::new() };
        Self { identity, topics: [TopicFilter::new("hooked/+").unwrap()] }
    }
}

impl Program for Alarm {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet { publish: true, ..HookSet::default() }
    }

    fn topics(&self) -> &[TopicFilter] {
        &self.topics
    }

    fn publish(&self, _: &Arc<Client>, message: &Message) -> Result<PublishAnswer, StepFailure> {
        let emission = |topic: &str, qos| Emission {
            topic: topic.into(),
            payload: b"x".into(),
            qos,
            retain: false,
        };
        let verdict = match message.topic().as_str() {
            "hooked/consume" => PublishVerdict::Consume,
            "hooked/refuse" => PublishVerdict::Drop(ReasonCode::NotAuthorized),
            _ => PublishVerdict::Pass,
        };
        let emitted =
            vec![emission("alarm/0", Qos::AtMostOnce), emission("alarm/1", Qos::AtLeastOnce)];
        Ok(PublishAnswer { verdict, emitted })
    }
}

#[tokio::test]
async fn what_is_emitted_for_a_message_of_qos_2_goes_on_behind_its_packet_id() {
    for version in VERSIONS {
        for (topic, filter, stored) in [
            ("hooked/pass", "hooked/pass", "Received p 7, Queued #1 s"),
            ("hooked/pass", "other", "Received p 7"),
            ("hooked/consume", "hooked/consume", "Received p 7"),
        ] {
            let mut world = World::new(version);
            let _subscriber = world.subscriber("s", Keep::Session, filter).await;
            let mut witness = world.subscriber("w", Keep::Nothing, "alarm/+").await;
            let mut publisher = world.client("p", Keep::Session).await;
            publisher.publish(topic, 2, 7).await;
            assert_eq!(world.answer_behind(stored, &mut witness).await, "PUBLISH 0 0 alarm/0");
            assert_eq!(witness.receive().await, "PUBLISH 1 1 alarm/1");
            assert_eq!(publisher.receive().await, "PUBREC 7");
        }
    }
}

#[tokio::test]
async fn the_first_that_is_emitted_is_one_commit_with_a_packet_id_that_has_none() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut durable = world.subscriber("d", Keep::Session, "alarm/1").await;
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.publish("hooked/consume", 2, 7).await;
        let stored = "Received p 7, Queued #1 d";
        assert_eq!(world.answer_behind(stored, &mut durable).await, "PUBLISH 1 1 alarm/1");
        assert_eq!(publisher.receive().await, "PUBREC 7");
    }
}

#[tokio::test]
async fn what_is_emitted_for_a_will_goes_on_behind_its_being_published() {
    for version in VERSIONS {
        for (topic, filter, stored) in [
            ("hooked/pass", "other", "WillCleared c #1"),
            ("hooked/consume", "other", "WillCleared c #1"),
            // The will is stored itself.
            ("hooked/pass", "hooked/pass", "WillCleared c #1, Queued #2 s"),
        ] {
            let mut world = World::new(version);
            let topic = TopicName::new(topic).unwrap();
            let mut client = Peer::new(&world.broker, version);
            client.connect("c", Keep::Nothing, will(1, 0).map(|it| Will { topic, ..it })).await;
            assert_eq!(world.answer_behind("Opened c, WillSet c #1", &mut client).await, "CONNACK");
            let _subscriber = world.subscriber("s", Keep::Session, filter).await;
            let mut witness = world.subscriber("w", Keep::Nothing, "alarm/+").await;
            drop(client);
            let sent = world.answer_behind(stored, &mut witness).await;
            assert_eq!(sent, "PUBLISH 0 0 alarm/0");
            assert_eq!(witness.receive().await, "PUBLISH 1 1 alarm/1");
        }
    }
}

#[tokio::test]
async fn what_is_emitted_for_a_message_that_is_refused_or_of_qos_1_waits_for_nothing() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut witness = world.subscriber("w", Keep::Nothing, "alarm/0").await;
        let mut publisher = world.client("p", Keep::Session).await;
        if version.is_v5() {
            publisher.publish("hooked/refuse", 2, 7).await;
            assert_eq!(witness.receive().await, "PUBLISH 0 0 alarm/0");
            assert_eq!(publisher.receive().await, "PUBREC 7 NotAuthorized");
        }
        publisher.publish("hooked/pass", 1, 8).await;
        assert_eq!(witness.receive().await, "PUBLISH 0 0 alarm/0");
        assert_eq!(publisher.receive().await, "PUBACK 8");
        world.expect_no_commit().await;
    }
}
