//! The import `http`: which request is sent at all, and what comes back of it.

use std::time::{Duration, Instant};

use hookmq_hooks::{Circumstances, Consequences, Hook};

use super::one_more;
use crate::contract::http;
use crate::http::{HttpError, HttpRequest, Method};
use crate::instance::GuestState;
use crate::{Origin, guest_log::cut};

/// Of one request.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 << 10;
const MAX_REASON_BYTES: usize = 256;

/// How the message travels is the broker's affair (RFC 9110 sections 7.2, 7.6 and 8.6).
const OWN_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl http::Host for GuestState {
    fn send(&mut self, request: http::Request) -> Result<http::Response, http::Error> {
        if !matches!(self.hook, None | Some(Hook::Connect)) {
            return Err(http::Error::NotHere);
        }
        let (origin, path) = Origin::of_url(&request.url)
            .map_err(|error| http::Error::NotGranted(format!("the url: {error}")))?;
        if !self.own.grants.http.contains(&origin) {
            return Err(http::Error::NotGranted(origin.to_string()));
        }
        check_headers(&request.headers)?;
        if !may_leave(request.method) {
            let message = "this call is a rehearsal, and the request is not sent";
            return Err(http::Error::Failed(message.to_owned()));
        }
        let own = self.own.clone();
        let limits = own.http.limits;
        if !one_more(&mut self.call.requests, limits.requests) || !own.http.admit(&self.tenant) {
            return Err(http::Error::TooMany);
        }
        let now = Instant::now();
        let end = *self.call.requests_end.get_or_insert(now + limits.timeout);
        let response = own.http.client.send(HttpRequest {
            method: method(request.method),
            origin,
            path,
            headers: request.headers.into_iter().map(|it| (it.name, it.value)).collect(),
            body: request.body,
            deadline: end.min(now + Duration::from_millis(request.timeout_ms.into())),
            response_bytes: limits.response_bytes,
        });
        let response = response.map_err(error)?;
        let headers = response.headers.into_iter();
        Ok(http::Response {
            status: response.status,
            headers: headers.map(|(name, value)| http::Header { name, value }).collect(),
            body: response.body,
        })
    }
}

/// A candidate in shadow may ask, which a GET is (RFC 9110 section 9.2.1), but change nothing.
fn may_leave(method: http::Method) -> bool {
    match Circumstances::present().consequences() {
        Consequences::All => true,
        Consequences::Questions => method == http::Method::Get,
        Consequences::None => false,
    }
}

fn check_headers(headers: &[http::Header]) -> Result<(), http::Error> {
    let bytes: usize = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        let bounds =
            format!("more than {MAX_HEADERS} headers, or {MAX_HEADER_BYTES} bytes of them");
        return Err(http::Error::Failed(bounds));
    }
    let is_own = |name: &str| OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name));
    match headers.iter().find(|header| is_own(&header.name)) {
        Some(header) => {
            let message = format!("the header `{}` is the broker's own affair", header.name);
            Err(http::Error::Failed(message))
        }
        None => Ok(()),
    }
}

fn method(method: http::Method) -> Method {
    match method {
        http::Method::Get => Method::Get,
        http::Method::Post => Method::Post,
        http::Method::Put => Method::Put,
        http::Method::Delete => Method::Delete,
    }
}

fn error(error: HttpError) -> http::Error {
    match error {
        HttpError::Address => http::Error::Address,
        HttpError::Timeout => http::Error::Timeout,
        HttpError::TooLarge => http::Error::TooLarge,
        HttpError::Failed(reason) => http::Error::Failed(cut(&reason, MAX_REASON_BYTES).to_owned()),
    }
}
