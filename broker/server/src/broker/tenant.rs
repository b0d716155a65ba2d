//! A tenant's name space: who subscribes to what, what is retained, whose sessions there are.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hookmq_access::Quota;
use hookmq_codec::{Qos, ReasonCode, SubscriptionOptions, TopicFilter, TopicName};
use hookmq_core::{
    Delivery, Message, Outgoing, QueueLimits, RetainedFull, RetainedLimits, RetainedMessages,
    SharedId, Subscription, TopicTree,
};
use hookmq_hooks::{TenantBudget, TenantStepsCell};
use hookmq_store::Store;
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use rustc_hash::FxHashMap;

use super::guests::Guests;
use super::limits::Limits;
use super::memory::Memory;
use super::meter::Meter;
use super::session_handle::SessionHandle;
use super::share::Share;

/// Topics, sessions and retained messages of one tenant. Nothing in here is seen by another.
pub struct Tenant {
    pub name: Arc<str>,
    /// By session, or for shared subscriptions by [`share_key`].
    subscriptions: RwLock<TopicTree<u64, Subscriber>>,
    /// Whom grants let in from other tenants.
    pub guests: Guests,
    /// By whole filter.
    shares: Mutex<FxHashMap<TopicFilter, Arc<Share>>>,
    next_share: AtomicU32,
    queue_limits: QueueLimits,
    store: Arc<dyn Store>,
    /// Counts up with every change of `subscriptions` and `guests`: what was matched before may be stale.
    generation: AtomicU64,
    retained: RwLock<RetainedMessages>,
    /// The broker's own, which take no room from the tenant's.
    announced: RwLock<RetainedMessages>,
    /// What its plugins and rules have used of what they may.
    pub budget: Arc<TenantBudget>,
    /// What it has added to the pipeline itself.
    pub steps: Arc<TenantStepsCell>,
    /// What its clients have used of what they may.
    pub meter: Meter,
    /// By client id.
    pub(super) sessions: Mutex<FxHashMap<Arc<str>, Arc<SessionHandle>>>,
}

/// Far more than there are `$SYS` topics.
const ANNOUNCED: RetainedLimits = RetainedLimits { messages: 1000, bytes: 1 << 20 };

/// Whose subscription stands in the topic tree.
#[derive(Debug)]
enum Subscriber {
    Session {
        session: Arc<SessionHandle>,
        options: SubscriptionOptions,
        identifier: Option<NonZeroU32>,
    },
    Share(Arc<Share>),
}

/// Who is due messages on one topic.
#[derive(Debug, Default)]
pub struct Recipients {
    pub sessions: Vec<Target>,
    /// Of each, one member.
    pub shares: Vec<Arc<Share>>,
    /// Sessions of other tenants.
    pub guests: Vec<Target>,
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

impl Target {
    pub(super) fn new(session: &Arc<SessionHandle>, options: &SubscriptionOptions) -> Self {
        Self {
            session: session.clone(),
            maximum_qos: options.maximum_qos,
            retain_as_published: options.retain_as_published,
            subscription_identifiers: None,
        }
    }

    /// What the session is due of a message that was published with this retain flag.
    #[inline]
    pub(super) fn delivery(&self, message: Message, retain: bool) -> Delivery {
        Delivery {
            qos: message.qos().min(self.maximum_qos),
            retain: retain && self.retain_as_published,
            subscription_identifiers: self.subscription_identifiers.clone(),
            message,
            shared: None,
        }
    }
}

impl Tenant {
    pub fn new(
        name: Arc<str>,
        limits: &Limits,
        memory: Arc<Memory>,
        store: Arc<dyn Store>,
        steps: Arc<TenantStepsCell>,
    ) -> Self {
        Self {
            store,
            budget: Arc::new(TenantBudget::new(limits.budgets.of(&name))),
            steps,
            meter: Meter::new(memory),
            name,
            subscriptions: RwLock::default(),
            guests: Guests::default(),
            shares: Mutex::default(),
            next_share: AtomicU32::new(1),
            queue_limits: limits.queue,
            generation: AtomicU64::new(1),
            retained: RwLock::new(RetainedMessages::new(limits.retained)),
            announced: RwLock::new(RetainedMessages::new(ANNOUNCED)),
            sessions: Mutex::default(),
        }
    }

    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Adds or replaces a session's own subscription; says whether it is new.
    pub fn subscribe(
        &self,
        filter: &TopicFilter,
        session: Arc<SessionHandle>,
        Subscription { options, identifier }: Subscription,
    ) -> bool {
        let key = session.id;
        self.insert(filter, key, Subscriber::Session { session, options, identifier })
    }

