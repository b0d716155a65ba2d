//! The life of a version, for plugins and rules alike: pushed, staged, promoted, rolled back.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use hookmq_hooks::{EVERYBODY, PipelineCell, ProgramKind, ProgramName, Stage};
use tracing::{info, warn};

use super::error::ApiError;
use super::programs::change as change_programs;
use super::{Admin, explain};
use crate::programs::{Life, ProgramError, Programs, Report};

/// Says who asks, for the history: whoever has the token may say anything.
const ACTOR: &str = "hookmq-actor";

/// Bytes of a program's name in the configuration.
const LONGEST_NAME: usize = 64;

/// Bytes of a stage with all its tenants: the history keeps each.
const LARGEST_STAGE: usize = 64 << 10;

/// The program of a path.
pub struct Named(pub ProgramName);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let nothing = || ApiError::not_found("there is nothing under this path");
        let kind = parts.extensions.get().copied().ok_or_else(nothing)?;
        let Path(name): Path<String> =
            Path::from_request_parts(parts, state).await.map_err(|_| nothing())?;
        check_name(&name)?;
        Ok(Self(ProgramName { kind, name: name.into() }))
    }
}

/// That a program can have the name, which stands for a directory, too: whoever is decoded from `..%2f`
/// is nobody.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(fits) {
        true => Ok(()),
        false => Err(ApiError::not_found("there is nothing under this path")),
    }
}

/// What can be done with the programs of one kind.
pub fn routes(path: &str, kind: ProgramKind) -> Router<Arc<Admin>> {
    let at = |rest: &str| format!("{path}/{{name}}{rest}");
    Router::new()
        .route(&at(""), get(show).post(replace))
        .route(&at("/versions"), post(push))
        .route(&at("/stage"), post(stage))
        .route(&at("/promote"), post(promote))
        .route(&at("/rollback"), post(roll_back))
        .route(&at("/candidate"), delete(withdraw))
        .route(&at("/recent"), get(explain::recent))
        .route(&at("/replay"), post(explain::replay))
        .layer(Extension(kind))
}

/// Pushes and promotes at once.
async fn replace(
    State(admin): State<Arc<Admin>>,
    Named(name): Named,
    headers: HeaderMap,
    version: Bytes,
) -> Result<Json<Report>, ApiError> {
    let who = actor(&headers);
    let report = change_programs(&admin, move |admin| {
        let report = admin.programs.replace(&name, &version, &who, &admin.broker.pipeline);
        match &report {
            Ok(report) => {
                info!(program = %name, generation = report.generation, ?who, "version replaced");
            }
            Err(error) => {
                warn!(program = %name, error = error.to_string(), ?who, "version refused");
            }
        }
        report
    });
    Ok(Json(report.await??))
}

async fn show(State(admin): State<Arc<Admin>>, Named(name): Named) -> Result<Json<Life>, ApiError> {
    let life = change_programs(&admin, move |admin| admin.programs.life(&name)).await?;
    Ok(Json(life?))
}

async fn push(
    State(admin): State<Arc<Admin>>,
    Named(name): Named,
    headers: HeaderMap,
    version: Bytes,
) -> Result<Json<Life>, ApiError> {
    let push = move |programs: &Programs, name: &ProgramName, who: &str, cell: &PipelineCell| {
        programs.push(name, &version, who, cell)
    };
    change(&admin, name, &headers, "pushed", push).await
}

async fn stage(
    State(admin): State<Arc<Admin>>,
    Named(name): Named,
    headers: HeaderMap,
    stage: Bytes,
) -> Result<Json<Life>, ApiError> {
    if stage.len() > LARGEST_STAGE {
        let message = format!("a stage has at most {LARGEST_STAGE} bytes");
        return Err(ApiError::bad_request(message));
    }
    let stage: Stage =
        serde_json::from_slice(&stage).map_err(|error| ApiError::bad_request(error.to_string()))?;
    if let Stage::Canary { share, tenants } = &stage
        && (*share > EVERYBODY || (*share == 0 && tenants.is_empty()))
    {
        let message = "a canary has a share of 1 to 10000 clients out of 10000, or tenants";
        return Err(ApiError::bad_request(message));
    }
    let set = move |programs: &Programs, name: &ProgramName, who: &str, cell: &PipelineCell| {
        programs.stage(name, stage, who, cell)
    };
    change(&admin, name, &headers, "staged", set).await
}

async fn promote(
    State(admin): State<Arc<Admin>>,
    Named(name): Named,
    headers: HeaderMap,
) -> Result<Json<Life>, ApiError> {
    change(&admin, name, &headers, "promoted", Programs::promote).await
}

async fn roll_back(
    State(admin): State<Arc<Admin>>,
    Named(name): Named,
    headers: HeaderMap,
) -> Result<Json<Life>, ApiError> {
    change(&admin, name, &headers, "rolled back", Programs::roll_back).await
}

async fn withdraw(
    State(admin): State<Arc<Admin>>,
    Named(name): Named,
    headers: HeaderMap,
) -> Result<Json<Life>, ApiError> {
    change(&admin, name, &headers, "withdrawn", Programs::withdraw).await
}

async fn change(
    admin: &Arc<Admin>,
    name: ProgramName,
    headers: &HeaderMap,
    what: &'static str,
    change: impl FnOnce(&Programs, &ProgramName, &str, &PipelineCell) -> Result<Life, ProgramError>
    + Send
    + 'static,
) -> Result<Json<Life>, ApiError> {
    let who = actor(headers);
    let life = change_programs(admin, move |admin| {
        let life = change(&admin.programs, &name, &who, &admin.broker.pipeline);
        match &life {
            Ok(life) => {
                info!(program = %name, generation = life.generation, ?who, "version {what}")
            }
            Err(error) => {
                warn!(program = %name, error = error.to_string(), ?who, "version not {what}");
            }
        }
        life
    });
    Ok(Json(life.await??))
}

/// Who asks, in their own words.
pub(super) fn actor(headers: &HeaderMap) -> String {
    let named = headers.get(ACTOR).and_then(|value| value.to_str().ok());
    named.unwrap_or("somebody with the admin token").to_owned()
}
