//! Certificates for one test: authorities, and what they issue.

use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// Until when a certificate is good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Current,
    /// Since [`EXPIRED_IN`].
    Expired,
}

/// The year.
pub const EXPIRED_IN: i32 = 2021;

impl Authority {
    pub fn new(common_name: &str) -> Self {
        let mut params = params(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a CA certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Writes the authority's own certificate.
    pub fn save(&self, file: &Path) {
        std::fs::write(file, &self.certificate).expect("write a CA certificate");
    }

    /// Makes `stem` with `.crt` and `.key` for a broker on this machine.
    pub fn issue_server(&self, stem: &Path) {
        let mut params = params("localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        self.issue(stem, params);
    }

    /// Makes `NAME.crt` and `NAME.key` in `directory`, for the device `name` of `tenant`.
    pub fn issue_device(&self, directory: &Path, tenant: &str, name: &str, validity: Validity) {
        let mut params = params(name);
        params.distinguished_name.push(DnType::OrganizationName, tenant);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uri = format!("urn:hookmq:device:{tenant}/{name}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("an ASCII name"))];
        if validity == Validity::Expired {
            params.not_after = date_time_ymd(EXPIRED_IN, 1, 1);
        }
        self.issue(&directory.join(name), params);
    }

    fn issue(&self, stem: &Path, mut params: CertificateParams) {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        write_private(&stem.with_extension("key"), &key.serialize_pem());
        std::fs::write(stem.with_extension("crt"), certificate.pem()).expect("write a certificate");
    }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn write_private(file: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).expect("write a key");
}
