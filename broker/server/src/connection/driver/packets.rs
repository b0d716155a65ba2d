//! What each packet from the client brings about.

use std::num::NonZeroU16;
use std::task::Waker;
use std::time::{Duration, Instant};

use hookmq_codec::{
    Ack, AckKind, AckProperties, Disconnect, EncodeError, Packet, PacketId, PacketType,
    ProtocolVersion, Publish, Qos, ReasonCode, TopicName,
};
use hookmq_core::{
    Acknowledgement, AcknowledgementKind, CommitSequence, Delivery, NewMessage, Received, Release,
};
use hookmq_store::{Change, Durability, SessionKey};

use super::{Driver, Terms};
use crate::broker::publisher::Reply;
use crate::connection::Stream;
use crate::connection::ending::Ending;

impl<S: Stream> Driver<S> {
    pub(super) fn handle_packet(&mut self, packet: Packet<'_>, now: Instant) -> Result<(), Ending> {
        match packet {
            Packet::Publish(publish) => self.handle_publish(&publish, now),
            Packet::PubAck(ack) => self.handle_puback(ack.packet_id),
            Packet::PubRec(ack) => self.handle_pubrec(&ack),
            Packet::PubRel(ack) => self.handle_pubrel(ack.packet_id),
            Packet::PubComp(ack) => self.handle_pubcomp(ack.packet_id),
            Packet::Subscribe(subscribe) => self.handle_subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(unsubscribe),
            Packet::PingReq => {
                // Who does nothing else would keep what was replaced in memory.
                self.publisher.pipeline();
                self.send(&Packet::PingResp)
            }
            Packet::Disconnect(disconnect) => Err(self.handle_disconnect(&disconnect)),
            Packet::Auth(auth) => self.handle_auth(&auth),
            // A second CONNECT [MQTT-3.1.0-2], and what only servers send.
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => {
                Err(Ending::Refused(ReasonCode::ProtocolError, "a packet that is not to come now"))
            }
        }
    }

    /// The named checks of one PUBLISH, then one action.
    #[inline]
    fn handle_publish(&mut self, publish: &Publish<'_>, now: Instant) -> Result<(), Ending> {
        self.traffic.messages_received += 1;
        self.traffic.payload_bytes_received += publish.payload.len() as u32;
        let from_alias;
        let topic = match (publish.topic, publish.topic_alias) {
            (Some(topic), None) => topic,
            (topic, alias) => {
                from_alias = self.resolve_alias(topic, alias)?;
                TopicName::from_checked(&from_alias)
            }
        };
        self.check_publish(publish)?;
        let incoming = &mut self.opened.session.incoming;
        let received = match (publish.qos, publish.packet_id) {
            (Qos::ExactlyOnce, Some(id)) => incoming.handle_qos2(id)?,
            (Qos::AtLeastOnce, _) => {
                incoming.handle_qos1()?;
                Received::First
            }
            _ => Received::First,
        };
        let reply = match received {
            Received::Again(commit) => Reply::done(commit),
            Received::First if self.is_misdeclared(publish) => {
                Reply::settled(ReasonCode::PayloadFormatInvalid)
            }
            Received::First => self.accept(topic, publish, now),
        };
        self.stores |= reply.commit > CommitSequence::NONE;
        if reply.disconnect {
            return Err(Ending::Told(reply.reason_code));
        }
        let Some(packet_id) = publish.packet_id else { return Ok(()) };
        let kind = match publish.qos {
            Qos::ExactlyOnce => AcknowledgementKind::PubRec,
            _ => AcknowledgementKind::PubAck,
        };
        // Hooks choose codes, too; one that an acknowledgement cannot carry must not leave.
        let reason_code = match reply.reason_code.is_allowed_in(PacketType::PubAck) {
            true => reply.reason_code,
            false => ReasonCode::ImplementationSpecificError,
        };
        let acknowledgement = Acknowledgement { kind, packet_id, reason_code };
        self.opened.session.incoming.acknowledge(acknowledgement, reply.commit);
        Ok(())
    }

