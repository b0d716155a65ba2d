//! In place of the broker's tenant: sessions, and who subscribes to the one topic there is.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use hookmq_codec::{Qos, TopicFilter};
use hookmq_core::{Outgoing, QueueLimits, SharedId};
use hookmq_store::Store;

use super::meter::Meter;
use super::session_handle::SessionHandle;
use super::share::Share;
use super::sync::Mutex;

pub struct Tenant {
    pub name: Arc<str>,
    pub meter: Meter,
    pub(super) sessions: Mutex<HashMap<Arc<str>, Arc<SessionHandle>>>,
    subscribers: Mutex<Vec<Arc<SessionHandle>>>,
    /// The one shared subscription there is.
    share: Arc<Share>,
}

impl Tenant {
    pub(super) fn new(name: Arc<str>, limits: QueueLimits, store: Arc<dyn Store>) -> Self {
        let meter = Meter::default();
        let filter = TopicFilter::new("$share/s/t").expect("a filter");
        let (id, account) = (SharedId(NonZeroU32::MIN), meter.queued.clone());
        let share = Share::new(id, filter, limits, name.clone(), store, account);
        let (sessions, subscribers) = (Mutex::default(), Mutex::default());
        Self { name, meter, sessions, subscribers, share: Arc::new(share) }
    }

    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    pub fn subscribers(&self) -> Vec<Arc<SessionHandle>> {
        self.subscribers.lock().clone()
    }

    pub fn subscribe(&self, session: &Arc<SessionHandle>) {
        self.subscribers.lock().push(session.clone());
    }

    pub fn unsubscribe<'a>(&self, session: u64, _: impl IntoIterator<Item = &'a TopicFilter>) {
        self.subscribers.lock().retain(|it| it.id != session);
    }

    pub fn join_share(
        &self,
        _: &TopicFilter,
        session: &Arc<SessionHandle>,
        maximum_qos: Qos,
    ) -> Arc<Share> {
        self.share.join(session, maximum_qos);
        self.share.clone()
    }

    pub(super) fn end_membership(
        &self,
        _: &TopicFilter,
        session: &SessionHandle,
        outgoing: &mut Outgoing,
    ) {
        self.share.hand_back(session, outgoing.take_shared(self.share.id));
        self.share.leave(session);
    }
}
