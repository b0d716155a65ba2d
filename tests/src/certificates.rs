//! Certificates for one test: authorities, what they issue, and what they revoke.

pub mod odd;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    common_name: String,
    certificate: String,
    /// What stands behind the certificates that it issues: its own, and those of the authorities above it,
    /// but for the root's.
    chain: String,
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
        Self::of(authority(common_name, BasicConstraints::Constrained(0)), common_name, None)
    }

    /// A root with room for authorities below it.
    pub fn root(common_name: &str) -> Self {
        Self::of(authority(common_name, BasicConstraints::Unconstrained), common_name, None)
    }

    /// An authority below this one, with what `change` makes of it. What it issues comes with its chain.
    pub fn below(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(common_name, BasicConstraints::Unconstrained);
        change(&mut params);
        Self::of(params, common_name, Some(self))
    }

    fn of(params: CertificateParams, common_name: &str, above: Option<&Self>) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = match above {
            None => params.self_signed(&key),
            Some(above) => params.signed_by(&key, &above.issuer),
        };
        let certificate = certificate.expect("a CA certificate").pem();
        let chain = above.map_or_else(String::new, |it| format!("{certificate}{}", it.chain));
        let common_name = common_name.to_owned();
        Self { issuer: Issuer::new(params, key), common_name, certificate, chain }
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

    /// Makes `stem` with `.crt` and `.key` for a broker that has this name.
    pub fn issue_named_server(&self, stem: &Path, name: &str) {
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![
            SanType::DnsName(name.try_into().expect("an ASCII name")),
            SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        ];
        self.issue(stem, params);
    }

    /// Makes `stem` with `.crt` and `.key` for a client with this common name and serial number.
    pub fn issue_client(&self, stem: &Path, common_name: &str, serial: u8, lasts: Duration) {
        let mut params = params(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.not_after = (SystemTime::now() + lasts).into();
        self.issue(stem, params);
    }

    /// Writes a list that revokes these serial numbers, and counts until `next_update`.
    pub fn revoke(&self, file: &Path, serials: &[u8], next_update: SystemTime) {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: next_update.into(),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a revocation list");
        replace(file, &list.pem().expect("PEM"));
    }

    fn issue(&self, stem: &Path, mut params: CertificateParams) {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        write_pair(stem, &format!("{}{}", certificate.pem(), self.chain), &key);
    }
}

fn write_pair(stem: &Path, certificate: &str, key: &KeyPair) {
    write_private(&stem.with_extension("key"), &key.serialize_pem());
    replace(&stem.with_extension("crt"), certificate);
}

/// As those do who know that somebody reads: there is the old file or the new one.
pub fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("write a file");
    std::fs::rename(&new, file).expect("put it in the place of the old one");
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn authority(common_name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn write_private(file: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let new = file.with_extension("newkey");
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.and_then(|()| std::fs::rename(&new, file)).expect("write a key");
}
