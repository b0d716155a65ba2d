//! What tenants' rules and plugins have in common, as the API sees them.

use std::sync::Arc;

use axum::http::HeaderMap;
use hookmq_hooks::ProgramKind;
use tracing::{info, warn};

use super::caller::Caller;
use super::error::ApiError;
use super::tenants::{check_name, no_such_tenant, unavailable};
use super::{Admin, life};
use crate::programs::{TenantProgramError, TenantPrograms};

/// The programs of all tenants, where the pipeline has a place for them.
pub(super) fn programs(admin: &Admin) -> Result<Arc<TenantPrograms>, ApiError> {
    let missing = || {
        let message = "the pipeline has no place for tenants' programs";
        ApiError::conflict(message).with_hint(place_hint("publish"))
    };
    admin.broker.tenant_programs.clone().ok_or_else(missing)
}

/// The line of the configuration that makes a place for tenants' programs.
pub(super) fn place_hint(hook: &str) -> String {
    format!(
        "add the step to the configuration, and start the broker again:\n  pipeline:\n    \
         {hook}:\n      - builtin: tenant_rules"
    )
}

/// Whether the tenant has a row. Without tables whoever is named may come some day.
pub(super) async fn find_tenant(admin: &Admin, tenant: &str) -> Result<bool, ApiError> {
    check_name(tenant)?;
    let has_row = has_row(admin, tenant).await?;
    if admin.tables().is_some() && !has_row && admin.broker.used_tenant(tenant).is_none() {
        return Err(no_such_tenant());
    }
    Ok(has_row)
}

pub(super) async fn has_row(admin: &Admin, tenant: &str) -> Result<bool, ApiError> {
    let Some(database) = admin.tables() else { return Ok(false) };
    Ok(database.tenant(tenant).await.map_err(unavailable)?.is_some())
}

pub(super) fn who(caller: &Caller, headers: &HeaderMap) -> String {
    match caller {
        Caller::Broker => life::actor(headers),
        Caller::Tenant { token, .. } => format!("token {token}"),
    }
}

pub(super) fn told(
    what: &str,
    (kind, tenant, name): (ProgramKind, &str, &str),
    who: &str,
    error: Option<&TenantProgramError>,
) {
    use TenantProgramError as E;
    let kind = kind.name();
    match error {
        None => info!(?tenant, name, ?who, "{kind} of a tenant {what}"),
        // What no bound holds back is not logged: the audit record has it, at a rate.
        Some(E::TooOften(_) | E::NoSuch(_) | E::Unreadable(_) | E::Pushing) => {}
        Some(error) => {
            // Several lines of the tenant's own text, perhaps.
            let error = error.to_string();
            warn!(?tenant, name, ?who, error, "{kind} of a tenant not {what}");
        }
    }
}

/// Changes programs beside the connections' workers, a few tenants at a time; others wait.
pub(super) async fn change<T: Send + 'static>(
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

/// Looks at programs beside the connections' workers: a change of the tenant's may be under way.
pub(super) async fn beside<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, TenantProgramError> + Send + 'static,
) -> Result<T, ApiError> {
    let looking = tokio::task::spawn_blocking(look);
    Ok(looking.await.map_err(|error| ApiError::internal(error.to_string()))??)
}

/// Takes all of a tenant's programs away where its row has gone since it was looked for: whoever has deleted
/// it has not seen what was pushed just now.
pub(super) async fn forget_if_gone(
    admin: &Admin,
    programs: Arc<TenantPrograms>,
    tenant: String,
) -> Result<(), ApiError> {
    if has_row(admin, &tenant).await? {
        return Ok(());
    }
    let forget = move || {
        programs.forget(&tenant);
        Ok::<_, TenantProgramError>(())
    };
    beside(forget).await?;
    Err(no_such_tenant())
}
