//! What the store has kept of sessions, wills and retained messages, put in force again: before the
//! first client is let in, and, of what was in flight, when its client comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hookmq_codec::{PacketId, ReasonCode};
use hookmq_core::{Delivery, Message, NEVER_EXPIRES, Outgoing, Recovered, Resumed, Session};
use hookmq_hooks::Client;
use hookmq_store::{
    Change, Damage, MessageId, Presence, Question, Recovery, RetainedKey, SessionKey, SessionState,
    SharedKey, StoredDelivery, StoredInFlight, StoredMessage, StoredSubscription, StoredWill,
    WallClock,
};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::Broker;
use super::publisher::{Judged, Will};
use super::session_handle::{Left, SessionHandle, Slot};
use super::tenant::Tenant;

/// What a store holds when the broker starts, out of the store's hands.
pub struct Remains {
    sessions: Vec<Remain>,
    shared: Vec<(SharedKey, Vec<Message>)>,
    retained: Vec<(RetainedKey, Message)>,
    clock: WallClock,
    /// Above every message that is in the store.
    next_id: MessageId,
}

/// What is left of one session.
struct Remain {
    key: SessionKey,
    username: Arc<str>,
    epoch: u32,
    expiry_interval: u32,
    presence: Presence,
    will: Option<(StoredWill, StoredMessage)>,
    subscriptions: Vec<StoredSubscription>,
    received: Vec<PacketId>,
    /// Messages that wait, and their bytes.
    queued: (usize, usize),
}

impl Remains {
    /// Reads what is to be in memory: all but the messages of sessions.
    ///
    /// # Errors
    /// The first message that cannot be read.
    pub fn read(recovery: &mut Recovery) -> Result<Self, Damage> {
        let clock = WallClock::now();
        let kept = recovery.index().sessions().map(|it| (Remain::of(it), it.will.clone()));
        let kept: Vec<_> = kept.collect();
        let mut sessions = Vec::with_capacity(kept.len());
        for (mut session, will) in kept {
            if let Some(will) = will {
                let message = recovery.message(will.id)?;
                session.will = Some((will, message));
            }
            sessions.push(session);
        }
        let queues: Vec<(SharedKey, Vec<MessageId>)> = recovery
            .index()
            .shared()
            .map(|it| (it.shared.clone(), it.queue.iter().map(|it| it.id()).collect()))
            .collect();
        let mut shared = Vec::with_capacity(queues.len());
        for (key, ids) in queues {
            let read = ids.into_iter().map(|id| recovery.message(id));
            let messages = read.map(|it| it.map(|it| it.into_message(&clock)));
            shared.push((key, messages.collect::<Result<_, _>>()?));
        }
        let mut retained = Vec::new();
        recovery.for_each_retained(|key, stored| {
            retained.push((key.clone(), stored.into_message(&clock)));
        })?;
        let next_id = recovery.next_id();
        Ok(Self { sessions, shared, retained, clock, next_id })
    }
}

impl Remain {
    fn of(state: &SessionState) -> Self {
        Self {
            key: state.session.clone(),
            username: state.username.clone(),
            epoch: state.epoch,
            expiry_interval: state.expiry_interval,
            presence: state.presence,
            will: None,
            subscriptions: state.subscriptions.clone(),
            received: state.received.iter().filter_map(|id| PacketId::new(id.get())).collect(),
            queued: (state.queue.len(), state.queue.bytes() as usize),
        }
    }

    fn session(&self, receive_maximum: u16) -> Session {
        let mut session = Session::new(receive_maximum);
        session.expiry_interval = self.expiry_interval;
        session.incoming.restore(self.received.iter().copied());
        let subscriptions = self.subscriptions.iter();
        session.subscriptions =
            subscriptions.map(|it| (it.filter.clone(), it.subscription)).collect();
        session.recovered = Some(match self.presence {
            Presence::Left(_) => Recovered::Away,
            Presence::Connected | Presence::Lost(_) => Recovered::Connected,
        });
        session
    }
}

impl Broker {
    /// Puts what the store holds in force. Every connection counts as closed abnormally: expiry and
    /// delays of wills run, wills that are due are published.
    pub fn restore(self: &Arc<Self>, remains: Remains) {
        let Remains { sessions, shared, retained, clock, next_id } = remains;
        self.first_id.store(next_id.0, Ordering::Relaxed);
        let numbers = (sessions.len(), retained.len());
        for (key, message) in retained {
            if self.tenant(&key.tenant).retained_mut().retain(&message).is_err() {
                let (tenant, topic) = (&*key.tenant, &*key.topic);
                warn!(tenant, ?topic, "a retained message is beyond the limits and is not served");
            }
        }
        let mut due = Vec::new();
        for remain in sessions {
            due.extend(self.restore_session(remain, &clock));
        }
        for (SharedKey { tenant, filter }, messages) in shared {
            if let Some(share) = self.tenant(&tenant).share_of(&filter) {
                share.recover(messages);
            }
        }
        for (tenant, will) in due {
            self.publish_restored(&tenant, will);
        }
        let (sessions, retained) = numbers;
        info!(sessions, retained, "restored from the store");
    }

    /// Publishes a will that the store has kept.
    pub(super) fn publish_restored(self: &Arc<Self>, tenant: &Arc<Tenant>, will: Will) {
        let client_id = will.client.client_id.clone();
        let settled = self.publish_will(tenant, will);
        // Where the session was to end with its connection, it is over now.
        if settled && tenant.session(&client_id).is_none() {
            let session = SessionKey { tenant: tenant.name.clone(), client_id };
            self.store.append(vec![Change::SessionEnded { session }]);
        }
    }

