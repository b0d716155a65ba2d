//! rumqttc's client of 5.0, and what only 5.0 has.

use std::time::Duration;

use ::rumqttc::v5::mqttbytes::v5::{
    LastWill, Packet, Publish, PublishProperties, SubscribeProperties, SubscribeReasonCode,
};
use ::rumqttc::v5::mqttbytes::{QoS, qos};
use ::rumqttc::v5::{Client, Connection, Event, MqttOptions};
use hookmq_tests::broker::Broker;
use hookmq_tests::wait::DEADLINE;

use super::{Lifetime, Message, Options, Protocol, Retain, Seen, options};

pub struct V5 {
    client: Client,
    connection: Connection,
}

impl Protocol for V5 {
    fn open(asked: &Options<'_>) -> Self {
        let mut options = MqttOptions::new(asked.client_id, "127.0.0.1", asked.port);
        let longer = asked.lifetime == Lifetime::Longer;
        options.set_clean_start(!longer);
        options.set_session_expiry_interval(longer.then_some(3600));
        if let Some(payload) = asked.will {
            options.set_last_will(LastWill::new("will", payload, QoS::AtLeastOnce, false, None));
        }
        let (client, connection) = Client::new(options, 100);
        Self { client, connection }
    }

    fn subscribe(&self, filter: &str, maximum_qos: u8) {
        let maximum_qos = qos(maximum_qos).expect("a QoS");
        self.client.subscribe(filter, maximum_qos).expect("a request");
    }

    fn publish(&self, topic: &str, payload: &[u8], number: u8, retain: Retain) {
        let qos = qos(number).expect("a QoS");
        let payload = payload.to_vec();
        self.client.publish(topic, qos, retain == Retain::Yes, payload).expect("a request");
    }

    fn disconnect(&self) {
        self.client.disconnect().expect("a request");
    }

    fn poll(&mut self, timeout: Duration) -> Option<Seen> {
        let Ok(event) = self.connection.recv_timeout(timeout).ok()? else {
            return Some(Seen::Lost);
        };
        Some(match event {
            Event::Incoming(Packet::ConnAck(connack)) => {
                Seen::Connected { session_present: connack.session_present }
            }
            Event::Incoming(Packet::SubAck(suback)) => match suback.return_codes[0] {
                SubscribeReasonCode::Success(granted) => {
                    Seen::Subscribed { granted: granted as u8 }
                }
                other => panic!("the subscription is refused: {other:?}"),
            },
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Seen::Acknowledged,
            Event::Incoming(Packet::Publish(publish)) => Seen::Message(Message {
                topic: String::from_utf8(publish.topic.to_vec()).expect("a topic is UTF-8"),
                payload: publish.payload.to_vec(),
                qos: publish.qos as u8,
                retain: publish.retain,
            }),
            _ => Seen::Other,
        })
    }
}

impl V5 {
    fn next_publish(&mut self) -> Publish {
        loop {
            let event = self.connection.recv_timeout(DEADLINE).expect("an event in time");
            if let Event::Incoming(Packet::Publish(publish)) = event.expect("a connection") {
                return publish;
            }
        }
    }
}

#[test]
fn properties_arrive_as_they_were_sent() {
    let broker = Broker::open();
    let mut it = V5::open(&options(&broker, "a"));
    let identifier = SubscribeProperties { id: Some(7), user_properties: vec![] };
    it.client.subscribe_with_properties("a", QoS::AtLeastOnce, identifier).expect("a request");
    let pairs = [("b", "1"), ("a", "2"), ("b", "3")];
    let sent = PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(3600),
        topic_alias: None,
        response_topic: Some("answers".into()),
        correlation_data: Some(vec![0, 255, 7].into()),
        user_properties: pairs.map(|(name, value)| (name.into(), value.into())).into(),
        subscription_identifiers: vec![],
        content_type: Some("text/plain".into()),
    };
    it.client
        .publish_with_properties("a", QoS::AtLeastOnce, false, "x", sent.clone())
        .expect("a request");
    let got = it.next_publish().properties.expect("properties");
    let left = got.message_expiry_interval.expect("an expiry");
    assert!((3500..=3600).contains(&left), "{left}");
    let expected = PublishProperties {
        message_expiry_interval: Some(left),
        subscription_identifiers: vec![7],
        ..sent
    };
    assert_eq!(got, expected);
}
