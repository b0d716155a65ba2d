//! The certificate mappings of the table, read when they change, and those whom they have made clients.

use std::sync::Arc;

use hookmq_hooks::{Attachment, Client};
use tokio::sync::watch;

use super::{Directory, DirectoryError, Shared};
use crate::QueryError;
use crate::certificate::{MAX_MAPPINGS, Mapped, Mappings};

/// The step's name, under which a client has what was made of it.
pub(crate) const CERTIFICATE: &str = "certificate";

impl Directory {
    /// Tells of every change of the mappings. None before they have been read for the first time. They
    /// stay in force while the database is away, as long as known principals do.
    pub fn watch_mappings(&self) -> watch::Receiver<Option<Arc<Mappings>>> {
        self.shared.mappings.subscribe()
    }

    /// The mappings, if need be after a while: no longer than the configured timeout.
    ///
    /// # Errors
    /// Where they have never been read, or too long ago.
    pub(crate) async fn known_mappings(&self) -> Result<Arc<Mappings>, DirectoryError> {
        if !self.is_current() {
            let message = "the database has been away for too long";
            return Err(DirectoryError::Unavailable(message.into()));
        }
        self.known(self.watch_mappings(), "the certificate mappings").await
    }

    /// Why a client would be somebody else now, or nobody, whom the table's mappings have let in.
    pub fn mapped_otherwise(&self, client: &Client) -> Option<String> {
        let mapped = client.attachments.get(CERTIFICATE)?;
        let mapped = mapped.downcast_ref::<Mapped>()?;
        let mappings = self.shared.mappings.borrow().clone()?;
        mapped.contradiction(client, &mappings)
    }
}

impl Mapped {
    pub(crate) fn attached(self) -> (Arc<str>, Attachment) {
        (CERTIFICATE.into(), Attachment::new(Arc::new(self)))
    }
}

impl Shared {
    pub(super) async fn read_mappings(&self) -> Result<(), QueryError> {
        let mut rows = self.database.mappings(MAX_MAPPINGS + 1).await?;
        if rows.len() > MAX_MAPPINGS {
            rows.truncate(MAX_MAPPINGS);
            tracing::warn!(MAX_MAPPINGS, "there are more certificate mappings than count");
        }
        let mut mappings = Mappings::default();
        for row in rows {
            let id = row.id;
            if let Err(why) = mappings.insert(row) {
                tracing::warn!(id, %why, "a certificate mapping cannot be used");
            }
        }
        self.mappings.send_replace(Some(Arc::new(mappings)));
        Ok(())
    }
}