    fn accept(&mut self, topic: TopicName<'_>, publish: &Publish<'_>, now: Instant) -> Reply {
        let mut properties = Vec::new();
        if self.terms.version.is_v5() {
            publish.properties.encode_forwarded(&mut properties);
        }
        let lifetime = publish.properties.message_expiry_interval;
        let message = NewMessage {
            topic,
            forwarded_properties: &properties,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expires_at: lifetime.map(|seconds| now + Duration::from_secs(seconds.into())),
            publisher: self.opened.handle.id,
        };
        match publish.packet_id {
            Some(packet_id)
                if publish.qos == Qos::ExactlyOnce && self.opened.handle.is_durable() =>
            {
                let session = self.opened.handle.key.clone();
                self.publisher.publish_with(message, Change::Received { session, packet_id })
            }
            _ => self.publisher.publish(message),
        }
    }

    /// The topic that an alias stands for, or is to stand for from now on `[MQTT-3.3.2-8]`.
    fn resolve_alias(
        &mut self,
        topic: Option<TopicName<'_>>,
        alias: Option<NonZeroU16>,
    ) -> Result<Box<str>, Ending> {
        let alias = alias
            .ok_or(Ending::Refused(ReasonCode::ProtocolError, "neither topic nor topic alias"))?;
        if alias.get() > self.broker.limits.topic_alias_maximum {
            let reason = "the topic alias is above the maximum";
            return Err(Ending::Refused(ReasonCode::TopicAliasInvalid, reason));
        }
        if let Some(topic) = topic {
            self.incoming_aliases.get_or_insert_default().set(alias, topic.as_str());
            return Ok(topic.as_str().into());
        }
        let known = self.incoming_aliases.as_ref().and_then(|aliases| aliases.topic(alias));
        let reason = "the topic alias stands for no topic";
        known.map(Into::into).ok_or(Ending::Refused(ReasonCode::ProtocolError, reason))
    }

    #[inline]
    fn check_publish(&self, publish: &Publish<'_>) -> Result<(), Ending> {
        let protocol = &self.broker.protocol;
        if !publish.properties.subscription_identifiers.is_empty() {
            let reason = "only the broker sends subscription identifiers in PUBLISH";
            return Err(Ending::Refused(ReasonCode::ProtocolError, reason));
        }
        if publish.qos > protocol.maximum_qos {
            return Err(Ending::Refused(ReasonCode::QosNotSupported, "above the maximum QoS"));
        }
        if publish.retain && !protocol.retain_available {
            let reason = "messages are not retained here";
            return Err(Ending::Refused(ReasonCode::RetainNotSupported, reason));
        }
        Ok(())
    }

    /// Whether the payload is looked at, said to be UTF-8, and is not.
    #[inline]
    fn is_misdeclared(&self, publish: &Publish<'_>) -> bool {
        self.broker.protocol.check_payload_format
            && publish.properties.payload_format_indicator == Some(true)
            && std::str::from_utf8(publish.payload).is_err()
    }

    fn handle_puback(&mut self, id: PacketId) -> Result<(), Ending> {
        // Unknown ids come from clients that lost count; nothing depends on them.
        if let Ok(Some(delivery)) = self.opened.session.outgoing.handle_puback(id) {
            self.settle_delivery(&delivery);
        }
        Ok(())
    }

    fn handle_pubrec(&mut self, ack: &Ack<'_>) -> Result<(), Ending> {
        let refused = ack.reason_code.is_failure().then_some(ack.reason_code);
        let packet_id = ack.packet_id;
        let reason_code = match self.opened.session.outgoing.handle_pubrec(packet_id, refused) {
            Ok(Release::Send(delivery)) => {
                delivery.iter().for_each(|delivery| self.release(packet_id, delivery));
                ReasonCode::Success
            }
            Ok(Release::Refused(delivery)) => {
                delivery.iter().for_each(|delivery| self.refuse(packet_id, delivery));
                return Ok(());
            }
            Err(_) if refused.is_some() => return Ok(()),
            Err(_) => ReasonCode::PacketIdentifierNotFound,
        };
        self.send_release(packet_id, reason_code)
    }

