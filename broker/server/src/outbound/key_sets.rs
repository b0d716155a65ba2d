//! The key sets of tokens, fetched from URLs that the operator has named.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_access::{FetchKeySet, KeySetUrl, MAX_KEY_SET_BYTES};
use hookmq_hooks::BoxFuture;
use hookmq_wasm::{HttpError, HttpRequest, Method, Origin};

use super::Outbound;

/// Sends them from [`Outbound`]'s own thread.
pub struct KeySets(Arc<Outbound>);

impl KeySets {
    pub fn new(outbound: Outbound) -> Self {
        Self(Arc::new(outbound))
    }
}

impl FetchKeySet for KeySets {
    fn fetch(
        &self,
        url: &KeySetUrl,
        within: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let (outbound, path) = (self.0.clone(), url.path().to_owned());
        let origin = url.origin().parse::<Origin>().map_err(|error| error.to_string());
        Box::pin(async move {
            let request = HttpRequest {
                method: Method::Get,
                origin: origin?,
                path,
                headers: vec![(
                    "accept".into(),
                    "application/jwk-set+json, application/json".into(),
                )],
                body: Vec::new(),
                deadline: Instant::now() + within,
                response_bytes: MAX_KEY_SET_BYTES,
            };
            let response = outbound.send_aside(request).await.map_err(|error| match error {
                HttpError::TooLarge => "its answer is too long".to_owned(),
                error => error.to_string(),
            })?;
            match response.status {
                200 => Ok(response.body),
                status => Err(format!("it answers with {status}")),
            }
        })
    }
}
