//! The REST admin API: what runs, who is connected, and how to change it. All of it asks for the token.

mod error;
mod explain;
mod life;
mod metrics;
mod programs;
mod state;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post};
use hookmq_access::Directory;
use hookmq_hooks::{ProgramKind, Secret};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::error::ApiError;
use crate::broker::Broker;
use crate::programs::Programs;
use crate::tls::Keyring;

/// What the handlers work with.
pub struct Admin {
    pub broker: Arc<Broker>,
    pub programs: Arc<Programs>,
    /// Present where a step asks the database.
    pub directory: Option<Directory>,
    pub keyring: Arc<Keyring>,
    /// Of the token; comparing digests tells nothing of the token by its time.
    token_digest: [u8; 32],
    /// Bytes that an upload may have.
    pub artefact_bytes: usize,
    /// Permits for changes that run or wait for their turn.
    pub changes: Arc<Semaphore>,
}

/// Changes at a time. Each has a thread and perhaps an upload while it waits for those before it; further
/// ones are refused.
const CHANGES: usize = 16;

/// A request that takes longer, its body included, is given up.
const PATIENCE: Duration = Duration::from_secs(60);

impl Admin {
    pub fn new(
        broker: Arc<Broker>,
        programs: Arc<Programs>,
        directory: Option<Directory>,
        keyring: Arc<Keyring>,
        token: &Secret,
        artefact_bytes: usize,
    ) -> Arc<Self> {
        let token_digest = Sha256::digest(token.expose()).into();
        let changes = Arc::new(Semaphore::new(CHANGES));
        Arc::new(Self {
            broker,
            programs,
            directory,
            keyring,
            token_digest,
            artefact_bytes,
            changes,
        })
    }

    /// Serves until the task is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }

    fn router(self: Arc<Self>) -> Router {
        let api = Router::new()
            .route("/status", get(state::status))
            .route("/ready", get(state::ready))
            .route("/metrics", get(metrics::metrics))
            .route("/clients", get(state::clients))
            .route("/clients/{tenant}/{client_id}", delete(state::disconnect))
            .route("/tls", get(tls::state))
            .route("/tls/reload", post(tls::reload))
            .route("/pipeline", get(programs::pipeline))
            .route("/rules", get(programs::rules))
            .route("/rules/reload", post(programs::reload_rules))
            .route("/plugins", get(programs::plugins))
            .merge(life::routes("/rules", ProgramKind::Rule))
            .merge(life::routes("/plugins", ProgramKind::Plugin))
            .route("/explain", post(explain::explain))
            .layer(DefaultBodyLimit::max(self.artefact_bytes));
        Router::new()
            .nest("/api/v1", api)
            .fallback(async || ApiError::not_found("there is nothing under this path"))
            .method_not_allowed_fallback(async || ApiError::method_not_allowed())
            .layer(from_fn_with_state(self.clone(), authenticate))
            .with_state(self)
    }

    fn is_token(&self, presented: &[u8]) -> bool {
        Sha256::digest(presented)[..] == self.token_digest
    }
}

/// Lets a request through that carries the token, within the time that any may take.
async fn authenticate(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let presented = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes)
        .and_then(|value| value.split_first_chunk::<7>())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, token)| token.trim_ascii());
    if !presented.is_some_and(|token| admin.is_token(token)) {
        return Err(ApiError::unauthorized());
    }
    tokio::time::timeout(PATIENCE, next.run(request)).await.map_err(|_| ApiError::timeout())
}

/// Binds the API's socket; port 0 lets the system choose.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
