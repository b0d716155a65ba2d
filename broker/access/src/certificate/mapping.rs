//! From a certificate to an identity, as the configuration of the step `certificate` says.
//!
//! A field that could be read in two ways is refused, not guessed at: two common names, no name, a
//! name that means something in a topic filter, or that looks like another one.

mod table;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use hookmq_hooks::{CertificateFacts, IdentityPatch, Voucher};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

pub use self::table::Mappings;
pub(crate) use self::table::{MAX_MAPPINGS, Mapped};
use self::template::Template;
pub use self::template::TemplateError;

/// What the step takes from the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSettings {
    /// The first that concerns a certificate decides about it.
    pub mappings: MappingSource,
    #[serde(default)]
    pub username_conflict: UsernameConflict,
}

/// Where the mappings are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappingSource {
    Listed(Vec<Mapping>),
    /// In the table `certificate_mappings`.
    Database,
}

impl Default for MappingSource {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// A list, or the word `database`.
impl<'de> Deserialize<'de> for MappingSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;
        impl<'de> Visitor<'de> for Expected {
            type Value = MappingSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of mappings, or `database`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "database" => Ok(MappingSource::Database),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                let list = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(MappingSource::Listed(list))
            }
        }
        deserializer.deserialize_any(Expected)
    }
}

/// What becomes of a client whose CONNECT names another user than its certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsernameConflict {
    #[default]
    Refuse,
    /// The certificate's name counts.
    Ignore,
}

/// Who has verified the certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VouchedBy {
    /// The broker's own handshake.
    #[default]
    Tls,
    /// A trusted proxy.
    Proxy,
}

/// Who the holders of some certificates are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Only certificates that this anchor vouches for; none: of every anchor.
    pub trust_anchor: Option<String>,
    /// Only certificates with this issuer, as RFC 4514 writes it. Whoever can issue certificates can
    /// name an authority so: it narrows an anchor, and is no pin by itself.
    pub issuer: Option<String>,
    #[serde(default)]
    pub vouched_by: VouchedBy,
    tenant: Template,
    /// The tenants that the certificate may name; empty: any.
    #[serde(default)]
    tenants: BTreeSet<String>,
    username: Template,
    client_id: Option<Template>,
    #[serde(default)]
    roles: Vec<Template>,
    #[serde(default)]
    attributes: BTreeMap<Arc<str>, Template>,
}

impl Mapping {
    /// Whether it is for this certificate.
    pub(crate) fn concerns(&self, certificate: &CertificateFacts) -> bool {
        let anchor = self.trust_anchor.as_ref();
        let issuer = self.issuer.as_ref();
        (self.vouched_by == VouchedBy::Proxy) == certificate.vouched_by_proxy
            && anchor.is_none_or(|anchor| *anchor == certificate.trust_anchor)
            && issuer.is_none_or(|issuer| *issuer == certificate.issuer.text)
    }

    /// Who the certificate's holder is.
    ///
    /// # Errors
    /// Why it is nobody, in words for an operator.
    pub(crate) fn identify(&self, certificate: &CertificateFacts) -> Result<IdentityPatch, String> {
        let fill = |what: &str, template: &Template| -> Result<Arc<str>, String> {
            template.fill(certificate).map(Arc::from).map_err(|error| format!("{what}: {error}"))
        };
        let tenant = fill("tenant", &self.tenant)?;
        if !self.tenants.is_empty() && !self.tenants.contains(&*tenant) {
            return Err(format!("its tenant {tenant:?} is not among those of the mapping"));
        }
        let attributes = self.attributes.iter().map(|(name, template)| {
            let value = fill(&format!("attribute {name}"), template)?;
            Ok((name.clone(), value.to_string()))
        });
        Ok(IdentityPatch {
            tenant: Some(tenant),
            username: Some(fill("username", &self.username)?),
            client_id: self.client_id.as_ref().map(|it| fill("client id", it)).transpose()?,
            roles: self.roles.iter().map(|role| fill("role", role)).collect::<Result<_, _>>()?,
            attributes: attributes.collect::<Result<_, String>>()?,
            vouched_by: Some(match certificate.vouched_by_proxy {
                true => Voucher::Proxy,
                false => Voucher::Tls,
            }),
            ..IdentityPatch::default()
        })
    }
}

#[cfg(test)]
mod tests;
