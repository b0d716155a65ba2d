//! The TLS handshake, and what the client's certificate says.

use std::io;
use std::sync::Arc;

use hookmq_access::certificate_facts;
use hookmq_hooks::CertificateFacts;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::TlsServer;

/// Boxed, because rustls' state is larger than all that stands beside it.
pub type TlsClient = Box<TlsStream<TcpStream>>;

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
    tls: &TlsServer,
    stream: TcpStream,
) -> Result<(TlsClient, Option<Arc<CertificateFacts>>), HandshakeError> {
    let accepted = TlsAcceptor::from(tls.config.clone()).accept(stream).await;
    let stream = Box::new(accepted.map_err(failed)?);
    let Some(chain) = stream.get_ref().1.peer_certificates() else {
        return Ok((stream, None));
    };
    let anchor = tls.trust_anchor(chain).ok_or("no trust anchor verifies the certificate");
    let anchor = anchor.map_err(refused)?;
    let leaf = chain.first().ok_or("the certificate chain is empty").map_err(refused)?;
    let facts = certificate_facts(leaf, anchor).map_err(refused)?;
    Ok((stream, Some(Arc::new(facts))))
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
