//! The HTTP request that becomes a WebSocket (RFC 6455, section 4.2), and the refusal of others.

use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use httparse::{Header, Request, Status};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::WebSocket;
use crate::config::WebSocketSettings;
use crate::connection::Stream;

/// Why a request did not become a WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("WebSocket upgrade refused: {0}")]
    Refused(&'static str),
}

/// A response that refuses.
struct Refusal {
    status: &'static str,
    reason: &'static str,
}

/// Bytes of a request that are looked at. A browser's cookies fit.
const LONGEST_REQUEST: usize = 8 * 1024;

const MOST_HEADERS: usize = 64;

/// RFC 6455, section 1.3.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Reads the request, answers it, and gives the stream within. The caller sets the deadline.
///
/// # Errors
/// The request is malformed, too long, or not let in; it has been answered then.
pub async fn upgrade(
    mut stream: Box<dyn Stream>,
    settings: &WebSocketSettings,
    maximum_packet_size: u32,
) -> Result<WebSocket, UpgradeError> {
    let request = read_request(&mut stream).await?;
    let answer = match request {
        Some(request) => answer(&request, settings),
        None => Err(bad_request("the request is too long")),
    };
    match answer {
        Ok(response) => {
            stream.write_all(response.as_bytes()).await?;
            stream.flush().await?;
            Ok(WebSocket::new(stream, maximum_packet_size))
        }
        Err(Refusal { status, reason }) => {
            let response = format!(
                "HTTP/1.1 {status}\r\nSec-WebSocket-Version: 13\r\nConnection: close\r\n\
                 Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{reason}\n",
                reason.len() + 1
            );
            stream.write_all(response.as_bytes()).await?;
            stream.shutdown().await?;
            Err(UpgradeError::Refused(reason))
        }
    }
}

/// Reads up to the empty line; none where it does not come in time for the bound. A client waits for
/// the response before it sends more, so what comes behind the line is refused with it.
async fn read_request(stream: &mut Box<dyn Stream>) -> io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    loop {
        let seen = request.len();
        request.reserve(1024);
        if stream.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The line may have begun with the bytes before.
        let fresh = &request[seen.saturating_sub(3)..];
        if fresh.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            return Ok(Some(request));
        }
        if request.len() > LONGEST_REQUEST {
            return Ok(None);
        }
    }
}

fn answer(request: &[u8], settings: &WebSocketSettings) -> Result<String, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(Status::Complete(length)) if length == request.len() => {}
        _ => return Err(bad_request("this is no HTTP request without a body")),
    }
    let headers = Headers(parsed.headers);
    let target = parsed.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    if parsed.method != Some("GET") || parsed.version != Some(1) {
        return Err(bad_request("a WebSocket begins with a GET of HTTP/1.1"));
    }
    if settings.path.as_deref().is_some_and(|expected| expected != path) {
        return Err(Refusal { status: "404 Not Found", reason: "there is nothing at this path" });
    }
    if !headers.has_token("upgrade", "websocket") || !headers.has_token("connection", "upgrade") {
        return Err(bad_request("only a WebSocket is served here"));
    }
    if headers.only("sec-websocket-version") != Some("13") {
        let status = "426 Upgrade Required";
        return Err(Refusal { status, reason: "WebSocket is spoken in version 13" });
    }
    let key = headers.only("sec-websocket-key").filter(|key| is_nonce(key));
    let key = key.ok_or_else(|| bad_request("Sec-WebSocket-Key is missing or malformed"))?;
    if !settings.origins.is_empty() && !headers.all("origin").all(|it| settings.allows(it)) {
        return Err(Refusal { status: "403 Forbidden", reason: "the origin is not let in" });
    }
    // What was offered may be selected, nothing else: a client of 3.1 alone knows the older name.
    let protocol = ["mqtt", "mqttv3.1"]
        .into_iter()
        .find(|protocol| headers.has_token("sec-websocket-protocol", protocol))
        .ok_or_else(|| bad_request("the subprotocol mqtt is not offered"))?;
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n",
        accept_key(key)
    ))
}

