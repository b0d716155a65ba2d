//! Bans of a tenant's clients: shown, made and lifted. Those of every tenant are made in SQL.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hookmq_access::{BanRecord, NewBan};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::error::ApiError;
use super::tenants::{read, tables, unavailable};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    kind: String,
    subject: String,
    #[serde(default)]
    reason: String,
    /// For good without it.
    expires_in_s: Option<u32>,
}

pub async fn list(
    State(admin): State<Arc<Admin>>,
    Path(tenant): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (_, database) = tables(&admin)?;
    let bans = database.tenant_bans(&tenant).await.map_err(unavailable)?;
    let items: Vec<_> = bans.iter().map(shown).collect();
    Ok(Json(json!({"items": items})))
}

pub async fn create(
    State(admin): State<Arc<Admin>>,
    Path(tenant): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (directory, database) = tables(&admin)?;
    let ban = asked(&body)?;
    let made = database.create_ban(&tenant, &ban).await.map_err(unavailable)?;
    let made = made.ok_or_else(|| ApiError::conflict("the tenant has too many bans"))?;
    directory.put_in_force().await;
    Ok((StatusCode::CREATED, Json(shown(&made))))
}

/// The ban that a body asks for.
pub(super) fn asked(body: &[u8]) -> Result<NewBan, ApiError> {
    let Said { kind, subject, reason, expires_in_s } = read(body)?;
    let ban = NewBan { kind, subject, reason, seconds: expires_in_s };
    match ban.problem() {
        Some(problem) => Err(ApiError::bad_request(problem)),
        None => Ok(ban),
    }
}

pub async fn lift(
    State(admin): State<Arc<Admin>>,
    Path((tenant, id)): Path<(String, i64)>,
) -> Result<StatusCode, ApiError> {
    let (directory, database) = tables(&admin)?;
    if !database.lift_ban(&tenant, id).await.map_err(unavailable)? {
        return Err(ApiError::not_found("the tenant has no such ban"));
    }
    directory.put_in_force().await;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(ban: &BanRecord) -> Value {
    json!({
        "id": ban.id,
        "kind": ban.kind,
        "subject": ban.subject,
        "reason": ban.reason,
        "created_at": ban.created_at,
        "expires_at": ban.expires_at,
    })
}
