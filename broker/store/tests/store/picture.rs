//! Everything a store holds, as one comparable value; and a naive model that makes the same of changes.

use std::collections::{BTreeMap, BTreeSet};

use hookmq_codec::Qos;
use hookmq_store::{
    Change, Ledger, MessageId, NewRecord, Opening, Presence, Queue, QueueKey, QueuedCopy,
    Reference, SessionKey, SharedKey, StoredMessage,
};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    pub sessions: BTreeMap<SessionKey, Session>,
    pub shared: BTreeMap<SharedKey, BTreeMap<MessageId, Due>>,
    pub retained: BTreeMap<(String, String), (MessageId, Body)>,
    taken: Taken,
}

/// What connections have of the queues of their sessions. It is on no disk, and no part of what is
/// compared.
#[derive(Debug, Clone, Default)]
struct Taken(BTreeSet<(SessionKey, MessageId)>);

impl PartialEq for Taken {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Session {
    pub about: (String, u32, u32, Option<Presence>),
    pub will: Option<Will>,
    pub subscriptions: BTreeMap<String, String>,
    pub received: Vec<u16>,
    pub in_flight: Vec<(u16, Option<(MessageId, Due)>)>,
    pub queue: BTreeMap<MessageId, Due>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Will {
    pub message: (MessageId, Body),
    pub intervals: (u32, Option<u32>),
    pub due_at: Option<u64>,
}

/// A message, as it is due.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    pub qos: u8,
    pub retain: bool,
    pub identifiers: Vec<u32>,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    pub topic: String,
    /// Its first byte and its length.
    pub payload: (Option<u8>, usize),
    pub size: usize,
    pub expires_at: Option<u64>,
}

impl Body {
    fn of(record: &NewRecord) -> Self {
        Self {
            topic: record.message.topic().as_str().into(),
            payload: shape(record.message.payload()),
            size: record.message.size(),
            expires_at: record.expires_at.map(|it| it.0),
        }
    }

    /// In whole seconds: until then the message may still be there.
    fn expiry(&self) -> Option<u64> {
        self.expires_at.map(|it| it.div_ceil(1000) * 1000)
    }

    fn stored(stored: &StoredMessage) -> Self {
        Self {
            topic: stored.message.topic().as_str().into(),
            payload: shape(stored.message.payload()),
            size: stored.message.size(),
            expires_at: stored.expires_at.map(|it| it.0),
        }
    }
}

impl Due {
    fn new(record: &NewRecord, copy: &QueuedCopy) -> Self {
        let identifiers = copy.subscription_identifiers.iter().flat_map(|it| it.iter());
        Self {
            qos: copy.qos as u8,
            retain: copy.retain,
            identifiers: identifiers.map(|it| it.get()).collect(),
            body: Body::of(record),
        }
    }