    /// Makes a connected session a member of a shared subscription, or gives it new options there.
    pub fn join_share(
        &self,
        filter: &TopicFilter,
        session: &Arc<SessionHandle>,
        maximum_qos: Qos,
    ) -> Arc<Share> {
        let mut shares = self.shares.lock();
        let share = match shares.get(filter) {
            Some(share) => share.clone(),
            None => {
                let number = self.next_share.fetch_add(1, Ordering::Relaxed);
                let id = SharedId(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN));
                let (tenant, store) = (self.name.clone(), self.store.clone());
                let (limits, account) = (self.queue_limits, self.meter.queued.clone());
                let share = Share::new(id, filter.clone(), limits, tenant, store, account);
                let share = Arc::new(share);
                shares.insert(filter.clone(), share.clone());
                self.insert(filter, share_key(id), Subscriber::Share(share.clone()));
                share
            }
        };
        share.join(session, maximum_qos);
        share
    }

    /// The shared subscription with this filter, unless everybody has left it.
    pub(super) fn share_of(&self, filter: &TopicFilter) -> Option<Arc<Share>> {
        self.shares.lock().get(filter).cloned()
    }

    /// The shared subscription of this number, unless everybody has left it.
    pub fn share(&self, id: SharedId) -> Option<Arc<Share>> {
        self.shares.lock().values().find(|share| share.id == id).cloned()
    }

    /// Ends a membership; the last to leave takes the shared subscription along.
    pub fn leave_share(&self, share: &Share, session: &SessionHandle) {
        let mut shares = self.shares.lock();
        if share.leave(session) {
            shares.remove(&share.filter);
            self.unsubscribe(share_key(share.id), [&share.filter]);
        }
    }

    /// Ends the membership of a session that is over; what it has in flight goes to other members.
    pub(super) fn end_membership(
        &self,
        filter: &TopicFilter,
        session: &SessionHandle,
        outgoing: &mut Outgoing,
    ) {
        let Some(share) = self.share_of(filter) else { return };
        share.hand_back(session, outgoing.take_shared(share.id));
        self.leave_share(&share, session);
    }

