//! Where clients arrive: sockets, the accept loop, and all that precedes CONNECT in a client's own
//! task: PROXY header, TLS handshake, WebSocket upgrade.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod proxy;
mod socket;
mod steps;
mod tls;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_codec::ProtocolVersion;
use hookmq_hooks::{CertificateFacts, ConnectionFacts};
use tokio::net::TcpStream;
use tracing::{debug, warn};

use self::proxy::read_header;
use self::socket::{Accepted, Socket};
use self::steps::in_steps;
use self::tls::{HandshakeError, Shown, TlsClient, handshake};
use self::websocket::{UpgradeError, upgrade};
use crate::admission::{Arrival, Bound, Late, Place};
use crate::broker::Broker;
use crate::config::{Bind, ListenerConfig, WebSocketSettings};
use crate::connection::{Connected, Stream, admit, shed};
use crate::tls::{ListenerTls, Vigil};

/// A bound socket that is not accepting yet.
pub struct Listener {
    config: Arc<ListenerConfig>,
    /// Where it is; with port 0 configured, the port that was given.
    bind: Bind,
    socket: Socket,
}

/// Somebody whose socket was accepted.
struct Newcomer {
    broker: Arc<Broker>,
    listener: Arc<ListenerConfig>,
    peer: Option<SocketAddr>,
    place: Place,
    arrival: Arrival,
    /// Of whoever the proxy has verified.
    proxied: Certificate,
    /// Over the certificate that the client has shown.
    vigil: Option<Vigil>,
}

type Certificate = Option<Arc<CertificateFacts>>;

/// A stream that CONNECT may come over. TCP and TLS have drivers of their own, as most clients use
/// them; whatever else there is shares one.
enum Prepared {
    Tcp(TcpStream),
    Tls(TlsClient, Certificate),
    Other(Box<dyn Stream>, Certificate),
}

/// What is held as long as a client is connected.
type Held = (Place, Option<Vigil>);

/// Why a newcomer does not get as far as CONNECT.
#[derive(Debug, thiserror::Error)]
enum TurnedAway {
    #[error("at a bound")]
    Bound(Bound),
    #[error("not done in time")]
    TimedOut,
    #[error("not a trusted proxy")]
    NotAProxy,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("{0}")]
    Upgrade(#[from] UpgradeError),
}

/// Rest after an accept that failed for lack of something (descriptors, memory).
pub(crate) const BREATH: Duration = Duration::from_millis(50);

/// Behind so many clients of a crowd, those who are connected have their turn.
const ACCEPTED_IN_A_ROW: u64 = 8;

