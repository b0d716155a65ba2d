//! What the client has sent and we have not yet acknowledged to the end: persist, then acknowledge.

use std::collections::{HashMap, VecDeque};

use hookmq_codec::{PacketId, ReasonCode};

/// A position in the store's log. What it stands for is durable once the store says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CommitSequence(pub u64);

impl CommitSequence {
    /// Before the first commit: durable from the start. For what changes nothing durable.
    pub const NONE: Self = Self(0);
}

/// Acknowledgements that wait for their commit, and the packet ids of QoS 2 that are under way.
///
/// Acknowledgements leave in the order in which the packets came `[MQTT-4.6.0-2]` `[MQTT-4.6.0-3]`,
/// each not before the commit that it stands for is durable.
#[derive(Debug)]
pub struct Incoming {
    receive_maximum: usize,
    /// QoS 2 messages that are accepted and not yet released by PUBREL, each with its commit.
    unreleased: HashMap<PacketId, CommitSequence>,
    /// How many of `waiting` are PUBACKs, which count against the receive maximum.
    waiting_pubacks: usize,
    waiting: VecDeque<(Acknowledgement, CommitSequence)>,
}

/// PUBACK, PUBREC or PUBCOMP to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement {
    pub kind: AcknowledgementKind,
    pub packet_id: PacketId,
    pub reason_code: ReasonCode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcknowledgementKind {
    PubAck,
    PubRec,
    PubComp,
}

/// What a PUBLISH of QoS 2 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    First,
    /// It came before and must not be published again `[MQTT-4.3.3-10]`; answer with PUBREC, once this
    /// commit is durable.
    Again(CommitSequence),
}

/// The client has sent more than it was told it may `[MQTT-3.3.4-9]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receive maximum is exceeded")]
pub struct ReceiveMaximumExceeded;

