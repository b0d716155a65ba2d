//! Names clients by the SPIFFE ID of their certificates.
//!
//! What is taken for an X.509-SVID follows the standard "The X.509 SPIFFE Verifiable Identity
//! Document"; the broker has verified the chain before.

use hookmq_plugin::{
    Certificate, ClientLimits, ConnectAttempt, ConnectVerdict, IdentityPatch, Plugin, Refusal,
};

mod config;
mod spiffe_id;
mod template;

pub use config::{Config, Expiry, PathConfig, TrustDomainConfig, Verdict};
use config::{Mapping, TrustDomain};
use spiffe_id::SpiffeId;

/// "Not authorized".
const NOT_AUTHORIZED: u8 = 0x87;

#[derive(Debug)]
pub struct SpiffeIdentity {
    trust_domains: Vec<TrustDomain>,
    verdict: Verdict,
    expiry: Expiry,
}

impl SpiffeIdentity {
    /// Whom the certificate stands for, or why it stands for nobody.
    fn identify(&self, certificate: &Certificate) -> Result<IdentityPatch, String> {
        if certificate.vouched_by_proxy {
            return Err("a proxy has verified the certificate, not the broker".into());
        }
        // X.509-SVID, section 2: exactly one URI, of whatever scheme.
        let [text] = &certificate.san_uri[..] else {
            let count = certificate.san_uri.len();
            return Err(format!("the certificate has {count} URIs, and an X.509-SVID has one"));
        };
        // Section 4.4: where the extension is there, it names both.
        let usage = &certificate.extended_key_usage;
        if !usage.is_empty() && !usage.iter().any(|usage| usage == "clientAuth") {
            return Err("the certificate is not for client authentication".into());
        }
        let id = SpiffeId::parse(text).map_err(|why| format!("not a SPIFFE ID: {why}"))?;
        let mapping = self.mapping(&id, &certificate.trust_anchor)?;
        Ok(self.patch(mapping, text, &id, certificate.not_after))
    }

    fn mapping(&self, id: &SpiffeId, trust_anchor: &str) -> Result<&Mapping, String> {
        let domain = self.trust_domains.iter().find(|domain| domain.name == id.trust_domain);
        let domain = domain.ok_or("the trust domain is not configured")?;
        if !domain.trust_anchors.iter().any(|anchor| anchor == trust_anchor) {
            return Err(format!("{trust_anchor:?} does not vouch for that trust domain"));
        }
        let mapping = domain.paths.iter().find(|mapping| mapping.path.matches(id));
        mapping.ok_or_else(|| "no path of the trust domain fits".into())
    }

    fn patch(&self, mapping: &Mapping, text: &str, id: &SpiffeId, not_after: i64) -> IdentityPatch {
        let expires_at = match self.expiry {
            Expiry::Disconnect => Some(u64::try_from(not_after).unwrap_or(0).saturating_mul(1000)),
            Expiry::Ignore => None,
        };
        IdentityPatch {
            tenant: Some(mapping.tenant.render(text, id)),
            username: Some(mapping.username.render(text, id)),
            client_id: mapping.client_id.as_ref().map(|template| template.render(text, id)),
            roles: mapping.roles.iter().map(|template| template.render(text, id)).collect(),
            attributes: vec![
                ("spiffe_id".into(), text.to_owned()),
                ("trust_domain".into(), id.trust_domain.to_owned()),
            ],
            limits: ClientLimits { expires_at, ..ClientLimits::default() },
        }
    }
}

impl Plugin for SpiffeIdentity {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        let trust_domains = config::trust_domains(config.trust_domains)?;
        Ok(Self { trust_domains, verdict: config.verdict, expiry: config.expiry })
    }

    fn connect(&mut self, attempt: ConnectAttempt) -> Result<ConnectVerdict, String> {
        let identified = match &attempt.connection.certificate {
            Some(certificate) => self.identify(certificate),
            None => Err("there is no certificate".into()),
        };
        Ok(match (identified, self.verdict) {
            (Ok(patch), Verdict::Accept) => ConnectVerdict::Accept(patch),
            (Ok(patch), Verdict::Next) => ConnectVerdict::Next(patch),
            (Err(reason), _) => {
                ConnectVerdict::Deny(Refusal { reason_code: NOT_AUTHORIZED, reason })
            }
        })
    }
}

hookmq_plugin::export! {
    plugin: SpiffeIdentity,
    hooks: [connect],
    capabilities: [log],
    config_schema: "../schema.json",
}

#[cfg(test)]
mod tests;
