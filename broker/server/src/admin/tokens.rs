//! Tokens that are good for one tenant: made, shown once, and revoked.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hookmq_access::TokenRecord;
use rand::RngCore;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Admin;
use super::error::ApiError;
use super::tenants::{check_name, no_such_tenant, read, tables, unavailable};

/// What a tenant's token begins with, so that it is known for one wherever it turns up.
const PREFIX: &str = "hookmq-tenant-";

/// Bytes of randomness in a token.
const ENTROPY: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    pub(super) name: String,
    /// For good without it.
    expires_in_s: Option<u32>,
}

pub async fn list(
    State(admin): State<Arc<Admin>>,
    Path(tenant): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (_, database) = tables(&admin)?;
    if database.tenant(&tenant).await.map_err(unavailable)?.is_none() {
        return Err(no_such_tenant());
    }
    let tokens = database.tokens(&tenant).await.map_err(unavailable)?;
    let items: Vec<_> = tokens.iter().map(shown).collect();
    Ok(Json(json!({"items": items})))
}

/// Makes a token. It is in this answer and nowhere else.
pub async fn create(
    State(admin): State<Arc<Admin>>,
    Path(tenant): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (_, database) = tables(&admin)?;
    let said = asked(&body)?;
    if database.tenant(&tenant).await.map_err(unavailable)?.is_none() {
        return Err(no_such_tenant());
    }
    let mut random = [0; ENTROPY];
    rand::rng().fill_bytes(&mut random);
    let token = format!("{PREFIX}{}", hex::encode(random));
    let made = database.create_token(&tenant, &said.name, &hash(&token), said.expires_in_s).await;
    let made = made.map_err(unavailable)?;
    let taken = || ApiError::conflict("the tenant has a token of this name");
    let mut answer = shown(&made.ok_or_else(taken)?);
    answer["token"] = json!(token);
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The token that a body asks for.
pub(super) fn asked(body: &[u8]) -> Result<Said, ApiError> {
    let said: Said = read(body)?;
    check_name(&said.name)?;
    Ok(said)
}

pub async fn revoke(
    State(admin): State<Arc<Admin>>,
    Path((tenant, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (_, database) = tables(&admin)?;
    match database.delete_token(&tenant, &name).await.map_err(unavailable)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found("the tenant has no token of this name")),
    }
}

/// The tenant's token that was presented, if it is good.
///
/// # Errors
/// Where the database cannot say.
pub(super) async fn find(admin: &Admin, presented: &[u8]) -> Result<Option<TokenRecord>, ApiError> {
    let Some(database) = admin.tables() else { return Ok(None) };
    // Whatever else is presented is not worth a question.
    let token = std::str::from_utf8(presented).unwrap_or_default();
    let looks_like_one = token.len() == PREFIX.len() + 2 * ENTROPY && token.starts_with(PREFIX);
    if !looks_like_one {
        return Ok(None);
    }
    database.token(&hash(token)).await.map_err(unavailable)
}

fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

fn shown(token: &TokenRecord) -> Value {
    json!({
        "tenant": token.tenant,
        "name": token.name,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
    })
}
