//! Requests of guests, as far as they do not concern the network: the bounds, and whom to ask.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::Origin;

/// Who sends requests. The host has checked that the origin is granted; which addresses it may have
/// is the client's to check.
pub trait HttpClient: Send + Sync {
    /// Sends `request` and waits for the whole response.
    ///
    /// # Errors
    /// Says why there is none.
    fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;

    /// Does `work`, which may send requests, so that no connection waits for it but the caller's.
    fn wait(&self, work: &mut dyn FnMut()) {
        work();
    }
}

/// A request of a guest.
pub struct HttpRequest {
    pub method: Method,
    /// Granted.
    pub origin: Origin,
    /// Path and query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When the last byte of the response must have come.
    pub deadline: Instant,
    /// The most that the body of the response may have.
    pub response_bytes: usize,
}

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("the host has no address that may be reached")]
    Address,
    #[error("there was no whole response in time")]
    Timeout,
    #[error("the response is too large")]
    TooLarge,
    /// What the network or the peer said.
    #[error("{0}")]
    Failed(String),
}

/// Bounds on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// For all requests of one call together.
    pub timeout: Duration,
    /// Of the body of one response.
    pub response_bytes: usize,
    /// In one call.
    pub requests: u32,
    /// Of one tenant, all plugins together. Clients of whom no tenant is known count as one.
    pub requests_per_tenant_per_second: u32,
    /// For one plugin: how many of its `connect` calls run at once.
    pub threads: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3),
            response_bytes: 1 << 20,
            requests: 4,
            requests_per_tenant_per_second: 100,
            threads: 8,
        }
    }
}

/// What all plugins share for their requests.
pub(crate) struct Http {
    pub(crate) limits: HttpLimits,
    pub(crate) client: Arc<dyn HttpClient>,
    window: Mutex<Window>,
}

/// The requests of the present second. It holds no more tenants than requests were sent in it.
struct Window {
    start: Instant,
    sent: HashMap<Arc<str>, u32>,
}

impl Http {
    pub(crate) fn new(limits: HttpLimits, client: Arc<dyn HttpClient>) -> Self {
        let window = Window { start: Instant::now(), sent: HashMap::new() };
        Self { limits, client, window: Mutex::new(window) }
    }

    /// Whether the tenant may send one more in this second.
    pub(crate) fn admit(&self, tenant: &Arc<str>) -> bool {
        self.window.lock().admit(tenant, self.limits.requests_per_tenant_per_second, Instant::now())
    }
}

impl Window {
    fn admit(&mut self, tenant: &Arc<str>, limit: u32, now: Instant) -> bool {
        if now.duration_since(self.start) >= Duration::from_secs(1) {
            self.start = now;
            self.sent.clear();
        }
        let sent = self.sent.entry(tenant.clone()).or_default();
        let fits = *sent < limit;
        *sent += u32::from(fits);
        fits
    }
}

/// Where nobody sends requests.
pub(crate) struct NoNetwork;

impl HttpClient for NoNetwork {
    fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        Err(HttpError::Failed("this host sends no requests".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_sends_so_many_requests_in_a_second() {
        let start = Instant::now();
        let mut window = Window { start, sent: HashMap::new() };
        let (one, other) = (Arc::from("one"), Arc::from("other"));
        for (tenant, after, admitted) in [
            (&one, Duration::ZERO, true),
            (&one, Duration::ZERO, true),
            (&one, Duration::from_millis(999), false),
            (&other, Duration::ZERO, true),
            (&one, Duration::from_secs(1), true),
        ] {
            assert_eq!(window.admit(tenant, 2, start + after), admitted, "{tenant} {after:?}");
        }
    }
}