impl Incoming {
    pub fn new(receive_maximum: u16) -> Self {
        Self {
            receive_maximum: usize::from(receive_maximum),
            unreleased: HashMap::new(),
            waiting_pubacks: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The ids of QoS 2 that were accepted and not released when the broker was last running.
    pub fn restore(&mut self, unreleased: impl IntoIterator<Item = PacketId>) {
        self.unreleased.extend(unreleased.into_iter().map(|id| (id, CommitSequence::NONE)));
    }

    /// A connection has come whose client was told this receive maximum.
    pub fn handle_connected(&mut self, receive_maximum: u16) {
        self.receive_maximum = usize::from(receive_maximum);
    }

    /// A PUBLISH of QoS 1 has come.
    #[inline]
    pub fn handle_qos1(&self) -> Result<(), ReceiveMaximumExceeded> {
        self.check_quota()
    }

    /// A PUBLISH of QoS 2 has come. Its id is taken until PUBREL, or until a refusing PUBREC.
    pub fn handle_qos2(&mut self, id: PacketId) -> Result<Received, ReceiveMaximumExceeded> {
        if let Some(commit) = self.unreleased.get(&id) {
            return Ok(Received::Again(*commit));
        }
        self.check_quota()?;
        self.unreleased.insert(id, CommitSequence::NONE);
        Ok(Received::First)
    }

    /// PUBREL has come: the id is free. The reason code is that of the PUBCOMP to answer with.
    pub fn handle_pubrel(&mut self, id: PacketId) -> ReasonCode {
        match self.unreleased.remove(&id) {
            Some(_) => ReasonCode::Success,
            None => ReasonCode::PacketIdentifierNotFound,
        }
    }

    /// Queues an acknowledgement behind those before it and behind `commit`.
    #[inline]
    pub fn acknowledge(&mut self, acknowledgement: Acknowledgement, commit: CommitSequence) {
        match acknowledgement.kind {
            AcknowledgementKind::PubAck => self.waiting_pubacks += 1,
            AcknowledgementKind::PubRec if acknowledgement.reason_code.is_failure() => {
                self.unreleased.remove(&acknowledgement.packet_id);
            }
            AcknowledgementKind::PubRec => {
                // One that comes again waits for the same.
                let held = self.unreleased.get_mut(&acknowledgement.packet_id);
                held.into_iter().for_each(|held| *held = (*held).max(commit));
            }
            AcknowledgementKind::PubComp => {}
        }
        self.waiting.push_back((acknowledgement, commit));
    }

    /// The next acknowledgement that may leave, now that everything up to `durable` is on disk.
    #[inline]
    pub fn poll_acknowledgement(&mut self, durable: CommitSequence) -> Option<Acknowledgement> {
        let (_, commit) = self.waiting.front()?;
        if *commit > durable {
            return None;
        }
        let (acknowledgement, _) = self.waiting.pop_front()?;
        if acknowledgement.kind == AcknowledgementKind::PubAck {
            self.waiting_pubacks -= 1;
        }
        Some(acknowledgement)
    }

    /// The commit that the next acknowledgement waits for.
    pub fn awaited_commit(&self) -> Option<CommitSequence> {
        self.waiting.front().map(|(_, commit)| *commit)
    }

    /// The connection is gone, and with it everybody who waited for an acknowledgement. The client
    /// sends its unacknowledged packets again; the ids of QoS 2 stay known.
    pub fn handle_disconnected(&mut self) {
        self.waiting = VecDeque::new();
        self.waiting_pubacks = 0;
    }

    fn check_quota(&self) -> Result<(), ReceiveMaximumExceeded> {
        if self.waiting_pubacks + self.unreleased.len() < self.receive_maximum {
            Ok(())
        } else {
            Err(ReceiveMaximumExceeded)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(kind: AcknowledgementKind, id: u16) -> Acknowledgement {
        let packet_id = PacketId::new(id).unwrap();
        Acknowledgement { kind, packet_id, reason_code: ReasonCode::Success }
    }

    #[test]
    fn an_acknowledgement_leaves_when_its_commit_is_durable_and_not_before() {
        let mut incoming = Incoming::new(10);
        incoming.acknowledge(ack(AcknowledgementKind::PubAck, 1), CommitSequence(5));
        assert_eq!(incoming.poll_acknowledgement(CommitSequence(4)), None);
        assert!(incoming.poll_acknowledgement(CommitSequence(5)).is_some());
    }

    #[test]
    fn acknowledgements_keep_their_order_behind_one_that_waits() {
        let mut incoming = Incoming::new(10);
        incoming.acknowledge(ack(AcknowledgementKind::PubAck, 1), CommitSequence(5));
        incoming.acknowledge(ack(AcknowledgementKind::PubAck, 2), CommitSequence::NONE);
        assert_eq!(incoming.poll_acknowledgement(CommitSequence::NONE), None);
        let order: Vec<_> = std::iter::from_fn(|| incoming.poll_acknowledgement(CommitSequence(5)))
            .map(|acknowledgement| acknowledgement.packet_id.get())
            .collect();
        assert_eq!(order, [1, 2]);
    }

    #[test]
    fn the_receive_maximum_counts_what_is_not_acknowledged_to_the_end() {
        let mut incoming = Incoming::new(2);
        let id = PacketId::new(1).unwrap();
        assert_eq!(incoming.handle_qos2(id), Ok(Received::First));
        incoming.acknowledge(ack(AcknowledgementKind::PubAck, 2), CommitSequence(1));
        assert_eq!(incoming.handle_qos1(), Err(ReceiveMaximumExceeded));
        assert_eq!(
            incoming.handle_qos2(id),
            Ok(Received::Again(CommitSequence::NONE)),
            "a resent one is no new one"
        );
        incoming.poll_acknowledgement(CommitSequence(1)).unwrap();
        assert_eq!(incoming.handle_qos1(), Ok(()));
        assert_eq!(incoming.handle_pubrel(id), ReasonCode::Success);
        assert_eq!(incoming.handle_pubrel(id), ReasonCode::PacketIdentifierNotFound);
    }

    #[test]
    fn a_publish_that_comes_again_waits_for_the_first_on_any_connection() {
        let mut incoming = Incoming::new(1);
        let id = PacketId::new(1).unwrap();
        incoming.handle_qos2(id).unwrap();
        incoming.acknowledge(ack(AcknowledgementKind::PubRec, 1), CommitSequence(5));
        assert_eq!(incoming.handle_qos2(id), Ok(Received::Again(CommitSequence(5))));
        incoming.handle_disconnected();
        incoming.handle_connected(1);
        assert_eq!(incoming.handle_qos2(id), Ok(Received::Again(CommitSequence(5))));
    }

    #[test]
    fn a_refused_qos_2_message_gives_its_id_back() {
        let mut incoming = Incoming::new(1);
        let id = PacketId::new(1).unwrap();
        incoming.handle_qos2(id).unwrap();
        let refusal = Acknowledgement {
            kind: AcknowledgementKind::PubRec,
            packet_id: id,
            reason_code: ReasonCode::NotAuthorized,
        };
        incoming.acknowledge(refusal, CommitSequence::NONE);
        assert_eq!(incoming.handle_qos2(id), Ok(Received::First));
    }
}