    /// PUBREL, once all that was stored before it is durable.
    pub(in crate::connection) fn send_release(
        &mut self,
        packet_id: PacketId,
        reason_code: ReasonCode,
    ) -> Result<(), Ending> {
        let properties = AckProperties::default();
        let release = Packet::PubRel(Ack { packet_id, reason_code, properties });
        match self.owes_nothing() {
            true => self.send(&release),
            false => self.defer(&release),
        }
    }

    /// The client has a message of QoS 2, or is not to have it: it is not sent again, and PUBREL waits for
    /// that to be stored.
    pub(in crate::connection) fn release(&mut self, packet_id: PacketId, delivery: &Delivery) {
        self.settle_exactly_once(delivery, |session| Change::Released { session, packet_id });
    }

    /// The client does not take a message of QoS 2, and its packet id is free.
    fn refuse(&mut self, packet_id: PacketId, delivery: &Delivery) {
        self.settle_exactly_once(delivery, |session| Change::Completed { session, packet_id });
    }

    /// Where the store knows the packet id, it is told what becomes of that.
    fn settle_exactly_once(
        &mut self,
        delivery: &Delivery,
        change: impl FnOnce(SessionKey) -> Change,
    ) {
        if !self.has_stored(delivery) {
            return self.settle_delivery(delivery);
        }
        let change = change(self.opened.handle.key.clone());
        self.owed().changes.push(change);
    }

    /// Sends `packet` behind what waits, once what was stored before it is durable.
    pub(in crate::connection) fn defer(&mut self, packet: &Packet<'_>) -> Result<(), Ending> {
        let mut bytes = Vec::new();
        encode(&self.terms, &mut bytes, |version, out| packet.encode(version, out))?;
        self.owed().defer(bytes, CommitSequence::NONE);
        Ok(())
    }

    fn handle_pubrel(&mut self, packet_id: PacketId) -> Result<(), Ending> {
        let reason_code = self.opened.session.incoming.handle_pubrel(packet_id);
        let known = reason_code == ReasonCode::Success && self.opened.handle.is_durable();
        let commit = match known {
            false => CommitSequence::NONE,
            true => {
                let session = self.opened.handle.key.clone();
                self.store([Change::ReceivedReleased { session, packet_id }])
            }
        };
        let kind = AcknowledgementKind::PubComp;
        let acknowledgement = Acknowledgement { kind, packet_id, reason_code };
        self.opened.session.incoming.acknowledge(acknowledgement, commit);
        Ok(())
    }

    fn handle_pubcomp(&mut self, packet_id: PacketId) -> Result<(), Ending> {
        let completed = self.opened.session.outgoing.handle_pubcomp(packet_id).is_ok();
        if completed && self.opened.handle.is_durable() {
            let session = self.opened.handle.key.clone();
            self.owed().changes.push(Change::Completed { session, packet_id });
        }
        Ok(())
    }

    fn handle_disconnect(&mut self, disconnect: &Disconnect<'_>) -> Ending {
        let asked = disconnect.properties.session_expiry_interval;
        if let Some(expiry_interval) = asked {
            if self.terms.session_expiry_interval == 0 && expiry_interval > 0 {
                let reason = "a session that ends with its connection cannot be prolonged";
                return Ending::Refused(ReasonCode::ProtocolError, reason);
            }
            let maximum = self.broker.limits.session_expiry_maximum;
            self.opened.session.expiry_interval = expiry_interval.min(maximum);
        }
        // Any other code than this keeps the will [MQTT-3.14.4-3].
        Ending::Left { with_will: disconnect.reason_code != ReasonCode::Success }
    }

