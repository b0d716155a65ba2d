//! The demo's certificate authority and what it issues.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use super::write_new;

const VALIDITY: Duration = Duration::days(3650);

/// Clocks that are a little behind accept a new certificate, too.
const CLOCK_SKEW: Duration = Duration::days(1);

/// The issuer that the rule `certificate_identity` expects.
const AUTHORITY: &str = "HookMQ Device CA";

/// What a certificate is for.
pub(super) enum Purpose<'a> {
    /// A broker on this machine.
    Server,
    Client {
        name: &'a str,
        tenant: &'a str,
    },
}

/// Signs the demo's certificates.
pub(super) struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// The authority whose files are `stem` with `.crt` and `.key`.
    pub(super) fn load_or_create(stem: &Path) -> Result<Self> {
        let mut params = params(AUTHORITY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = load_or_create_key(stem)?;
        let certificate = params.self_signed(&key)?;
        write_new(&stem.with_extension("crt"), &certificate.pem(), 0o644)?;
        Ok(Self(Issuer::new(params, key)))
    }

    /// Makes `stem` with `.crt` and `.key`, unless they are there.
    pub(super) fn issue(&self, stem: &Path, purpose: &Purpose<'_>) -> Result<()> {
        let mut params = match purpose {
            Purpose::Server => params("localhost"),
            Purpose::Client { name, .. } => params(name),
        };
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        match purpose {
            Purpose::Server => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                params.subject_alt_names = vec![
                    SanType::DnsName("localhost".try_into()?),
                    SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
                    SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
                ];
            }
            Purpose::Client { name, tenant } => {
                params.distinguished_name.push(DnType::OrganizationName, *tenant);
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                let uri = format!("urn:hookmq:device:{tenant}/{name}");
                params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
            }
        }
        let key = load_or_create_key(stem)?;
        let certificate = params.signed_by(&key, &self.0)?;
        write_new(&stem.with_extension("crt"), &certificate.pem(), 0o644)
    }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + VALIDITY;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn load_or_create_key(stem: &Path) -> Result<KeyPair> {
    let file = stem.with_extension("key");
    let shown = file.display();
    if file.try_exists().with_context(|| format!("look for {shown}"))? {
        let pem = std::fs::read_to_string(&file).with_context(|| format!("read {shown}"))?;
        return KeyPair::from_pem(&pem).with_context(|| format!("read {shown}"));
    }
    let certificate = stem.with_extension("crt");
    ensure!(
        !certificate.exists(),
        "{shown} is gone: remove {}, too, to have both made again",
        certificate.display()
    );
    let key = KeyPair::generate()?;
    write_new(&file, &key.serialize_pem(), 0o600)?;
    Ok(key)
}
