//! The rules that tenants own: shown and changed, by their tokens, too.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::caller::Caller;
use super::error::ApiError;
use super::tenants::{check_name, no_such_tenant, unavailable};
use super::{Admin, life};
use crate::broker::Broker;
use crate::programs::{Shown, TenantProgramError, TenantPrograms};

/// Bytes of a request; a rule's own bound is lower.
const LARGEST_BODY: usize = 128 << 10;

/// What can be done with a tenant's rules.
pub fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/tenants/{name}/rules", get(list))
        .route("/tenants/{name}/rules/{rule}", get(show).put(push).delete(remove))
        .route("/tenants/{name}/rules/{rule}/rollback", post(roll_back))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
}

async fn list(
    State(admin): State<Arc<Admin>>,
    Path(tenant): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let rules = rules(&admin)?;
    let bounds = *rules.options();
    let listed = beside(move || rules.list(&tenant)).await?;
    let items: Vec<_> = listed.into_iter().map(Shown::brief).collect();
    Ok(Json(json!({
        "items": items,
        "rules_per_tenant": bounds.rules_per_tenant,
        "rule_bytes": bounds.rule_bytes,
        "pushes_per_minute": bounds.pushes_per_minute,
    })))
}

async fn show(
    State(admin): State<Arc<Admin>>,
    Path((tenant, rule)): Path<(String, String)>,
) -> Result<Json<Shown>, ApiError> {
    let rules = rules(&admin)?;
    Ok(Json(beside(move || rules.show(&tenant, &rule)).await?))
}

/// Puts the text in force, if it is in order.
async fn push(
    State(admin): State<Arc<Admin>>,
    Path((tenant, rule)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
    text: Bytes,
) -> Result<(StatusCode, Json<Shown>), ApiError> {
    life::check_name(&rule)?;
    let rules = rules(&admin)?;
    let had_row = find_tenant(&admin, &tenant).await?;
    let who = who(&caller, &headers);
    let pushed = {
        let (rules, tenant) = (rules.clone(), tenant.clone());
        change(&admin, move || {
            let pushed = rules.push(&tenant.as_str().into(), &rule, &text, &who);
            told("pushed", &tenant, &rule, &who, pushed.as_ref().err());
            pushed
        })
    };
    let (shown, is_new) = pushed.await?;
    // Whoever has deleted it meanwhile has not seen this rule.
    if had_row && !has_row(&admin, &tenant).await? {
        let forget = move || {
            rules.forget(&tenant);
            Ok::<_, TenantProgramError>(())
        };
        beside(forget).await?;
        return Err(no_such_tenant());
    }
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(shown)))
}

async fn roll_back(
    State(admin): State<Arc<Admin>>,
    Path((tenant, rule)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Json<Shown>, ApiError> {
    let rules = rules(&admin)?;
    let who = who(&caller, &headers);
    let changed = change(&admin, move || {
        let changed = rules.roll_back(&tenant, &rule, &who);
        told("rolled back", &tenant, &rule, &who, changed.as_ref().err());
        changed
    });
    Ok(Json(changed.await?))
}

async fn remove(
    State(admin): State<Arc<Admin>>,
    Path((tenant, rule)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let rules = rules(&admin)?;
    let who = who(&caller, &headers);
    let removed = change(&admin, move || {
        let removed = rules.delete(&tenant, &rule);
        told("deleted", &tenant, &rule, &who, removed.as_ref().err());
        removed
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The rules of all tenants, where the pipeline has a place for them.
fn rules(admin: &Admin) -> Result<Arc<TenantPrograms>, ApiError> {
    let missing = || {
        let message = "the pipeline has no place for tenants' rules";
        ApiError::conflict(message).with_hint(place_hint("publish"))
    };
    admin.broker.tenant_programs.clone().ok_or_else(missing)
}

/// The line of the configuration that makes a place for tenants' rules.
pub(super) fn place_hint(hook: &str) -> String {
    format!(
        "add the step to the configuration, and start the broker again:\n  pipeline:\n    \
         {hook}:\n      - builtin: tenant_rules"
    )
}

/// Whether the tenant has a row. Without tables whoever is named may come some day.
async fn find_tenant(admin: &Admin, tenant: &str) -> Result<bool, ApiError> {
    check_name(tenant)?;
    let has_row = has_row(admin, tenant).await?;
    if admin.tables().is_some() && !has_row && admin.broker.used_tenant(tenant).is_none() {
        return Err(no_such_tenant());
    }
    Ok(has_row)
}

async fn has_row(admin: &Admin, tenant: &str) -> Result<bool, ApiError> {
    let Some(database) = admin.tables() else { return Ok(false) };
    Ok(database.tenant(tenant).await.map_err(unavailable)?.is_some())
}

fn who(caller: &Caller, headers: &HeaderMap) -> String {
    match caller {
        Caller::Broker => life::actor(headers),
        Caller::Tenant { token, .. } => format!("token {token}"),
    }
}

fn told(what: &str, tenant: &str, rule: &str, who: &str, error: Option<&TenantProgramError>) {
    match error {
        None => info!(?tenant, rule, ?who, "rule of a tenant {what}"),
        // What no bound holds back is not logged: the audit record has it, at a rate.
        Some(TenantProgramError::TooOften(_) | TenantProgramError::NoSuchRule) => {}
        Some(TenantProgramError::Unreadable(_)) => {}
        Some(error) => {
            // Several lines of the tenant's own text, perhaps.
            let error = error.to_string();
            warn!(?tenant, rule, ?who, error, "rule of a tenant not {what}");
        }
    }
}

/// Changes rules beside the connections' workers, a few tenants at a time; others wait.
async fn change<T: Send + 'static>(
    admin: &Admin,
    change: impl FnOnce() -> Result<T, TenantProgramError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = admin.tenant_changes.clone().acquire_owned().await.map_err(|_| ApiError::busy())?;
    let change = move || {
        // It goes on where nobody waits for the answer any more.
        let _turn = turn;
        change()
    };
    beside(change).await
}

/// Looks at rules beside the connections' workers: a change of the tenant's may be under way.
async fn beside<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, TenantProgramError> + Send + 'static,
) -> Result<T, ApiError> {
    let looking = tokio::task::spawn_blocking(look);
    Ok(looking.await.map_err(|error| ApiError::internal(error.to_string()))??)
}

/// Whose state is told in the metrics, beside what the rules themselves count.
pub(super) fn figures(broker: &Broker) -> Option<(usize, u32)> {
    let rules = broker.tenant_programs.as_ref()?;
    Some((rules.count(), rules.instances()))
}