    /// Gives the will, if it is due.
    fn restore_session(
        self: &Arc<Self>,
        mut remain: Remain,
        clock: &WallClock,
    ) -> Option<(Arc<Tenant>, Will)> {
        let tenant = self.tenant(&remain.key.tenant);
        let will = remain.will.take();
        let mut changes = Vec::new();
        let session = || remain.key.clone();
        let closed_at = match remain.presence {
            Presence::Left(at) | Presence::Lost(at) => at,
            Presence::Connected => {
                let at = clock.unix;
                changes.push(Change::SessionLost { session: session(), at });
                at
            }
        };
        let will = will.map(|(stored, message)| {
            let delay = Duration::from_secs(stored.delay.into());
            let at = stored.due_at.unwrap_or_else(|| {
                let at = closed_at.after(delay);
                changes.push(Change::WillScheduled { session: session(), at });
                at
            });
            (clock.instant(closed_at, at), self.restore_will(&remain, &stored, message, clock))
        });
        if remain.expiry_interval == 0 {
            // It was kept for its will, and that may have been published before the last end.
            if will.is_none() {
                self.store.append(vec![Change::SessionEnded { session: remain.key }]);
            }
            return will.map(|(_, will)| (tenant, will));
        }
        if !changes.is_empty() {
            self.store.append(changes);
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= clock.instant);
        let (due, later) = match will {
            Some((at, will)) if is_due(at) => (Some(will), None),
            later => (None, later),
        };
        let will_at = later.as_ref().and_then(|(at, _)| *at);
        let handle = self.restore_handle(&tenant, &remain, later.map(|(_, will)| Box::new(will)));
        let expiry = Duration::from_secs(remain.expiry_interval.into());
        let expires = remain.expiry_interval != NEVER_EXPIRES;
        let expires_at =
            expires.then(|| clock.instant(closed_at, closed_at.after(expiry))).flatten();
        self.schedule(&handle, remain.epoch, expires_at, will_at);
        due.map(|will| (tenant, will))
    }

    fn restore_handle(
        &self,
        tenant: &Arc<Tenant>,
        remain: &Remain,
        will: Option<Box<Will>>,
    ) -> Arc<SessionHandle> {
        let session = Box::new(remain.session(self.limits.receive_maximum));
        let (key, username) = (remain.key.clone(), remain.username.clone());
        let handle = self.handle(tenant, key, username, Slot::Offline(Left { session, will }));
        handle.epoch.store(remain.epoch, Ordering::Release);
        handle.set_durable(true);
        handle.set_stored();
        let (messages, bytes) = remain.queued;
        handle.mailbox.recover(messages, bytes);
        for StoredSubscription { filter, subscription } in &remain.subscriptions {
            match filter.share_name() {
                None => {
                    tenant.subscribe(filter, handle.clone(), *subscription);
                    self.admit_guest(&handle, filter, *subscription);
                }
                Some(_) => {
                    let maximum_qos = subscription.options.maximum_qos;
                    let share = tenant.join_share(filter, &handle, maximum_qos);
                    share.set_offline(&handle, &mut Outgoing::default());
                }
            }
        }
        tenant.sessions.lock().insert(handle.key.client_id.clone(), handle.clone());
        handle
    }

    /// The will of a client of whom no more is known than its name.
    fn restore_will(
        &self,
        remain: &Remain,
        stored: &StoredWill,
        message: StoredMessage,
        clock: &WallClock,
    ) -> Will {
        let SessionKey { tenant, client_id } = remain.key.clone();
        let used = self.tenant(&tenant);
        let (budget, steps) = (used.budget.clone(), used.steps.clone());
        let client = Client::named(tenant, client_id, remain.username.clone(), budget, steps);
        Will {
            message: message.into_message(clock),
            delay: Duration::from_secs(stored.delay.into()),
            expiry_interval: stored.expiry_interval,
            client: Arc::new(client),
            judged: Judged::Before,
        }
    }

    /// Takes up what a session had in flight when the broker was last running.
    ///
    /// # Errors
    /// `ServerUnavailable` where the store has failed.
    pub(super) async fn recover_in_flight(
        &self,
        session: &SessionKey,
        outgoing: &mut Outgoing,
    ) -> Result<(), ReasonCode> {
        let (sender, answer) = oneshot::channel();
        let answered = Box::new(|answer| {
            // Who asks waits for it.
            let _ = sender.send(answer);
        });
        self.store.ask(Question::InFlight(session.clone(), answered));
        let Ok((under_way, damaged)) = answer.await else {
            return Err(ReasonCode::ServerUnavailable);
        };
        report(&damaged);
        let clock = WallClock::now();
        outgoing.restore(under_way.into_iter().filter_map(|StoredInFlight { slot, delivery }| {
            let resumed =
                delivery.map_or(Resumed::Release, |it| Resumed::Publish(delivered(it, &clock)));
            Some((PacketId::new(slot.packet_id.get())?, resumed))
        }));
        Ok(())
    }
}

/// A message of the store as it goes to the client.
pub fn delivered(stored: StoredDelivery, clock: &WallClock) -> Delivery {
    let StoredDelivery { stored, qos, retain, subscription_identifiers: identifiers } = stored;
    let message = stored.into_message(clock);
    let subscription_identifiers = (!identifiers.is_empty()).then(|| identifiers.into());
    Delivery { message, qos, retain, subscription_identifiers, shared: None }
}

/// Says what a client is not sent, because it cannot be read.
pub fn report(damaged: &[Damage]) {
    for damage in damaged {
        error!(%damage, "a stored message cannot be delivered");
    }
}
