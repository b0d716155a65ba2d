//! The bans, read when they change, and those who wait for them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::{Directory, DirectoryError, Readiness, Shared};
use crate::QueryError;
use crate::bans::{Ban, Bans, MAX_BANS, Subject};
use crate::database::BanRow;

impl Directory {
    /// The bans as they were read last. None before the first time. They stay in force while the
    /// database is away.
    pub fn bans(&self) -> Option<Arc<Bans>> {
        self.shared.bans.borrow().clone()
    }

    /// Tells of every change of the bans.
    pub fn watch_bans(&self) -> watch::Receiver<Option<Arc<Bans>>> {
        self.shared.bans.subscribe()
    }

    /// The bans, if need be after a while: no longer than the configured timeout.
    ///
    /// # Errors
    /// Where the database is away and they have never been read.
    pub async fn known_bans(&self) -> Result<Arc<Bans>, DirectoryError> {
        self.known(self.watch_bans(), "the bans").await
    }

    /// What is read as a whole, once it has been read.
    pub(super) async fn known<T>(
        &self,
        mut read: watch::Receiver<Option<Arc<T>>>,
        what: &str,
    ) -> Result<Arc<T>, DirectoryError> {
        if let Some(known) = read.borrow().clone() {
            return Ok(known);
        }
        let mut readiness = self.readiness();
        let away = |it: &Readiness| matches!(it, Readiness::NotReady { .. });
        let known = async {
            tokio::select! {
                known = read.wait_for(Option::is_some) => known.ok().and_then(|it| it.clone()),
                _ = readiness.wait_for(away) => None,
            }
        };
        let known = tokio::time::timeout(self.shared.settings.timeout, known).await;
        let unknown = || DirectoryError::Unavailable(format!("{what} have not been read yet"));
        known.ok().flatten().ok_or_else(unknown)
    }
}

impl Shared {
    pub(super) async fn read_bans(&self) -> Result<(), QueryError> {
        let mut rows = self.database.bans(MAX_BANS + 1).await?;
        if rows.len() > MAX_BANS {
            rows.truncate(MAX_BANS);
            tracing::warn!(MAX_BANS, "there are more bans than count: the oldest are left out");
        }
        let mut bans = Bans::default();
        for BanRow { id, tenant, kind, subject, reason, expires_at } in rows {
            // None, too, where no clock will ever show it.
            let expires_at = expires_at.and_then(|seconds| {
                let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
                SystemTime::UNIX_EPOCH.checked_add(since)
            });
            match Subject::read(&kind, &subject) {
                // The tables refuse it; of everybody it would be the end of the service.
                Some(Subject::Tenant) if tenant.is_none() => {}
                Some(subject) => {
                    let ban = Ban { id, reason: reason.into(), expires_at };
                    bans.insert(tenant.as_deref(), subject, ban);
                }
                None => tracing::warn!(id, ?kind, "a ban cannot be read and does not count"),
            }
        }
        self.bans.send_replace(Some(Arc::new(bans)));
        Ok(())
    }
}