    /// Puts the acknowledgements and answers that may leave now into the output.
    pub(super) fn acknowledge(&mut self, waker: &Waker) {
        let durable = match self.awaited_commit() {
            None => return,
            Some(CommitSequence::NONE) => CommitSequence::NONE,
            Some(_) if self.terms.durability == Durability::Memory => CommitSequence(u64::MAX),
            Some(_) => self.broker.store.durable(),
        };
        while let Some(acknowledgement) = self.opened.session.incoming.poll_acknowledgement(durable)
        {
            let Acknowledgement { kind, packet_id, reason_code } = acknowledgement;
            let properties = self.explained(reason_code);
            let ack = Ack { packet_id, reason_code, properties };
            let kind = match kind {
                AcknowledgementKind::PubAck => AckKind::PubAck,
                AcknowledgementKind::PubRec => AckKind::PubRec,
                AcknowledgementKind::PubComp => AckKind::PubComp,
            };
            // One that does not fit the client's maximum packet size is as good as sent.
            self.traffic.packets_sent += 1;
            let _ =
                encode(&self.terms, &mut self.out, |version, out| ack.encode(kind, version, out));
        }
        while let Some(bytes) = self.owed.as_mut().and_then(|owed| owed.poll_deferred(durable)) {
            self.traffic.packets_sent += 1;
            self.out.extend_from_slice(&bytes);
        }
        if let Some(commit) = self.awaited_commit() {
            self.broker.store.wake_when_durable(commit, waker);
        }
    }

    fn awaited_commit(&self) -> Option<CommitSequence> {
        let acknowledgement = self.opened.session.incoming.awaited_commit();
        let deferred = self.owed.as_ref().and_then(|owed| owed.awaited_commit());
        [acknowledgement, deferred].into_iter().flatten().min()
    }

    /// What an acknowledgement with this code says about it, if the client wants to know and takes
    /// packets that long `[MQTT-3.4.2-2]`.
    #[inline]
    pub(in crate::connection) fn explained(&self, code: ReasonCode) -> AckProperties<'static> {
        let wanted = code.is_failure()
            && self.terms.problem_information
            && self.terms.maximum_packet_size as usize >= EXPLAINED;
        let reason_string = if wanted { explanation(code) } else { None };
        AckProperties { reason_string, ..AckProperties::default() }
    }

    pub(in crate::connection) fn send(&mut self, packet: &Packet<'_>) -> Result<(), Ending> {
        self.traffic.packets_sent += 1;
        encode(&self.terms, &mut self.out, |version, out| packet.encode(version, out))
    }
}

/// Appends a packet other than PUBLISH. Where the client does not take one of this size, nothing is
/// appended, and the connection cannot go on `[MQTT-3.1.2-24]`.
pub(in crate::connection) fn encode(
    terms: &Terms,
    out: &mut Vec<u8>,
    write: impl FnOnce(ProtocolVersion, &mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), Ending> {
    let before = out.len();
    write(terms.version, out).map_err(|_| Ending::Told(ReasonCode::ImplementationSpecificError))?;
    if out.len() - before > terms.maximum_packet_size as usize {
        out.truncate(before);
        return Err(Ending::Told(ReasonCode::PacketTooLarge));
    }
    Ok(())
}

/// Bytes that an acknowledgement takes at most with an [`explanation`], beside its reason codes.
pub(in crate::connection) const EXPLAINED: usize = 96;

/// What a client may know about a refused PUBLISH or SUBSCRIBE beyond its code.
fn explanation(code: ReasonCode) -> Option<&'static str> {
    match code {
        ReasonCode::QuotaExceeded => Some("a limit of the broker is reached"),
        ReasonCode::NotAuthorized => Some("no permission for this topic"),
        ReasonCode::PayloadFormatInvalid => Some("the payload is not in the form that is expected"),
        ReasonCode::TopicFilterInvalid => Some("too many levels in a topic filter"),
        ReasonCode::ImplementationSpecificError => Some("a step of the pipeline failed"),
        _ => None,
    }
}
