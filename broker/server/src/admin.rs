//! The REST admin API: what runs, who is connected, and how to change it. All of it asks for the token.

mod error;
mod explain;
mod identities;
mod life;
mod metrics;
mod programs;
mod state;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use hookmq_access::Directory;
use hookmq_hooks::{ProgramKind, Secret};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::error::ApiError;
use crate::audit::{Act, Kind};
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
        let service = self.router().into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).await
    }

    fn router(self: Arc<Self>) -> Router {
        let api = Router::new()
            .route("/status", get(state::status))
            .route("/ready", get(state::ready))
            .route("/metrics", get(metrics::metrics))
            .route("/clients", get(state::clients))
            .route("/identities", get(identities::page))
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

/// Lets a request through that carries the token, within the time that any may take. What is more than
/// a question is put on record, and whoever has no token.
async fn authenticate(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let presented = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes)
        .and_then(|value| value.split_first_chunk::<7>())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, token)| token.trim_ascii());
    let has_token = presented.is_some_and(|token| admin.is_token(token));
    let mut record = Record::of(&admin, &request, has_token);
    let response = match has_token {
        true => match tokio::time::timeout(PATIENCE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => ApiError::timeout().into_response(),
        },
        false => ApiError::unauthorized().into_response(),
    };
    if let Some(record) = &mut record {
        record.status = response.status();
    }
    response
}

/// What is written of a request when it has ended, be it because whoever asked has left.
struct Record {
    admin: Arc<Admin>,
    kind: Kind,
    peer: Option<SocketAddr>,
    actor: String,
    method: Method,
    path: String,
    status: StatusCode,
}

impl Record {
    fn of(admin: &Arc<Admin>, request: &Request, has_token: bool) -> Option<Self> {
        let is_question = matches!(*request.method(), Method::GET | Method::HEAD);
        let kind = match has_token {
            true if is_question => return None,
            true => Kind::Admin,
            false => Kind::AdminRefused,
        };
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Some(Self {
            admin: admin.clone(),
            kind,
            peer: peer.map(|ConnectInfo(peer)| *peer),
            actor: life::actor(request.headers()),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            // Of whoever does not wait for the answer.
            status: StatusCode::REQUEST_TIMEOUT,
        })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Self { actor, method, path, status, .. } = self;
        let (method, status) = (method.as_str(), status.as_u16());
        self.admin.broker.audit.act(self.kind, self.peer, &Act { actor, method, path, status });
    }
}

/// Binds the API's socket; port 0 lets the system choose.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
