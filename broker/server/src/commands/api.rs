//! The admin API, as the command line speaks to it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Where the broker is, and the right to change it.
#[derive(Debug, Args)]
pub struct Api {
    /// Address and port of the admin API.
    #[arg(long, value_name = "ADDRESS", env = "HOOKMQ_ADMIN", default_value = "127.0.0.1:8080")]
    admin: String,

    /// The file with the admin token.
    #[arg(
        long,
        value_name = "FILE",
        env = "HOOKMQ_TOKEN_FILE",
        default_value = "data/admin.token"
    )]
    token_file: PathBuf,
}

/// Bytes of an answer.
const LONGEST_ANSWER: usize = 64 << 20;

impl Api {
    /// Sends a request and gives what the broker answers.
    ///
    /// # Errors
    /// What the broker says where it refuses, or why it is not reached.
    pub fn request(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Value> {
        let token = std::fs::read_to_string(&self.token_file);
        let file = self.token_file.display();
        let token = token.with_context(|| {
            format!("read the admin token from {file} (--token-file; `admin.token` in data_dir)")
        })?;
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("Host", &self.admin)
            .header("Authorization", format!("Bearer {}", token.trim()))
            .header("HookMQ-Actor", actor())
            .body(Full::new(Bytes::from(body)))
            .context("the request")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.send(request))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Value> {
        let stream = TcpStream::connect(&self.admin).await.with_context(|| {
            let address = &self.admin;
            format!("reach the admin API at {address} (is the broker running, with `admin:`?)")
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.context("send the request")?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = body.collect().await.map_err(|error| anyhow::anyhow!("the answer: {error}"))?;
        connection.abort();
        let body = body.to_bytes();
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() {
            let error = &answer["error"];
            match (error["message"].as_str(), error["hint"].as_str()) {
                (Some(message), None) => bail!("{message}"),
                (Some(message), Some(hint)) => {
                    bail!("{message}\n  = hint: {}", hint.replace('\n', "\n    "))
                }
                (None, _) => bail!("the broker answers {status}"),
            }
        }
        Ok(answer)
    }
}

/// Who asks, for the history.
fn actor() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".into());
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let text = format!("{user}@{}", host.trim());
    text.chars().filter(|it| it.is_ascii_graphic()).collect()
}
