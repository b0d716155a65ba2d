//! Whose rights are compared: clients that a broker has told of, or principals by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use hookmq_access::{MAX_COMPARED, PrincipalKey, Prospect};
use hookmq_codec::{ProtocolVersion, Qos, TopicFilter};
use hookmq_hooks::{Attribute, Client, ConnectionFacts, Voucher};
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use super::super::api::Api;

/// One client, or one principal that need not be connected.
pub(super) struct Compared {
    pub client: Client,
    /// None where the step `database` has not looked it up.
    pub key: Option<PrincipalKey>,
    /// None where its connection has not told.
    pub subscriptions: Option<Vec<(TopicFilter, Qos)>>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    tenant: Arc<str>,
    client_id: Arc<str>,
    client_id_bound: bool,
    username: Arc<str>,
    listener: Arc<str>,
    roles: BTreeSet<Arc<str>>,
    attributes: BTreeMap<Arc<str>, ItemAttribute>,
    looked_up: Option<LookedUp>,
    subscriptions: Option<Vec<Held>>,
}

#[derive(Deserialize)]
struct ItemAttribute {
    value: String,
    vouched_by: Value,
}

#[derive(Deserialize)]
struct LookedUp {
    client_id: Option<Arc<str>>,
    roles: BTreeSet<Arc<str>>,
}

#[derive(Deserialize)]
struct Held {
    filter: String,
    qos: u8,
}

/// Asks the broker, page by page.
pub(super) fn connected(api: &Api, tenant: Option<&str>) -> Result<Vec<Compared>> {
    let mut clients: Vec<Compared> = Vec::new();
    let mut next = None;
    loop {
        let tenant = tenant.map(|name| format!("tenant={}", escaped(name)));
        let after = next.map(|place: String| format!("after={place}"));
        let wanted: Vec<_> = tenant.into_iter().chain(after).collect();
        let path = format!("/identities?{}", wanted.join("&"));
        let answer = api.request(Method::GET, &path, vec![])?;
        let page: Page = serde_json::from_value(answer).context("the broker's answer")?;
        for item in page.items {
            clients.push(item.into_compared()?);
        }
        ensure!(
            clients.len() <= MAX_COMPARED,
            "more than {MAX_COMPARED} clients are connected: name a --tenant"
        );
        next = page.next;
        if next.is_none() {
            return Ok(clients);
        }
    }
}

/// Whatever is in it, for an address.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

impl Item {
    fn into_compared(self) -> Result<Compared> {
        let attributes =
            self.attributes.into_iter().map(|(name, ItemAttribute { value, vouched_by })| {
                // Only the client itself counts for nothing, and only the tables' word may change.
                let vouched_by = match (vouched_by.as_str(), vouched_by["step"].as_str()) {
                    (Some("claim"), _) => Voucher::Claim,
                    (_, Some(step)) => Voucher::Step(step.into()),
                    _ => Voucher::Step("the broker".into()),
                };
                (name, Attribute { value, vouched_by })
            });
        let key = self.looked_up.map(|LookedUp { client_id, roles }| PrincipalKey {
            tenant: self.tenant.clone(),
            username: self.username.clone(),
            client_id,
            roles,
        });
        let held = |it: Held| -> Result<(TopicFilter, Qos)> {
            let qos = Qos::from_bits(it.qos).context("a subscription's QoS")?;
            Ok((TopicFilter::new(&*it.filter).context("a subscription's filter")?, qos))
        };
        let subscriptions =
            self.subscriptions.map(|all| all.into_iter().map(held).collect::<Result<_>>());
        let identity = (self.tenant, self.username, self.client_id, self.client_id_bound);
        let mut client = client(identity, self.listener, attributes.collect());
        client.roles = self.roles;
        Ok(Compared { client, key, subscriptions: subscriptions.transpose()? })
    }
}

impl Compared {
    /// A principal as it would connect, with nothing but what the tables say of it.
    pub(super) fn described(key: &PrincipalKey, prospect: &Prospect) -> Self {
        let attributes = match &prospect.before {
            Ok(Ok(principal)) => principal.attributes_beside(&BTreeMap::new()),
            _ => BTreeMap::new(),
        };
        let identity = (key.tenant.clone(), key.username.clone(), "".into(), false);
        Self {
            client: client(identity, "".into(), attributes),
            key: Some(key.clone()),
            subscriptions: Some(vec![]),
        }
    }
}

fn client(
    (tenant, username, client_id, client_id_bound): (Arc<str>, Arc<str>, Arc<str>, bool),
    listener: Arc<str>,
    attributes: BTreeMap<Arc<str>, Attribute>,
) -> Client {
    let (protocol, encrypted) = (ProtocolVersion::V5, false);
    Client {
        tenant,
        username,
        client_id,
        client_id_bound,
        roles: BTreeSet::new(),
        attributes,
        connection: ConnectionFacts { listener, peer: None, protocol, encrypted },
        certificate: None,
        attachments: Default::default(),
        limits: Default::default(),
        budget: Default::default(),
        steps: Default::default(),
    }
}
