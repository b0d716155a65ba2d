//! Looks credentials up. They are not remembered: a change counts from the next authentication on.

use super::{Directory, DirectoryError, Shared};
use crate::database::CredentialRow;

impl Directory {
    /// The credential of this kind. Takes no longer than the configured timeout.
    ///
    /// # Errors
    /// Where the database is away.
    pub(crate) async fn credential(
        &self,
        tenant: &str,
        username: &str,
        kind: &'static str,
    ) -> Result<CredentialRow, DirectoryError> {
        let (shared, timeout) = (&self.shared, self.shared.settings.timeout);
        let asked = tokio::time::timeout(timeout, shared.ask_credential(tenant, username, kind));
        let result = asked.await.unwrap_or_else(|_| Err(shared.too_slow()));
        if matches!(result, Err(DirectoryError::Unavailable(_))) {
            shared.look_now.notify_one();
        }
        result
    }
}

impl Shared {
    async fn ask_credential(
        &self,
        tenant: &str,
        username: &str,
        kind: &'static str,
    ) -> Result<CredentialRow, DirectoryError> {
        self.check_reachable()?;
        let _permit = self.permit().await?;
        let rows = self.database.credential(tenant, username, kind).await.map_err(|error| {
            DirectoryError::Unavailable(format!("{}: {error}", self.database.url()))
        })?;
        let missing = || DirectoryError::Unreadable("no `strangers` in broker_secrets".into());
        rows.into_iter().next().ok_or_else(missing)
    }
}
