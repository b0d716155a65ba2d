//! The TLS handshake, and what the client's certificate says.

use std::io;
use std::sync::Arc;

use hookmq_access::certificate_facts;
use hookmq_hooks::CertificateFacts;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::{ListenerTls, Vigil};

/// Boxed, because rustls' state is larger than all that stands beside it.
pub type TlsClient = Box<TlsStream<TcpStream>>;

/// What a client has shown, and the watch over it that lasts as long as the connection.
pub type Shown = (Arc<CertificateFacts>, Vigil);

/// Why a client is turned away, and who ought to know.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It went away, or does not speak TLS; or it was told of already.
    #[error("TLS handshake failed: {0}")]
    Quiet(io::Error),
    #[error("TLS handshake failed: {0}")]
    Failed(io::Error),
    #[error("client certificate refused: {0}")]
    Certificate(String),
}

/// Shakes hands, and reads the certificate if the client showed one. The caller sets the deadline.
pub async fn handshake(
    tls: &Arc<ListenerTls>,
    stream: TcpStream,
) -> Result<(TlsClient, Option<Shown>), HandshakeError> {
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(failed)?;
    let greeting = tls.greet(begun.client_hello().server_name());
    let stream = Box::new(begun.into_stream(greeting.config()).await.map_err(failed)?);
    let Some(chain) = stream.get_ref().1.peer_certificates() else {
        return Ok((stream, None));
    };
    let anchor = greeting.trust_anchor(chain).ok_or("no trust anchor verifies the certificate");
    let anchor = anchor.map_err(refused)?;
    let leaf = chain.first().ok_or("the certificate chain is empty").map_err(refused)?;
    let facts = Arc::new(certificate_facts(leaf, anchor).map_err(refused)?);
    let vigil = tls.watch(&greeting, chain, facts.clone());
    Ok((stream, Some((facts, vigil))))
}

fn refused(reason: impl ToString) -> HandshakeError {
    HandshakeError::Certificate(reason.to_string())
}

fn failed(error: io::Error) -> HandshakeError {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match tls {
        // The verifier has told of a certificate that it refused, by name.
        None | Some(rustls::Error::InvalidCertificate(_) | rustls::Error::InvalidMessage(_)) => {
            HandshakeError::Quiet(error)
        }
        Some(_) => HandshakeError::Failed(error),
    }
}
