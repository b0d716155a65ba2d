//! What can be done with a version of a plugin or a rule on a running broker.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use hookmq_hooks::ProgramKind;
use hookmq_wasm::Manifest;
use hyper::Method;
use serde_json::{Value, json};

use super::api::Api;

/// The program, and the broker that has it.
#[derive(Debug, Args)]
pub struct Target {
    /// The name of the plugin or the rule in the pipeline.
    name: String,
    #[command(flatten)]
    api: Api,
}

#[derive(Debug, Args)]
pub struct PushOptions {
    /// The artefact (`.wasm`) or the rule (`.rhai`).
    file: PathBuf,
    /// The name in the pipeline; without it, the plugin's own, or that of the rule's file.
    #[arg(long)]
    name: Option<String>,
    /// Ask it at once beside the version in force, and compare.
    #[arg(long)]
    shadow: bool,
    #[command(flatten)]
    api: Api,
}

#[derive(Debug, Args)]
pub struct CanaryOptions {
    #[command(flatten)]
    target: Target,
    /// Percent of the clients, such as 5 or 0.1; a client is chosen for good.
    #[arg(long, value_name = "PERCENT")]
    share: Option<f64>,
    /// All clients of this tenant; may be repeated.
    #[arg(long, value_name = "TENANT")]
    tenant: Vec<String>,
}

impl PushOptions {
    pub fn run(&self, kind: ProgramKind) -> Result<()> {
        let file = self.file.display();
        let bytes = std::fs::read(&self.file).with_context(|| format!("read {file}"))?;
        let name = self.name.clone().or_else(|| self.own_name(kind, &bytes));
        let name = name.context("which program is it? add --name")?;
        let mut life = self.api.request(Method::POST, &path(kind, &name, "/versions"), bytes)?;
        if self.shadow {
            let stage = json!({"stage": "shadow"}).to_string().into_bytes();
            life = self.api.request(Method::POST, &path(kind, &name, "/stage"), stage)?;
        }
        show(&life);
        Ok(())
    }

    /// What an artefact that has no manifest is called decides nothing: the broker refuses it.
    fn own_name(&self, kind: ProgramKind, bytes: &[u8]) -> Option<String> {
        if kind == ProgramKind::Plugin
            && let Ok(manifest) = Manifest::of_artefact(bytes)
        {
            return Some(manifest.name);
        }
        self.file.file_stem().map(|stem| stem.to_string_lossy().into_owned())
    }
}

impl CanaryOptions {
    pub fn run(&self, kind: ProgramKind) -> Result<()> {
        ensure!(
            self.share.is_some() || !self.tenant.is_empty(),
            "for whom? --share PERCENT of the clients, or --tenant NAME"
        );
        let share = (self.share.unwrap_or_default() * 100.0).round();
        ensure!((0.0..=10_000.0).contains(&share), "--share is between 0 and 100 percent");
        let stage = json!({"stage": "canary", "share": share as u32, "tenants": self.tenant});
        self.target.change(kind, Method::POST, "/stage", stage.to_string().into_bytes())
    }
}

impl Target {
    pub fn show(&self, kind: ProgramKind) -> Result<()> {
        self.change(kind, Method::GET, "", vec![])
    }

    pub fn shadow(&self, kind: ProgramKind) -> Result<()> {
        let stage = json!({"stage": "shadow"}).to_string().into_bytes();
        self.change(kind, Method::POST, "/stage", stage)
    }

    pub fn promote(&self, kind: ProgramKind) -> Result<()> {
        self.change(kind, Method::POST, "/promote", vec![])
    }

    pub fn roll_back(&self, kind: ProgramKind) -> Result<()> {
        self.change(kind, Method::POST, "/rollback", vec![])
    }

    pub fn withdraw(&self, kind: ProgramKind) -> Result<()> {
        self.change(kind, Method::DELETE, "/candidate", vec![])
    }

    /// Puts the recorded questions to the candidate, and prints what it would have answered otherwise.
    pub fn replay(&self, kind: ProgramKind) -> Result<()> {
        let path = path(kind, &self.name, "/replay");
        let answer = self.api.request(Method::POST, &path, vec![])?;
        println!("{} of {} answers differ", answer["differing"], answer["asked"]);
        for item in answer["items"].as_array().into_iter().flatten() {
            let text = |key: &str| item[key].as_str().unwrap_or_default();
            let (hook, client_id, topic) = (text("hook"), text("client_id"), text("topic"));
            println!("#{} {hook} {client_id} {topic}", item["number"]);
            println!("  now:       {}", item["active"]);
            println!("  candidate: {}", item["candidate"]);
        }
        Ok(())
    }

    fn change(&self, kind: ProgramKind, method: Method, rest: &str, body: Vec<u8>) -> Result<()> {
        show(&self.api.request(method, &path(kind, &self.name, rest), body)?);
        Ok(())
    }
}

fn path(kind: ProgramKind, name: &str, rest: &str) -> String {
    format!("/{}s/{name}{rest}", kind.name())
}

/// How the program stands, in a few lines.
fn show(life: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let short = |sha256: &Value| text(sha256).chars().take(12).collect::<String>();
    let active = &life["active"];
    let pinned = if life["pinned"] == true { "" } else { " (the operator's file)" };
    println!("in force:  {} {}{pinned}", text(&active["version"]), short(&active["sha256"]));
    if !life["previous"].is_null() {
        println!("before:    {}", short(&life["previous"]));
    }
    let candidate = &life["candidate"];
    if !candidate.is_null() {
        let stage = match candidate["stage"]["stage"].as_str() {
            None => "checked, not asked".to_owned(),
            Some("canary") => {
                let share = candidate["stage"]["share"].as_f64().unwrap_or_default() / 100.0;
                format!(
                    "canary: {share} % of the clients, tenants {}",
                    candidate["stage"]["tenants"]
                )
            }
            Some(stage) => stage.to_owned(),
        };
        let (version, sha256) = (text(&candidate["version"]), short(&candidate["sha256"]));
        println!("candidate: {version} {sha256}, {stage}");
        if candidate["compared"] != 0 {
            println!(
                "           {} of {} answers differ",
                candidate["differing"], candidate["compared"]
            );
        }
        for difference in candidate["differences"].as_array().into_iter().flatten().rev().take(3) {
            println!("           {} {}", difference["client_id"], difference["topic"]);
            println!("             now:       {}", difference["active"]);
            println!("             candidate: {}", difference["candidate"]);
        }
    }
    println!("pipeline:  generation {}", life["generation"]);
}
