//! Opening, taking over, leaving and ending sessions.

mod leaving;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookmq_codec::ReasonCode;
use hookmq_core::{CommitSequence, Delivery, NEVER_EXPIRES, Recovered, Session};
use hookmq_hooks::Client;
use hookmq_store::SessionKey;

use super::Broker;
use super::meter::{Bound, Place};
use super::publisher::Will;
use super::session_handle::{Control, Left, Request, SessionHandle, Slot, Successor};
use super::share::Share;
use super::sync::{oneshot, timeout};
use super::tenant::Tenant;
use super::timers::Event;
use crate::clock;

/// A connection's claim on a session.
pub struct OpenedSession {
    pub handle: Arc<SessionHandle>,
    pub control: Arc<Control>,
    pub session: Box<Session>,
    pub present: bool,
    /// The shared subscriptions that it is a member of.
    pub shares: Vec<Arc<Share>>,
}

/// How long a connection may take to hand its session over; it only has to finish one turn.
const HAND_OVER: Duration = Duration::from_secs(5);

/// What was found under the client id.
enum Found {
    Fresh(Arc<SessionHandle>),
    Waiting(Arc<SessionHandle>, Left),
    InUse(Arc<SessionHandle>, oneshot::Receiver<Left>),
}

/// The session, if its owner lets go of it in time.
async fn receive(mut reply: oneshot::Receiver<Left>) -> Option<Left> {
    match timeout(HAND_OVER, &mut reply).await {
        Ok(left) => left.ok(),
        Err(_) => {
            // It may have been sent a moment ago; from here on the owner finds nobody.
            reply.close();
            reply.try_recv().ok()
        }
    }
}

/// Takes part again in the shared subscriptions of a session that its client has come back to.
fn rejoin(tenant: &Tenant, handle: &Arc<SessionHandle>, session: &Session) -> Vec<Arc<Share>> {
    let shared = session.subscriptions.iter().filter(|(filter, _)| filter.share_name().is_some());
    shared.map(|(filter, it)| tenant.join_share(filter, handle, it.options.maximum_qos)).collect()
}

impl Broker {
    /// Opens the client's session: its old one, or with `clean_start` a new one. A connection that
    /// uses it is ended with "session taken over" `[MQTT-3.1.4-3]`. What was there before is forgotten
    /// with the commit.
    ///
    /// # Errors
    /// `ClientIdentifierNotValid` when the session belongs to another principal, which is untouched;
    /// `QuotaExceeded` when the tenant has as many sessions as it may; `ServerBusy` when the present
    /// owner does not let go.
    pub async fn open_session(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        client: &Arc<Client>,
        clean_start: bool,
        place: Place,
    ) -> Result<(OpenedSession, CommitSequence), ReasonCode> {
        let control = Arc::new(Control::new(client.clone(), place));
        let (handle, left) = match self.find_session(tenant, client, &control)? {
            Found::Fresh(handle) => (handle, None),
            Found::Waiting(handle, left) => (handle, Some(left)),
            Found::InUse(handle, reply) => {
                let Some(left) = receive(reply).await else {
                    self.give_up(tenant, &handle, &control);
                    return Err(ReasonCode::ServerBusy);
                };
                (handle, Some(left))
            }
        };
        match left {
            // The client is back before the will is due [MQTT-3.1.3-9].
            Some(Left { mut session, will })
                if !clean_start && session.outlives_connection() && !handle.is_doomed() =>
            {
                if let Some(recovered) = session.recovered {
                    let in_flight =
                        self.recover_in_flight(&handle.key, &mut session.outgoing).await;
                    if let Err(code) = in_flight {
                        let (present, shares) = (true, Vec::new());
                        let opened = OpenedSession { handle, control, session, present, shares };
                        self.leave_session(tenant, opened, VecDeque::new(), will);
                        return Err(code);
                    }
                    session.recovered = None;
                    session.perhaps_sent = recovered == Recovered::Connected;
                }
                handle.mailbox.set_online(handle.in_store());
                let shares = rejoin(tenant, &handle, &session);
                let opened = OpenedSession { handle, control, session, present: true, shares };
                Ok((opened, CommitSequence::NONE))
            }
            old => {
                let (handle, forgotten) = match old {
                    None => (handle, CommitSequence::NONE),
                    Some(Left { session, will }) => {
                        if let Some(will) = will.filter(|_| !handle.is_doomed()) {
                            self.publish_will(tenant, *will);
                        }
                        self.replace_session(tenant, client, &handle, session, &control)?
                    }
                };
                let session = Box::new(Session::new(self.limits.receive_maximum));
                let shares = Vec::new();
                let opened = OpenedSession { handle, control, session, present: false, shares };
                Ok((opened, forgotten))
            }
        }
    }

