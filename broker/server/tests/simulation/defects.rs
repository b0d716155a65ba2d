//! Defects that are planted at the doors of the broker, to see that the judge finds them.

use hookmq_codec::PacketId;
use hookmq_store::Change;

/// What the broker would look like from outside that did this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Answers do not wait for the disk.
    AcknowledgesEarly,
    /// A will is not forgotten when it is published.
    PublishesWillsTwice,
    /// Subscriptions are not stored.
    ForgetsSubscriptions,
    /// What a session no longer subscribes to is not stored.
    RemembersSubscriptions,
    /// A message of QoS 2 is stored under another packet id than it is sent under.
    ChangesPacketIds,
    /// Packet ids of QoS 2 that came are not stored.
    TakesTwice,
    /// Retained messages are not stored.
    ForgetsRetained,
    /// The receive maximum of clients is not heeded.
    IgnoresReceiveMaximum,
    /// Clean start resumes the old session.
    KeepsOldSessions,
    /// A session that ends is not forgotten.
    KeepsEndedSessions,
}

impl Defect {
    pub const ALL: [Self; 10] = [
        Self::AcknowledgesEarly,
        Self::PublishesWillsTwice,
        Self::ForgetsSubscriptions,
        Self::RemembersSubscriptions,
        Self::ChangesPacketIds,
        Self::TakesTwice,
        Self::ForgetsRetained,
        Self::IgnoresReceiveMaximum,
        Self::KeepsOldSessions,
        Self::KeepsEndedSessions,
    ];

    /// What is stored in place of `changes`.
    pub fn store(self, changes: Vec<Change>) -> Vec<Change> {
        changes.into_iter().filter_map(|change| self.change(change)).collect()
    }

    fn change(self, change: Change) -> Option<Change> {
        let is_lost = match &change {
            Change::WillCleared { .. } => self == Self::PublishesWillsTwice,
            Change::Subscribed { .. } => self == Self::ForgetsSubscriptions,
            Change::Unsubscribed { .. } => self == Self::RemembersSubscriptions,
            Change::Received { .. } => self == Self::TakesTwice,
            Change::Retained { .. } => self == Self::ForgetsRetained,
            Change::SessionEnded { .. } => self == Self::KeepsEndedSessions,
            _ => false,
        };
        match change {
            _ if is_lost => None,
            Change::PacketIdAssigned { session, id, copy, packet_id }
                if self == Self::ChangesPacketIds =>
            {
                let packet_id = PacketId::new(packet_id.get() + 500).unwrap_or(packet_id);
                Some(Change::PacketIdAssigned { session, id, copy, packet_id })
            }
            change => Some(change),
        }
    }

    /// What the broker reads in place of a CONNECT with these.
    pub fn hears(self, is_clean: bool, receive_maximum: u16) -> (bool, u16) {
        match self {
            Self::KeepsOldSessions => (false, receive_maximum),
            Self::IgnoresReceiveMaximum => (is_clean, u16::MAX),
            _ => (is_clean, receive_maximum),
        }
    }
}
