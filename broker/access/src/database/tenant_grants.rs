//! Grants that reach into other tenants, as an administrator makes and withdraws them.

use sqlx::FromRow;

use super::{Database, Pools, QueryError};
use crate::tenant_grants::granted_filters;

/// A row of `tenant_grants`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct TenantGrantRecord {
    pub id: i64,
    /// Of the principal.
    pub tenant: String,
    pub username: String,
    /// The tenant that it reaches.
    pub target: String,
    /// JSON arrays of topic filters.
    pub publish: String,
    pub subscribe: String,
    pub granted_by: String,
    /// As the database writes them.
    pub granted_at: String,
    pub expires_at: Option<String>,
}

/// A grant to be made.
#[derive(Debug, Clone)]
pub struct NewTenantGrant {
    /// Of the principal.
    pub tenant: String,
    pub username: String,
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
    pub granted_by: String,
    /// For good without it.
    pub seconds: Option<u32>,
}

/// A grant as it is read to be held.
#[derive(Debug, FromRow)]
pub(crate) struct TenantGrantRow {
    pub id: i64,
    pub tenant: String,
    pub username: String,
    pub target: String,
    pub publish: String,
    pub subscribe: String,
    pub granted_by: String,
    /// Milliseconds since 1970. None: for good.
    pub expires_at: Option<i64>,
}

/// Grants into one tenant that it may have to be given another one here, so that one tenant's do not
/// push out those of others.
pub const MAX_GRANTS_INTO_TENANT: usize = 1000;

/// Characters of a username and of who has granted, as the table has them.
const LONGEST_USERNAME: usize = 1024;
const LONGEST_GRANTED_BY: usize = 255;

const COLUMNS: &str = "id, tenant, username, target, CAST(publish AS text) AS publish, \
    CAST(subscribe AS text) AS subscribe, granted_by, CAST(granted_at AS text) AS granted_at, \
    CAST(expires_at AS text) AS expires_at";

impl NewTenantGrant {
    /// What the broker, or the table, would not take.
    pub fn problem(&self, target: &str) -> Option<String> {
        if target.contains(['/', '+', '#']) {
            return Some("a tenant with /, + or # in its name cannot be reached".into());
        }
        if self.tenant == target {
            return Some("tenant: a principal needs no grant in its own tenant".into());
        }
        if !(1..=LONGEST_USERNAME).contains(&self.username.chars().count()) {
            return Some(format!("username: 1 to {LONGEST_USERNAME} characters"));
        }
        if self.publish.is_empty() && self.subscribe.is_empty() {
            return Some("publish, subscribe: one of them has a topic filter".into());
        }
        let texts = [&self.tenant, &self.username, &self.granted_by];
        if texts.into_iter().any(|it| it.contains('\0')) {
            return Some("NUL cannot be stored".into());
        }
        [("publish", &self.publish), ("subscribe", &self.subscribe)].into_iter().find_map(
            |(name, filters)| {
                let read = granted_filters(&json(filters));
                read.err().map(|problem| format!("{name}: {problem}"))
            },
        )
    }
}

fn json(filters: &[String]) -> String {
    serde_json::json!(filters).to_string()
}

impl Database {
    /// The newest grants into a tenant, and those of its own principals.
    pub async fn tenant_grants(&self, tenant: &str) -> Result<Vec<TenantGrantRecord>, QueryError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM tenant_grants WHERE target = $1 OR tenant = $1 \
            ORDER BY id DESC LIMIT {MAX_GRANTS_INTO_TENANT}"
        );
        self.ask(sql, &[tenant]).await
    }

    /// Lets a principal into `target`; none where [`MAX_GRANTS_INTO_TENANT`] lead there.
    pub async fn create_tenant_grant(
        &self,
        target: &str,
        grant: &NewTenantGrant,
    ) -> Result<Option<TenantGrantRecord>, QueryError> {
        let expires_at = self.in_seconds(grant.seconds);
        let (publish, subscribe) = (self.json("$4"), self.json("$5"));
        let sql = format!(
            "INSERT INTO tenant_grants \
            (target, tenant, username, publish, subscribe, granted_by, expires_at) \
            SELECT $1, $2, $3, {publish}, {subscribe}, $6, {expires_at} \
            WHERE (SELECT count(*) FROM tenant_grants WHERE target = $1) < {MAX_GRANTS_INTO_TENANT} \
            RETURNING {COLUMNS}"
        );
        let (publish, subscribe) = (json(&grant.publish), json(&grant.subscribe));
        let granted_by: String = grant.granted_by.chars().take(LONGEST_GRANTED_BY).collect();
        let values = [target, &grant.tenant, &grant.username, &publish, &subscribe, &granted_by];
        Ok(self.ask(sql, &values).await?.into_iter().next())
    }

    /// Withdraws a grant into `target`; false where there is none of this number.
    pub async fn delete_tenant_grant(&self, target: &str, id: i64) -> Result<bool, QueryError> {
        let sql = format!(
            "DELETE FROM tenant_grants WHERE target = $1 AND id = {id} RETURNING {COLUMNS}"
        );
        Ok(!self.ask::<TenantGrantRecord>(sql, &[target]).await?.is_empty())
    }

    /// The grants that are not over, between tenants that are enabled, the oldest first.
    pub(crate) async fn held_tenant_grants(
        &self,
        limit: usize,
    ) -> Result<Vec<TenantGrantRow>, QueryError> {
        let (expires_at, lasts) = match &self.pools {
            Pools::Postgres(_) => (
                "CAST(ceil(extract(epoch FROM expires_at) * 1000) AS bigint)",
                "expires_at > now()",
            ),
            Pools::Sqlite(_) => (
                "CAST(round((julianday(expires_at) - 2440587.5) * 86400000) AS integer)",
                "julianday(expires_at) > julianday('now')",
            ),
        };
        let sql = format!(
            "SELECT id, tenant, username, target, CAST(publish AS text) AS publish, \
            CAST(subscribe AS text) AS subscribe, granted_by, {expires_at} AS expires_at \
            FROM tenant_grants \
            JOIN tenants AS home ON home.name = tenant AND home.enabled \
            JOIN tenants AS goal ON goal.name = target AND goal.enabled \
            WHERE expires_at IS NULL OR {lasts} ORDER BY id LIMIT {limit}"
        );
        self.ask(sql, &[]).await
    }
}
