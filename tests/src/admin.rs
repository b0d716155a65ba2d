//! A small client of the admin API: one request per connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use crate::wait::DEADLINE;

/// Speaks to one broker, with its token.
#[derive(Clone)]
pub struct AdminClient {
    pub address: SocketAddr,
    token: String,
}

impl AdminClient {
    pub fn new(address: SocketAddr, token: &str) -> Self {
        Self { address, token: token.into() }
    }

    /// The same API, with another token; none where it is empty.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self::new(self.address, token)
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// The status and the body, which is a string where it is not JSON.
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.request("GET", path, &[])
    }

    /// A counter, with its labels if it has any: `connections`, `connections_shed_total{bound="x"}`.
    pub fn metric(&self, name: &str) -> u64 {
        let (_, metrics) = self.get("/api/v1/metrics");
        let metrics = metrics.as_str().expect("metrics are text").to_owned();
        let name = format!("hookmq_{name} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&*name));
        value.and_then(|value| value.parse().ok()).expect("a counter")
    }

    /// A counter or gauge by some of its labels, as `tenant="x"`; none where there is no such line.
    pub fn metric_with(&self, name: &str, labels: &[&str]) -> Option<u64> {
        let (_, metrics) = self.get("/api/v1/metrics");
        let start = format!("hookmq_{name}{{");
        let fits = |line: &&str| {
            line.starts_with(&start) && labels.iter().all(|label| line.contains(label))
        };
        let line = metrics.as_str().expect("metrics are text").lines().find(fits)?;
        let value = line.rsplit(' ').next().and_then(|value| value.parse().ok());
        Some(value.expect("a number"))
    }

    pub fn post(&self, path: &str, body: &[u8]) -> (u16, Value) {
        self.request("POST", path, body)
    }

    pub fn patch(&self, path: &str, body: &[u8]) -> (u16, Value) {
        self.request("PATCH", path, body)
    }

    pub fn put(&self, path: &str, body: &[u8]) -> (u16, Value) {
        self.request("PUT", path, body)
    }

    pub fn delete(&self, path: &str) -> (u16, Value) {
        self.request("DELETE", path, &[])
    }

    /// Sends these headers, each with its line's end, and this body, whatever they say. None where the API
    /// closes without an answer.
    pub fn raw(&self, request_line: &str, headers: &str, body: &[u8]) -> Option<(u16, Value)> {
        Self::last_words(self.begin(request_line, headers, body))
    }

    /// The same, and then nothing more: what the headers promise does not come.
    pub fn cut_short(&self, line: &str, headers: &str, body: &[u8]) -> Option<(u16, Value)> {
        let stream = self.begin(line, headers, body);
        let _ = stream.shutdown(Shutdown::Write);
        Self::last_words(stream)
    }

    fn begin(&self, request_line: &str, headers: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("connect to the admin API");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let token = &self.token;
        let head = format!(
            "{request_line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n{headers}\r\n"
        );
        // It may have heard enough before the end.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        stream
    }

    fn last_words(mut stream: TcpStream) -> Option<(u16, Value)> {
        let mut answer = Vec::new();
        // Who closes before it has heard all may reset the connection.
        let _ = stream.read_to_end(&mut answer);
        parse(&answer)
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let authorization = match &*self.token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{authorization}\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).expect("connect to the admin API");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        stream.write_all(head.as_bytes()).expect("send a request");
        // A refusal may come before the whole body was read.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert!(!answer.is_empty(), "{method} {path}: {error}");
        }
        parse(&answer).unwrap_or_else(|| {
            panic!("{method} {path}: not an answer: {}", String::from_utf8_lossy(&answer))
        })
    }
}

fn parse(answer: &[u8]) -> Option<(u16, Value)> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[..end]).ok()?.split(' ').nth(1)?.parse().ok()?;
    let body = &answer[end + 4..];
    let text = || Value::String(String::from_utf8_lossy(body).into_owned());
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(body).unwrap_or_else(|_| text())
    };
    Some((status, body))
}
