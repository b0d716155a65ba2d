//! What others hold of a session, and how it changes hands.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use hookmq_codec::{Qos, ReasonCode, TopicFilter};
use hookmq_core::{Message, QueueLimits, Session, SharedId};
use hookmq_hooks::Client;
use hookmq_store::SessionKey;

use super::mailbox::{InStore, Mailbox, Mark};
use super::meter::{Place, QueuedBytes};
use super::metrics::TenantTraffic;
use super::publisher::Will;
use super::sync::{AtomicBool, AtomicU32, Mutex, oneshot};

/// A session as seen from outside: where its messages go and who owns its state.
#[derive(Debug)]
pub struct SessionHandle {
    /// Never reused while the broker runs.
    pub id: u64,
    pub key: SessionKey,
    /// The principal whose session it is.
    pub username: Arc<str>,
    pub mailbox: Mailbox,
    /// Whether messages for it must be stored: it outlives its connection, or has outlived one.
    durable: AtomicBool,
    /// Whether the store knows it.
    stored: AtomicBool,
    /// Whether it ends with its connection, whatever that has asked for, and leaves no will.
    doomed: AtomicBool,
    /// Counts connections; what was scheduled under an older one is void.
    pub(crate) epoch: AtomicU32,
    pub(super) slot: Mutex<Slot>,
    /// The connection that has the session's state, if one has it: not always the one in the slot, which
    /// may be waiting for it.
    holder: Mutex<Weak<Control>>,
}

/// Who has the session's state.
#[derive(Debug)]
pub(super) enum Slot {
    Online(Arc<Control>),
    Offline(Left),
    /// Who wanted the session has given up: its holder, which has been asked for it, still has it.
    Leaving,
    /// The session is over.
    Ended,
}

/// What a connection leaves to whoever has the session next.
#[derive(Debug)]
pub(super) struct Left {
    pub session: Box<Session>,
    /// What is to be published if the client does not come back to the session in time.
    pub will: Option<Box<Will>>,
}

/// How others reach a connection: asked for its session, or told to end.
#[derive(Debug)]
pub struct Control {
    /// Who is connected.
    client: Mutex<Arc<Client>>,
    /// Among the connections of the tenant.
    _place: Place,
    pub traffic: TenantTraffic,
    pending: AtomicBool,
    /// Whether the client's rights may have changed.
    judge: AtomicBool,
    inquiry: Mutex<Option<Inquiry>>,
    request: Mutex<Option<Request>>,
}

/// Where a connection is to tell the filters that its session is subscribed to.
pub type Inquiry = oneshot::Sender<Vec<(TopicFilter, Qos)>>;

/// A newer connection, which waits for the session.
#[derive(Debug)]
pub(super) struct Successor {
    pub reply: oneshot::Sender<Left>,
    pub control: Weak<Control>,
}

/// What a connection is to do at once.
#[derive(Debug)]
pub(super) enum Request {
    TakeOver(Successor),
    Disconnect(ReasonCode),
}

/// What a connection is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Leave the session to a newer connection of the same client.
    TakeOver,
    /// Disconnect with this code.
    Disconnect(ReasonCode),
    /// Judge again what the client may do; asked once.
    Judge,
    /// Tell the session's subscriptions: see [`Control::inquiry`].
    Tell,
}

impl SessionHandle {
    pub(super) fn new(
        id: u64,
        key: SessionKey,
        username: Arc<str>,
        limits: QueueLimits,
        account: Arc<QueuedBytes>,
        slot: Slot,
    ) -> Self {
        let holder = match &slot {
            Slot::Online(control) => Arc::downgrade(control),
            Slot::Offline(_) | Slot::Leaving | Slot::Ended => Weak::new(),
        };
        Self {
            id,
            key,
            username,
            mailbox: Mailbox::new(limits, account),
            durable: AtomicBool::new(false),
            stored: AtomicBool::new(false),
            doomed: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            slot: Mutex::new(slot),
            holder: Mutex::new(holder),
        }
    }

    #[inline]
    pub fn is_durable(&self) -> bool {
        self.durable.load(Ordering::Relaxed)
    }

    pub fn set_durable(&self, durable: bool) {
        self.durable.store(durable, Ordering::Relaxed);
    }

    /// What the store holds of its queue.
    pub fn in_store(&self) -> InStore {
        if self.is_durable() { InStore::Guaranteed } else { InStore::Nothing }
    }

    /// The store knows the session from now on.
    pub fn set_stored(&self) {
        self.stored.store(true, Ordering::Release);
    }

    /// Whether the store is to forget the session; asked once.
    pub(super) fn take_stored(&self) -> bool {
        self.stored.swap(false, Ordering::AcqRel)
    }

