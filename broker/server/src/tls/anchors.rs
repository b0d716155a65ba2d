//! The verifier of client certificates: several named trust anchors, each with its own say.

use std::sync::Arc;
use std::time::Instant;

use hookmq_access::{CrlFacts, crl_facts, may_sign_certificates};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use tracing::info;

use crate::audit::{Kind, Pace};

use super::material::Material;
use super::refusal::Refusal;
use super::settings::{CrlSettings, TrustAnchorSettings, WhenUnusable};

/// The trust anchors of one scope. The first that verifies a chain vouches for it.
#[derive(Debug)]
pub(super) struct TrustAnchors {
    listener: Arc<str>,
    mandatory: bool,
    anchors: Vec<TrustAnchor>,
    /// The subjects of all anchors, told to clients so that they can choose a certificate.
    hints: Vec<DistinguishedName>,
    /// Of the lines about who is refused.
    pace: Pace,
}

#[derive(Debug)]
pub(super) struct TrustAnchor {
    pub(super) name: Arc<str>,
    verifier: Arc<dyn ClientCertVerifier>,
    /// Empty where there is no list, or none that is usable.
    pub(super) lists: Vec<CrlFacts>,
    /// Where lists count for handshakes only so long.
    lists_end: Option<UnixTime>,
}

/// Among the authorities that a client shows is one that is none.
#[derive(Debug, thiserror::Error)]
#[error("a certificate behind it must not sign others, by its key usage")]
struct NotToSign;

/// What of an anchor cannot be used.
pub(super) enum Unusable {
    Anchor(String),
    Crl(String),
}

impl TrustAnchors {
    pub(super) fn new(listener: Arc<str>, mandatory: bool) -> Self {
        Self { listener, mandatory, anchors: Vec::new(), hints: Vec::new(), pace: Pace::default() }
    }

    pub(super) fn add(&mut self, anchor: TrustAnchor) {
        self.hints.extend_from_slice(anchor.verifier.root_hint_subjects());
        self.anchors.push(anchor);
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor] {
        &self.anchors
    }

    /// The anchor that vouches for a certificate which the handshake has accepted.
    pub(super) fn vouching(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<&Arc<str>> {
        if let [only] = &*self.anchors {
            return Some(&only.name);
        }
        let vouches = |anchor: &&TrustAnchor| anchor.verify(leaf, intermediates, now).is_ok();
        self.anchors.iter().find(vouches).map(|anchor| &anchor.name)
    }

    /// Any anchor's verifier: signatures are checked alike by all.
    fn any(&self) -> Result<&dyn ClientCertVerifier, Error> {
        let anchor = self.anchors.first().ok_or(Error::General("no trust anchor".into()))?;
        Ok(&*anchor.verifier)
    }
}

impl TrustAnchor {
    /// `had_lists`: an earlier version had revocation lists, which must not get lost. `warnings` is
    /// added to.
    pub(super) fn load(
        settings: &TrustAnchorSettings,
        material: &Material,
        had_lists: bool,
        provider: &Arc<CryptoProvider>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Unusable> {
        let (name, file) = (settings.name.clone(), &settings.file);
        let roots = Arc::new(material.root_store(file).map_err(Unusable::Anchor)?);
        let builder =
            || WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let without = || {
            let error = |error| Unusable::Anchor(format!("{}: {error}", file.display()));
            builder().build().map_err(error)
        };
        let Some(CrlSettings { file: crl, when_unusable }) = &settings.crl else {
            return Ok(Self { name, verifier: without()?, lists: Vec::new(), lists_end: None });
        };
        let with_lists = || -> Result<_, String> {
            let lists = material.revocation_lists(crl)?;
            let malformed = |error: &dyn std::fmt::Display| format!("{}: {error}", crl.display());
            let facts = lists.iter().map(|list| crl_facts(list)).collect::<Result<Vec<_>, _>>();
            let facts = facts.map_err(|error| malformed(&error))?;
            let builder = builder().with_crls(lists);
            let builder = match when_unusable {
                WhenUnusable::Refuse => builder,
                WhenUnusable::Allow => builder.allow_unknown_revocation_status(),
            };
            Ok((builder.build().map_err(|error| malformed(&error))?, facts))
        };
        match (with_lists(), when_unusable) {
            (Ok((verifier, lists)), when_unusable) => {
                let end = lists.iter().map(|list| list.next_update).min();
                let lists_end = end.filter(|_| *when_unusable == WhenUnusable::Refuse).map(moment);
                Ok(Self { name, verifier, lists, lists_end })
            }
            (Err(error), WhenUnusable::Allow) if !had_lists => {
                warnings.push(format!("revoked certificates of {name} are accepted: {error}"));
                Ok(Self { name, verifier: without()?, lists: Vec::new(), lists_end: None })
            }
            (Err(error), _) => Err(Unusable::Crl(error)),
        }
    }

    /// That the anchor vouches for a client which comes in now. Lists that are out of date refuse it.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verify_again(leaf, intermediates, now)?;
        match self.lists_end {
            Some(end) if end <= now => {
                let error =
                    CertificateError::ExpiredRevocationListContext { time: now, next_update: end };
                Err(error.into())
            }
            _ => Ok(verified),
        }
    }

    /// That the anchor still vouches for a client that it has let in. A list that is out of date says
    /// nothing new against it.
    pub(super) fn verify_again(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(leaf, intermediates, now)?;
        // The verifier does not look at key usages, nor does it say which of these it needed.
        for certificate in intermediates.iter().filter(|it| *it != leaf) {
            if !may_sign_certificates(certificate).unwrap_or(false) {
                return Err(CertificateError::Other(OtherError(Arc::new(NotToSign))).into());
            }
        }
        Ok(verified)
    }
}

/// A time of a certificate; what is before 1970 is 1970.
fn moment(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds.try_into().unwrap_or(0)))
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
            match anchor.verify(leaf, intermediates, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => errors.push(error),
            }
        }
        let refusal = Refusal::new(leaf, errors);
        let Some(left_out) = self.pace.may_tell(Instant::now()) else { return Err(refusal.error) };
        info!(
            target: "audit",
            kind = Kind::Tls.name(),
            listener = &*self.listener,
            subject = ?refusal.subject,
            issuer = ?refusal.issuer,
            serial = refusal.serial,
            reason = refusal.reason(),
            left_out,
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
