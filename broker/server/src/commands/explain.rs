//! `hookmq explain`: what each step says, and why.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use hookmq_access::certificate_facts;
use hyper::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::api::Api;
use crate::config::file::read_bounded;

/// Asks a running broker what its steps would say. Nothing comes of it.
#[derive(Debug, Args)]
pub struct ExplainOptions {
    /// What the client does.
    #[arg(required_unless_present = "recorded")]
    action: Option<Action>,
    /// The topic, or the filter of a subscription.
    #[arg(default_value = "")]
    topic: String,
    #[arg(long, default_value = "default")]
    tenant: String,
    /// Ask a recorded question again, by its number (GET /api/v1/rules/NAME/recent).
    #[arg(long, value_name = "NUMBER", conflicts_with = "action")]
    recorded: Option<u64>,
    /// A client that is connected, or the id of one that --username describes.
    #[arg(long, default_value = "")]
    client_id: String,
    /// Describe a client instead of asking about one that is connected. For connect, as it is sent.
    #[arg(long)]
    username: Option<String>,
    /// A role of the described client; may be repeated.
    #[arg(long)]
    role: Vec<String>,
    /// An attribute of the described client; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    attribute: Vec<(String, String)>,
    /// The certificate of the described client, in PEM form.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The trust anchor that has verified the certificate.
    #[arg(long, value_name = "NAME", default_value = "", requires = "certificate")]
    trust_anchor: String,
    /// The password that comes with CONNECT, but for the end of its line.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The listener that the described client comes from.
    #[arg(long, default_value = "")]
    listener: String,
    #[arg(long)]
    payload: Option<String>,
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    #[arg(long)]
    retain: bool,
    /// Print the broker's answer as it is.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: Api,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Action {
    Connect,
    Publish,
    Subscribe,
    Receive,
}

impl ExplainOptions {
    /// Prints every step in order.
    ///
    /// # Errors
    /// Where the broker is not reached or refuses the question.
    pub fn run(&self) -> Result<()> {
        let asked = match (self.recorded, self.action) {
            (Some(number), _) => json!({"recorded": number}),
            (None, action) => self.described(action.unwrap_or(Action::Publish))?,
        };
        let answer = self.api.request(Method::POST, "/explain", asked.to_string().into_bytes())?;
        if self.json {
            println!("{answer:#}");
            return Ok(());
        }
        for explanation in answer["explanations"].as_array().into_iter().flatten() {
            show(explanation);
        }
        match (&answer["tenant_grant"]["id"], answer["tenant_grant"]["reason"].as_str()) {
            (_, Some(reason)) => println!("{reason}"),
            (Value::Null, None) => {}
            (id, None) => println!("grant {id} leads to this topic of another tenant"),
        }
        Ok(())
    }

    fn described(&self, action: Action) -> Result<Value> {
        let action = match action {
            Action::Connect => "connect",
            Action::Publish => "publish",
            Action::Subscribe => "subscribe",
            Action::Receive => "receive",
        };
        let attributes: BTreeMap<_, _> = self.attribute.iter().cloned().collect();
        let mut asked = json!({
            "action": action,
            "topic": self.topic,
            "tenant": self.tenant,
            "client_id": self.client_id,
            "listener": self.listener,
            "roles": self.role,
            "attributes": attributes,
            "qos": self.qos,
            "retain": self.retain,
        });
        if let Some(username) = &self.username {
            asked["username"] = json!(username);
        }
        if let Some(payload) = &self.payload {
            asked["payload"] = json!(payload);
        }
        if let Some(file) = &self.certificate {
            asked["certificate"] = certificate(file, &self.trust_anchor)
                .with_context(|| format!("the certificate {}", file.display()))?;
        }
        if let Some(file) = &self.password_file {
            let password = fs::read_to_string(file);
            let password = password.with_context(|| format!("read {}", file.display()))?;
            asked["password"] = json!(password.trim_end_matches(['\r', '\n']));
        }
        Ok(asked)
    }
}

/// What the broker would read in the first certificate of `file`.
fn certificate(file: &Path, trust_anchor: &str) -> Result<Value> {
    let pem = File::open(file).and_then(read_bounded)?;
    let certificate = CertificateDer::from_pem_slice(&pem)?;
    Ok(serde_json::to_value(certificate_facts(&certificate, trust_anchor)?)?)
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let pair = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

fn show(explanation: &Value) {
    println!("{}", explanation["hook"].as_str().unwrap_or_default());
    for step in explanation["steps"].as_array().into_iter().flatten() {
        let program = &step["program"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = format!("{} {}", text(&program["kind"]), text(&program["name"]));
        match step["not_asked"].as_str() {
            Some(why) => println!("  {}. {name:<30} not asked: {why}", step["position"]),
            None => {
                let (position, time) = (&step["position"], &step["microseconds"]);
                println!("  {position}. {name:<30} {} ({time} µs)", step["answer"]);
            }
        }
        for note in step["notes"].as_array().into_iter().flatten() {
            println!("       {}: {}", text(&note["about"]), text(&note["text"]));
        }
    }
    println!("  => {}", explanation["outcome"]);
}
