//! The door of the API: who may stand in it, for how long, and by which name they may have come.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::listener::BREATH;

/// Connections at a time. Further ones wait in the socket until one of these has ended, which none
/// puts off for longer than the times below say.
const CONNECTIONS: usize = 256;

/// Bytes of a request's line and headers.
const LONGEST_HEAD: usize = 64 << 10;

/// For the answer, and whatever of the body is not read.
const FAREWELL: Duration = Duration::from_secs(60);

/// How long one request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the connection to the end of the headers.
    pub head: Duration,
    /// From there to the answer, the body included.
    pub request: Duration,
}

/// Serves one request per connection, so that each has an end. Runs until it is dropped, and takes its
/// connections along.
pub(super) async fn serve(
    listener: &TcpListener,
    router: Router,
    patience: Patience,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
            continue;
        }
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "the admin API cannot accept a connection");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let service = router.clone().layer(Extension(ConnectInfo::<SocketAddr>(peer)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
            .max_buf_size(LONGEST_HEAD)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let longest = patience.head + patience.request + FAREWELL;
        connections.spawn(async move {
            match tokio::time::timeout(longest, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%peer, %error, "a request to the admin API failed"),
                Err(_) => debug!(%peer, "a request to the admin API has no end"),
            }
        });
    }
}

/// Whether the request names a host that is this API's: an address, this machine, or one of `hosts`.
/// A page that a browser has loaded from elsewhere can make its own name mean this address (DNS
/// rebinding), but cannot make the browser call it by another one.
pub(super) fn is_addressed(request: &Request, hosts: &[Box<str>]) -> bool {
    let mut headers = request.headers().get_all(HOST).iter();
    let named = match (request.uri().authority(), headers.next(), headers.next()) {
        // RFC 9112, section 3.2.2: it goes before the header.
        (Some(authority), _, None) => Some(authority.clone()),
        (None, Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        _ => None,
    };
    named.is_some_and(|it| {
        let host = it.host();
        let address = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        address.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || hosts.iter().any(|own| host.eq_ignore_ascii_case(own))
    })
}
