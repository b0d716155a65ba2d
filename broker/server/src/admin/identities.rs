//! Who is connected: as whom, vouched for by whom, and subscribed to what.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use hookmq_access::Directory;
use serde_json::{Value, json};

use super::Admin;
use super::error::ApiError;
use crate::broker::identities::Connected;

/// Clients of one answer at most.
const PAGE: usize = 200;

#[derive(serde::Deserialize)]
pub struct IdentitiesQuery {
    /// All tenants where it is absent.
    tenant: Option<String>,
    /// What the page before has given as `next`.
    after: Option<String>,
}

/// Connected clients by tenant and client id, a page at a time. `next` leads to the next page, and is
/// absent on the last one.
pub async fn page(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<IdentitiesQuery>,
) -> Result<Json<Value>, ApiError> {
    let after = query.after.as_deref().map(read_place).transpose()?;
    let mut items = Vec::new();
    for tenant in admin.broker.tenants() {
        if query.tenant.as_deref().is_some_and(|wanted| wanted != &*tenant.name) {
            continue;
        }
        let behind = match &after {
            Some((name, _)) if **name > *tenant.name => continue,
            Some((name, client_id)) if **name == *tenant.name => Some(&**client_id),
            _ => None,
        };
        let (connected, more) = tenant.connected(behind, PAGE - items.len()).await;
        items.extend(connected.iter().map(shown));
        if more || items.len() == PAGE {
            let next = items.last().map(|last| place(&last["tenant"], &last["client_id"]));
            return Ok(Json(json!({"items": items, "next": next})));
        }
    }
    Ok(Json(json!({"items": items})))
}

fn shown(Connected { client, subscriptions }: &Connected) -> Value {
    let subscriptions = subscriptions.as_ref().map(|held| {
        let shown = |(filter, qos): &(hookmq_codec::TopicFilter, hookmq_codec::Qos)| {
            json!({"filter": filter.as_str(), "qos": *qos as u8})
        };
        held.iter().map(shown).collect::<Vec<_>>()
    });
    let looked_up = Directory::looked_up(client)
        .map(|key| json!({"client_id": key.client_id, "roles": key.roles}));
    json!({
        "tenant": client.tenant,
        "client_id": client.client_id,
        "client_id_bound": client.client_id_bound,
        "username": client.username,
        "listener": client.connection.listener,
        "roles": client.roles,
        "attributes": client.attributes,
        "looked_up": looked_up,
        "subscriptions": subscriptions,
    })
}

/// Where a page ends, of characters that an address takes as they are.
fn place(tenant: &Value, client_id: &Value) -> String {
    hex::encode(json!([tenant, client_id]).to_string())
}

fn read_place(text: &str) -> Result<(String, String), ApiError> {
    let bytes = hex::decode(text).ok();
    let place = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    place.ok_or_else(|| ApiError::bad_request("after: what a page before has given as `next`"))
}
