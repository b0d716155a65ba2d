//! One client's connection: from the first byte of CONNECT to the last of DISCONNECT.

mod aliases;
mod buffers;
mod connect;
mod delivery;
mod driver;
mod ending;
mod exchange;
mod subscriptions;

use std::sync::Arc;

use hookmq_hooks::{CertificateFacts, ConnectionFacts};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, info};

use self::connect::Refused;
use crate::broker::Broker;

/// What a connection is made of: bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Serves one client until it leaves. Whatever the peer does ends here, and only for this peer.
pub async fn serve(
    broker: Arc<Broker>,
    stream: impl Stream,
    facts: ConnectionFacts,
    certificate: Option<Arc<CertificateFacts>>,
) {
    let peer = facts.peer;
    let listener = facts.listener.clone();
    // Boxed, so that a long-lived connection does not keep the memory of its beginning.
    let connecting = Box::pin(connect::connect(broker.clone(), stream, facts, certificate));
    match connecting.await {
        Ok(driver) => driver.run().await,
        Err(Refused::Silently(why)) => {
            broker.metrics.connections_refused.add(1);
            debug!(listener = &*listener, ?peer, why, "connection closed before CONNECT");
        }
        Err(Refused::Told(refusal)) => {
            broker.metrics.connections_refused.add(1);
            info!(
                listener = &*listener,
                ?peer,
                client_id = ?refusal.client_id,
                username = ?refusal.username,
                reason_code = %refusal.reason_code,
                step = refusal.step.as_deref(),
                reason = ?refusal.reason,
                "client refused"
            );
        }
    }
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
        assert!(driver <= 640, "the driver has {driver} bytes");
        let run = size_of_output(|driver: Box<Driver<TcpStream>>| driver.run());
        assert!(run <= 128, "its future has {run} bytes");
    }
}
