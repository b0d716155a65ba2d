//! A shared subscription of a tenant: the queue that its members fetch from.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookmq_codec::{Qos, TopicFilter};
use hookmq_core::{Message, Outgoing, QueueLimits, Shared, SharedId, SharedQueue};
use hookmq_store::{Change, MessageId, QueueKey, SharedKey, Store};

use super::meter::QueuedBytes;
use super::session_handle::SessionHandle;
use super::sync::{AtomicBool, Mutex};

/// One shared subscription. Connections fetch from it in their turns; nobody owns a message before it
/// has one.
///
/// Where a member outlives its connection, the store holds the queue, too: what such a member fetches
/// moves to its own queue there.
pub struct Share {
    pub id: SharedId,
    /// With `$share/` and the share name.
    pub filter: TopicFilter,
    tenant: Arc<str>,
    store: Arc<dyn Store>,
    account: Arc<QueuedBytes>,
    state: Mutex<State>,
    /// Whether there may be messages in the store: from the first member on that outlives its connection.
    stored: AtomicBool,
}

struct State {
    queue: SharedQueue<Arc<SessionHandle>>,
    /// Of its bytes, what the tenant's account has.
    counted: usize,
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Share").field("id", &self.id).field("filter", &self.filter).finish()
    }
}

impl Share {
    pub(super) fn new(
        id: SharedId,
        filter: TopicFilter,
        limits: QueueLimits,
        tenant: Arc<str>,
        store: Arc<dyn Store>,
        account: Arc<QueuedBytes>,
    ) -> Self {
        let state = Mutex::new(State { queue: SharedQueue::new(limits), counted: 0 });
        Self { id, filter, tenant, store, account, state, stored: AtomicBool::new(false) }
    }

    /// What the store knows it by.
    pub fn key(&self) -> QueueKey {
        let (tenant, filter) = (self.tenant.clone(), self.filter.clone());
        QueueKey::Shared(SharedKey { tenant, filter })
    }

    /// What the store is to be told when a member fetches a message: none where that takes place in
    /// memory alone.
    pub fn fetched(&self, message: &Message, session: &SessionHandle) -> Option<Change> {
        (message.stored() > 0 && session.is_durable()).then(|| Change::Moved {
            from: self.key(),
            to: QueueKey::Session(session.key.clone()),
            id: MessageId(message.stored()),
        })
    }

    /// What the store is to be told of a message that nobody is to get from here any more: none where it
    /// has no such message.
    pub fn settled(&self, message: &Message) -> Option<Change> {
        let id = MessageId(message.stored());
        let stored = message.qos() > Qos::AtMostOnce && self.stored.load(Ordering::Acquire);
        (stored && id.0 > 0).then(|| Change::Dequeued { queue: self.key(), id })
    }

    /// Why a message would not be queued now, if it would not.
    pub fn refuses(&self, message: &Message) -> Option<Shared<Arc<SessionHandle>>> {
        let state = self.state.lock();
        let short = self.account.is_short(state.queue.bytes());
        let full = short || !self.account.has_room(message.size());
        state.queue.refuses(message).or_else(|| full.then_some(Shared::Overflow))
    }

    /// Takes up what waited when the broker was last running.
    pub(super) fn recover(&self, messages: Vec<Message>) {
        self.change(|queue| queue.restore(messages));
    }

    /// Queues a message. A member that it gives is to be woken by the caller.
    pub fn post(&self, message: Message) -> Shared<Arc<SessionHandle>> {
        let mut state = self.state.lock();
        // What is stored was asked about before.
        if message.stored() == 0 && self.account.is_short(state.queue.bytes()) {
            return Shared::Overflow;
        }
        if self.account.is_bounded() {
            if let Some(refused) = state.queue.refuses(&message) {
                return refused;
            }
            if !self.account.admits(message.size()) {
                return Shared::Overflow;
            }
            state.counted += message.size();
        }
        state.queue.post(message)
    }

