//! Tenants: as the tables have them, what they may use, and what they use.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use hookmq_access::{Database, Directory, Quota, QuotaChange, TenantChange, TenantRecord};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::caller::Caller;
use super::error::ApiError;
use super::{Admin, bans, grants, tokens};
use crate::broker::meter::Bound;
use crate::broker::metrics::TenantTraffic;

/// Tenants of one answer at most.
const PAGE: usize = 1000;

/// Characters of a name, as the tables have it.
const LONGEST_NAME: usize = 255;

/// What a request may say of a tenant. Where it changes one, what it does not name stays.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Said {
    name: Option<String>,
    enabled: Option<bool>,
    attributes: Option<Map<String, Value>>,
    /// Null, which is not the same as nothing: the defaults of the configuration count.
    #[serde(deserialize_with = "present")]
    quotas: Option<Option<Map<String, Value>>>,
}

#[derive(Deserialize)]
pub struct PageQuery {
    /// The last name of the page before.
    #[serde(default)]
    after: String,
}

/// Bytes of a request.
const LARGEST_BODY: usize = 64 << 10;

/// What can be done with tenants and their tokens.
pub fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/tenants", get(list).post(create))
        .route("/tenants/{name}", get(show).patch(alter).delete(remove))
        .route("/tenants/{name}/tokens", get(tokens::list).post(tokens::create))
        .route("/tenants/{name}/tokens/{token}", delete(tokens::revoke))
        .route("/tenants/{name}/grants", get(grants::list).post(grants::create))
        .route("/tenants/{name}/grants/{id}", delete(grants::withdraw))
        .route("/tenants/{name}/bans", get(bans::list).post(bans::create))
        .route("/tenants/{name}/bans/{id}", delete(bans::lift))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
}

/// Tenants by name: those of the tables, and those in use without a row there.
async fn list(
    State(admin): State<Arc<Admin>>,
    Query(PageQuery { after }): Query<PageQuery>,
) -> Result<Json<Value>, ApiError> {
    let mut items: BTreeMap<String, Option<TenantRecord>> = BTreeMap::new();
    for tenant in admin.broker.tenants() {
        if *tenant.name > *after {
            items.insert(tenant.name.to_string(), None);
        }
    }
    if let Some(database) = admin.tables() {
        let stored = database.tenants(&after, PAGE + 1).await.map_err(unavailable)?;
        items.extend(stored.into_iter().map(|record| (record.name.clone(), Some(record))));
    }
    let complete = items.len() <= PAGE;
    let items = items.into_iter().take(PAGE);
    let items: Vec<_> = items.map(|(name, record)| shown(&admin, &name, record)).collect();
    Ok(Json(json!({"complete": complete, "items": items})))
}

async fn show(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let stored = match admin.tables() {
        Some(database) => database.tenant(&name).await.map_err(unavailable)?,
        None => None,
    };
    if stored.is_none() && admin.broker.used_tenant(&name).is_none() {
        return Err(no_such_tenant());
    }
    Ok(Json(shown(&admin, &name, stored)))
}

async fn create(
    State(admin): State<Arc<Admin>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (directory, database) = tables(&admin)?;
    let said: Said = read(&body)?;
    let name = said.name.clone().ok_or_else(|| ApiError::bad_request("name: it is missing"))?;
    check_name(&name)?;
    if !database.create_tenant(&name, &change(said)?).await.map_err(unavailable)? {
        return Err(ApiError::conflict("there is a tenant of this name"));
    }
    directory.put_in_force().await;
    let stored = database.tenant(&name).await.map_err(unavailable)?;
    Ok((StatusCode::CREATED, Json(shown(&admin, &name, stored))))
}

async fn alter(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    caller: Caller,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let (directory, database) = tables(&admin)?;
    let said: Said = read(&body)?;
    if said.quotas.is_some() || said.enabled.is_some() {
        caller.demand_broker("a tenant's token does not change quotas, nor enable the tenant")?;
    }
    if said.name.as_ref().is_some_and(|other| *other != name) {
        return Err(ApiError::bad_request("name: a tenant cannot be renamed here"));
    }
    if !database.change_tenant(&name, &change(said)?).await.map_err(unavailable)? {
        return Err(no_such_tenant());
    }
    directory.put_in_force().await;
    let stored = database.tenant(&name).await.map_err(unavailable)?;
    Ok(Json(shown(&admin, &name, stored)))
}

/// Deletes the tenant with all its rows, ends its connections and sessions, and forgets what it retains.
async fn remove(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (directory, database) = tables(&admin)?;
    if !database.delete_tenant(&name).await.map_err(unavailable)? {
        return Err(no_such_tenant());
    }
    directory.put_in_force().await;
    admin.broker.clear_tenant(&name);
    Ok(StatusCode::NO_CONTENT)
}

