//! In place of the broker's: a will, which is counted when it is published.

use std::time::Duration;

use hookmq_store::{Change, MessageId};

use super::Broker;
use super::tenant::Tenant;

#[derive(Debug)]
pub struct Will {
    pub delay: Duration,
    pub id: MessageId,
    /// Whose it is.
    pub session: hookmq_store::SessionKey,
}

impl Broker {
    /// As the broker's: it is withdrawn in the commit that its message would be in.
    pub fn publish_will(&self, _tenant: &Tenant, Will { id, session, .. }: Will) {
        self.store.append(vec![Change::WillCleared { session, id }]);
        self.wills.add(1);
    }
}
