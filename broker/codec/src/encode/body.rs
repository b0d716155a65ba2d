//! What stands behind the fixed header of each packet.

use super::AckKind;
use crate::packet_type::PacketType;
use crate::properties::{PublishSection, Section, WillSection};
use crate::sink::Sink;
use crate::{
    Ack, Auth, ConnAck, Connect, Disconnect, EncodeError, Packet, ProtocolVersion, Publish, Qos,
    ReasonCode, SubAck, Subscribe, SubscriptionOptions, Unsubscribe, Will,
};

/// A packet that can be written.
pub(super) trait Body {
    fn first_byte(&self) -> u8;

    /// Variable header and payload.
    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink);
}

impl Body for Packet<'_> {
    fn first_byte(&self) -> u8 {
        match self {
            Self::Connect(connect) => connect.first_byte(),
            Self::ConnAck(conn_ack) => conn_ack.first_byte(),
            Self::Publish(publish) => publish.first_byte(),
            Self::PubAck(ack) => (AckKind::PubAck, ack).first_byte(),
            Self::PubRec(ack) => (AckKind::PubRec, ack).first_byte(),
            Self::PubRel(ack) => (AckKind::PubRel, ack).first_byte(),
            Self::PubComp(ack) => (AckKind::PubComp, ack).first_byte(),
            Self::Subscribe(_) => PacketType::Subscribe.first_byte(),
            Self::SubAck(_) => PacketType::SubAck.first_byte(),
            Self::Unsubscribe(_) => PacketType::Unsubscribe.first_byte(),
            Self::UnsubAck(_) => PacketType::UnsubAck.first_byte(),
            Self::PingReq => PacketType::PingReq.first_byte(),
            Self::PingResp => PacketType::PingResp.first_byte(),
            Self::Disconnect(disconnect) => disconnect.first_byte(),
            Self::Auth(_) => PacketType::Auth.first_byte(),
        }
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        match self {
            Self::Connect(connect) => connect.write(version, sink),
            Self::ConnAck(conn_ack) => conn_ack.write(version, sink),
            Self::Publish(publish) => publish.write(version, sink),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                write_ack(ack, version, sink);
            }
            Self::Subscribe(subscribe) => write_subscribe(subscribe, version, sink),
            Self::SubAck(sub_ack) => write_sub_ack(sub_ack, version, sink),
            Self::Unsubscribe(unsubscribe) => write_unsubscribe(unsubscribe, version, sink),
            Self::UnsubAck(unsub_ack) => write_unsub_ack(unsub_ack, version, sink),
            Self::PingReq | Self::PingResp => {}
            Self::Disconnect(disconnect) => disconnect.write(version, sink),
            Self::Auth(auth) => write_auth(auth, version, sink),
        }
    }
}

impl Body for Connect<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Connect.first_byte()
    }

    fn write(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        let (name, level): (&[u8], u8) = match self.version {
            ProtocolVersion::V31 => (b"MQIsdp", 3),
            ProtocolVersion::V311 => (b"MQTT", 4),
            ProtocolVersion::V5 => (b"MQTT", 5),
        };
        sink.sized(name);
        sink.byte(level);
        sink.byte(connect_flags(self));
        sink.u16(self.keep_alive);
        if self.version.is_v5() {
            self.properties.write_section(sink);
        }
        sink.sized(self.client_id.as_bytes());
        if let Some(will) = &self.will {
            write_will(will, self.version, sink);
        }
        if let Some(username) = self.username {
            sink.sized(username.as_bytes());
        }
        if let Some(password) = self.password {
            if self.username.is_none() && !self.version.is_v5() {
                sink.refuse(EncodeError::NotInThisVersion);
            }
            sink.sized(password);
        }
    }
}

fn connect_flags(connect: &Connect<'_>) -> u8 {
    let will = match &connect.will {
        None => 0,
        Some(will) => 0b100 | (will.qos as u8) << 3 | u8::from(will.retain) << 5,
    };
    u8::from(connect.clean_start) << 1
        | will
        | u8::from(connect.password.is_some()) << 6
        | u8::from(connect.username.is_some()) << 7
}

fn write_will(will: &Will<'_>, version: ProtocolVersion, sink: &mut impl Sink) {
    if version.is_v5() {
        WillSection(&will.properties, will.delay_interval).write_section(sink);
    }
    sink.sized(will.topic.as_str().as_bytes());
    sink.sized(will.payload);
}

impl Body for ConnAck<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::ConnAck.first_byte()
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        // MQTT 3.1 reserves the byte.
        sink.byte(u8::from(self.session_present && version != ProtocolVersion::V31));
        if version.is_v5() {
            sink.byte(self.reason_code as u8);
            self.properties.write_section(sink);
        } else {
            sink.byte(self.reason_code.connect_return_code());
        }
    }
}

