//! A blocking MQTT client that does what it is told, for 3.1.1 and 5.0: packets of the codec, or bytes.

mod received;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use hookmq_codec::{
    Ack, AckProperties, Connect, ConnectProperties, Disconnect, DisconnectProperties, Packet,
    PacketId, ProtocolVersion, Publish, PublishProperties, Qos, ReasonCode, Subscribe,
    SubscribeProperties, SubscriptionOptions, TopicFilter, TopicName, Unsubscribe, UserProperties,
    Will, frame,
};

pub use self::received::Received;
use crate::wait::DEADLINE;
use crate::wire::{Wire, is_end, tcp};

/// One connection. Nothing is acknowledged, and nothing sent, unless a method is called for it.
pub struct Client {
    pub version: ProtocolVersion,
    stream: Box<dyn Wire>,
    /// Bytes behind the last whole packet.
    buffer: Vec<u8>,
    /// Packets that came while another kind was waited for.
    passed_over: VecDeque<Received>,
    last_packet_id: u16,
}

/// CONNECT with a clean start, without keep alive, will and properties.
pub fn connect(version: ProtocolVersion, client_id: &str) -> Connect<'_> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 0,
        client_id,
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// CONNECT for a session that outlives its connection: in 5.0 for `seconds`, in 3.1.1 for good.
pub fn connect_to_session(version: ProtocolVersion, client_id: &str, seconds: u32) -> Connect<'_> {
    let session_expiry_interval = version.is_v5().then_some(seconds);
    let properties = ConnectProperties { session_expiry_interval, ..ConnectProperties::default() };
    Connect { clean_start: false, properties, ..connect(version, client_id) }
}

/// A will of QoS 1 without delay and properties.
pub fn will<'a>(topic: &'a str, payload: &'a [u8]) -> Will<'a> {
    Will {
        topic: topic_name(topic),
        payload,
        qos: Qos::AtLeastOnce,
        retain: false,
        delay_interval: 0,
        properties: PublishProperties::default(),
    }
}

/// A PUBLISH without properties. [`Client::publish`] gives it a packet id, [`Client::send`] does not.
pub fn publish<'a>(topic: &'a str, payload: &'a [u8], qos: Qos) -> Publish<'a> {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(topic_name(topic)),
        packet_id: None,
        topic_alias: None,
        properties: PublishProperties::default(),
        payload,
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP that tells of success.
pub fn ack(packet_id: PacketId) -> Ack<'static> {
    Ack { packet_id, reason_code: ReasonCode::Success, properties: AckProperties::default() }
}

/// A packet id that is not 0.
pub fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).expect("packet ids are not 0")
}

/// Subscription options of this QoS, the others as by default.
pub fn at(maximum_qos: Qos) -> SubscriptionOptions {
    SubscriptionOptions { maximum_qos, ..SubscriptionOptions::default() }
}

fn topic_name(topic: &str) -> TopicName<'_> {
    TopicName::new(topic).expect("a topic name")
}

fn topic_filter(filter: &str) -> TopicFilter {
    TopicFilter::new(filter).expect("a topic filter")
}

impl Client {
    /// A socket on which nothing was said.
    pub fn open(address: SocketAddr, version: ProtocolVersion) -> Self {
        Self::over(tcp(address), version)
    }

    /// A client over any stream.
    pub fn over(stream: impl Wire + 'static, version: ProtocolVersion) -> Self {
        Self {
            version,
            stream: Box::new(stream),
            buffer: Vec::new(),
            passed_over: VecDeque::new(),
            last_packet_id: 0,
        }
    }

    /// Connects and is admitted; gives the CONNACK, too.
    pub fn connect(address: SocketAddr, connect: Connect<'_>) -> (Self, Received) {
        let (client, answer) = Self::attempt(address, connect);
        match answer.packet() {
            Packet::ConnAck(connack) if connack.reason_code == ReasonCode::Success => {}
            other => panic!("not admitted: {other:?}"),
        }
        (client, answer)
    }

    /// Sends CONNECT and is admitted.
    pub fn admitted(mut self, connect: Connect<'_>) -> Self {
        self.send(&Packet::Connect(Box::new(connect)));
        match self.receive().packet() {
            Packet::ConnAck(connack) if connack.reason_code == ReasonCode::Success => self,
            other => panic!("not admitted: {other:?}"),
        }
    }

