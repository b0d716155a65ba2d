//! A tenant's name space: who subscribes to what, what is retained, whose sessions there are.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hookmq_codec::{Qos, ReasonCode, SubscriptionOptions, TopicFilter, TopicName};
use hookmq_core::{Message, RetainedFull, RetainedLimits, RetainedMessages, TopicTree};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;

use super::session_handle::SessionHandle;

/// Topics, sessions and retained messages of one tenant. Nothing in here is seen by another.
pub struct Tenant {
    pub name: Arc<str>,
    subscriptions: RwLock<TopicTree<u64, Subscriber>>,
    /// Counts up with every change of `subscriptions`: what was matched before may be stale.
    generation: AtomicU64,
    retained: RwLock<RetainedMessages>,
    /// By client id.
    pub(super) sessions: Mutex<FxHashMap<Arc<str>, Arc<SessionHandle>>>,
}

/// A session's subscription in the topic tree.
#[derive(Debug, Clone)]
pub struct Subscriber {
    pub session: Arc<SessionHandle>,
    pub options: SubscriptionOptions,
    pub identifier: Option<NonZeroU32>,
}

/// A session that is due a message, its matching subscriptions taken together.
///
/// A client gets one copy however many of its subscriptions match, with the highest QoS among them
/// `[MQTT-3.3.5-1]` and all their identifiers `[MQTT-3.3.4-3]`.
#[derive(Debug)]
pub struct Target {
    pub session: Arc<SessionHandle>,
    pub maximum_qos: Qos,
    pub retain_as_published: bool,
    pub subscription_identifiers: Option<Arc<[NonZeroU32]>>,
}

impl Tenant {
    pub fn new(name: Arc<str>, limits: RetainedLimits) -> Self {
        Self {
            name,
            subscriptions: RwLock::default(),
            generation: AtomicU64::new(1),
            retained: RwLock::new(RetainedMessages::new(limits)),
            sessions: Mutex::default(),
        }
    }

    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Adds or replaces a subscription; says whether it is new.
    pub fn subscribe(&self, filter: &TopicFilter, subscriber: Subscriber) -> bool {
        let session = subscriber.session.id;
        let mut subscriptions = self.subscriptions.write();
        let new = subscriptions.insert(filter.bare(), session, subscriber).is_none();
        self.generation.fetch_add(1, Ordering::Release);
        new
    }

    pub fn unsubscribe<'a>(
        &self,
        session: u64,
        filters: impl IntoIterator<Item = &'a TopicFilter>,
    ) {
        let mut subscriptions = self.subscriptions.write();
        for filter in filters {
            subscriptions.remove(filter.bare(), session);
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Who is due a message on `topic` that `publisher` sends. The generation is the one that this
    /// holds for.
    pub fn targets(&self, topic: TopicName<'_>, publisher: u64, targets: &mut Vec<Target>) -> u64 {
        targets.clear();
        let mut identifiers: Vec<(u64, NonZeroU32)> = Vec::new();
        let subscriptions = self.subscriptions.read();
        let generation = self.generation();
        subscriptions.for_each_match(topic, |session, subscriber| {
            if subscriber.options.no_local && session == publisher {
                return;
            }
            identifiers.extend(subscriber.identifier.map(|identifier| (session, identifier)));
            targets.push(Target {
                session: subscriber.session.clone(),
                maximum_qos: subscriber.options.maximum_qos,
                retain_as_published: subscriber.options.retain_as_published,
                subscription_identifiers: None,
            });
        });
        drop(subscriptions);
        merge(targets, &mut identifiers);
        generation
    }

    /// The session of a client id.
    pub fn session(&self, client_id: &str) -> Option<Arc<SessionHandle>> {
        self.sessions.lock().get(client_id).cloned()
    }

    /// The first sessions by client id, `most` at the most.
    pub fn sessions(&self, most: usize) -> Vec<Arc<SessionHandle>> {
        let mut sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        sessions.sort_by(|one, other| one.key.client_id.cmp(&other.key.client_id));
        sessions.truncate(most);
        sessions
    }

    /// Asks every connection of the tenant to end.
    pub fn disconnect_all(&self, reason_code: ReasonCode) {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        for session in sessions {
            session.disconnect(reason_code);
        }
    }

    pub fn subscription_count(&self) -> usize {
        self.subscriptions.read().len()
    }

    pub fn session_count(&self) -> usize {
        self.sessions.lock().len()
    }

    pub fn retained_count(&self) -> usize {
        self.retained.read().len()
    }

    pub fn retain(&self, message: &Message) -> Result<(), RetainedFull> {
        self.retained.write().retain(message)
    }

    /// The retained messages that match a bare filter.
    pub fn retained(&self, filter: &str) -> Vec<Message> {
        self.retained.read().matching(filter)
    }
}

/// Makes one target of those that belong to the same session.
fn merge(targets: &mut Vec<Target>, identifiers: &mut [(u64, NonZeroU32)]) {
    if targets.len() > 1 {
        targets.sort_by_key(|target| target.session.id);
        targets.dedup_by(|other, kept| {
            let same = other.session.id == kept.session.id;
            if same {
                kept.maximum_qos = kept.maximum_qos.max(other.maximum_qos);
                kept.retain_as_published |= other.retain_as_published;
            }
            same
        });
    }
    identifiers.sort_unstable();
    for run in identifiers.chunk_by(|one, other| one.0 == other.0) {
        if let Ok(place) = targets.binary_search_by_key(&run[0].0, |target| target.session.id) {
            targets[place].subscription_identifiers = Some(run.iter().map(|(_, id)| *id).collect());
        }
    }
}
