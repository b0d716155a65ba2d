//! The rules that tenants own: shown and changed, by their tokens, too.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use hookmq_hooks::ProgramKind;
use serde_json::{Value, json};

use super::caller::Caller;
use super::error::ApiError;
use super::tenant_programs::{beside, change, find_tenant, forget_if_gone, programs, told, who};
use super::{Admin, life};
use crate::programs::Shown;

const KIND: ProgramKind = ProgramKind::Rule;

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
    let rules = programs(&admin)?;
    let bounds = *rules.rules_options();
    let listed = beside(move || rules.list(&tenant, KIND)).await?;
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
    let rules = programs(&admin)?;
    Ok(Json(beside(move || rules.show(&tenant, KIND, &rule)).await?))
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
    let rules = programs(&admin)?;
    let had_row = find_tenant(&admin, &tenant).await?;
    let who = who(&caller, &headers);
    let pushed = {
        let (rules, tenant) = (rules.clone(), tenant.clone());
        change(&admin, move || {
            let pushed = rules.push_rule(&tenant.as_str().into(), &rule, &text, &who);
            told("pushed", (KIND, &tenant, &rule), &who, pushed.as_ref().err());
            pushed
        })
    };
    let (shown, is_new) = pushed.await?;
    if had_row {
        forget_if_gone(&admin, rules, tenant).await?;
    }
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(shown)))
}

async fn roll_back(
    State(admin): State<Arc<Admin>>,
    Path((tenant, rule)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Json<Shown>, ApiError> {
    let rules = programs(&admin)?;
    let who = who(&caller, &headers);
    let changed = change(&admin, move || {
        let changed = rules.roll_back_rule(&tenant, &rule, &who);
        told("rolled back", (KIND, &tenant, &rule), &who, changed.as_ref().err());
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
    let rules = programs(&admin)?;
    let who = who(&caller, &headers);
    let removed = change(&admin, move || {
        let removed = rules.delete(&tenant, KIND, &rule);
        told("deleted", (KIND, &tenant, &rule), &who, removed.as_ref().err());
        removed
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}
