//! The grants that reach into other tenants, read when they change.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::{Directory, Shared};
use crate::QueryError;
use crate::database::TenantGrantRow;
use crate::tenant_grants::{MAX_TENANT_GRANTS, TenantGrant, TenantGrants, granted_filters};

impl Directory {
    /// The grants as they were read last. None before the first time, and where the database has been
    /// away for so long that nothing is relied upon any more.
    pub fn tenant_grants(&self) -> Option<Arc<TenantGrants>> {
        self.shared.tenant_grants.borrow().clone().filter(|_| self.is_current())
    }

    /// Tells of every change of the grants. None before they have been read for the first time.
    pub fn watch_tenant_grants(&self) -> watch::Receiver<Option<Arc<TenantGrants>>> {
        self.shared.tenant_grants.subscribe()
    }
}

impl Shared {
    pub(super) async fn read_tenant_grants(&self) -> Result<(), QueryError> {
        let mut rows = self.database.held_tenant_grants(MAX_TENANT_GRANTS + 1).await?;
        if rows.len() > MAX_TENANT_GRANTS {
            rows.truncate(MAX_TENANT_GRANTS);
            tracing::warn!(
                MAX_TENANT_GRANTS,
                "there are more tenant grants than count: the newest are left out"
            );
        }
        let mut grants = TenantGrants::default();
        for row in rows {
            let id = row.id;
            match read(row) {
                Ok(grant) => grants.insert(grant),
                Err(why) => tracing::warn!(id, ?why, "a tenant grant cannot be read: it is none"),
            }
        }
        self.tenant_grants.send_if_modified(|present| {
            let changed = present.as_deref() != Some(&grants);
            *present = Some(Arc::new(grants));
            changed
        });
        Ok(())
    }
}

fn read(row: TenantGrantRow) -> Result<TenantGrant, String> {
    // None, too, where no clock will ever show it.
    let expires_at = row.expires_at.and_then(|milliseconds| {
        let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        SystemTime::UNIX_EPOCH.checked_add(since)
    });
    Ok(TenantGrant {
        id: row.id,
        tenant: row.tenant.into(),
        username: row.username.into(),
        target: row.target.into(),
        publish: granted_filters(&row.publish)?,
        subscribe: granted_filters(&row.subscribe)?,
        granted_by: row.granted_by.into(),
        expires_at,
    })
}
