//! Looks credentials up. While the database is there it is asked each time, so a change counts from the
//! next authentication on. Credentials that somebody has proved to have are remembered, for the time when
//! it is away.

use std::collections::HashMap;
use std::sync::Arc;

use hashlink::LruCache;
use hookmq_hooks::Waited;
use parking_lot::Mutex;

use super::upkeep::Changes;
use super::{Directory, DirectoryError, Shared};
use crate::database::CredentialRow;

/// Whose credential of which kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CredentialKey {
    tenant: String,
    username: String,
    kind: &'static str,
}

/// What is remembered.
pub(super) struct Credentials(Mutex<Remembered>);

struct Remembered {
    /// Only of clients that have shown that it is theirs: others cannot crowd them out.
    proved: LruCache<CredentialKey, CredentialRow>,
    /// Those that are being looked up or proved. One that changes meanwhile is not among them any more.
    asked: HashMap<u64, CredentialKey>,
    /// Numbers of `asked`.
    next: u64,
}

/// A credential that was found, until the client has proved that it is its own, or has not.
pub(crate) struct FoundCredential {
    row: CredentialRow,
    inquiry: Inquiry,
}

/// A place in `asked`, given back when it is dropped.
struct Inquiry {
    number: u64,
    credentials: Arc<Credentials>,
}

impl Directory {
    /// The credential of this kind; where the database is away, the one that was proved before. Takes no
    /// longer than the configured timeout leaves after what was `waited`.
    ///
    /// # Errors
    /// Where the database is away and nobody has proved to have it, or it has been away for too long.
    pub(crate) async fn credential(
        &self,
        tenant: &str,
        username: &str,
        kind: &'static str,
        waited: &Waited,
    ) -> Result<FoundCredential, DirectoryError> {
        let shared = &self.shared;
        let (tenant, username) = (tenant.to_owned(), username.to_owned());
        let key = CredentialKey { tenant, username, kind };
        let inquiry = shared.credentials.begin(&key);
        let row = match shared.within_what_is_left(waited, shared.ask_credential(&key)).await {
            Err(why @ DirectoryError::Unavailable(_)) => {
                shared.look_now.notify_one();
                shared.credentials.proved(&key).filter(|_| shared.is_current()).ok_or(why)
            }
            answered => answered,
        };
        Ok(FoundCredential { row: row?, inquiry })
    }
}

impl Shared {
    async fn ask_credential(&self, key: &CredentialKey) -> Result<CredentialRow, DirectoryError> {
        self.check_reachable()?;
        let _permit = self.permit().await?;
        let CredentialKey { tenant, username, kind } = key;
        let rows = self.database.credential(tenant, username, kind).await;
        let rows = rows.map_err(|error| self.unavailable(&error))?;
        let missing = || DirectoryError::Unreadable("no `strangers` in broker_secrets".into());
        rows.into_iter().next().ok_or_else(missing)
    }
}

impl Credentials {
    pub(super) fn new(capacity: usize) -> Self {
        let proved = LruCache::new(capacity);
        Self(Mutex::new(Remembered { proved, asked: HashMap::new(), next: 0 }))
    }

    fn begin(self: &Arc<Self>, key: &CredentialKey) -> Inquiry {
        let mut remembered = self.0.lock();
        let number = remembered.next;
        remembered.next += 1;
        remembered.asked.insert(number, key.clone());
        Inquiry { number, credentials: self.clone() }
    }

    fn proved(&self, key: &CredentialKey) -> Option<CredentialRow> {
        self.0.lock().proved.get(key).cloned()
    }

    pub(super) fn forget(&self, changes: &Changes) {
        let mut remembered = self.0.lock();
        let Remembered { proved, asked, .. } = &mut *remembered;
        proved.retain(|key, _| !changes.concern(&key.tenant, &key.username));
        asked.retain(|_, key| !changes.concern(&key.tenant, &key.username));
    }
}

impl FoundCredential {
    /// Random, and the same for as long as the database lives.
    pub(crate) fn stranger_key(&self) -> &[u8] {
        self.row.stranger_key.as_bytes()
    }

    /// None where there is no credential, or none that counts.
    pub(crate) fn secret(&self) -> Option<&str> {
        self.row.secret.as_deref()
    }

    /// The client has shown that this is its own.
    pub(crate) fn proved(self) {
        let Self { row, inquiry } = self;
        let mut remembered = inquiry.credentials.0.lock();
        if let Some(key) = remembered.asked.remove(&inquiry.number) {
            remembered.proved.insert(key, row);
        }
    }
}

impl Drop for Inquiry {
    fn drop(&mut self) {
        self.credentials.0.lock().asked.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key(username: &str) -> CredentialKey {
        CredentialKey { tenant: "acme".into(), username: username.into(), kind: "password" }
    }

    fn found(credentials: &Arc<Credentials>, username: &str, secret: &str) -> FoundCredential {
        let row = CredentialRow { stranger_key: "key".into(), secret: Some(secret.into()) };
        FoundCredential { row, inquiry: credentials.begin(&key(username)) }
    }

    fn known(credentials: &Credentials, username: &str) -> Option<String> {
        credentials.proved(&key(username))?.secret
    }

    #[test]
    fn what_is_proved_is_remembered_and_what_is_only_asked_for_crowds_nobody_out() {
        let credentials = Arc::new(Credentials::new(2));
        found(&credentials, "pump", "old").proved();
        for _ in 0..10 {
            drop(found(&credentials, "guessed", "secret"));
        }
        assert_eq!(known(&credentials, "guessed"), None);
        found(&credentials, "pump", "new").proved();
        assert_eq!(known(&credentials, "pump").as_deref(), Some("new"));
        found(&credentials, "valve", "secret").proved();
        found(&credentials, "lamp", "secret").proved();
        assert_eq!(known(&credentials, "pump"), None);
        assert!(credentials.0.lock().asked.is_empty());
    }

    #[test]
    fn what_changes_is_forgotten_also_while_it_is_being_proved() {
        let credentials = Arc::new(Credentials::new(10));
        found(&credentials, "pump", "old").proved();
        found(&credentials, "valve", "old").proved();
        let proving = found(&credentials, "pump", "old");
        let changed = HashSet::from([("acme".into(), Some("pump".into()))]);
        credentials.forget(&Changes::Some(changed));
        assert_eq!(known(&credentials, "pump"), None);
        let asked_later = found(&credentials, "pump", "new");
        proving.proved();
        assert_eq!(known(&credentials, "pump"), None);
        asked_later.proved();
        assert_eq!(known(&credentials, "pump").as_deref(), Some("new"));
        assert_eq!(known(&credentials, "valve").as_deref(), Some("old"));
    }
}