    /// A connection leaves its session: to the one that takes it over, to wait for the client, or to
    /// end. `will` is what is to be published if the client does not come back in time: a session that does
    /// not outlive its connection has none any more.
    pub fn leave_session(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        opened: OpenedSession,
        unsent: VecDeque<Delivery>,
        will: Option<Box<Will>>,
    ) {
        let OpenedSession { handle, control, mut session, shares, .. } = opened;
        session.incoming.handle_disconnected();
        handle.mailbox.set_offline(unsent, handle.in_store());
        let mut left = Left { session, will };
        let mut sessions = tenant.sessions.lock();
        let mut slot = handle.slot.lock();
        if !handle.is_left_to(&slot, &control) {
            match handle.hand_over(&control, left) {
                None => return,
                // Nobody has it but this connection.
                Some(unclaimed) => left = unclaimed,
            }
        }
        // Under the locks: whoever dooms the session finds it waiting, or has done so before.
        let is_doomed = handle.is_doomed();
        if left.session.outlives_connection() && !is_doomed {
            let delay = left.will.as_ref().map(|will| will.delay);
            let expiry_interval = left.session.expiry_interval;
            self.store_departure(&handle, &left.session, delay);
            handle.mailbox.depart();
            // Under the lock, so that a member that comes now finds what this one holds.
            for share in &shares {
                share.set_offline(&handle, &mut left.session.outgoing);
            }
            *slot = Slot::Offline(left);
            // Under the lock: a client that comes back at once must find its own epoch moved on.
            let epoch = handle.epoch.load(Ordering::Acquire);
            drop(slot);
            drop(sessions);
            let now = clock::now();
            let expiry = Duration::from_secs(expiry_interval.into());
            let expires_at = (expiry_interval != NEVER_EXPIRES).then(|| now + expiry);
            self.schedule(&handle, epoch, expires_at, delay.map(|delay| now + delay));
            return;
        }
        *slot = Slot::Ended;
        drop(slot);
        sessions.remove(&handle.key.client_id);
        self.forget(tenant, &handle, left.session);
    }

    /// Carries out what `schedule` has set, unless the client has come back since.
    pub(super) fn handle_timer(self: &Arc<Self>, event: Event) {
        let Some(handle) = event.session.upgrade() else { return };
        let tenant = self.tenant(&handle.key.tenant);
        let mut sessions = tenant.sessions.lock();
        let mut slot = handle.slot.lock();
        if !handle.is_in_epoch(event.epoch) {
            return;
        }
        let Slot::Offline(Left { will, .. }) = &mut *slot else { return };
        if let Some(will) = will.take() {
            drop(slot);
            drop(sessions);
            self.publish_will(&tenant, *will);
            // The client may have come back meanwhile.
            if event.ends_session {
                self.handle_timer(event);
            }
            return;
        }
        if !event.ends_session {
            return;
        }
        let ended = std::mem::replace(&mut *slot, Slot::Ended);
        drop(slot);
        sessions.remove(&handle.key.client_id);
        if let Slot::Offline(Left { session, .. }) = ended {
            self.metrics.sessions_expired.add(1);
            self.forget(&tenant, &handle, session);
        }
    }

    /// Ends a session whose client is away.
    pub(super) fn end_waiting(&self, tenant: &Tenant, handle: &Arc<SessionHandle>) {
        let mut sessions = tenant.sessions.lock();
        let mut slot = handle.slot.lock();
        if !matches!(&*slot, Slot::Offline(_)) {
            return;
        }
        let ended = std::mem::replace(&mut *slot, Slot::Ended);
        drop(slot);
        sessions.remove(&handle.key.client_id);
        if let Slot::Offline(Left { session, .. }) = ended {
            self.forget(tenant, handle, session);
        }
    }

