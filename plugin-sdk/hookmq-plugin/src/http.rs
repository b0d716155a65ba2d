//! Requests to hosts that the manifest names and the operator grants. Needs `http` in the manifest.
//!
//! Only for `new` and `connect`: nothing else may wait. Private, link-local and loopback addresses
//! are refused unless the operator has granted them by name. Redirections are not followed.
//!
//! ```
//! use std::time::Duration;
//! use hookmq_plugin::http::Request;
//! # let host = hookmq_plugin::test::Host::new();
//! # host.respond("https://auth.example/check", Ok(hookmq_plugin::test::response(200, r#"{"ok":true}"#)));
//!
//! #[derive(serde::Deserialize)]
//! struct Answer {
//!     ok: bool,
//! }
//!
//! let response = Request::post("https://auth.example/check")
//!     .json(&serde_json::json!({ "user": "meter-7" }))?
//!     .timeout(Duration::from_secs(2))
//!     .send()?;
//! assert!(response.is_success() && response.json::<Answer>()?.ok);
//! # Ok::<(), String>(())
//! ```

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::bindings::http::{Error, Header, Method, Request, Response};

/// Sends a request and waits for the response; any status is a response.
///
/// # Errors
/// Where the host is not granted, a bound is reached, or the network fails.
pub fn send(request: &Request) -> Result<Response, Error> {
    crate::host::http::send(request)
}

/// How long a request may take that says nothing of it.
const TIMEOUT_MS: u32 = 5_000;

impl Request {
    /// A request without headers and body, with 5 s of time.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        let (headers, body) = (Vec::new(), Vec::new());
        Self { method, url: url.into(), headers, body, timeout_ms: TIMEOUT_MS }
    }

    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url)
    }

    /// Adds a header beside those that are there.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// The value as body, with its content type.
    ///
    /// # Errors
    /// Where the value has no JSON.
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Result<Self, String> {
        let body = serde_json::to_vec(value).map_err(|error| error.to_string())?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// From the beginning to the last byte of the response; the broker's own bound holds beside it.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout_ms: timeout.as_millis().try_into().unwrap_or(u32::MAX), ..self }
    }

    /// As [`send`].
    ///
    /// # Errors
    /// As [`send`].
    pub fn send(&self) -> Result<Response, Error> {
        send(self)
    }
}

impl Response {
    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, in any case of letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(&header.value)
    }

    /// The body as text.
    ///
    /// # Errors
    /// Where it is not UTF-8.
    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.body).map_err(|error| format!("http: the body: {error}"))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is no JSON, or not that of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("http: the body: {error}"))
    }
}

impl From<Error> for String {
    fn from(error: Error) -> Self {
        let words = match error {
            Error::NotGranted(what) => format!("not granted: {what}"),
            Error::Address => "the host's address is one that is not to be reached".to_owned(),
            Error::Timeout => "no answer in time".to_owned(),
            Error::TooLarge => "the response is too large".to_owned(),
            Error::TooMany => "as many requests as there may be have been made".to_owned(),
            Error::NotHere => "only new and connect may send requests".to_owned(),
            Error::Failed(why) => why,
        };
        format!("http: {words}")
    }
}