/// Where tenants are kept.
pub(super) fn tables(admin: &Admin) -> Result<(&Directory, &Database), ApiError> {
    let missing = "the broker has no database: add `database` to its configuration";
    let directory = admin.directory.as_ref().ok_or_else(|| ApiError::conflict(missing))?;
    let foreign = "with `database.queries`, tenants are not in tables of the broker's own";
    let database = directory.tables().ok_or_else(|| ApiError::conflict(foreign))?;
    Ok((directory, database))
}

pub(super) fn unavailable(error: hookmq_access::QueryError) -> ApiError {
    match error.is_refusal() {
        true => ApiError::refused(format!("the tables do not take it: {error}")),
        false => ApiError::unavailable(format!("the database: {error}")),
    }
}

pub(super) fn no_such_tenant() -> ApiError {
    ApiError::not_found("there is no such tenant")
}

/// A JSON object: an array of its values, in their order, is none.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ApiError::bad_request("the body is a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// As the tables would check it.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    let length = name.chars().count();
    if !(1..=LONGEST_NAME).contains(&length) || name.contains(|it: char| it.is_ascii_control()) {
        let message = "name: 1 to 255 characters, none of them a control character";
        return Err(ApiError::bad_request(message));
    }
    Ok(())
}

/// What a body asks for, of whichever tenant.
#[cfg(any(test, fuzzing))]
pub(super) fn asked(body: &[u8]) -> Result<TenantChange, ApiError> {
    let said: Said = read(body)?;
    said.name.as_deref().map_or(Ok(()), check_name)?;
    change(said)
}

fn change(said: Said) -> Result<TenantChange, ApiError> {
    let attributes = said.attributes.map(|it| Value::Object(it).to_string());
    if attributes.as_ref().is_some_and(|it| it.contains("\\u0000")) {
        // Postgres does not take it.
        return Err(ApiError::bad_request("attributes: NUL cannot be stored"));
    }
    let quota = match said.quotas {
        None => QuotaChange::Keep,
        Some(None) => QuotaChange::Remove,
        Some(Some(bounds)) => QuotaChange::Set(checked(bounds)?),
    };
    Ok(TenantChange { enabled: said.enabled, attributes, quota })
}

/// The bounds that are named.
fn checked(bounds: Map<String, Value>) -> Result<Vec<(&'static str, Option<u64>)>, ApiError> {
    let names: Vec<String> = bounds.keys().cloned().collect();
    let quota: Quota = serde_json::from_value(Value::Object(bounds))
        .map_err(|error| ApiError::bad_request(format!("quotas: {error}")))?;
    if let Some((_, problem)) = quota.problem() {
        return Err(ApiError::bad_request(format!("quotas: {problem}")));
    }
    let named = |(name, _): &(&str, _)| names.iter().any(|it| it == name);
    Ok(quota.bounds().into_iter().filter(named).collect())
}

fn shown(admin: &Admin, name: &str, stored: Option<TenantRecord>) -> Value {
    let mut shown = json!({
        "name": name,
        "stored": stored.is_some(),
        "quotas_in_force": admin.broker.quota_of(name),
        "usage": usage(admin, name),
    });
    if let Some(record) = stored {
        shown["enabled"] = json!(record.enabled);
        shown["attributes"] = serde_json::from_str(&record.attributes).unwrap_or_default();
        shown["created_at"] = json!(record.created_at);
        shown["quotas"] = json!(record.quota);
    }
    shown
}

/// What the tenant uses of this broker; null where it has not been used since the start.
fn usage(admin: &Admin, name: &str) -> Value {
    let Some(tenant) = admin.broker.used_tenant(name) else { return Value::Null };
    let reached = Bound::ALL.map(|bound| (bound.key().to_owned(), tenant.meter.reached(bound)));
    let mut usage = json!({
        "connections": tenant.meter.connections(),
        "sessions": tenant.session_count(),
        "subscriptions": tenant.subscription_count(),
        "guest_subscriptions": tenant.guests.count(),
        "retained_messages": tenant.retained_count(),
        "retained_bytes": tenant.retained_bytes(),
        "queued_bytes": tenant.queued_bytes(),
        "quotas_reached": BTreeMap::from(reached),
        "steps_held_back": tenant.budget.throttled(),
    });
    for (name, count) in TenantTraffic::NAMES.iter().zip(tenant.traffic()) {
        usage[name] = json!(count);
    }
    usage
}

fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
