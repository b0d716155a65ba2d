//! The pipeline, its rules and its plugins: shown and changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hookmq_hooks::{Hook, Pipeline, ProgramKind, Step};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::Admin;
use super::error::ApiError;
use crate::programs::{Outcome, Report};

/// Where in the path of a client or a message each hook stands (the order never changes).
const ORDER: &str = "accept -> TLS -> CONNECT -> connect hooks -> session | \
    PUBLISH -> topic alias -> protocol checks -> authorize(publish) -> publish hooks -> retained -> \
    route -> stored -> PUBACK | \
    per subscriber: expiry -> deliver hooks -> window -> encode | \
    SUBSCRIBE -> checks -> authorize(subscribe) -> topic tree -> SUBACK -> retained";

pub async fn pipeline(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let pipeline = admin.broker.pipeline.load();
    let steps = |hook| -> Vec<Value> {
        (1..).zip(pipeline.steps(hook)).map(|(position, step)| describe(position, step)).collect()
    };
    Json(json!({
        "generation": pipeline.generation(),
        "order": ORDER,
        "connect": steps(Hook::Connect),
        "authorize": steps(Hook::Authorize),
        "publish": steps(Hook::Publish),
        "deliver": steps(Hook::Deliver),
    }))
}

pub async fn rules(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(programs_of(&admin.broker.pipeline.load(), ProgramKind::Rule))
}

pub async fn plugins(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(programs_of(&admin.broker.pipeline.load(), ProgramKind::Plugin))
}

pub async fn reload_rules(State(admin): State<Arc<Admin>>) -> Result<Json<Report>, ApiError> {
    let report =
        change(&admin, |admin| admin.programs.reload_rules(&admin.broker.pipeline)).await?;
    for item in &report.items {
        let rule = &*item.program.name;
        match item.outcome {
            Outcome::Unchanged | Outcome::Pinned => {}
            Outcome::Applied => info!(rule, generation = report.generation, "rule replaced"),
            Outcome::Refused => {
                let (generation, reason) = (report.generation, item.reason());
                warn!(rule, generation, reason, "rule refused");
            }
        }
    }
    Ok(Json(report))
}

/// Runs a change, which computes for a while, beside the connections' workers; one of a bounded number.
pub async fn change<T: Send + 'static>(
    admin: &Arc<Admin>,
    change: impl FnOnce(&Admin) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let turn = admin.changes.clone().try_acquire_owned().map_err(|_| ApiError::busy())?;
    let admin = admin.clone();
    let changing = tokio::task::spawn_blocking(move || {
        // It goes on where nobody waits for the answer any more.
        let _turn = turn;
        change(&admin)
    });
    changing.await.map_err(|error| ApiError::internal(error.to_string()))
}

fn describe(position: usize, step: &Step) -> Value {
    let mut described = json!({
        "position": position,
        "program": step.active.program.identity(),
        "condition": step.spec.condition,
        "topics_of_program":
            step.active.program.topics().iter().map(|filter| filter.as_str()).collect::<Vec<_>>(),
        "calls": step.active.meter.calls(),
        "explain": step.spec.explain,
        "failures": step.active.meter.all_failures(),
    });
    match step.hook {
        Hook::Connect => described["control"] = json!(step.spec.control),
        Hook::Publish | Hook::Deliver => described["on_failure"] = json!(step.spec.on_failure),
        Hook::Authorize => {}
    }
    described
}

/// Each program of a kind once, with the hooks that use it.
fn programs_of(pipeline: &Pipeline, kind: ProgramKind) -> Value {
    let mut programs: Vec<(Value, Vec<Hook>)> = Vec::new();
    for hook in Hook::ALL {
        for step in pipeline.steps(hook) {
            let identity = step.active.program.identity();
            if identity.kind != kind {
                continue;
            }
            let mut identity = json!(identity);
            if let Some(manifest) = step.active.program.manifest() {
                identity["manifest"] = manifest;
            }
            match programs.iter_mut().find(|(other, _)| *other == identity) {
                Some((_, hooks)) if hooks.contains(&hook) => {}
                Some((_, hooks)) => hooks.push(hook),
                None => programs.push((identity, vec![hook])),
            }
        }
    }
    let programs = programs.into_iter().map(|(mut program, hooks)| {
        program["hooks"] = json!(hooks);
        program
    });
    json!({"generation": pipeline.generation(), "items": programs.collect::<Vec<_>>()})
}
