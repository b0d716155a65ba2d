//! One client's connection: from the first byte of CONNECT to the last of DISCONNECT.

mod abroad;
mod aliases;
mod buffers;
mod connect;
mod delivery;
mod driver;
mod ending;
mod exchange;
mod receive;
mod rights;
mod stored;
mod subscriptions;
mod worker;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use hookmq_hooks::{CertificateFacts, ConnectionFacts};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

pub(crate) use self::connect::Refusal;
use self::connect::Refused;
pub use self::worker::rest;
use crate::admission::{Arrival, Bound};
use crate::audit::Kind;
use crate::broker::Broker;

/// What a connection is made of: bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Serves a client from CONNACK until it leaves. Whatever the peer does ends here, and only for this
/// peer. It is boxed, so that a task has as much memory as that takes, and not as its beginning took.
pub type Connected = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a client of a connection. None where it is refused, which is told here.
pub async fn admit(
    broker: Arc<Broker>,
    stream: impl Stream + 'static,
    facts: ConnectionFacts,
    certificate: Option<Arc<CertificateFacts>>,
    arrival: Arrival,
) -> Option<Connected> {
    let peer = facts.peer;
    let listener = facts.listener.clone();
    match connect::connect(broker.clone(), stream, facts, certificate, arrival).await {
        Ok(driver) => return Some(Box::pin(driver.run())),
        Err(Refused::Silently(why)) => {
            broker.metrics.connections_refused.add(1);
            debug!(listener = &*listener, ?peer, why, "connection closed before CONNECT");
        }
        Err(Refused::Shed(bound)) => shed(&broker, &listener, peer, bound),
        Err(Refused::Told(refusal)) if let Some(bound) = refusal.bound => {
            shed(&broker, &listener, peer, bound);
        }
        Err(Refused::Told(refusal)) => {
            broker.metrics.connections_refused.add(1);
            broker.audit.refused(Kind::of(&refusal), &listener, peer, &refusal);
        }
    }
    None
}

/// Tells of a connection that is closed at a bound, which under attack are many.
pub(crate) fn shed(broker: &Broker, listener: &str, peer: Option<SocketAddr>, bound: Bound) {
    broker.metrics.shed(bound);
    debug!(listener, ?peer, bound = bound.key(), "connection closed at a bound");
}
#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::driver::Driver;

    fn size_of_output<A, F>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// Each of many idle connections has one of these.
    #[test]
    fn a_connected_client_costs_little_memory() {
        let driver = size_of::<Driver<TcpStream>>();
        assert!(driver <= 512, "the driver has {driver} bytes");
        let run = size_of_output(|driver: Box<Driver<TcpStream>>| driver.run());
        assert!(run <= 128, "its future has {run} bytes");
    }
}
