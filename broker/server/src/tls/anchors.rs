//! The verifier of client certificates: several named trust anchors, each with its own say.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tracing::info;

use super::refusal::Refusal;

/// The trust anchors of one listener. The first that verifies a chain vouches for it.
#[derive(Debug)]
pub(super) struct TrustAnchors {
    listener: Arc<str>,
    mandatory: bool,
    anchors: Vec<TrustAnchor>,
    /// The subjects of all anchors, told to clients so that they can choose a certificate.
    hints: Vec<DistinguishedName>,
}

#[derive(Debug)]
struct TrustAnchor {
    name: Arc<str>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl TrustAnchors {
    pub(super) fn new(listener: Arc<str>, mandatory: bool) -> Self {
        Self { listener, mandatory, anchors: Vec::new(), hints: Vec::new() }
    }

    pub(super) fn add(&mut self, name: Arc<str>, verifier: Arc<dyn ClientCertVerifier>) {
        self.hints.extend_from_slice(verifier.root_hint_subjects());
        self.anchors.push(TrustAnchor { name, verifier });
    }

    /// The anchor that vouches for a certificate which the handshake has accepted.
    pub(super) fn vouching(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<&str> {
        if let [only] = &*self.anchors {
            return Some(&only.name);
        }
        let vouches = |anchor: &&TrustAnchor| {
            anchor.verifier.verify_client_cert(leaf, intermediates, now).is_ok()
        };
        self.anchors.iter().find(vouches).map(|anchor| &*anchor.name)
    }

    /// Any anchor's verifier: signatures are checked alike by all.
    fn any(&self) -> Result<&dyn ClientCertVerifier, Error> {
        let anchor = self.anchors.first().ok_or(Error::General("no trust anchor".into()))?;
        Ok(&*anchor.verifier)
    }
}

impl ClientCertVerifier for TrustAnchors {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut errors = Vec::with_capacity(self.anchors.len());
        for anchor in &self.anchors {
            match anchor.verifier.verify_client_cert(leaf, intermediates, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => errors.push(error),
            }
        }
        let refusal = Refusal::new(leaf, errors);
        info!(
            listener = &*self.listener,
            subject = ?refusal.subject,
            issuer = ?refusal.issuer,
            serial = refusal.serial,
            reason = refusal.reason(),
            "client certificate refused"
        );
        Err(refusal.error)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any()?.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any()?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.any().map(ClientCertVerifier::supported_verify_schemes).unwrap_or_default()
    }
}