fn bad_request(reason: &'static str) -> Refusal {
    Refusal { status: "400 Bad Request", reason }
}

/// 16 bytes in base64.
fn is_nonce(key: &str) -> bool {
    BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

fn accept_key(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize())
}

struct Headers<'a>(&'a [Header<'a>]);

impl<'a> Headers<'a> {
    /// The values under `name`. One that is no text fits nothing.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let fits = move |header: &&Header<'_>| header.name.eq_ignore_ascii_case(name);
        self.0
            .iter()
            .filter(fits)
            .map(|it| std::str::from_utf8(it.value).unwrap_or_default().trim())
    }

    /// The value of a header that must not be repeated.
    fn only(&self, name: &str) -> Option<&'a str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether a list holds `token`, whatever its case.
    fn has_token(&self, name: &str, token: &str) -> bool {
        let tokens = self.all(name).flat_map(|value| value.split(','));
        tokens.into_iter().any(|it| it.trim().eq_ignore_ascii_case(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /mqtt?a=b HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\r\n";

    fn ask(request: &str, settings: &WebSocketSettings) -> String {
        match answer(request.as_bytes(), settings) {
            Ok(response) => response,
            Err(refusal) => refusal.status.to_owned(),
        }
    }

    #[test]
    fn the_key_is_answered_as_in_the_rfc() {
        let response = ask(REQUEST, &WebSocketSettings::default());
        assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(response.contains("Sec-WebSocket-Protocol: mqtt\r\n"), "{response}");
        let old = REQUEST.replace("mqttv3.1, mqtt", "MQTTv3.1");
        let response = ask(&old, &WebSocketSettings::default());
        assert!(response.contains("Sec-WebSocket-Protocol: mqttv3.1\r\n"), "{response}");
    }

    #[test]
    fn what_is_no_upgrade_is_refused() {
        for (from, to, status) in [
            ("GET", "POST", "400"),
            ("HTTP/1.1", "HTTP/1.0", "400"),
            ("Upgrade: WebSocket\r\n", "", "400"),
            ("keep-alive, Upgrade", "keep-alive", "400"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", "400"),
            ("Host: h", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "400"),
            ("Version: 13", "Version: 8", "426"),
            ("mqttv3.1, mqtt", "soap", "400"),
            ("Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n", "", "400"),
            ("\r\n\r\n", "\r\n\r\nmore", "400"),
            ("Host: h", "Host h", "400"),
        ] {
            assert!(REQUEST.contains(from), "{from}");
            let request = REQUEST.replacen(from, to, 1);
            let answer = ask(&request, &WebSocketSettings::default());
            assert!(answer.starts_with(status), "{from} -> {to}: {answer}");
        }
    }

    #[test]
    fn path_and_origin_are_those_of_the_configuration() {
        let at = |path: &str| WebSocketSettings { path: Some(path.into()), origins: Vec::new() };
        assert!(ask(REQUEST, &at("/mqtt")).starts_with("HTTP/1.1 101"));
        assert!(ask(REQUEST, &at("/mqt")).starts_with("404"));
        let settings =
            WebSocketSettings { path: None, origins: vec!["https://a.example".to_owned()] };
        let from =
            |origin: &str| REQUEST.replace("Host: h", &format!("Host: h\r\nOrigin: {origin}"));
        assert!(ask(REQUEST, &settings).starts_with("HTTP/1.1 101"), "not a browser");
        assert!(ask(&from("https://A.example"), &settings).starts_with("HTTP/1.1 101"));
        for origin in ["https://b.example", "null", "https://a.example.b", "http://a.example", ""] {
            assert!(ask(&from(origin), &settings).starts_with("403"), "{origin}");
        }
        let twice = from("https://a.example\r\nOrigin: https://b.example");
        assert!(ask(&twice, &settings).starts_with("403"));
    }
}
