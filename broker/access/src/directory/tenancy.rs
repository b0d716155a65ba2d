//! Quotas and disabled tenants, read when they change.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Directory, Shared};
use crate::quota::{MAX_TENANTS, Tenancy};
use crate::{Database, QueryError};

impl Directory {
    /// What the tables say of tenants as it was read last, and every change of it. Empty before the
    /// first time, which comes before that of the bans.
    pub fn watch_tenancy(&self) -> watch::Receiver<Arc<Tenancy>> {
        self.shared.tenancy.subscribe()
    }

    /// The broker's own tables, for whoever administers them; none where an operator's queries stand in
    /// their place.
    pub fn tables(&self) -> Option<&Database> {
        let database = &self.shared.database;
        database.foreign().is_none().then_some(database)
    }

    /// Has what has changed in the tables put in force, and waits for that: no longer than a look-up may
    /// take. Where the database is away, it comes into force when that is back.
    pub async fn put_in_force(&self) {
        let mut rounds = self.shared.rounds.subscribe();
        let begun = rounds.borrow().begun;
        self.shared.look_now.notify_one();
        let read = rounds.wait_for(|it| it.ended_well > begun);
        let _ = tokio::time::timeout(self.shared.settings.timeout, read).await;
    }
}

impl Shared {
    pub(super) async fn read_tenancy(&self) -> Result<(), QueryError> {
        let mut rows = self.database.tenancy(MAX_TENANTS + 1).await?;
        if rows.len() > MAX_TENANTS {
            rows.truncate(MAX_TENANTS);
            tracing::warn!(
                MAX_TENANTS,
                "there are more quotas than count: the newest are left out"
            );
        }
        let mut tenancy = Tenancy::default();
        for row in rows {
            let quota = row.has_quota.then(|| row.quota.into());
            tenancy.insert(row.name.into(), row.enabled, quota);
        }
        self.tenancy.send_if_modified(|present| {
            let changed = **present != tenancy;
            *present = Arc::new(tenancy);
            changed
        });
        Ok(())
    }
}
