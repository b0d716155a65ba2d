//! A shared subscription of a tenant: the queue that its members fetch from.

use std::sync::Arc;

use hookmq_codec::{Qos, TopicFilter};
use hookmq_core::{Message, Outgoing, QueueLimits, Shared, SharedId, SharedQueue};
use hookmq_store::{Change, MessageId, QueueKey, SharedKey, Store};
use parking_lot::Mutex;

use super::session_handle::SessionHandle;

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
    queue: Mutex<SharedQueue<Arc<SessionHandle>>>,
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
    ) -> Self {
        Self { id, filter, tenant, store, queue: Mutex::new(SharedQueue::new(limits)) }
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

    /// Whether a message would be queued now.
    pub fn takes(&self, message: &Message) -> bool {
        self.queue.lock().refuses(message).is_none()
    }

    /// Whether a message would be queued if there were room.
    pub fn is_full(&self, message: &Message) -> bool {
        matches!(self.queue.lock().refuses(message), Some(Shared::Overflow))
    }

    /// Takes up what waited when the broker was last running.
    pub(super) fn recover(&self, messages: Vec<Message>) {
        self.queue.lock().restore(messages);
    }

    /// Queues a message. A member that it gives is to be woken by the caller.
    pub fn post(&self, message: Message) -> Shared<Arc<SessionHandle>> {
        self.queue.lock().post(message)
    }

    /// A connected session subscribes or comes back. It gets what members that are away hold.
    pub(super) fn join(&self, session: &Arc<SessionHandle>, maximum_qos: Qos) {
        let durable = session.is_durable() && maximum_qos > Qos::AtMostOnce;
        let mut queue = self.queue.lock();
        queue.join(session.id, session.clone(), maximum_qos, durable);
        let holders = queue.take_holders();
        // A member that leaves locks its own place before this queue.
        drop(queue);
        for holder in holders {
            self.hand_back(&holder, holder.take_shared(self.id));
        }
    }

    /// The session is no member any more; gives whether it was the last.
    pub(super) fn leave(&self, session: &SessionHandle) -> bool {
        let mut queue = self.queue.lock();
        let called = queue.leave(session.id);
        let deserted = queue.is_deserted();
        drop(queue);
        wake(called);
        deserted
    }

    /// The member's connection is gone. What it has in flight goes to another member, if one is
    /// connected, and stays with its session otherwise.
    pub(super) fn set_offline(&self, session: &SessionHandle, outgoing: &mut Outgoing) {
        let mut queue = self.queue.lock();
        let (returned, holds) = match queue.has_others_online(session.id) {
            true => (outgoing.take_shared(self.id), false),
            false => (Vec::new(), outgoing.holds_shared(self.id)),
        };
        let called = queue.set_offline(session.id, holds);
        drop(queue);
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
            let called = self.queue.lock().hand_back(messages);
            wake(called);
        }
    }

    /// How many messages a member may fetch in this turn.
    pub fn portion(&self, session: u64) -> usize {
        self.queue.lock().portion(session)
    }

    #[inline]
    pub fn fetch(&self) -> Option<Message> {
        self.queue.lock().fetch()
    }

    /// The member has fetched its part and has room for more. Gives whether there is more for it.
    pub fn rest(&self, session: u64) -> bool {
        let mut queue = self.queue.lock();
        let called = queue.rest(session);
        let more = queue.portion(session) > 0;
        drop(queue);
        wake(called);
        more
    }

    /// The member has no room: what waits is for others.
    pub fn pass_on(&self, session: u64) {
        let called = self.queue.lock().pass_on(session);
        wake(called);
    }

    /// Whether what waits here is guaranteed to a session that outlives its connection.
    pub fn is_durable(&self) -> bool {
        self.queue.lock().is_durable()
    }
}

fn wake(called: Option<Arc<SessionHandle>>) {
    if let Some(session) = called {
        session.mailbox.wake();
    }
}
