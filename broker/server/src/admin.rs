//! The REST admin API: what runs, who is connected, and how to change it. All of it asks for a token.

mod bans;
mod caller;
mod door;
mod error;
mod explain;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grants;
mod identities;
mod life;
mod metrics;
mod programs;
mod state;
mod tenant_plugins;
mod tenant_programs;
mod tenant_rules;
mod tenants;
mod tls;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use hookmq_access::{Database, Directory};
use hookmq_hooks::{ProgramKind, Secret};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::caller::Caller;
pub use self::door::Patience;
use self::error::ApiError;
use crate::audit::{Act, Kind};
use crate::broker::Broker;
use crate::config::AdminConfig;
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
    /// Names that the API may be called by, beside addresses and `localhost`.
    hosts: Vec<Box<str>>,
    patience: Patience,
    /// Permits for changes that run or wait for their turn.
    pub changes: Arc<Semaphore>,
    /// As `changes`, of what tenants change themselves, which keeps no operator waiting.
    tenant_changes: Arc<Semaphore>,
    tenant_pushes: tenant_plugins::Queue,
}

/// Changes at a time. Each has a thread and perhaps an upload while it waits for those before it; further
/// ones are refused.
const CHANGES: usize = 16;

/// As [`CHANGES`], of tenants. Each takes a processor for a moment; further ones wait, for as long as a
/// request may take.
const TENANT_CHANGES: usize = 2;

/// Bytes of a request's body, where it is no program.
const LARGEST_BODY: usize = 1 << 20;

impl Admin {
    pub fn new(
        broker: Arc<Broker>,
        programs: Arc<Programs>,
        directory: Option<Directory>,
        keyring: Arc<Keyring>,
        token: &Secret,
        artefact_bytes: usize,
        settings: &AdminConfig,
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
            hosts: settings.hosts.clone(),
            patience: settings.patience,
            changes,
            tenant_changes: Arc::new(Semaphore::new(TENANT_CHANGES)),
            tenant_pushes: tenant_plugins::Queue::default(),
        })
    }

    /// The broker's own tables, where it has a database with them.
    fn tables(&self) -> Option<&Database> {
        self.directory.as_ref()?.tables()
    }

    /// Serves until the task is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> std::io::Result<()> {
        let patience = self.patience;
        door::serve(&listener, self.router(), patience).await
    }

    fn router(self: Arc<Self>) -> Router {
        let programs = life::routes("/rules", ProgramKind::Rule)
            .merge(life::routes("/plugins", ProgramKind::Plugin))
            .layer(DefaultBodyLimit::max(self.artefact_bytes));
        let api = Router::new()
            .route("/status", get(state::status))
            .route("/ready", get(state::ready))
            .route("/metrics", get(metrics::metrics))
            .route("/clients", get(state::clients))
            .route("/identities", get(identities::page))
            .route("/clients/{tenant}/{client_id}", delete(state::disconnect))
            .merge(tenants::routes())
            .route("/tls", get(tls::state))
            .route("/tls/reload", post(tls::reload))
            .route("/pipeline", get(programs::pipeline))
            .route("/rules", get(programs::rules))
            .route("/rules/reload", post(programs::reload_rules))
            .route("/plugins", get(programs::plugins))
            .route("/explain", post(explain::explain))
            .layer(DefaultBodyLimit::max(LARGEST_BODY))
            .merge(programs)
            .merge(tenant_rules::routes())
            .merge(tenant_plugins::routes());
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

/// Lets a request through that is meant for this API and carries a token which is good for it, within the
/// time that any may take. What is more than a question is put on record, and whoever is refused.
async fn authenticate(
    State(admin): State<Arc<Admin>>,
    mut request: Request,
    next: Next,
) -> Response {
    let presented = presented(&request).map(<[u8]>::to_vec);
    let caller = match door::is_addressed(&request, &admin.hosts) {
        true => find_caller(&admin, presented).await,
        false => Err(ApiError::misdirected()),
    };
    let (caller, refusal) = match caller {
        Err(error) => (None, Some(error)),
        Ok(caller) => {
            let refusal = match caller.may_make(&mut request).await {
                true => None,
                false => Some(ApiError::forbidden("a tenant's token is not good for this")),
            };
            (Some(caller), refusal)
        }
    };
    let mut record = Record::of(&admin, &request, caller.as_ref(), refusal.is_none());
    let response = match (caller, refusal) {
        (_, Some(refusal)) => refusal.into_response(),
        (caller, None) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            match tokio::time::timeout(admin.patience.request, next.run(request)).await {
                Ok(response) => response,
                Err(_) => ApiError::timeout().into_response(),
            }
        }
    };
    if let Some(record) = &mut record {
        record.status = response.status();
    }
    response
}

/// Whose token the request carries.
async fn find_caller(admin: &Admin, presented: Option<Vec<u8>>) -> Result<Caller, ApiError> {
    let presented = presented.ok_or_else(ApiError::unauthorized)?;
    if admin.is_token(&presented) {
        return Ok(Caller::Broker);
    }
    let token = tokens::find(admin, &presented).await?.ok_or_else(ApiError::unauthorized)?;
    Ok(Caller::Tenant { tenant: token.tenant.into(), token: token.name.into() })
}

fn presented(request: &Request) -> Option<&[u8]> {
    request
        .headers()
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes)
        .and_then(|value| value.split_first_chunk::<7>())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, token)| token.trim_ascii())
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
    fn of(
        admin: &Arc<Admin>,
        request: &Request,
        caller: Option<&Caller>,
        let_through: bool,
    ) -> Option<Self> {
        let is_question = matches!(*request.method(), Method::GET | Method::HEAD);
        let kind = match let_through {
            true if is_question => return None,
            true => Kind::Admin,
            false => Kind::AdminRefused,
        };
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Some(Self {
            admin: admin.clone(),
            kind,
            peer: peer.map(|ConnectInfo(peer)| *peer),
            actor: match caller {
                Some(Caller::Tenant { tenant, token }) => format!("token {token} of {tenant}"),
                _ => life::actor(request.headers()),
            },
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
