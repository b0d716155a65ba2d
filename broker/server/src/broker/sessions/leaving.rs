//! What becomes of a session whose client goes: stored, scheduled, or forgotten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_codec::Qos;
use hookmq_core::{CommitSequence, Session};
use hookmq_store::{Change, MessageId, UnixMillis};

use crate::broker::Broker;
use crate::broker::session_handle::SessionHandle;
use crate::broker::tenant::Tenant;
use crate::broker::timers::Event;

impl Broker {
    /// Has the store know what a session whose client goes away was sent, and when that was.
    pub(super) fn store_departure(
        &self,
        handle: &SessionHandle,
        session: &Session,
        will: Option<Duration>,
    ) {
        let key = || handle.key.clone();
        // Only these ids are not known yet: of QoS 2 they are before the message is sent.
        let sent = session.outgoing.messages();
        let sent = sent.filter(|(_, it)| it.qos == Qos::AtLeastOnce && it.is_stored());
        let mut changes: Vec<_> = sent
            .map(|(packet_id, delivery)| Change::PacketIdAssigned {
                session: key(),
                id: MessageId(delivery.message.stored()),
                copy: delivery.into(),
                packet_id,
            })
            .collect();
        let at = UnixMillis::now();
        let expiry_interval = session.expiry_interval;
        changes.push(Change::SessionClosed { session: key(), at, expiry_interval });
        // What the client was sent before the broker was started has not all been sent again.
        changes.extend(session.perhaps_sent.then(|| Change::SessionLost { session: key(), at }));
        changes.extend(
            will.map(|delay| Change::WillScheduled { session: key(), at: at.after(delay) }),
        );
        self.store.append(changes);
    }

    /// Removes what an ended session has left in the tenant and, with the commit that it gives, in the
    /// store. The caller holds the tenant's sessions: one that begins under the same id comes behind.
    pub(super) fn forget(
        &self,
        tenant: &Tenant,
        handle: &Arc<SessionHandle>,
        mut session: Box<Session>,
    ) -> CommitSequence {
        self.unsubscribe_all(tenant, handle, &mut session);
        handle.mailbox.close();
        self.forget_stored(handle)
    }

    pub(super) fn forget_stored(&self, handle: &SessionHandle) -> CommitSequence {
        match handle.take_stored() {
            true => self.store.append(vec![Change::SessionEnded { session: handle.key.clone() }]),
            false => CommitSequence::NONE,
        }
    }

    pub(super) fn unsubscribe_all(
        &self,
        tenant: &Tenant,
        handle: &SessionHandle,
        session: &mut Session,
    ) {
        let (shared, own): (Vec<_>, Vec<_>) =
            session.subscriptions.keys().partition(|filter| filter.share_name().is_some());
        if !own.is_empty() {
            self.leave_abroad(handle.id, own.iter().copied());
            tenant.unsubscribe(handle.id, own);
        }
        for filter in shared {
            tenant.end_membership(filter, handle, &mut session.outgoing);
        }
    }

    /// Has the session end at one instant and its will published at another, unless the client is back.
    pub(in crate::broker) fn schedule(
        &self,
        handle: &Arc<SessionHandle>,
        epoch: u32,
        expires_at: Option<Instant>,
        will_at: Option<Instant>,
    ) {
        let session = Arc::downgrade(handle);
        // The end of the session is the end of the delay.
        if let Some(at) = will_at.filter(|at| expires_at.is_none_or(|expires_at| *at < expires_at))
        {
            let session = session.clone();
            self.timers.at(at, Event { session, epoch, ends_session: false });
        }
        if let Some(at) = expires_at {
            self.timers.at(at, Event { session, epoch, ends_session: true });
        }
    }
}
