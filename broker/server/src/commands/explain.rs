//! `hookmq explain`: what each step says, and why.

use anyhow::Result;
use clap::{Args, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::api::Api;

/// Asks a running broker what its steps would say. Nothing comes of it.
#[derive(Debug, Args)]
pub struct ExplainOptions {
    /// What the client does.
    action: Action,
    /// The topic, or the filter of a subscription.
    #[arg(default_value = "")]
    topic: String,
    #[arg(long, default_value = "default")]
    tenant: String,
    /// A client that is connected, or the id of one that --username describes.
    #[arg(long, default_value = "")]
    client_id: String,
    /// Describe a client instead of asking about one that is connected.
    #[arg(long)]
    username: Option<String>,
    /// A role of the described client; may be repeated.
    #[arg(long)]
    role: Vec<String>,
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
        let action = match self.action {
            Action::Connect => "connect",
            Action::Publish => "publish",
            Action::Subscribe => "subscribe",
            Action::Receive => "receive",
        };
        let mut asked = json!({
            "action": action,
            "topic": self.topic,
            "tenant": self.tenant,
            "client_id": self.client_id,
            "listener": self.listener,
            "roles": self.role,
            "qos": self.qos,
            "retain": self.retain,
        });
        if let Some(username) = &self.username {
            asked["username"] = json!(username);
        }
        if let Some(payload) = &self.payload {
            asked["payload"] = json!(payload);
        }
        let answer = self.api.request(Method::POST, "/explain", asked.to_string().into_bytes())?;
        if self.json {
            println!("{answer:#}");
            return Ok(());
        }
        for explanation in answer["explanations"].as_array().into_iter().flatten() {
            show(explanation);
        }
        Ok(())
    }
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
