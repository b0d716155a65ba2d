//! Where clients arrive: sockets, the accept loop, the TLS handshake in the client's own task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hookmq_access::certificate_facts;
use hookmq_codec::ProtocolVersion;
use hookmq_hooks::{CertificateFacts, ConnectionFacts};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::broker::Broker;
use crate::connection::serve;
use crate::tls::TlsServer;

/// A bound socket that is not accepting yet.
pub struct Listener {
    pub name: Arc<str>,
    pub address: SocketAddr,
    socket: TcpListener,
    tls: Option<Arc<TlsServer>>,
}

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;

/// Rest after an accept that failed for lack of something (descriptors, memory).
const BREATH: Duration = Duration::from_millis(50);

/// TLS handshakes at a time, so that a crowd of new clients leaves room for those that are connected.
const HANDSHAKES: usize = 1024;

impl Listener {
    /// Binds `address`; port 0 lets the system choose.
    pub fn bind(
        name: Arc<str>,
        address: SocketAddr,
        tls: Option<Arc<TlsServer>>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into())?;
        Ok(Self { name, address: socket.local_addr()?, socket, tls })
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Accepts until the task is dropped; every client gets a task of its own.
    pub async fn run(self, broker: Arc<Broker>) {
        let Self { name, socket, tls, .. } = self;
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            let (stream, peer) = match socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(listener = &*name, %error, "cannot accept a connection");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            broker.metrics.sockets_accepted.add(1);
            let Ok(place) = broker.places.clone().try_acquire_owned() else {
                debug!(listener = &*name, %peer, "too many connections");
                continue;
            };
            let facts = ConnectionFacts {
                listener: name.clone(),
                peer: Some(peer),
                // CONNECT says which; until then nobody reads it.
                protocol: ProtocolVersion::V311,
                encrypted: tls.is_some(),
            };
            if let Err(error) = stream.set_nodelay(true) {
                debug!(listener = &*name, %peer, %error, "connection closed at once");
                continue;
            }
            let broker = broker.clone();
            let Some(tls) = tls.clone() else {
                tokio::spawn(async move {
                    serve(broker, stream, facts, None).await;
                    drop(place);
                });
                continue;
            };
            let Ok(turn) = handshakes.clone().try_acquire_owned() else {
                debug!(listener = &*name, %peer, "too many TLS handshakes");
                continue;
            };
            tokio::spawn(async move {
                if let Some((stream, certificate)) = handshake(&broker, &tls, stream, &facts).await
                {
                    drop(turn);
                    serve(broker, stream, facts, certificate).await;
                }
                drop(place);
            });
        }
    }
}

/// The TLS handshake, and what the client's certificate says, if it showed one. A refusal is logged
/// here, with the reason.
async fn handshake(
    broker: &Broker,
    tls: &TlsServer,
    stream: TcpStream,
    facts: &ConnectionFacts,
) -> Option<(Box<TlsStream<TcpStream>>, Option<Arc<CertificateFacts>>)> {
    let listener = &*facts.listener;
    let peer = facts.peer;
    let accepted = TlsAcceptor::from(tls.config.clone()).accept(stream);
    // Boxed, because a handshake is larger than all that follows it.
    let accepted = tokio::time::timeout(broker.limits.connect_timeout, Box::pin(accepted)).await;
    let stream = match accepted {
        Ok(Ok(stream)) => Box::new(stream),
        Ok(Err(error)) => {
            // The verifier has told of a certificate that it refused, by name.
            if !is_refused_certificate(&error) {
                info!(listener, ?peer, %error, "TLS handshake failed");
            }
            return None;
        }
        Err(_) => {
            debug!(listener, ?peer, "TLS handshake not finished in time");
            return None;
        }
    };
    let Some(chain) = stream.get_ref().1.peer_certificates() else {
        return Some((stream, None));
    };
    let facts = tls
        .trust_anchor(chain)
        .ok_or_else(|| "no trust anchor verifies the certificate".to_owned())
        .and_then(|anchor| {
            let leaf = chain.first().ok_or("the certificate chain is empty")?;
            certificate_facts(leaf, anchor).map_err(|error| error.to_string())
        });
    match facts {
        Ok(facts) => Some((stream, Some(Arc::new(facts)))),
        Err(error) => {
            info!(listener, ?peer, error, "client certificate refused");
            None
        }
    }
}

fn is_refused_certificate(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}