impl Body for Publish<'_> {
    fn first_byte(&self) -> u8 {
        publish_first_byte(self.dup, self.qos, self.retain)
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        match self.topic {
            Some(topic) => sink.sized(topic.as_str().as_bytes()),
            None if version.is_v5() => sink.sized(&[]),
            None => sink.refuse(EncodeError::NotInThisVersion),
        }
        if self.packet_id.is_some() == (self.qos == Qos::AtMostOnce) {
            sink.refuse(EncodeError::PacketId);
        }
        if let Some(packet_id) = self.packet_id {
            sink.u16(packet_id.get());
        }
        if version.is_v5() {
            PublishSection(&self.properties, self.topic_alias).write_section(sink);
        }
        sink.bytes(self.payload);
    }
}

/// DUP is 0 with QoS 0, whatever it should have been `[MQTT-3.3.1-2]`.
#[inline]
pub(crate) fn publish_first_byte(dup: bool, qos: Qos, retain: bool) -> u8 {
    let dup = dup && qos != Qos::AtMostOnce;
    PacketType::Publish.first_byte() | u8::from(dup) << 3 | (qos as u8) << 1 | u8::from(retain)
}

impl Body for (AckKind, &Ack<'_>) {
    fn first_byte(&self) -> u8 {
        self.0.packet_type().first_byte()
    }

    #[inline]
    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        write_ack(self.1, version, sink);
    }
}

#[inline]
fn write_ack(ack: &Ack<'_>, version: ProtocolVersion, sink: &mut impl Sink) {
    sink.u16(ack.packet_id.get());
    if version.is_v5() {
        write_reason(ack.reason_code, &ack.properties, sink);
    }
}

impl Body for Disconnect<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Disconnect.first_byte()
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        if version.is_v5() {
            write_reason(self.reason_code, &self.properties, sink);
        }
    }
}

fn write_auth(auth: &Auth<'_>, version: ProtocolVersion, sink: &mut impl Sink) {
    match version.is_v5() {
        true => write_reason(auth.reason_code, &auth.properties, sink),
        false => sink.refuse(EncodeError::NotInThisVersion),
    }
}

/// Leaves out the properties where there are none, and then the code where it is success.
#[inline]
fn write_reason(reason_code: ReasonCode, properties: &impl Section, sink: &mut impl Sink) {
    let without_properties = properties.length() == Ok(0);
    if without_properties && reason_code == ReasonCode::Success {
        return;
    }
    sink.byte(reason_code as u8);
    if !without_properties {
        properties.write_section(sink);
    }
}

fn write_subscribe(subscribe: &Subscribe<'_>, version: ProtocolVersion, sink: &mut impl Sink) {
    sink.u16(subscribe.packet_id.get());
    if version.is_v5() {
        subscribe.properties.write_section(sink);
    }
    for (filter, options) in &subscribe.filters {
        sink.sized(filter.as_str().as_bytes());
        sink.byte(match version.is_v5() {
            true => subscription_options(*options),
            false => options.maximum_qos as u8,
        });
    }
}

fn subscription_options(options: SubscriptionOptions) -> u8 {
    options.maximum_qos as u8
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | (options.retain_handling as u8) << 4
}

fn write_sub_ack(sub_ack: &SubAck<'_>, version: ProtocolVersion, sink: &mut impl Sink) {
    sink.u16(sub_ack.packet_id.get());
    if version.is_v5() {
        sub_ack.properties.write_section(sink);
    }
    for &reason_code in &sub_ack.reason_codes {
        sink.byte(match version {
            ProtocolVersion::V311 if reason_code.is_failure() => ReasonCode::UnspecifiedError as u8,
            // MQTT 3.1 knows no refusal: the least that it can grant is QoS 0.
            ProtocolVersion::V31 if reason_code.is_failure() => ReasonCode::Success as u8,
            _ => reason_code as u8,
        });
    }
}

fn write_unsubscribe(
    unsubscribe: &Unsubscribe<'_>,
    version: ProtocolVersion,
    sink: &mut impl Sink,
) {
    sink.u16(unsubscribe.packet_id.get());
    if version.is_v5() {
        unsubscribe.user_properties.write_section(sink);
    }
    for filter in &unsubscribe.filters {
        sink.sized(filter.as_str().as_bytes());
    }
}

fn write_unsub_ack(unsub_ack: &SubAck<'_>, version: ProtocolVersion, sink: &mut impl Sink) {
    sink.u16(unsub_ack.packet_id.get());
    if version.is_v5() {
        unsub_ack.properties.write_section(sink);
        for &reason_code in &unsub_ack.reason_codes {
            sink.byte(reason_code as u8);
        }
    }
}