    fn stored(ledger: &mut Ledger, reference: &Reference) -> Self {
        let stored = ledger.message(reference.id()).unwrap();
        assert_eq!(reference.size(), stored.message.size());
        Self {
            qos: reference.qos() as u8,
            retain: reference.retain(),
            identifiers: reference.subscription_identifiers().iter().map(|it| it.get()).collect(),
            body: Body::stored(&stored),
        }
    }
}

fn shape(payload: &[u8]) -> (Option<u8>, usize) {
    let first = payload.first().copied();
    assert!(payload.iter().all(|byte| Some(*byte) == first));
    (first, payload.len())
}

fn waiting(ledger: &mut Ledger, queue: &Queue) -> BTreeMap<MessageId, Due> {
    let due: BTreeMap<_, _> = queue.iter().map(|it| (it.id(), Due::stored(ledger, it))).collect();
    assert_eq!(due.len(), queue.len());
    assert_eq!(queue.iter().map(|it| it.size() as u64).sum::<u64>(), queue.bytes());
    due
}

/// Reads all that the ledger holds, messages included.
pub fn read(ledger: &mut Ledger) -> Picture {
    let mut picture = Picture::default();
    let sessions: Vec<_> = ledger.index().sessions().cloned().collect();
    let shared: Vec<_> = ledger.index().shared().cloned().collect();
    let retained: Vec<_> = ledger.index().retained().cloned().collect();
    for state in sessions {
        let will = state.will.map(|will| {
            let body = Body::stored(&ledger.message(will.id).unwrap());
            Will {
                message: (will.id, body),
                intervals: (will.delay, will.expiry_interval),
                due_at: will.due_at.map(|it| it.0),
            }
        });
        let subscriptions = state.subscriptions.iter();
        let subscriptions =
            subscriptions.map(|it| (it.filter.to_string(), format!("{:?}", it.subscription)));
        let mut in_flight = Vec::new();
        for slot in &state.in_flight {
            let due = slot.message.as_ref().map(|it| (it.id(), Due::stored(ledger, it)));
            in_flight.push((slot.packet_id.get(), due));
        }
        let session = Session {
            about: (
                state.username.to_string(),
                state.expiry_interval,
                state.epoch,
                Some(state.presence),
            ),
            will,
            subscriptions: subscriptions.collect(),
            received: state.received.iter().map(|it| it.get()).collect(),
            in_flight,
            queue: waiting(ledger, &state.queue),
        };
        picture.sessions.insert(state.session, session);
    }
    for state in shared {
        picture.shared.insert(state.shared, waiting(ledger, &state.queue));
    }
    for state in retained {
        let stored = ledger.message(state.message.id()).unwrap();
        let key = (state.retained.tenant.to_string(), state.retained.topic.to_string());
        picture.retained.insert(key, (stored.id, Body::stored(&stored)));
    }
    picture
}

impl Taken {
    fn has(&self, queue: &QueueKey, id: MessageId) -> bool {
        match queue {
            QueueKey::Session(session) => self.0.contains(&(session.clone(), id)),
            QueueKey::Shared(_) => false,
        }
    }
}

impl Picture {
    /// No connection survives the end of the process.
    pub fn restart(&mut self) {
        self.taken = Taken::default();
    }

    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::SessionOpened { session, username, expiry_interval, epoch, opening } => {
                if *opening == Opening::Clean {
                    self.sessions.remove(session);
                }
                let state = self.sessions.entry(session.clone()).or_default();
                let presence = Some(Presence::Connected);
                state.about = (username.to_string(), *expiry_interval, *epoch, presence);
                state.will = None;
            }
            Change::SessionEnded { session } => drop(self.sessions.remove(session)),
            Change::Queued { record, copies } => {
                for copy in copies {
                    let due = Due::new(record, copy);
                    if let Some(queue) = self.queue(&copy.queue) {
                        queue.entry(record.id).or_insert(due);
                    }
                }
            }
            Change::Dequeued { queue, id } => drop(self.take(queue, *id, 1)),
            Change::Trimmed { queue, messages, bytes, after } => {
                let taken = self.taken.clone();
                let Some(held) = self.queue(queue) else { return };
                let waits = |id: &MessageId| id > after && !taken.has(queue, *id);
                let mut waiting: Vec<_> = held
                    .iter()
                    .map(|it| (*it.0, it.1.body.size))
                    .filter(|it| waits(&it.0))
                    .collect();
                while waiting.len() > *messages
                    || waiting.iter().map(|it| it.1).sum::<usize>() > *bytes
                {
                    held.remove(&waiting.remove(0).0);
                }
            }
            Change::Taken { session, id } => {
                if self.sessions.get(session).is_some_and(|it| it.queue.contains_key(id)) {
                    self.taken.0.insert((session.clone(), *id));
                }
            }
            Change::Moved { from, to, id } => {
                if self.queue(to).is_some()
                    && let Some(due) = self.take(from, *id, 2)
                    && let Some(queue) = self.queue(to)
                {
                    let is_new = !queue.contains_key(id);
                    queue.entry(*id).or_insert(due);
                    if let QueueKey::Session(session) = to
                        && is_new
                    {
                        self.taken.0.insert((session.clone(), *id));
                    }
                }
            }
            Change::Retained { tenant, record } => {
                let key = (tenant.to_string(), record.message.topic().as_str().to_string());
                match record.message.payload().is_empty() {
                    true => drop(self.retained.remove(&key)),
                    false => drop(self.retained.insert(key, (record.id, Body::of(record)))),
                }
            }
            Change::Expired { at } => {
                let stays = |body: &Body| body.expiry().is_none_or(|it| it > at.0);
                let sessions = self.sessions.values_mut().map(|it| &mut it.queue);
                for queue in sessions.chain(self.shared.values_mut()) {
                    queue.retain(|_, due| stays(&due.body));
                }
                self.retained.retain(|_, (_, body)| stays(body));
            }
            other => self.apply_to_session(other),
        }
        self.tidy();
    }

    fn apply_to_session(&mut self, change: &Change) {
        let sessions = &mut self.sessions;
        let mut with = |session: &SessionKey, act: &mut dyn FnMut(&mut Session)| {
            sessions.get_mut(session).into_iter().for_each(act);
        };
        match change {
            Change::SessionClosed { session, at, expiry_interval } => {
                self.taken.0.retain(|it| it.0 != *session);
                with(session, &mut |it| {
                    (it.about.1, it.about.3) = (*expiry_interval, Some(Presence::Left(*at)));
                });
            }
            Change::SessionLost { session, at } => with(session, &mut |it| {
                it.about.3 = Some(Presence::Lost(*at));
            }),
            Change::WillSet { session, will } => with(session, &mut |it| {
                it.will = Some(Will {
                    message: (will.record.id, Body::of(&will.record)),
                    intervals: (will.delay, will.expiry_interval),
                    due_at: None,
                });
            }),
            Change::WillCleared { session, id } => with(session, &mut |it| {
                it.will.take_if(|will| will.message.0 == *id);
            }),
            Change::WillScheduled { session, at } => with(session, &mut |it| {
                it.will.iter_mut().for_each(|will| will.due_at = Some(at.0));
            }),
            Change::Subscribed { session, filter, subscription } => with(session, &mut |it| {
                it.subscriptions.insert(filter.to_string(), format!("{subscription:?}"));
            }),
            Change::Unsubscribed { session, filter } => with(session, &mut |it| {
                it.subscriptions.remove(filter.as_str());
            }),
            Change::PacketIdAssigned { session, id, copy, packet_id } => {
                with(session, &mut |it| {
                    let is_it = |due: &Due| match copy.shared {
                        true => due.qos >= copy.qos as u8,
                        false => (due.qos, due.retain) == (copy.qos as u8, copy.retain),
                    };
                    let due = it.queue.get(id).is_some_and(is_it).then(|| it.queue.remove(id));
                    if due.is_some() || copy.qos == Qos::ExactlyOnce {
                        let message = due.flatten().map(|due| (*id, due));
                        it.in_flight.push((packet_id.get(), message));
                    }
                });
            }
            Change::Released { session, packet_id } => with(session, &mut |it| {
                let slot = it.in_flight.iter_mut().find(|it| it.0 == packet_id.get());
                slot.into_iter().for_each(|slot| slot.1 = None);
            }),
            Change::Completed { session, packet_id } => with(session, &mut |it| {
                let found = it.in_flight.iter().position(|it| it.0 == packet_id.get());
                found.into_iter().for_each(|place| drop(it.in_flight.remove(place)));
            }),
            Change::Received { session, packet_id } => with(session, &mut |it| {
                if !it.received.contains(&packet_id.get()) {
                    it.received.push(packet_id.get());
                    it.received.sort_unstable();
                }
            }),
            Change::ReceivedReleased { session, packet_id } => with(session, &mut |it| {
                it.received.retain(|it| *it != packet_id.get());
            }),
            _ => unreachable!("handled by the caller"),
        }
    }

    /// When the first message expires that waits or is retained.
    pub fn next_expiry(&self) -> Option<u64> {
        let queues = self.sessions.values().map(|it| &it.queue).chain(self.shared.values());
        let waiting = queues.flat_map(|it| it.values()).map(|due| &due.body);
        waiting.chain(self.retained.values().map(|it| &it.1)).filter_map(Body::expiry).min()
    }

    fn queue(&mut self, key: &QueueKey) -> Option<&mut BTreeMap<MessageId, Due>> {
        match key {
            QueueKey::Session(session) => self.sessions.get_mut(session).map(|it| &mut it.queue),
            QueueKey::Shared(shared) => self.shared.get_mut(shared),
        }
    }

    /// From a queue, or from what is in flight with `qos` at the most.
    fn take(&mut self, key: &QueueKey, id: MessageId, qos: u8) -> Option<Due> {
        if let Some(due) = self.queue(key)?.remove(&id) {
            return Some(due);
        }
        let QueueKey::Session(session) = key else { return None };
        let in_flight = &mut self.sessions.get_mut(session)?.in_flight;
        let is_it = |it: &(u16, Option<(MessageId, Due)>)| {
            it.1.as_ref().is_some_and(|it| it.0 == id && it.1.qos <= qos)
        };
        let place = in_flight.iter().position(is_it)?;
        in_flight.remove(place).1.map(|it| it.1)
    }

    /// A shared subscription is there while somebody subscribes.
    fn tidy(&mut self) {
        let mut wanted = Vec::new();
        for (key, session) in &self.sessions {
            let filters = session.subscriptions.keys().filter(|it| it.starts_with("$share/"));
            wanted.extend(filters.map(|filter| SharedKey {
                tenant: key.tenant.clone(),
                filter: crate::scenes::filter_of(filter),
            }));
        }
        self.shared.retain(|key, _| wanted.contains(key));
        for key in wanted {
            self.shared.entry(key).or_default();
        }
        let sessions = &self.sessions;
        let waits = |(session, id): &(SessionKey, MessageId)| {
            sessions.get(session).is_some_and(|it| it.queue.contains_key(id))
        };
        self.taken.0.retain(waits);
    }
}
