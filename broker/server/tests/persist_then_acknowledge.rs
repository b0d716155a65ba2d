//! Acknowledgements wait for their commits: the real driver on an in-memory stream, with a store whose
//! disk is the test's.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use hookmq::broker::Broker;
use hookmq::broker::limits::Limits;
use hookmq::broker::protocol::ProtocolOptions;
use hookmq::connection::admit;
use hookmq_access::{AnonymousProgram, AnonymousSettings, OpenProgram};
use hookmq_codec::{
    Connect, ConnectProperties, Packet, PacketId, ProtocolVersion, Publish, PublishProperties, Qos,
    Subscribe, SubscribeProperties, SubscriptionOptions, TopicFilter, TopicName, decode, frame,
};
use hookmq_hooks::{
    Blueprint, Condition, ConnectionFacts, Control, FailurePolicy, Hook, Pipeline, Program,
    ProgramKind, ProgramName, StepSpec,
};
use hookmq_store::{Change, HeldStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const VERSION: ProtocolVersion = ProtocolVersion::V5;
const DEADLINE: Duration = Duration::from_secs(5);

struct Peer(DuplexStream);

impl Peer {
    fn new(broker: &Arc<Broker>) -> Self {
        let (near, far) = tokio::io::duplex(1 << 16);
        let facts = ConnectionFacts {
            listener: "memory".into(),
            peer: None,
            protocol: VERSION,
            encrypted: false,
        };
        let arrival = broker.admission.arrive(std::time::Instant::now()).unwrap();
        let admitted = admit(broker.clone(), far, facts, None, arrival);
        tokio::spawn(async { admitted.await.expect("a client that is let in").await });
        Self(near)
    }

    async fn send(&mut self, packet: Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(VERSION, &mut bytes).unwrap();
        self.0.write_all(&bytes).await.unwrap();
    }

    /// The next packet, shown as text.
    async fn receive(&mut self) -> String {
        let mut bytes = Vec::new();
        let packet = async {
            loop {
                if let Some(packet) = frame(&bytes, u32::MAX).unwrap() {
                    return format!("{:?}", decode(packet, VERSION).unwrap());
                }
                bytes.push(self.0.read_u8().await.unwrap());
            }
        };
        tokio::time::timeout(DEADLINE, packet).await.expect("a packet in time")
    }

    /// Asserts that the answer to PINGREQ is the next packet: nothing else was on its way.
    async fn expect_nothing(&mut self) {
        self.send(Packet::PingReq).await;
        assert_eq!(self.receive().await, "PingResp");
    }

    async fn connect(&mut self, client_id: &str, session_expiry_interval: u32) {
        let properties = ConnectProperties {
            session_expiry_interval: Some(session_expiry_interval),
            ..ConnectProperties::default()
        };
        let connect = Connect {
            version: VERSION,
            clean_start: true,
            keep_alive: 0,
            client_id,
            will: None,
            username: None,
            password: None,
            properties,
        };
        self.send(Packet::Connect(Box::new(connect))).await;
    }

    async fn subscribe(&mut self, filter: &str) {
        let options =
            SubscriptionOptions { maximum_qos: Qos::ExactlyOnce, ..SubscriptionOptions::default() };
        let subscribe = Subscribe {
            packet_id: PacketId::MIN,
            filters: vec![(TopicFilter::new(filter).unwrap(), options)],
            properties: SubscribeProperties::default(),
        };
        self.send(Packet::Subscribe(subscribe)).await;
    }

    async fn publish(&mut self, qos: Qos, id: u16, retain: bool) {
        let publish = Publish {
            dup: false,
            qos,
            retain,
            topic: Some(TopicName::new("t").unwrap()),
            packet_id: PacketId::new(id),
            topic_alias: None,
            properties: PublishProperties::default(),
            payload: b"x",
        };
        self.send(Packet::Publish(publish)).await;
    }
}

fn broker(store: Arc<HeldStore>) -> Arc<Broker> {
    let step = |name: &str| StepSpec {
        program: ProgramName { kind: ProgramKind::Builtin, name: name.into() },
        condition: Condition::default(),
        control: Control::Required,
        on_failure: FailurePolicy::Drop,
        explain: Default::default(),
        settings: serde_json::Value::Null,
    };
    let blueprint = Blueprint {
        connect: vec![step("anonymous")],
        authorize: vec![step("open")],
        ..Blueprint::default()
    };
    let pipeline = Pipeline::assemble(1, &blueprint, |hook, _, _| -> Arc<dyn Program> {
        match hook {
            Hook::Connect => Arc::new(AnonymousProgram::new(AnonymousSettings::default())),
            _ => Arc::new(OpenProgram::new()),
        }
    });
    let (limits, protocol) = (Limits::default(), ProtocolOptions::default());
    Broker::new(
        pipeline.unwrap(),
        limits,
        protocol,
        Default::default(),
        store,
        None,
        Arc::default(),
    )
}

/// A subscriber whose session is durable, with its CONNACK and SUBACK released.
async fn durable_subscriber(broker: &Arc<Broker>, store: &HeldStore) -> Peer {
    let mut subscriber = Peer::new(broker);
    subscriber.connect("subscriber", 3600).await;
    until(store, 1).await;
    store.release();
    assert!(subscriber.receive().await.starts_with("ConnAck"));
    subscriber.subscribe("t").await;
    until(store, 2).await;
    subscriber.expect_nothing().await;
    store.release();
    assert!(subscriber.receive().await.starts_with("SubAck"));
    subscriber
}

async fn publisher(broker: &Arc<Broker>) -> Peer {
    let mut publisher = Peer::new(broker);
    publisher.connect("publisher", 0).await;
    assert!(publisher.receive().await.starts_with("ConnAck"));
    publisher
}

/// Waits until the broker has handed `commits` to the store.
async fn until(store: &HeldStore, commits: usize) {
    let waiting = async {
        while store.commits().len() < commits {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("a commit in time");
}

#[tokio::test]
async fn connack_of_a_durable_session_waits_for_its_record() {
    let store = Arc::new(HeldStore::default());
    let broker = broker(store.clone());
    let mut client = Peer::new(&broker);
    client.connect("client", 3600).await;
    until(&store, 1).await;
    assert!(matches!(store.commits()[0][..], [Change::SessionOpened { .. }]));
    let early = tokio::time::timeout(Duration::from_millis(50), client.0.read_u8()).await;
    assert!(early.is_err(), "CONNACK left before the session was durable");
    store.release();
    assert!(client.receive().await.starts_with("ConnAck"));
}

#[tokio::test]
async fn puback_waits_until_every_durable_session_has_the_message() {
    for (qos, answer) in [(Qos::AtLeastOnce, "PubAck"), (Qos::ExactlyOnce, "PubRec")] {
        let store = Arc::new(HeldStore::default());
        let broker = broker(store.clone());
        let _subscriber = durable_subscriber(&broker, &store).await;
        let mut publisher = publisher(&broker).await;
        publisher.publish(qos, 1, false).await;
        until(&store, 3).await;
        assert!(matches!(store.commits()[2][..], [Change::Queued { .. }]));
        publisher.expect_nothing().await;
        store.release();
        assert!(publisher.receive().await.starts_with(answer));
    }
}

#[tokio::test]
async fn acknowledgements_behind_a_commit_keep_their_order() {
    let store = Arc::new(HeldStore::default());
    let broker = broker(store.clone());
    let _subscriber = durable_subscriber(&broker, &store).await;
    let mut publisher = publisher(&broker).await;
    for id in 1..=3 {
        publisher.publish(Qos::AtLeastOnce, id, false).await;
    }
    publisher.expect_nothing().await;
    until(&store, 5).await;
    store.release();
    for id in 1..=3 {
        assert!(publisher.receive().await.contains(&format!("packet_id: {id}")));
    }
}

#[tokio::test]
async fn a_retained_message_is_acknowledged_when_it_is_durable() {
    let store = Arc::new(HeldStore::default());
    let broker = broker(store.clone());
    let mut publisher = publisher(&broker).await;
    publisher.publish(Qos::AtLeastOnce, 1, true).await;
    until(&store, 1).await;
    publisher.expect_nothing().await;
    store.release();
    assert!(publisher.receive().await.starts_with("PubAck"));
}

#[tokio::test]
async fn what_concerns_nothing_durable_does_not_wait() {
    let store = Arc::new(HeldStore::default());
    let broker = broker(store.clone());
    let mut subscriber = publisher(&broker).await;
    subscriber.subscribe("t").await;
    assert!(subscriber.receive().await.starts_with("SubAck"));
    subscriber.publish(Qos::AtLeastOnce, 1, false).await;
    let both = [subscriber.receive().await, subscriber.receive().await].concat();
    assert!(both.contains("PubAck") && both.contains("Publish("), "{both}");
    assert!(store.commits().is_empty());
}
