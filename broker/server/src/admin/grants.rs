//! Grants that let principals of other tenants in: shown, made and withdrawn.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use hookmq_access::{NewTenantGrant, TenantGrantRecord};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::tenants::{check_name, no_such_tenant, read, tables, unavailable};
use super::{Admin, life};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// Of the principal.
    tenant: String,
    username: String,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
    /// For good without it.
    expires_in_s: Option<u32>,
}

/// The grants into the tenant, and those of its own principals; the newest first.
pub async fn list(
    State(admin): State<Arc<Admin>>,
    Path(tenant): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (_, database) = tables(&admin)?;
    if database.tenant(&tenant).await.map_err(unavailable)?.is_none() {
        return Err(no_such_tenant());
    }
    let grants = database.tenant_grants(&tenant).await.map_err(unavailable)?;
    let items: Vec<_> = grants.iter().map(shown).collect();
    Ok(Json(json!({"items": items})))
}

pub async fn create(
    State(admin): State<Arc<Admin>>,
    Path(target): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (directory, database) = tables(&admin)?;
    let grant = asked(&body, &target, life::actor(&headers))?;
    for tenant in [&target, &grant.tenant] {
        if database.tenant(tenant).await.map_err(unavailable)?.is_none() {
            return Err(ApiError::not_found(format!("there is no tenant {tenant:?}")));
        }
    }
    let made = database.create_tenant_grant(&target, &grant).await.map_err(unavailable)?;
    let made = made.ok_or_else(|| ApiError::conflict("too many grants lead into the tenant"))?;
    directory.put_in_force().await;
    Ok((StatusCode::CREATED, Json(shown(&made))))
}

/// The grant into `target` that a body asks for.
pub(super) fn asked(
    body: &[u8],
    target: &str,
    granted_by: String,
) -> Result<NewTenantGrant, ApiError> {
    let Said { tenant, username, publish, subscribe, expires_in_s } = read(body)?;
    check_name(&tenant)?;
    let seconds = expires_in_s;
    let grant = NewTenantGrant { tenant, username, publish, subscribe, granted_by, seconds };
    match grant.problem(target) {
        Some(problem) => Err(ApiError::bad_request(problem)),
        None => Ok(grant),
    }
}

pub async fn withdraw(
    State(admin): State<Arc<Admin>>,
    Path((target, id)): Path<(String, i64)>,
) -> Result<StatusCode, ApiError> {
    let (directory, database) = tables(&admin)?;
    if !database.delete_tenant_grant(&target, id).await.map_err(unavailable)? {
        return Err(ApiError::not_found("no such grant leads into the tenant"));
    }
    directory.put_in_force().await;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(grant: &TenantGrantRecord) -> Value {
    let filters = |json: &str| serde_json::from_str::<Value>(json).unwrap_or_default();
    json!({
        "id": grant.id,
        "tenant": grant.tenant,
        "username": grant.username,
        "target": grant.target,
        "publish": filters(&grant.publish),
        "subscribe": filters(&grant.subscribe),
        "granted_by": grant.granted_by,
        "granted_at": grant.granted_at,
        "expires_at": grant.expires_at,
    })
}
