//! Bans of one tenant's clients, as an administrator makes and lifts them.

use sqlx::FromRow;

use super::{Database, Pools, QueryError};
use crate::bans::Subject;

/// A row of `bans`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct BanRecord {
    pub id: i64,
    pub kind: String,
    pub subject: String,
    pub reason: String,
    /// As the database writes them.
    pub created_at: String,
    pub expires_at: Option<String>,
}

/// A ban to be made.
#[derive(Debug, Clone)]
pub struct NewBan {
    pub kind: String,
    pub subject: String,
    pub reason: String,
    /// For good without it.
    pub seconds: Option<u32>,
}

/// Bans that a tenant may have to be given another one here: the newest of all tenants count, and one
/// tenant's are not to push out those of others.
pub const MAX_TENANT_BANS: usize = 1000;

/// Characters of a reason, as the table has it.
const LONGEST_REASON: usize = 255;

/// Bytes of a subject, as the table has it.
const LONGEST_SUBJECT: usize = 65_535;

const COLUMNS: &str = "id, kind, subject, reason, CAST(created_at AS text) AS created_at, \
    CAST(expires_at AS text) AS expires_at";

impl NewBan {
    /// What the broker, or the table, would not take.
    pub fn problem(&self) -> Option<&'static str> {
        let subject = Subject::read(&self.kind, &self.subject);
        if !matches!(&subject, Some(it) if *it != Subject::Tenant) {
            return Some("kind and subject: a client_id, a principal, or an address or network");
        }
        let fits = !self.subject.is_empty()
            && self.subject.len() <= LONGEST_SUBJECT
            && self.reason.chars().count() <= LONGEST_REASON
            && ![&self.subject, &self.reason].iter().any(|it| it.contains('\0'));
        (!fits).then_some("subject and reason: too long, or not to be stored")
    }
}

impl Database {
    /// The newest bans of a tenant's clients, without those of every tenant.
    pub async fn tenant_bans(&self, tenant: &str) -> Result<Vec<BanRecord>, QueryError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM bans WHERE tenant = $1 ORDER BY id DESC LIMIT {MAX_TENANT_BANS}"
        );
        self.ask(sql, &[tenant]).await
    }

    /// Bans clients of a tenant; none where that has [`MAX_TENANT_BANS`] bans.
    pub async fn create_ban(
        &self,
        tenant: &str,
        ban: &NewBan,
    ) -> Result<Option<BanRecord>, QueryError> {
        let expires_at = self.in_seconds(ban.seconds);
        let sql = format!(
            "INSERT INTO bans (tenant, kind, subject, reason, expires_at) \
            SELECT $1, $2, $3, $4, {expires_at} \
            WHERE (SELECT count(*) FROM bans WHERE tenant = $1) < {MAX_TENANT_BANS} \
            RETURNING {COLUMNS}"
        );
        let values = [tenant, &ban.kind, &ban.subject, &ban.reason];
        Ok(self.ask(sql, &values).await?.into_iter().next())
    }

    /// Lifts a ban of a tenant's clients; false where the tenant has none of this number.
    pub async fn lift_ban(&self, tenant: &str, id: i64) -> Result<bool, QueryError> {
        let sql = format!("DELETE FROM bans WHERE tenant = $1 AND id = {id} RETURNING {COLUMNS}");
        Ok(!self.ask::<BanRecord>(sql, &[tenant]).await?.is_empty())
    }

    /// When so many seconds are over, in the database's own time.
    pub(super) fn in_seconds(&self, seconds: Option<u32>) -> String {
        match (&self.pools, seconds) {
            (_, None) => "NULL".to_owned(),
            (Pools::Postgres(_), Some(seconds)) => format!("now() + interval '{seconds} seconds'"),
            (Pools::Sqlite(_), Some(seconds)) => {
                format!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+{seconds} seconds')")
            }
        }
    }
}
