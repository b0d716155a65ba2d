//! The plugins that tenants own: shown and changed, by their tokens, too.
//!
//! A push takes long: a tenant has one at a time, so that none of them keeps the others from the compiler,
//! which takes them in the order in which they have come.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use hookmq_hooks::ProgramKind;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::caller::Caller;
use super::error::ApiError;
use super::tenant_programs::{beside, change, find_tenant, forget_if_gone, programs, told, who};
use super::{Admin, life};
use crate::programs::{Pushing, Shown, TenantPrograms};

const KIND: ProgramKind = ProgramKind::Plugin;

/// Tenants whose pushes are taken in, wait for the compiler or are compiled. Each holds an artefact in
/// memory; further ones are refused.
const PUSHES: usize = 16;

/// Where pushes of plugins wait.
pub struct Queue {
    places: Arc<Semaphore>,
    /// The first of those who wait is served first.
    compiler: Arc<Semaphore>,
}

impl Default for Queue {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(PUSHES)), compiler: Arc::new(Semaphore::new(1)) }
    }
}

/// What a push holds from its beginning to its end, be there somebody who waits for it or not.
struct Turn {
    pushing: Pushing,
    _place: OwnedSemaphorePermit,
    /// Once it is its turn.
    compiler: Option<OwnedSemaphorePermit>,
}

/// What can be done with a tenant's plugins.
pub fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/tenants/{name}/plugins", get(list))
        .route("/tenants/{name}/plugins/{plugin}", get(show).put(push).delete(remove))
        .route("/tenants/{name}/plugins/{plugin}/rollback", post(roll_back))
}

/// What a push says beside the artefact.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    /// The plugin's configuration, as JSON.
    config: Option<String>,
}

async fn list(
    State(admin): State<Arc<Admin>>,
    Path(tenant): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let plugins = programs(&admin)?;
    let (bounds, shared) = (*plugins.plugins_options(), *plugins.rules_options());
    let listed = beside(move || plugins.list(&tenant, KIND)).await?;
    let items: Vec<_> = listed.into_iter().map(Shown::brief).collect();
    Ok(Json(json!({
        "items": items,
        "plugins_per_tenant": bounds.plugins_per_tenant,
        "plugin_bytes": bounds.plugin_bytes,
        "disk_bytes_per_tenant": bounds.disk_bytes_per_tenant,
        "pushes_per_minute": shared.pushes_per_minute,
    })))
}

async fn show(
    State(admin): State<Arc<Admin>>,
    Path((tenant, plugin)): Path<(String, String)>,
) -> Result<Json<Shown>, ApiError> {
    let plugins = programs(&admin)?;
    Ok(Json(beside(move || plugins.show(&tenant, KIND, &plugin)).await?))
}

/// Puts the artefact in force, if it is in order.
async fn push(
    State(admin): State<Arc<Admin>>,
    Path((tenant, plugin)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
    Query(Beside { config }): Query<Beside>,
    body: Body,
) -> Result<(StatusCode, Json<Shown>), ApiError> {
    life::check_name(&plugin)?;
    let plugins = programs(&admin)?;
    let had_row = find_tenant(&admin, &tenant).await?;
    let who = who(&caller, &headers);
    let mut turn = begin(&admin, &plugins, &tenant).await?;
    let most = plugins.plugins_options().plugin_bytes;
    let too_large =
        |_| ApiError::too_large(format!("a plugin of a tenant has {most} bytes at most"));
    let artefact = to_bytes(body, most).await.map_err(too_large)?;
    turn.wait(&admin).await?;
    let pushed = {
        let (plugins, tenant) = (plugins.clone(), tenant.clone());
        beside(move || {
            let (whose, config) = ((&*tenant, &*plugin), config.as_deref());
            let pushed = plugins.push_plugin(whose, &artefact, config, &who, &turn.pushing);
            told("pushed", (KIND, &tenant, &plugin), &who, pushed.as_ref().err());
            drop(turn);
            pushed
        })
    };
    let (shown, is_new) = pushed.await?;
    if had_row {
        forget_if_gone(&admin, plugins, tenant).await?;
    }
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(shown)))
}

async fn roll_back(
    State(admin): State<Arc<Admin>>,
    Path((tenant, plugin)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Json<Shown>, ApiError> {
    let plugins = programs(&admin)?;
    let had_row = find_tenant(&admin, &tenant).await?;
    let who = who(&caller, &headers);
    let mut turn = begin(&admin, &plugins, &tenant).await?;
    turn.wait(&admin).await?;
    let changed = {
        let (plugins, tenant) = (plugins.clone(), tenant.clone());
        beside(move || {
            let changed = plugins.roll_back_plugin((&tenant, &plugin), &who, &turn.pushing);
            told("rolled back", (KIND, &tenant, &plugin), &who, changed.as_ref().err());
            drop(turn);
            changed
        })
    };
    let shown = changed.await?;
    if had_row {
        forget_if_gone(&admin, plugins, tenant).await?;
    }
    Ok(Json(shown))
}

async fn remove(
    State(admin): State<Arc<Admin>>,
    Path((tenant, plugin)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let plugins = programs(&admin)?;
    let who = who(&caller, &headers);
    let removed = change(&admin, move || {
        let removed = plugins.delete(&tenant, KIND, &plugin);
        told("deleted", (KIND, &tenant, &plugin), &who, removed.as_ref().err());
        removed
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A place for one push of the tenant, which it has before the artefact is taken in.
async fn begin(
    admin: &Admin,
    plugins: &Arc<TenantPrograms>,
    tenant: &str,
) -> Result<Turn, ApiError> {
    let (plugins, tenant) = (plugins.clone(), tenant.into());
    let pushing = beside(move || plugins.begin_push(&tenant)).await?;
    let place = admin.tenant_pushes.places.clone().try_acquire_owned();
    Ok(Turn { pushing, _place: place.map_err(|_| ApiError::busy())?, compiler: None })
}

impl Turn {
    /// Waits for those who have come before.
    async fn wait(&mut self, admin: &Admin) -> Result<(), ApiError> {
        let turn = admin.tenant_pushes.compiler.clone().acquire_owned().await;
        self.compiler = Some(turn.map_err(|_| ApiError::busy())?);
        Ok(())
    }
}
