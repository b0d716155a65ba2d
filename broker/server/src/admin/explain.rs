//! Why: what each step says to a question, described or recorded, and what a candidate would say.

mod asked;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use hookmq_hooks::{Explanation, Question, Recorded, redacted};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use self::asked::Asked;
use super::Admin;
use super::caller::Caller;
use super::error::ApiError;
use super::life::Named;
use super::programs::change;
use crate::broker::abroad::Passage;
use crate::programs::Replayed;

/// Reads a question, as far as that goes without a broker.
#[cfg(any(test, fuzzing))]
pub(super) fn describe(body: &[u8]) -> Result<(), ApiError> {
    let asked: Asked =
        serde_json::from_slice(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    asked.describe()
}

/// Answers with an explanation for each hook that the question comes to.
pub async fn explain(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let asked: Asked =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    if let Some(tenant) = caller.tenant()
        && !asked.is_about(tenant)
    {
        return Err(ApiError::forbidden("a tenant's token asks about its own clients"));
    }
    let pipeline = admin.broker.pipeline.load();
    let (questions, from) = asked.questions(&admin, &pipeline).await?;
    let mut explanations: Vec<Explanation> = Vec::new();
    for question in &questions {
        explanations.push(pipeline.explain(question).await);
    }
    let whose = questions.first().map(|question| question.whose()).unwrap_or_default();
    let (tenant, username, client_id) = whose;
    let client =
        json!({"tenant": tenant, "username": username, "client_id": client_id, "from": from});
    let generation = pipeline.generation();
    let mut answer = json!({
        "generation": generation,
        "client": client,
        "explanations": explanations,
    });
    if let Some(passage) = questions.iter().find_map(|question| passage(&admin, question)) {
        answer["tenant_grant"] = passage;
    }
    Ok(Json(answer))
}

/// Whether a grant leads to a topic of another tenant, where the question is about one: the steps alone do
/// not decide there.
fn passage(admin: &Admin, question: &Question) -> Option<Value> {
    let Question::Authorize(client, access) = question else { return None };
    Some(match admin.broker.passage(client, &access.view()) {
        Passage::Home => return None,
        Passage::Granted(grant) => json!({"id": grant.id}),
        closed => json!({"id": null, "reason": closed.denial()?.reason}),
    })
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
