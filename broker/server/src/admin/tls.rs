//! TLS material: what is in force, and reading it again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Admin;
use super::error::ApiError;
use crate::tls::{Reloaded, TlsState};

/// What is in force, and why the files as they are now are not.
pub async fn state(State(admin): State<Arc<Admin>>) -> Result<Json<TlsState>, ApiError> {
    let keyring = admin.keyring.clone();
    let state = tokio::task::spawn_blocking(move || keyring.state()).await;
    state.map(Json).map_err(|error| ApiError::internal(error.to_string()))
}

/// Reads all files again: all of it is put in force, or nothing.
pub async fn reload(State(admin): State<Arc<Admin>>) -> Result<Json<Value>, ApiError> {
    let _permit = admin.changes.clone().try_acquire_owned().map_err(|_| ApiError::busy())?;
    let (keyring, broker) = (admin.keyring.clone(), admin.broker.clone());
    let reloaded = tokio::task::spawn_blocking(move || keyring.reload(&broker)).await;
    match reloaded.map_err(|error| ApiError::internal(error.to_string()))? {
        Reloaded::Applied => Ok(Json(json!({"outcome": "applied"}))),
        Reloaded::Unchanged => Ok(Json(json!({"outcome": "unchanged"}))),
        Reloaded::Refused(problems) => Err(ApiError::refused(problems.join("; "))),
    }
}
