//! The broker's state: readiness, counters, connected clients.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hookmq_access::Readiness;
use hookmq_codec::ReasonCode;
use serde_json::{Value, json};

use super::Admin;
use super::caller::Caller;
use super::error::ApiError;

/// Clients of one answer at most.
const PAGE: usize = 1000;

pub async fn status(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let broker = &admin.broker;
    let (ready, reason) = readiness(&admin);
    let tenants: Vec<_> = broker
        .tenants()
        .iter()
        .map(|tenant| {
            json!({
                "name": &*tenant.name,
                "sessions": tenant.session_count(),
                "subscriptions": tenant.subscription_count(),
                "retained": tenant.retained_count(),
            })
        })
        .collect();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": broker.started.elapsed().as_secs(),
        "ready": ready,
        "reason": reason,
        "generation": broker.pipeline.generation(),
        "connections": broker.metrics.connections.value(),
        "tenants": tenants,
    }))
}

/// 200 when the broker can identify clients, 503 with the reason when not.
pub async fn ready(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let (ready, reason) = readiness(&admin);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": ready, "reason": reason})))
}

#[derive(serde::Deserialize)]
pub struct ClientsQuery {
    /// All tenants where it is absent.
    tenant: Option<String>,
}

/// Sessions, connected or not, by tenant and client id.
pub async fn clients(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<ClientsQuery>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    let wanted = match (caller.tenant(), query.tenant) {
        (None, asked) => asked,
        (Some(own), None) => Some(own.to_string()),
        (Some(own), Some(asked)) if asked == **own => Some(asked),
        _ => return Err(ApiError::forbidden("these are another tenant's clients")),
    };
    let mut items = Vec::new();
    let tenants = admin.broker.tenants();
    let tenants =
        tenants.iter().filter(|tenant| wanted.as_deref().is_none_or(|it| it == &*tenant.name));
    for tenant in tenants {
        for session in tenant.sessions(PAGE - items.len()) {
            items.push(json!({
                "tenant": &*tenant.name,
                "client_id": &*session.key.client_id,
                "username": &*session.username,
                "connected": session.is_online(),
                "outlives_connection": session.is_durable(),
                "queued": session.mailbox.queued(),
            }));
        }
    }
    Ok(Json(json!({"complete": items.len() < PAGE, "items": items})))
}

/// Disconnects a client with "administrative action"; its session stays.
pub async fn disconnect(
    State(admin): State<Arc<Admin>>,
    Path((tenant, client_id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let session = admin
        .broker
        .tenants()
        .iter()
        .find(|it| *it.name == *tenant)
        .and_then(|tenant| tenant.session(&client_id))
        .filter(|session| session.is_online())
        .ok_or_else(|| ApiError::not_found("no such client is connected"))?;
    session.disconnect(ReasonCode::AdministrativeAction);
    Ok(StatusCode::NO_CONTENT)
}

fn readiness(admin: &Admin) -> (bool, String) {
    match admin.directory.as_ref().map(|directory| directory.readiness().borrow().clone()) {
        None | Some(Readiness::Ready) => (true, String::new()),
        Some(Readiness::Starting) => (false, "the database is not reached yet".into()),
        Some(Readiness::NotReady { reason }) => (false, reason),
    }
}
