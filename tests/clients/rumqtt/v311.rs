//! rumqttc's client of 3.1.1.

use std::time::Duration;

use ::rumqttc::{
    Client, Connection, Event, LastWill, MqttOptions, Packet, QoS, SubscribeReasonCode, qos,
};

use super::{Lifetime, Message, Options, Protocol, Retain, Seen};

pub struct V311 {
    client: Client,
    connection: Connection,
}

impl Protocol for V311 {
    fn open(asked: &Options<'_>) -> Self {
        let mut options = MqttOptions::new(asked.client_id, "127.0.0.1", asked.port);
        options.set_clean_session(asked.lifetime == Lifetime::Connection);
        if let Some(payload) = asked.will {
            options.set_last_will(LastWill::new("will", payload, QoS::AtLeastOnce, false));
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
                SubscribeReasonCode::Failure => panic!("the subscription is refused"),
            },
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Seen::Acknowledged,
            Event::Incoming(Packet::Publish(publish)) => Seen::Message(Message {
                topic: publish.topic,
                payload: publish.payload.to_vec(),
                qos: publish.qos as u8,
                retain: publish.retain,
            }),
            _ => Seen::Other,
        })
    }
}