    pub fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::Acquire)
    }

    /// Has the session end with its connection.
    pub(super) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    /// Whether no connection has come since `epoch` was read.
    pub(super) fn is_in_epoch(&self, epoch: u32) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch
    }

    /// Takes messages of a shared subscription out of the session, if its client is away.
    pub(super) fn take_shared(&self, shared: SharedId) -> Vec<Message> {
        match &mut *self.slot.lock() {
            Slot::Offline(Left { session, .. }) => session.outgoing.take_shared(shared),
            Slot::Online(_) | Slot::Leaving | Slot::Ended => Vec::new(),
        }
    }

    /// Where what waits can be asked of the store, which knows all that its last connection had.
    pub(super) fn mark(&self) -> Option<Mark> {
        match &*self.slot.lock() {
            Slot::Offline(_) => self.mailbox.mark(),
            Slot::Online(_) | Slot::Leaving | Slot::Ended => None,
        }
    }

    pub fn is_online(&self) -> bool {
        matches!(*self.slot.lock(), Slot::Online(_))
    }

    /// What has passed on the connection, if there is one.
    pub(super) fn traffic(&self) -> [u64; 4] {
        match &*self.slot.lock() {
            Slot::Online(control) => control.traffic.sum(),
            Slot::Offline(_) | Slot::Leaving | Slot::Ended => [0; 4],
        }
    }

    /// The client that is connected.
    pub fn client(&self) -> Option<Arc<Client>> {
        match &*self.slot.lock() {
            Slot::Online(control) => Some(control.client.lock().clone()),
            Slot::Offline(_) | Slot::Leaving | Slot::Ended => None,
        }
    }

    /// Has the connection, if there is one, judge again what its client may do.
    pub fn judge_again(&self) {
        if let Slot::Online(control) = &*self.slot.lock() {
            control.judge.store(true, Ordering::Release);
            control.pending.store(true, Ordering::Release);
            self.mailbox.wake();
        }
    }

    /// Asks the connection, if there is one, for its subscriptions. Whoever has asked before and has no
    /// answer yet gets none.
    pub(super) fn inquire(&self, inquiry: Inquiry) {
        if let Slot::Online(control) = &*self.slot.lock() {
            *control.inquiry.lock() = Some(inquiry);
            control.pending.store(true, Ordering::Release);
            self.mailbox.wake();
        }
    }

    /// Asks the connection, if there is one, to end.
    pub fn disconnect(&self, reason_code: ReasonCode) {
        if let Slot::Online(control) = &*self.slot.lock() {
            control.ask(Request::Disconnect(reason_code));
            self.mailbox.wake();
        }
    }
}

impl SessionHandle {
    /// Whether the connection, which has the session, decides what becomes of it. `slot` is the session's.
    pub(super) fn is_left_to(&self, slot: &Slot, control: &Arc<Control>) -> bool {
        match slot {
            Slot::Online(owner) => Arc::ptr_eq(owner, control),
            Slot::Leaving => self.holder.lock().as_ptr() == Arc::as_ptr(control),
            Slot::Offline(_) | Slot::Ended => false,
        }
    }

    /// Nobody had the session's state, and `control` has it now.
    pub(super) fn set_holder(&self, control: &Arc<Control>) {
        *self.holder.lock() = Arc::downgrade(control);
    }

    /// Whether the connection that had the session's state is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.holder.lock().strong_count() == 0
    }

    /// Gives what the connection leaves, which has the session's state, to the one that waits for it, or
    /// back where none does any more.
    pub(super) fn hand_over(&self, control: &Control, left: Left) -> Option<Left> {
        let Some(successor) = control.successor() else { return Some(left) };
        // Under the lock: at no moment is the state with somebody who is not its holder.
        let mut holder = self.holder.lock();
        let refused = successor.reply.send(left).err();
        if refused.is_none() {
            *holder = successor.control;
        }
        refused
    }

    /// Asks the connection to end, if `why` has a code for who is connected; gives what came with it.
    pub fn disconnect_where<T>(
        &self,
        why: impl FnOnce(&Client) -> Option<(ReasonCode, T)>,
    ) -> Option<T> {
        // Under the lock: a newer connection is perhaps somebody else's.
        let slot = self.slot.lock();
        let Slot::Online(control) = &*slot else { return None };
        let (reason_code, reason) = why(&control.client.lock())?;
        control.ask(Request::Disconnect(reason_code));
        self.mailbox.wake();
        Some(reason)
    }
}

impl Control {
    pub(super) fn new(client: Arc<Client>, place: Place) -> Self {
        let (pending, judge) = (AtomicBool::new(false), AtomicBool::new(false));
        let (inquiry, request) = (Mutex::default(), Mutex::default());
        let (client, traffic) = (Mutex::new(client), TenantTraffic::default());
        Self { client, _place: place, traffic, pending, judge, inquiry, request }
    }

    /// The client as it has authenticated again.
    pub fn renew_client(&self, client: Arc<Client>) {
        *self.client.lock() = client;
    }

    /// A take-over replaces a request to end; nothing replaces a take-over.
    pub(super) fn ask(&self, request: Request) {
        let mut place = self.request.lock();
        if !matches!(*place, Some(Request::TakeOver(_))) {
            *place = Some(request);
        }
        self.pending.store(true, Ordering::Release);
    }

    /// What the connection is asked to do; cheap enough to ask at every turn.
    #[inline]
    pub fn asked(&self) -> Option<Asked> {
        match self.pending.load(Ordering::Acquire) {
            true => self.pending(),
            false => None,
        }
    }

    #[cold]
    fn pending(&self) -> Option<Asked> {
        match &*self.request.lock() {
            Some(Request::TakeOver(_)) => Some(Asked::TakeOver),
            Some(Request::Disconnect(reason_code)) => Some(Asked::Disconnect(*reason_code)),
            None => {
                // In this order: whoever asks meanwhile is heard now or the next time.
                self.pending.store(false, Ordering::Release);
                let tell = self.inquiry.lock().is_some();
                let judge = self.judge.swap(false, Ordering::AcqRel);
                // One thing at a time: the other is asked next.
                self.pending.fetch_or(judge && tell, Ordering::AcqRel);
                judge.then_some(Asked::Judge).or(tell.then_some(Asked::Tell))
            }
        }
    }

    /// Where the subscriptions are to be told, if somebody waits for it.
    pub fn inquiry(&self) -> Option<Inquiry> {
        self.inquiry.lock().take()
    }

    /// Where the session is to be sent, if a newer connection has asked for it.
    fn successor(&self) -> Option<Successor> {
        match self.request.lock().take() {
            Some(Request::TakeOver(successor)) => Some(successor),
            _ => None,
        }
    }
}
