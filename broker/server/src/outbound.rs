//! Requests that plugins send, and the broker itself for key sets: to addresses that may be reached, and
//! nowhere else.
//!
//! A name is looked up once, its addresses are checked, and the connection goes to one of those that
//! were checked. There are no redirections, no proxies and no connections kept for later.

mod address;
mod key_sets;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hookmq_wasm::{Host, HttpClient, HttpError, HttpRequest, HttpResponse, Method, Origin, Scheme};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::{JoinSet, block_in_place};
use tokio_rustls::TlsConnector;
use tracing::warn;

use self::address::{is_this_machine, may_reach};
pub use self::key_sets::KeySets;
use crate::config::{HttpReach, Network};

/// Threads for look-ups, which cannot be ended: as many may hang at a time.
const LOOKUPS: usize = 8;
/// Of those that a name has, in the order in which they were given.
const ADDRESSES_TRIED: usize = 4;
/// Head of a response.
const HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 100;

/// Sends requests from a thread of its own, where the connections of plugins are no burden to others.
pub struct Outbound {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    tls: TlsConnector,
    networks: Networks,
}

/// The addresses that names may have.
enum Networks {
    /// Public ones, and these.
    Public(Vec<Network>),
    /// Any: the operator chose the names.
    All,
}

impl Outbound {
    /// Hosts are verified against the system's trust anchors and those in `reach`.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub fn new(reach: &HttpReach) -> io::Result<Self> {
        Self::within(reach, Networks::Public(reach.networks.clone()))
    }

    /// For requests to hosts that the operator has named, wherever they are.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn of_operator(reach: &HttpReach) -> io::Result<Self> {
        Self::within(reach, Networks::All)
    }

    fn within(reach: &HttpReach, networks: Networks) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(LOOKUPS)
            .thread_name("outbound-http")
            .enable_all()
            .build()?;
        let tls = TlsConnector::from(Arc::new(tls(reach)?));
        Ok(Self { runtime: Some(runtime), tls, networks })
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let limit = request.response_bytes;
        let tcp = self.connect(&request.origin).await?;
        match request.origin.scheme {
            Scheme::Http => exchange_over(tcp, message(request)?, limit).await,
            Scheme::Https => {
                let name = server_name(&request.origin.host)?;
                let stream = self.tls.connect(name, tcp).await.map_err(failed)?;
                exchange_over(stream, message(request)?, limit).await
            }
        }
    }

    async fn connect(&self, origin: &Origin) -> Result<TcpStream, HttpError> {
        let addresses: Vec<SocketAddr> = match &origin.host {
            Host::Address(address) => vec![SocketAddr::new(*address, origin.port)],
            Host::Name(name) => {
                tokio::net::lookup_host((&**name, origin.port)).await.map_err(failed)?.collect()
            }
        };
        let allowed = |address: &SocketAddr| match &self.networks {
            Networks::Public(networks) => may_reach(&origin.host, address.ip(), networks),
            Networks::All if is_this_machine(&origin.host) => {
                may_reach(&origin.host, address.ip(), &[])
            }
            Networks::All => true,
        };
        let mut outcome = Err(HttpError::Address);
        for address in addresses.into_iter().filter(allowed).take(ADDRESSES_TRIED) {
            outcome = TcpStream::connect(address).await.map_err(failed);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

impl Outbound {
    /// Sends from this thread what another task waits for.
    async fn send_aside(self: Arc<Self>, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let stopping = || HttpError::Failed("the broker stops".into());
        let runtime = self.runtime.as_ref().ok_or_else(stopping)?.handle().clone();
        let deadline = request.deadline.into();
        let sent = runtime.spawn(async move {
            let exchange = tokio::time::timeout_at(deadline, self.exchange(request));
            exchange.await.unwrap_or(Err(HttpError::Timeout))
        });
        sent.await.unwrap_or_else(|_| Err(stopping()))
    }
}

impl HttpClient for Outbound {
    fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Some(runtime) = &self.runtime else {
            return Err(HttpError::Failed("the broker stops".into()));
        };
        let deadline = request.deadline.into();
        runtime.handle().block_on(async {
            let exchange = tokio::time::timeout_at(deadline, self.exchange(request));
            exchange.await.unwrap_or(Err(HttpError::Timeout))
        })
    }

    /// A worker of the broker hands its other connections to another thread first.
    fn wait(&self, work: &mut dyn FnMut()) {
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
            _ => work(),
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        // To wait for its threads is not allowed on a worker, and not needed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn tls(reach: &HttpReach) -> io::Result<ClientConfig> {
    let mut roots = reach.roots.clone();
    let system = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(system.certs);
    if added == 0 {
        let errors = system.errors.len();
        warn!(errors, "the system has no trust anchors: only plugins.http.ca vouches for hosts");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn server_name(host: &Host) -> Result<ServerName<'static>, HttpError> {
    match host {
        Host::Address(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(failed),
    }
}

/// The message, whose host is the granted one.
fn message(request: HttpRequest) -> Result<Request<Full<Bytes>>, HttpError> {
    let origin = request.origin.to_string();
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    let mut builder = Request::builder()
        .method(match request.method {
            Method::Get => hyper::Method::GET,
            Method::Post => hyper::Method::POST,
            Method::Put => hyper::Method::PUT,
            Method::Delete => hyper::Method::DELETE,
        })
        .uri(request.path)
        .header(HOST, host);
    let names_itself =
        request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(USER_AGENT.as_str()));
    if !names_itself {
        builder = builder.header(USER_AGENT, concat!("hookmq/", env!("CARGO_PKG_VERSION")));
    }
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(request.body.into())).map_err(failed)
}

async fn exchange_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    message: Request<Full<Bytes>>,
    limit: usize,
) -> Result<HttpResponse, HttpError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(of_hyper)?;
    // Ended when it is dropped, at the deadline at the latest.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(message).await.map_err(of_hyper)?;
    read(response, limit).await
}

async fn read(response: Response<Incoming>, limit: usize) -> Result<HttpResponse, HttpError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return HttpError::TooLarge;
        }
        match error.downcast::<hyper::Error>() {
            Ok(error) => of_hyper(*error),
            Err(error) => failed(error),
        }
    })?;
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = head.headers.iter();
    Ok(HttpResponse {
        status: head.status.as_u16(),
        headers: headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
        body: body.to_bytes().into(),
    })
}

fn of_hyper(error: hyper::Error) -> HttpError {
    match error.is_parse_too_large() {
        true => HttpError::TooLarge,
        false => failed(error),
    }
}

fn failed(error: impl ToString) -> HttpError {
    HttpError::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