    fn find_session(
        &self,
        tenant: &Tenant,
        client: &Client,
        control: &Arc<Control>,
    ) -> Result<Found, ReasonCode> {
        let mut sessions = tenant.sessions.lock();
        let Some(handle) = sessions.get(&client.client_id) else {
            let quota = tenant.meter.quota().sessions;
            if quota.is_some_and(|most| sessions.len() as u64 >= most) {
                tenant.meter.note(Bound::Sessions);
                return Err(ReasonCode::QuotaExceeded);
            }
            if sessions.len() >= self.limits.sessions {
                return Err(ReasonCode::QuotaExceeded);
            }
            let handle = self.new_handle(tenant, client, control);
            sessions.insert(client.client_id.clone(), handle.clone());
            return Ok(Found::Fresh(handle));
        };
        if handle.username != client.username {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        let handle = handle.clone();
        let mut slot = handle.slot.lock();
        if let Slot::Leaving = &*slot {
            if !handle.is_abandoned() {
                return Err(ReasonCode::ServerBusy);
            }
            // It has gone without leaving, and the session with it: what is left ends as any other.
            let session = Box::new(Session::new(self.limits.receive_maximum));
            *slot = Slot::Offline(Left { session, will: None });
        }
        handle.epoch.fetch_add(1, Ordering::AcqRel);
        let found = match std::mem::replace(&mut *slot, Slot::Online(control.clone())) {
            Slot::Offline(left) => {
                handle.set_holder(control);
                Found::Waiting(handle.clone(), left)
            }
            Slot::Online(owner) => {
                let (reply, receiver) = oneshot::channel();
                let control = Arc::downgrade(control);
                owner.ask(Request::TakeOver(Successor { reply, control }));
                handle.mailbox.wake();
                Found::InUse(handle.clone(), receiver)
            }
            // Ended sessions leave the map under the same lock, and who leaves has been looked at.
            Slot::Ended | Slot::Leaving => return Err(ReasonCode::ServerBusy),
        };
        drop(slot);
        Ok(found)
    }

    /// Ends the session behind `handle`, which `control` has, and begins one under the same id.
    fn replace_session(
        &self,
        tenant: &Tenant,
        client: &Client,
        handle: &Arc<SessionHandle>,
        mut old: Box<Session>,
        control: &Arc<Control>,
    ) -> Result<(Arc<SessionHandle>, CommitSequence), ReasonCode> {
        let fresh = self.new_handle(tenant, client, control);
        let mut sessions = tenant.sessions.lock();
        let mut slot = handle.slot.lock();
        if !handle.is_left_to(&slot, control) {
            // A third connection was quicker and waits for the session of this one, which ends there.
            old.expiry_interval = 0;
            match handle.hand_over(control, Left { session: old, will: None }) {
                None => return Err(ReasonCode::SessionTakenOver),
                Some(Left { session, .. }) => old = session,
            }
        }
        *slot = Slot::Ended;
        drop(slot);
        sessions.insert(client.client_id.clone(), fresh.clone());
        let forgotten = self.forget(tenant, handle, old);
        Ok((fresh, forgotten))
    }

    /// Who has the session did not let go of it in time. It stays there until it is left as when a client
    /// goes, and nobody else has it or begins another one meanwhile.
    fn give_up(&self, tenant: &Tenant, handle: &Arc<SessionHandle>, control: &Arc<Control>) {
        let _sessions = tenant.sessions.lock();
        let mut slot = handle.slot.lock();
        if matches!(&*slot, Slot::Online(owner) if Arc::ptr_eq(owner, control)) {
            *slot = Slot::Leaving;
        }
    }

    fn new_handle(
        &self,
        tenant: &Tenant,
        client: &Client,
        control: &Arc<Control>,
    ) -> Arc<SessionHandle> {
        let key = SessionKey { tenant: tenant.name.clone(), client_id: client.client_id.clone() };
        self.handle(tenant, key, client.username.clone(), Slot::Online(control.clone()))
    }

    pub(super) fn handle(
        &self,
        tenant: &Tenant,
        key: SessionKey,
        username: Arc<str>,
        slot: Slot,
    ) -> Arc<SessionHandle> {
        let id = self.next_session_id.fetch_add(1, Ordering::Relaxed);
        let (limits, account) = (self.limits.queue, tenant.meter.queued.clone());
        Arc::new(SessionHandle::new(id, key, username, limits, account, slot))
    }
}

#[cfg(test)]
mod tests;
