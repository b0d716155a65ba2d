//! Why: what each step says to a question, described or recorded, and what a candidate would say.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hookmq_codec::{ProtocolVersion, Qos, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Action, Attribute, Client, ConnectAttempt, ConnectionFacts, Explanation, Identity, OwnedAccess,
    ProgramKind, ProgramName, Question, Recorded, Secret, Voucher,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::Admin;
use super::error::ApiError;
use super::life::Named;
use super::programs::change;
use crate::programs::Replayed;

/// A question: of a client that is connected, of one that is described, or as it was recorded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    recorded: Option<RecordedQuestion>,
    #[serde(default = "default_tenant")]
    tenant: String,
    #[serde(default)]
    client_id: String,
    /// With it the client is described; without, it is the one that is connected.
    username: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    /// Vouched for by a step named `explain`.
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    listener: String,
    /// For connect.
    password: Option<String>,
    #[serde(default = "default_action")]
    action: AskedAction,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
    payload: Option<String>,
    payload_base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedQuestion {
    kind: ProgramKind,
    name: String,
    number: u64,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum AskedAction {
    Connect,
    Publish,
    Subscribe,
    Receive,
}

fn default_tenant() -> String {
    "default".into()
}

fn default_action() -> AskedAction {
    AskedAction::Publish
}

/// Answers with an explanation for each hook that the question comes to.
pub async fn explain(
    State(admin): State<Arc<Admin>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let asked: Asked =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let questions = match &asked.recorded {
        None => asked.questions(&admin)?,
        Some(recorded) => {
            let RecordedQuestion { kind, name, number } = recorded;
            let name = ProgramName { kind: *kind, name: (&**name).into() };
            let found = admin.programs.recorded(&name)?.into_iter().find(|it| it.number == *number);
            let message = "that question is not recorded, or not any more";
            vec![found.ok_or_else(|| ApiError::not_found(message))?.question]
        }
    };
    let pipeline = admin.broker.pipeline.load();
    let mut explanations: Vec<Explanation> = Vec::new();
    for question in &questions {
        explanations.push(pipeline.explain(question).await);
    }
    let whose = questions.first().map(|question| question.whose()).unwrap_or_default();
    let (tenant, username, client_id) = whose;
    let client = json!({"tenant": tenant, "username": username, "client_id": client_id});
    let generation = pipeline.generation();
    Ok(Json(json!({
        "generation": generation,
        "client": client,
        "explanations": explanations,
    })))
}

/// The questions that steps with this program were asked, without their payloads.
pub async fn recent(
    State(admin): State<Arc<Admin>>,
    Named(name): Named,
) -> Result<Json<Value>, ApiError> {
    let recorded = admin.programs.recorded(&name)?;
    let items: Vec<Value> = recorded.iter().map(shown).collect();
    Ok(Json(json!({"items": items})))
}

/// What the candidate would answer to each of them, beside what the version in force does.
pub async fn replay(
    State(admin): State<Arc<Admin>>,
    Named(name): Named,
) -> Result<Json<Value>, ApiError> {
    // Each question may take a candidate until its deadline: not on a thread that connections share.
    let runtime = Handle::current();
    let replay = move |admin: &Admin| runtime.block_on(admin.programs.replay(&name));
    let replayed = change(&admin, replay).await??;
    let differing: Vec<Value> = replayed
        .iter()
        .filter(|it| it.active != it.candidate)
        .map(|Replayed { recorded, active, candidate }| {
            let mut item = shown(recorded);
            item["active"] = active.clone();
            item["candidate"] = candidate.clone();
            item
        })
        .collect();
    Ok(Json(json!({
        "asked": replayed.len(),
        "differing": differing.len(),
        "items": differing,
    })))
}

fn shown(recorded: &Recorded) -> Value {
    let (tenant, username, client_id) = recorded.question.whose();
    let mut item = json!({
        "number": recorded.number,
        "at": recorded.at,
        "tenant": tenant,
        "username": username,
        "client_id": client_id,
        "topic": recorded.question.topic(),
        "answer": redacted(recorded.answer.clone()),
    });
    match &recorded.question {
        Question::Connect(_) => item["hook"] = json!("connect"),
        Question::Authorize(_, access) => {
            item["hook"] = json!("authorize");
            item["action"] = json!(access.action);
        }
        Question::Publish(_, message) => {
            item["hook"] = json!("publish");
            item["payload_bytes"] = json!(message.payload().len());
        }
        Question::Deliver(_, message) => {
            item["hook"] = json!("deliver");
            item["payload_bytes"] = json!(message.payload().len());
        }
    }
    item
}

/// An answer without what messages carry.
fn redacted(mut answer: Value) -> Value {
    fn hide(object: &mut Value) {
        if let Some(payload) = object.get_mut("payload") {
            let bytes =
                payload.as_str().map_or_else(|| payload["bytes"].clone(), |it| json!(it.len()));
            *payload = json!({"bytes": bytes});
        }
    }
    if let Some(patch) = answer.get_mut("patch") {
        hide(patch);
    }
    if let Some(emitted) = answer.get_mut("emitted").and_then(Value::as_array_mut) {
        emitted.iter_mut().for_each(hide);
    }
    answer
}

impl Asked {
    fn questions(&self, admin: &Admin) -> Result<Vec<Question>, ApiError> {
        if self.action == AskedAction::Connect {
            return Ok(vec![Question::Connect(Arc::new(self.attempt()))]);
        }
        let client = self.client(admin)?;
        let qos =
            Qos::from_bits(self.qos).ok_or_else(|| ApiError::bad_request("qos: 0, 1 or 2"))?;
        let access = |action| {
            let (topic, retain) = (self.topic.clone(), self.retain);
            Question::Authorize(client.clone(), OwnedAccess { action, topic, qos, retain })
        };
        Ok(match self.action {
            AskedAction::Subscribe => {
                hookmq_codec::TopicFilter::new(&*self.topic)
                    .map_err(|error| ApiError::bad_request(format!("topic: {error}")))?;
                vec![access(Action::Subscribe)]
            }
            AskedAction::Receive => vec![Question::Deliver(client.clone(), self.message(qos)?)],
            AskedAction::Publish | AskedAction::Connect => {
                let publish = Question::Publish(client.clone(), self.message(qos)?);
                vec![access(Action::Publish), publish]
            }
        })
    }

    fn attempt(&self) -> ConnectAttempt {
        ConnectAttempt {
            connection: self.connection(),
            certificate: None,
            client_id: self.client_id.clone(),
            username: self.username.clone(),
            password: self.password.as_ref().map(|it| Secret::new(it.clone().into_bytes())),
            authentication: None,
            identity: Identity::default(),
        }
    }

    fn client(&self, admin: &Admin) -> Result<Arc<Client>, ApiError> {
        let Some(username) = &self.username else {
            let tenants = admin.broker.tenants();
            let tenant = tenants.iter().find(|tenant| *tenant.name == *self.tenant);
            let session = tenant.and_then(|tenant| tenant.session(&self.client_id));
            let message = "no such client is connected: describe it with a username";
            let client = session.and_then(|session| session.client());
            return client.ok_or_else(|| ApiError::not_found(message));
        };
        let vouched_by = Voucher::Step("explain".into());
        let attributes = self.attributes.iter().map(|(name, value)| {
            let attribute = Attribute { value: value.clone(), vouched_by: vouched_by.clone() };
            (name.as_str().into(), attribute)
        });
        Ok(Arc::new(Client {
            tenant: self.tenant.as_str().into(),
            username: username.as_str().into(),
            client_id: self.client_id.as_str().into(),
            client_id_bound: true,
            roles: self.roles.iter().map(|role| role.as_str().into()).collect(),
            attributes: attributes.collect(),
            connection: self.connection(),
            certificate: None,
            attachments: Default::default(),
            limits: Default::default(),
            budget: Default::default(),
        }))
    }

    fn connection(&self) -> ConnectionFacts {
        let listener = self.listener.as_str().into();
        ConnectionFacts { listener, peer: None, protocol: ProtocolVersion::V5, encrypted: false }
    }

    fn message(&self, qos: Qos) -> Result<Message, ApiError> {
        let topic = TopicName::new(&self.topic)
            .map_err(|error| ApiError::bad_request(format!("topic: {error}")))?;
        let payload = match (&self.payload, &self.payload_base64) {
            (None, None) => vec![],
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(base64)) => BASE64_STANDARD
                .decode(base64)
                .map_err(|error| ApiError::bad_request(format!("payload_base64: {error}")))?,
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_request("payload and payload_base64: give one of them"));
            }
        };
        Ok(Message::new(NewMessage {
            topic,
            forwarded_properties: &[],
            payload: &payload,
            qos,
            retain: self.retain,
            expires_at: None,
            publisher: 0,
        }))
    }
}