    /// A connected session subscribes or comes back. It gets what members that are away hold.
    pub(super) fn join(&self, session: &Arc<SessionHandle>, maximum_qos: Qos) {
        let durable = session.is_durable() && maximum_qos > Qos::AtMostOnce;
        self.stored.fetch_or(durable, Ordering::Release);
        // A member that leaves locks its own place before this queue.
        let holders = self.change(|queue| {
            queue.join(session.id, session.clone(), maximum_qos, durable);
            queue.take_holders()
        });
        for holder in holders {
            self.hand_back(&holder, holder.take_shared(self.id));
        }
    }

    /// The session is no member any more; gives whether it was the last.
    pub(super) fn leave(&self, session: &SessionHandle) -> bool {
        let (called, deserted) =
            self.change(|queue| (queue.leave(session.id), queue.is_deserted()));
        wake(called);
        deserted
    }

    /// The member's connection is gone. What it has in flight goes to another member, if one is
    /// connected, and stays with its session otherwise.
    pub(super) fn set_offline(&self, session: &SessionHandle, outgoing: &mut Outgoing) {
        let (called, returned) = self.change(|queue| {
            let (returned, holds) = match queue.has_others_online(session.id) {
                true => (outgoing.take_shared(self.id), false),
                false => (Vec::new(), outgoing.holds_shared(self.id)),
            };
            (queue.set_offline(session.id, holds), returned)
        });
        wake(called);
        self.hand_back(session, returned);
    }

    /// Puts back what a member could not see through.
    pub fn hand_back(&self, member: &SessionHandle, messages: Vec<Message>) {
        if !messages.is_empty() {
            let stored = messages.iter().filter(|it| it.stored() > 0 && member.is_durable());
            let moved = stored.map(|message| Change::Moved {
                from: QueueKey::Session(member.key.clone()),
                to: self.key(),
                id: MessageId(message.stored()),
            });
            let moved: Vec<_> = moved.collect();
            // First of all: whoever fetches them next says so in the store behind this.
            if !moved.is_empty() {
                self.store.append(moved);
            }
            wake(self.change(|queue| queue.hand_back(messages)));
        }
    }

    /// How many messages a member may fetch in this turn.
    pub fn portion(&self, session: u64) -> usize {
        self.state.lock().queue.portion(session)
    }

    #[inline]
    pub fn fetch(&self) -> Option<Message> {
        self.change(SharedQueue::fetch)
    }

    /// The member has fetched its part and has room for more. Gives whether there is more for it.
    pub fn rest(&self, session: u64) -> bool {
        let (called, more) = self.change(|queue| (queue.rest(session), queue.portion(session) > 0));
        wake(called);
        more
    }

    /// The member has no room: what waits is for others.
    pub fn pass_on(&self, session: u64) {
        wake(self.change(|queue| queue.pass_on(session)));
    }

    /// Whether what waits here is guaranteed to a session that outlives its connection.
    pub fn is_durable(&self) -> bool {
        self.state.lock().queue.is_durable()
    }

    /// Bytes that wait.
    pub(super) fn queued_bytes(&self) -> usize {
        self.state.lock().queue.bytes()
    }

    /// Has the tenant's account know what waits, if there is a bound now.
    pub(super) fn recount(&self) {
        self.change(|_| ());
    }

    /// Nobody is woken in `work`: whoever is may look here at once.
    #[inline]
    fn change<T>(&self, work: impl FnOnce(&mut SharedQueue<Arc<SessionHandle>>) -> T) -> T {
        let mut state = self.state.lock();
        let result = work(&mut state.queue);
        let due = if self.account.is_bounded() { state.queue.bytes() } else { 0 };
        if due != state.counted {
            self.account.recount(std::mem::replace(&mut state.counted, due), due);
        }
        result
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.recount(self.state.get_mut().counted, 0);
    }
}

fn wake(called: Option<Arc<SessionHandle>>) {
    if let Some(session) = called {
        session.mailbox.wake();
    }
}