    /// Removes the subscriptions that a session has of its own.
    pub fn unsubscribe<'a>(
        &self,
        session: u64,
        filters: impl IntoIterator<Item = &'a TopicFilter>,
    ) {
        let mut subscriptions = self.subscriptions.write();
        for filter in filters {
            subscriptions.remove(filter.bare(), session);
        }
        self.note_change();
    }

    /// Who is due a message on `topic` that `publisher` sends. The generation is the one that this
    /// holds for.
    pub fn recipients(
        &self,
        topic: TopicName<'_>,
        publisher: u64,
        Recipients { sessions, shares, guests }: &mut Recipients,
    ) -> u64 {
        sessions.clear();
        shares.clear();
        guests.clear();
        let mut identifiers: Vec<(u64, NonZeroU32)> = Vec::new();
        let subscriptions = self.subscriptions.read();
        let generation = self.generation();
        subscriptions.for_each_match(topic, |key, subscriber| match subscriber {
            Subscriber::Session { options, .. } if options.no_local && key == publisher => {}
            Subscriber::Session { session, options, identifier } => {
                identifiers.extend(identifier.map(|identifier| (key, identifier)));
                sessions.push(Target::new(session, options));
            }
            Subscriber::Share(share) => shares.push(share.clone()),
        });
        drop(subscriptions);
        self.guests.find(topic, publisher, guests, &mut identifiers);
        merge(sessions, &mut identifiers);
        merge(guests, &mut identifiers);
        generation
    }

    /// What was matched before may be stale from now on.
    pub(super) fn note_change(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn insert(&self, filter: &TopicFilter, key: u64, subscriber: Subscriber) -> bool {
        let mut subscriptions = self.subscriptions.write();
        let new = subscriptions.insert(filter.bare(), key, subscriber).is_none();
        self.note_change();
        new
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

    pub fn share_count(&self) -> usize {
        self.shares.lock().len()
    }

    pub fn session_count(&self) -> usize {
        self.sessions.lock().len()
    }

    pub fn retained_count(&self) -> usize {
        self.retained.read().len()
    }

    /// Bytes of the retained messages.
    pub fn retained_bytes(&self) -> usize {
        self.retained.read().bytes()
    }

    /// Forgets all that is retained, but for the broker's own.
    pub(super) fn forget_retained(&self) -> Vec<Message> {
        self.retained.write().take_all()
    }

    /// Messages and bytes that its clients have exchanged since the broker began, as
    /// [`TenantTraffic::NAMES`](super::metrics::TenantTraffic::NAMES) calls them.
    pub fn traffic(&self) -> [u64; 4] {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        sessions.iter().fold(self.meter.gone.sum(), |mut sum, session| {
            for (sum, count) in sum.iter_mut().zip(session.traffic()) {
                *sum += count;
            }
            sum
        })
    }

    /// Bytes that wait for its sessions and in its shared subscriptions.
    pub fn queued_bytes(&self) -> usize {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        let own = sessions.iter().map(|session| session.mailbox.queued_bytes());
        own.chain(self.all_shares().iter().map(|share| share.queued_bytes())).sum()
    }

    /// Has the account of what waits recounted, as the bound is another one.
    pub(super) fn recount(&self) {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        sessions.iter().for_each(|session| session.mailbox.recount());
        self.all_shares().iter().for_each(|share| share.recount());
    }

    fn all_shares(&self) -> Vec<Arc<Share>> {
        self.shares.lock().values().cloned().collect()
    }

    /// Bounds the retained messages by the broker's limits and the quota. What is retained stays.
    pub(super) fn limit_retained(&self, limits: RetainedLimits, quota: &Quota) {
        let least = |limit: usize, quota: Option<u64>| {
            quota.map_or(limit, |quota| limit.min(usize::try_from(quota).unwrap_or(limit)))
        };
        self.retained.write().set_limits(RetainedLimits {
            messages: least(limits.messages, quota.retained_messages),
            bytes: least(limits.bytes, quota.retained_bytes),
        });
    }

    /// What is retained, for as long as the caller needs to change it.
    pub(super) fn retained_mut(&self) -> RwLockWriteGuard<'_, RetainedMessages> {
        self.retained.write()
    }

    /// Retains a message of the broker's own, in memory only.
    pub(super) fn announce(&self, message: &Message) -> Result<(), RetainedFull> {
        self.announced.write().retain(message)
    }

    /// The retained messages that match a bare filter, `most` from behind the topic `after` on; and
    /// behind which the next page begins. The broker's own come with the last one.
    pub fn retained(
        &self,
        filter: &str,
        after: Option<&str>,
        most: usize,
    ) -> (Vec<Message>, Option<Box<str>>) {
        let mut messages = self.retained.read().page(filter, after, most);
        if messages.len() >= most {
            let next = messages.last().map(|last| last.topic().as_str().into());
            return (messages, next);
        }
        messages.extend(self.announced.read().page(filter, None, usize::MAX));
        (messages, None)
    }
}

/// Where a shared subscription stands among the sessions, whose numbers stay below.
fn share_key(id: SharedId) -> u64 {
    1 << 63 | u64::from(id.0.get())
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