    /// Sends CONNECT and gives whatever the answer is.
    pub fn attempt(address: SocketAddr, connect: Connect<'_>) -> (Self, Received) {
        let mut client = Self::open(address, connect.version);
        client.send(&Packet::Connect(Box::new(connect)));
        let answer = client.receive();
        (client, answer)
    }

    pub fn send(&mut self, packet: &Packet<'_>) {
        let bytes = self.encode(packet);
        self.send_raw(&bytes);
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send to the broker");
    }

    /// Sends as much as the broker takes before it closes.
    pub fn try_send_raw(&mut self, bytes: &[u8]) {
        // The broker may have heard enough.
        let _ = self.stream.write_all(bytes);
    }

    pub fn encode(&self, packet: &Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).expect("a packet of this version");
        bytes
    }

    /// The next packet.
    pub fn receive(&mut self) -> Received {
        self.try_receive().expect("a packet, but the broker closed")
    }

    /// The next packet; none where the broker closes instead.
    pub fn try_receive(&mut self) -> Option<Received> {
        self.passed_over.pop_front().or_else(|| self.read_packet())
    }

    /// The next packet that `wanted` fits; those before it stay to be received.
    pub fn receive_where(&mut self, wanted: impl Fn(&Packet<'_>) -> bool) -> Received {
        if let Some(place) = self.passed_over.iter().position(|it| wanted(&it.packet())) {
            return self.passed_over.remove(place).expect("its place was just found");
        }
        loop {
            let packet = self.read_packet().expect("a packet, but the broker closed");
            if wanted(&packet.packet()) {
                return packet;
            }
            self.passed_over.push_back(packet);
        }
    }

    /// A packet that came while another kind was waited for.
    pub fn passed_over(&mut self) -> Option<Received> {
        self.passed_over.pop_front()
    }

    /// The next PUBLISH, which must have this topic and payload. It is not acknowledged.
    #[track_caller]
    pub fn expect_message(&mut self, topic: &str, payload: &[u8]) -> Received {
        let received = self.receive();
        let publish = received.publish();
        let got = (publish.topic.map(TopicName::as_str), publish.payload);
        assert_eq!(got, (Some(topic), payload), "another message");
        received
    }

    /// That nothing waits for this client, now that the broker has answered whoever caused it.
    ///
    /// A turn of the broker answers a ping before it delivers, so the second answer comes behind all
    /// that the first turn delivered.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        for _ in 0..2 {
            self.send(&Packet::PingReq);
            let packet = self.receive();
            assert_eq!(packet.packet(), Packet::PingResp, "nothing was to be sent");
        }
    }

    /// The end of the connection, with nothing before it.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        if let Some(packet) = self.try_receive() {
            panic!("not closed: {:?}", packet.packet());
        }
    }

    /// The end of the connection; in 5.0 the broker says why.
    #[track_caller]
    pub fn expect_disconnected(&mut self, reason_code: ReasonCode) {
        if self.version.is_v5() {
            match self.receive().packet() {
                Packet::Disconnect(disconnect) => {
                    assert_eq!(disconnect.reason_code, reason_code);
                    assert_eq!(disconnect.properties.session_expiry_interval, None);
                }
                other => panic!("not DISCONNECT: {other:?}"),
            }
        }
        self.expect_closed();
    }

    /// Publishes and waits until the exchange is over; gives the code of PUBACK or PUBREC.
    pub fn publish(&mut self, mut publish: Publish<'_>) -> ReasonCode {
        let qos = publish.qos;
        if qos == Qos::AtMostOnce {
            self.send(&Packet::Publish(publish));
            return ReasonCode::Success;
        }
        let id = publish.packet_id.unwrap_or_else(|| self.next_packet_id());
        publish.packet_id = Some(id);
        self.send(&Packet::Publish(publish));
        if qos == Qos::AtLeastOnce {
            let answer = self.receive_where(|it| matches!(it, Packet::PubAck(_)));
            return answer.acknowledges(id);
        }
        let answer = self.receive_where(|it| matches!(it, Packet::PubRec(_)));
        let reason_code = answer.acknowledges(id);
        if !reason_code.is_failure() {
            self.send(&Packet::PubRel(ack(id)));
            let answer = self.receive_where(|it| matches!(it, Packet::PubComp(_)));
            assert_eq!(answer.acknowledges(id), ReasonCode::Success);
        }
        reason_code
    }

    /// Acknowledges a PUBLISH to the end.
    pub fn acknowledge(&mut self, received: &Received) {
        let publish = received.publish();
        match (publish.qos, publish.packet_id) {
            (Qos::AtLeastOnce, Some(id)) => self.send(&Packet::PubAck(ack(id))),
            (Qos::ExactlyOnce, Some(id)) => {
                self.send(&Packet::PubRec(ack(id)));
                let release = self.receive_where(|it| matches!(it, Packet::PubRel(_)));
                assert_eq!(release.acknowledges(id), ReasonCode::Success);
                self.send(&Packet::PubComp(ack(id)));
            }
            _ => {}
        }
    }

    /// Subscribes and is granted what was asked for.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str, qos: Qos) {
        let granted = self.subscribe_with(&[(filter, at(qos))], None);
        assert_eq!(granted.iter().map(|code| *code as u8).collect::<Vec<_>>(), [qos as u8]);
    }

    /// Sends one SUBSCRIBE; gives the codes of the SUBACK.
    pub fn subscribe_with(
        &mut self,
        filters: &[(&str, SubscriptionOptions)],
        subscription_identifier: Option<u32>,
    ) -> Vec<ReasonCode> {
        let packet_id = self.send_subscribe(filters, subscription_identifier);
        let answer = self.receive_where(|it| matches!(it, Packet::SubAck(_)));
        let Packet::SubAck(suback) = answer.packet() else { unreachable!("it was waited for") };
        assert_eq!(suback.packet_id, packet_id);
        suback.reason_codes
    }

    /// Sends one SUBSCRIBE and does not wait for the answer.
    pub fn send_subscribe(
        &mut self,
        filters: &[(&str, SubscriptionOptions)],
        subscription_identifier: Option<u32>,
    ) -> PacketId {
        let packet_id = self.next_packet_id();
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            filters: filters.iter().map(|(it, options)| (topic_filter(it), *options)).collect(),
            properties: SubscribeProperties {
                subscription_identifier: subscription_identifier.and_then(NonZeroU32::new),
                user_properties: UserProperties::default(),
            },
        }));
        packet_id
    }

    /// Sends one UNSUBSCRIBE; gives the codes of the UNSUBACK, of which 3.1.1 has none.
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<ReasonCode> {
        let packet_id = self.next_packet_id();
        self.send(&Packet::Unsubscribe(Unsubscribe {
            packet_id,
            filters: filters.iter().map(|filter| topic_filter(filter)).collect(),
            user_properties: UserProperties::default(),
        }));
        let answer = self.receive_where(|it| matches!(it, Packet::UnsubAck(_)));
        let Packet::UnsubAck(unsuback) = answer.packet() else { unreachable!("it was waited for") };
        assert_eq!(unsuback.packet_id, packet_id);
        unsuback.reason_codes
    }

    /// Leaves with DISCONNECT, and waits until the broker is done with this client.
    pub fn disconnect(self) {
        self.disconnect_with(ReasonCode::Success, None);
    }

    /// As [`Self::disconnect`], with what 5.0 can add: a reason code and a session expiry interval.
    pub fn disconnect_with(
        mut self,
        reason_code: ReasonCode,
        session_expiry_interval: Option<u32>,
    ) {
        let properties =
            DisconnectProperties { session_expiry_interval, ..DisconnectProperties::default() };
        self.send(&Packet::Disconnect(Disconnect { reason_code, properties }));
        self.wait_for_end();
    }

    /// Goes without a word, and waits until the broker is done with this client.
    pub fn vanish(mut self) {
        self.stream.end_output();
        self.wait_for_end();
    }

    fn wait_for_end(&mut self) {
        while self.read_packet().is_some() {}
    }

    fn next_packet_id(&mut self) -> PacketId {
        self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
        packet_id(self.last_packet_id)
    }

    /// None where the broker has closed.
    fn read_packet(&mut self) -> Option<Received> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let version = self.version;
            let length = frame(&self.buffer, u32::MAX).expect("the broker sends packets");
            if let Some(length) = length.map(|packet| packet.length) {
                let bytes = self.buffer.drain(..length).collect();
                return Some(Received::new(bytes, version));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the broker said nothing for {DEADLINE:?}");
            self.stream.set_read_timeout(left);
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    assert!(self.buffer.is_empty(), "closed within a packet");
                    return None;
                }
                Ok(read) => self.buffer.extend_from_slice(&bytes[..read]),
                Err(error) if is_end(&error) => return None,
                Err(error) => panic!("the broker said nothing for {DEADLINE:?}: {error}"),
            }
        }
    }
}
