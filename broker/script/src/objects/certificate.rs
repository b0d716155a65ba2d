//! `certificate`: what the verified client certificate says, and its subject and issuer.

use std::sync::Arc;

use hookmq_hooks::{CertificateFacts, DistinguishedName};
use rhai::{Array, Dynamic, Engine};

#[derive(Clone)]
pub(crate) struct CertificateRef(pub(crate) Arc<CertificateFacts>);

#[derive(Clone)]
pub(crate) struct NameRef {
    certificate: Arc<CertificateFacts>,
    part: Part,
}

#[derive(Clone, Copy)]
enum Part {
    Subject,
    Issuer,
}

impl NameRef {
    fn name(&self) -> &DistinguishedName {
        match self.part {
            Part::Subject => &self.certificate.subject,
            Part::Issuer => &self.certificate.issuer,
        }
    }
}

/// The value of an attribute that must not be ambiguous: `()` unless there is exactly one.
fn only(values: &[String]) -> Dynamic {
    match values {
        [value] => value.as_str().into(),
        _ => Dynamic::UNIT,
    }
}

fn all(values: &[String]) -> Array {
    super::array(values.iter().map(String::as_str))
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<CertificateRef>("certificate")
        .register_get("subject", |it: &mut CertificateRef| NameRef {
            certificate: it.0.clone(),
            part: Part::Subject,
        })
        .register_get("issuer", |it: &mut CertificateRef| NameRef {
            certificate: it.0.clone(),
            part: Part::Issuer,
        })
        .register_get("cn", |it: &mut CertificateRef| only(&it.0.subject.common_name))
        .register_get("o", |it: &mut CertificateRef| only(&it.0.subject.organization))
        .register_get("ou", |it: &mut CertificateRef| only(&it.0.subject.organizational_unit))
        .register_get("san_dns", |it: &mut CertificateRef| all(&it.0.san_dns))
        .register_get("san_uri", |it: &mut CertificateRef| all(&it.0.san_uri))
        .register_get("san_email", |it: &mut CertificateRef| all(&it.0.san_email))
        .register_get("san_ip", |it: &mut CertificateRef| all(&it.0.san_ip))
        .register_get("serial", |it: &mut CertificateRef| it.0.serial.clone())
        .register_get("fingerprint", |it: &mut CertificateRef| it.0.fingerprint.clone())
        .register_get("not_before", |it: &mut CertificateRef| it.0.not_before)
        .register_get("not_after", |it: &mut CertificateRef| it.0.not_after)
        .register_get("extended_key_usage", |it: &mut CertificateRef| all(&it.0.extended_key_usage))
        .register_get("trust_anchor", |it: &mut CertificateRef| it.0.trust_anchor.clone())
        .register_get("vouched_by_proxy", |it: &mut CertificateRef| it.0.vouched_by_proxy);
    engine
        .register_type_with_name::<NameRef>("distinguished_name")
        .register_get("cn", |it: &mut NameRef| only(&it.name().common_name))
        .register_get("o", |it: &mut NameRef| only(&it.name().organization))
        .register_get("ou", |it: &mut NameRef| only(&it.name().organizational_unit))
        .register_get("common_name", |it: &mut NameRef| all(&it.name().common_name))
        .register_get("organization", |it: &mut NameRef| all(&it.name().organization))
        .register_get("organizational_unit", |it: &mut NameRef| all(&it.name().organizational_unit))
        .register_get("country", |it: &mut NameRef| all(&it.name().country))
        .register_get("text", |it: &mut NameRef| it.name().text.clone());
}