impl Listener {
    /// Binds where `config` says; port 0 lets the system choose.
    pub fn bind(config: ListenerConfig) -> io::Result<Self> {
        let (socket, bind) = match &config.bind {
            Bind::Network { transport, address } => {
                let socket = Socket::bind_tcp(*address)?;
                let address = socket.local_address()?.unwrap_or(*address);
                (socket, Bind::Network { transport: *transport, address })
            }
            Bind::Unix(path) => (Socket::bind_unix(path, config.mode)?, config.bind.clone()),
        };
        Ok(Self { config: Arc::new(config), bind, socket })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Where clients reach it.
    pub fn place(&self) -> &Bind {
        &self.bind
    }

    /// Accepts until the task is dropped; every client gets a task of its own.
    pub async fn run(self, broker: Arc<Broker>) {
        for number in 1_u64.. {
            if number % ACCEPTED_IN_A_ROW == 0 {
                tokio::task::yield_now().await;
            }
            match self.socket.accept().await {
                Ok(accepted) => {
                    broker.metrics.sockets_accepted.add(1);
                    let peer = accepted.peer();
                    if let Err(why) = self.welcome(&broker, accepted) {
                        report(&broker, &self.config.name, peer, &why);
                    }
                }
                Err(error) => {
                    warn!(listener = &*self.config.name, %error, "cannot accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn welcome(&self, broker: &Arc<Broker>, accepted: Accepted) -> Result<(), TurnedAway> {
        let peer = accepted.peer();
        let now = Instant::now();
        let admission = &broker.admission;
        let mut place = admission.enter(now)?;
        match (&self.config.proxies, peer) {
            (None, None) => {}
            (None, Some(peer)) => admission.come_from(&mut place, peer.ip(), now)?,
            // The header says where the client comes from.
            (Some(proxies), Some(peer)) if proxies.trusts(peer.ip()) => {}
            (Some(_), _) => return Err(TurnedAway::NotAProxy),
        }
        let newcomer = Newcomer {
            broker: broker.clone(),
            listener: self.config.clone(),
            peer,
            place,
            arrival: admission.arrive(now)?,
            proxied: None,
            vigil: None,
        };
        let beginning = Box::pin(newcomer.begin(accepted));
        tokio::spawn(async {
            if let Some((connected, _held)) = beginning.await {
                connected.await;
            }
        });
        Ok(())
    }
}

impl Newcomer {
    /// Takes a client through what the listener asks for, and CONNECT.
    async fn begin(mut self, accepted: Accepted) -> Option<(Connected, Held)> {
        match self.prepare(accepted).await {
            // Boxed, so that each takes as much memory as it needs, and not as the largest does.
            Ok(Prepared::Tcp(stream)) => Box::pin(self.admit(stream, None)).await,
            Ok(Prepared::Tls(stream, certificate)) => {
                Box::pin(self.admit(stream, certificate)).await
            }
            Ok(Prepared::Other(stream, certificate)) => {
                Box::pin(self.admit(stream, certificate)).await
            }
            Err(why) => {
                report(&self.broker, &self.listener.name, self.peer, &why);
                None
            }
        }
    }

    async fn prepare(&mut self, accepted: Accepted) -> Result<Prepared, TurnedAway> {
        let mut stream = match accepted {
            Accepted::Unix(stream) => return Ok(Prepared::Other(Box::new(stream), None)),
            Accepted::Tcp(stream, _) => stream,
        };
        stream.set_nodelay(true)?;
        let listener = self.listener.clone();
        if listener.proxies.is_some() {
            Box::pin(self.pass_proxy_header(&mut stream)).await?;
        }
        let Some(tls) = &listener.tls else {
            return match &listener.websocket {
                None => Ok(Prepared::Tcp(stream)),
                Some(settings) => Box::pin(self.upgrade(Box::new(stream), settings, None)).await,
            };
        };
        let (stream, shown) = Box::pin(self.shake_hands(tls, stream)).await?;
        let (certificate, vigil) = shown.unzip();
        self.vigil = vigil;
        match &listener.websocket {
            None => Ok(Prepared::Tls(stream, certificate)),
            Some(settings) => Box::pin(self.upgrade(Box::new(stream), settings, certificate)).await,
        }
    }

    /// From here on, the peer is whom the proxy names.
    async fn pass_proxy_header(&mut self, stream: &mut TcpStream) -> Result<(), TurnedAway> {
        let header = self.arrival.within(read_header(stream)).await??;
        self.peer = header.source.or(self.peer);
        if let Some(anchor) = &self.listener.proxy_anchor {
            let certificate = header.certificate(anchor).map_err(HandshakeError::Certificate)?;
            self.proxied = certificate.map(Arc::new);
        }
        if let Some(peer) = self.peer {
            self.broker.admission.come_from(&mut self.place, peer.ip(), Instant::now())?;
        }
        Ok(())
    }

    async fn shake_hands(
        &mut self,
        tls: &Arc<ListenerTls>,
        stream: TcpStream,
    ) -> Result<(TlsClient, Option<Shown>), TurnedAway> {
        let mut turn = self.broker.admission.begin_handshake(Instant::now())?;
        let steps = &self.broker.admission.handshake_steps;
        let in_turn = async {
            tokio::select! {
                biased;
                shaken = in_steps(steps, handshake(tls, stream)) => shaken.map_err(TurnedAway::from),
                _ = turn.given_away() => Err(Bound::TlsHandshakes.into()),
            }
        };
        self.arrival.within(in_turn).await?
    }

    async fn upgrade(
        &mut self,
        stream: Box<dyn Stream>,
        settings: &WebSocketSettings,
        certificate: Certificate,
    ) -> Result<Prepared, TurnedAway> {
        let maximum_packet_size = self.broker.limits.maximum_packet_size;
        let upgraded = upgrade(stream, settings, maximum_packet_size);
        let socket = self.arrival.within(upgraded).await??;
        Ok(Prepared::Other(Box::new(socket), certificate))
    }

    async fn admit(
        self,
        stream: impl Stream + 'static,
        certificate: Certificate,
    ) -> Option<(Connected, Held)> {
        let Self { broker, listener, peer, place, arrival, proxied, vigil } = self;
        // What the broker has seen itself counts more than what it is told.
        let certificate = certificate.or(proxied);
        let facts = ConnectionFacts {
            listener: listener.name.clone(),
            peer,
            // CONNECT says which; until then nobody reads it.
            protocol: ProtocolVersion::V311,
            encrypted: listener.tls.is_some(),
        };
        let connected = admit(broker, stream, facts, certificate, arrival).await?;
        Some((connected, (place, vigil)))
    }
}

/// Under attack these are many, so only what an operator can act on is told.
fn report(broker: &Broker, listener: &str, peer: Option<SocketAddr>, why: &TurnedAway) {
    if let TurnedAway::Bound(bound) = why {
        return shed(broker, listener, peer, *bound);
    }
    broker.metrics.connections_refused.add(1);
    match why {
        TurnedAway::Handshake(
            why @ (HandshakeError::Failed(_) | HandshakeError::Certificate(_)),
        ) => {
            broker.audit.turned_away(listener, peer, why);
        }
        why => debug!(listener, ?peer, %why, "connection closed before CONNECT"),
    }
}

impl From<Bound> for TurnedAway {
    fn from(bound: Bound) -> Self {
        Self::Bound(bound)
    }
}

impl From<Late> for TurnedAway {
    fn from(late: Late) -> Self {
        match late {
            Late::TimedOut => Self::TimedOut,
            Late::GivenAway => Self::Bound(Bound::PendingConnections),
        }
    }
}
