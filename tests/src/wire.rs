//! What bytes travel on: TCP, TLS, a unix socket, or a WebSocket over one of them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::sign;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::wait::DEADLINE;

/// A blocking stream that a test can give up waiting for.
pub trait Wire: Read + Write + Send {
    fn set_read_timeout(&self, timeout: Duration);

    /// Says that nothing more comes. Whether that succeeds does not matter: the broker may be first.
    fn end_output(&mut self);
}

impl Wire for TcpStream {
    fn set_read_timeout(&self, timeout: Duration) {
        Self::set_read_timeout(self, Some(timeout)).expect("a deadline");
    }

    fn end_output(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Wire for UnixStream {
    fn set_read_timeout(&self, timeout: Duration) {
        Self::set_read_timeout(self, Some(timeout)).expect("a deadline");
    }

    fn end_output(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Wire for StreamOwned<ClientConnection, TcpStream> {
    fn set_read_timeout(&self, timeout: Duration) {
        Wire::set_read_timeout(&self.sock, timeout);
    }

    fn end_output(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        self.sock.end_output();
    }
}

impl Wire for Box<dyn Wire> {
    fn set_read_timeout(&self, timeout: Duration) {
        (**self).set_read_timeout(timeout);
    }

    fn end_output(&mut self) {
        (**self).end_output();
    }
}

/// Whether a read tells of the end. A broker that has heard enough may close without a farewell.
pub fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
}

/// A TCP connection with a deadline for writing and for the first reads.
pub fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("reach the broker");
    stream.set_nodelay(true).expect("a socket without delay");
    stream.set_write_timeout(Some(DEADLINE)).expect("a deadline");
    Wire::set_read_timeout(&stream, DEADLINE);
    stream
}

pub fn unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("reach the broker's socket");
    stream.set_write_timeout(Some(DEADLINE)).expect("a deadline");
    Wire::set_read_timeout(&stream, DEADLINE);
    stream
}

/// The client's side of TLS with a server whose certificate the authority in `ca` has issued.
pub fn tls_connection(ca: &Path, alpn: &[&[u8]]) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).expect("read a CA certificate");
    roots.add(ca).expect("a CA certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions of TLS").with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let server = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
    ClientConnection::new(Arc::new(config), server).expect("a TLS client")
}

/// The client's side of TLS, with the certificate and key of `identity`, a path without ending. Who uses
/// it again offers to resume its session.
pub fn tls_config(ca: &Path, identity: Option<&Path>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).expect("read a CA certificate");
    roots.add(ca).expect("a CA certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions of TLS").with_root_certificates(roots);
    Arc::new(match identity {
        None => config.with_no_client_auth(),
        Some(stem) => {
            let chain = CertificateDer::pem_file_iter(stem.with_extension("crt"));
            let chain: Result<Vec<_>, _> = chain.and_then(Iterator::collect);
            let chain = chain.expect("read certificates");
            let key = PrivateKeyDer::from_pem_file(stem.with_extension("key"));
            let key = key.expect("read a key");
            let key = sign::any_supported_type(&key).expect("a key to sign with");
            // Without a look into the certificate, which may be odd.
            let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
            config.with_client_cert_resolver(Arc::new(shown))
        }
    })
}

/// A TLS connection after its handshake, to the server of this name, which may be an address.
///
/// # Errors
/// The broker does not shake hands. With TLS 1.3 it says later what it has against the client.
pub fn tls_with(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
    server: &str,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let server = ServerName::try_from(server.to_owned()).expect("the name of a server");
    let connection = ClientConnection::new(config.clone(), server).expect("a TLS client");
    let mut stream = StreamOwned::new(connection, stream);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

/// A TLS connection after its handshake.
///
/// # Errors
/// The broker does not shake hands.
pub fn tls(
    stream: TcpStream,
    ca: &Path,
    alpn: &[&[u8]],
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut stream = StreamOwned::new(tls_connection(ca, alpn), stream);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}
