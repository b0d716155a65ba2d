//! Handshakes in memory: whose certificates are accepted, and what is said about the others.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::*;

/// An authority and its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(vec![0x0a, 0xbc].into());
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A certificate and its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// A directory with a server's files, and settings that name them.
struct Scene {
    directory: TempDir,
    settings: TlsSettings,
    server: Authority,
}

impl Scene {
    fn new(client_certificates: ClientCertificates, authorities: &[(&str, &Authority)]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        let server = Authority::new("Server CA");
        let identity = server.issue("server", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names =
                vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
        });
        fs::write(path("server.crt"), identity.certificate.pem()).unwrap();
        write_key(&path("server.key"), &identity.key);
        let trust_anchors = authorities.iter().map(|(name, authority)| {
            let file = path(&format!("{name}.crt"));
            fs::write(&file, &authority.pem).unwrap();
            TrustAnchorSettings { name: (*name).into(), file, crl: None }
        });
        let settings = TlsSettings {
            default: ScopeSettings {
                certificate: path("server.crt"),
                key: path("server.key"),
                client_certificates,
                trust_anchors: trust_anchors.collect(),
            },
            named: Vec::new(),
            open_key: OpenKey::Refuse,
            protocol: ApplicationProtocol::Mqtt,
        };
        Self { settings, server, directory }
    }

    fn load(&self) -> Result<Greeting, TlsError> {
        let tls = ListenerTls::load("devices".into(), self.settings.clone())?;
        Ok(tls.greet(None))
    }

    /// A handshake with a client that shows `identity`.
    fn handshake(&self, tls: &Greeting, identity: Option<&Identity>) -> Handshake {
        self.handshake_with(tls, identity, &[])
    }

    fn handshake_with(
        &self,
        tls: &Greeting,
        identity: Option<&Identity>,
        alpn: &[&[u8]],
    ) -> Handshake {
        let mut roots = RootCertStore::empty();
        let root = rustls::pki_types::pem::PemObject::from_pem_slice(self.server.pem.as_bytes());
        roots.add(root.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut client = match identity {
            None => client.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
                client.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        client.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap());
        let server = ServerConnection::new(tls.config()).unwrap();
        connect(client.unwrap(), server)
    }
}

fn write_key(path: &Path, key: &KeyPair) {
    fs::write(path, key.serialize_pem()).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

type Handshake = Result<ServerConnection, rustls::Error>;

fn connect(mut client: ClientConnection, mut server: ServerConnection) -> Handshake {
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &*bytes).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = &*bytes;
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(server)
}

/// What `act` writes to the log.
fn logged(act: impl FnOnce()) -> String {
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || Lines(writer.clone()))
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    let bytes = lines.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn anchor_of<'a>(tls: &'a Greeting, handshake: &Handshake) -> Option<&'a str> {
    tls.trust_anchor(handshake.as_ref().unwrap().peer_certificates()?).map(|name| &**name)
}

#[test]
fn the_anchor_that_vouches_is_named() {
    let (one, two) = (Authority::new("One"), Authority::new("Two"));
    let scene = Scene::new(ClientCertificates::Required, &[("one", &one), ("two", &two)]);
    let tls = scene.load().unwrap();
    for (authority, name) in [(&one, "one"), (&two, "two")] {
        let handshake = scene.handshake(&tls, Some(&authority.issue("sensor-1", |_| ())));
        assert_eq!(anchor_of(&tls, &handshake), Some(name));
    }
    let stranger = Authority::new("One").issue("sensor-1", |_| ());
    assert_eq!(tls.trust_anchor(&[stranger.certificate.der().clone()]), None);
    assert_eq!(tls.trust_anchor(&[]), None);
}

#[test]
fn a_single_anchor_is_named_too() {
    let one = Authority::new("One");
    let scene = Scene::new(ClientCertificates::Required, &[("one", &one)]);
    let tls = scene.load().unwrap();
    let handshake = scene.handshake(&tls, Some(&one.issue("sensor-1", |_| ())));
    assert_eq!(anchor_of(&tls, &handshake), Some("one"));
}

#[test]
fn a_refused_certificate_is_logged_with_the_reason() {
    let (one, two) = (Authority::new("One"), Authority::new("Two"));
    let scene = Scene::new(ClientCertificates::Required, &[("one", &one), ("two", &two)]);
    let tls = scene.load().unwrap();
    let now = OffsetDateTime::now_utc();
    let expired = two.issue("sensor-1", |params| params.not_after = now - Duration::DAY);
    let early = two.issue("sensor-1", |params| params.not_before = now + Duration::DAY);
    let server_only = two.issue("sensor-1", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let stranger = Authority::new("Elsewhere").issue("sensor-1", |_| ());
    let forged = Authority::new("Two").issue("sensor-1", |_| ());
    let (yesterday, tomorrow) = ((now - Duration::DAY).date(), (now + Duration::DAY).date());
    let table = [
        (expired, format!("expired at {yesterday}T"), "Two"),
        (early, format!("not valid before {tomorrow}T"), "Two"),
        (server_only, "extended key usage does not allow client".into(), "Two"),
        (stranger, "no trust anchor of this listener has issued it".into(), "Elsewhere"),
        (forged, "signature is not that of the issuer".into(), "Two"),
    ];
    for (identity, reason, issuer) in table {
        let log = logged(|| assert!(scene.handshake(&tls, Some(&identity)).is_err()));
        for part in [
            "client certificate refused",
            "listener=\"devices\"",
            "subject=\"CN=sensor-1\"",
            &format!("issuer=\"CN={issuer}\""),
            "serial=\"abc\"",
            &reason,
        ] {
            assert!(log.contains(part), "{part} is not in {log}");
        }
    }
}

#[test]
fn names_of_refused_certificates_are_escaped_and_short() {
    let one = Authority::new("One");
    let scene = Scene::new(ClientCertificates::Required, &[("one", &one)]);
    let tls = scene.load().unwrap();
    let stranger = Authority::new("Elsewhere");
    for name in ["a\nINFO all is well", "\u{1b}[2Jcleared", &"x".repeat(900)] {
        let identity = stranger.issue(name, |_| ());
        let log = logged(|| assert!(scene.handshake(&tls, Some(&identity)).is_err()));
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(!log.contains('\u{1b}'), "{log}");
        assert!(log.len() < 700, "{log}");
    }
}

#[test]
fn a_client_without_a_certificate_is_welcome_where_it_is_optional() {
    let one = Authority::new("One");
    for (setting, welcome) in
        [(ClientCertificates::Required, false), (ClientCertificates::Optional, true)]
    {
        let scene = Scene::new(setting, &[("one", &one)]);
        let tls = scene.load().unwrap();
        assert_eq!(scene.handshake(&tls, None).is_ok(), welcome, "{setting:?}");
        let stranger = Authority::new("Elsewhere").issue("sensor-1", |_| ());
        assert!(scene.handshake(&tls, Some(&stranger)).is_err(), "{setting:?}");
    }
    let scene = Scene::new(ClientCertificates::None, &[]);
    let tls = scene.load().unwrap();
    let handshake = scene.handshake(&tls, Some(&one.issue("sensor-1", |_| ()))).unwrap();
    assert!(handshake.peer_certificates().is_none());
}

#[test]
fn alpn_is_optional_but_other_protocols_are_turned_away() {
    let scene = Scene::new(ClientCertificates::None, &[]);
    let tls = scene.load().unwrap();
    let spoken = |alpn: &[&[u8]]| scene.handshake_with(&tls, None, alpn);
    assert_eq!(spoken(&[]).unwrap().alpn_protocol(), None);
    assert_eq!(spoken(&[b"mqtt"]).unwrap().alpn_protocol(), Some(&b"mqtt"[..]));
    assert!(spoken(&[b"http/1.1"]).is_err());
}

#[test]
fn unusable_files_are_blamed_one_by_one() {
    let one = Authority::new("One");
    let scene = || Scene::new(ClientCertificates::Required, &[("one", &one)]);
    let message = |scene: &Scene| scene.load().err().unwrap().to_string();
    let blames = |scene: &Scene, setting| scene.load().err().unwrap().setting == setting;

    let open = scene();
    fs::set_permissions(&open.settings.default.key, Permissions::from_mode(0o644)).unwrap();
    assert!(blames(&open, TlsSetting::Key));
    assert!(message(&open).contains("is open to others (mode 0644); run `chmod o-rwx "));

    let foreign = scene();
    write_key(&foreign.settings.default.key, &KeyPair::generate().unwrap());
    assert!(blames(&foreign, TlsSetting::Key));
    assert!(message(&foreign).contains("does not belong to the certificate"));

    let mut absent = scene();
    absent.settings.default.certificate = absent.directory.path().join("nowhere.crt");
    assert!(blames(&absent, TlsSetting::Certificate));
    assert!(message(&absent).contains("cannot read"));

    let empty = scene();
    fs::write(&empty.settings.default.trust_anchors[0].file, "no PEM").unwrap();
    assert!(blames(&empty, TlsSetting::TrustAnchor(0)));
    assert!(message(&empty).contains("holds no certificate"));

    let mut nobody = scene();
    nobody.settings.default.trust_anchors.clear();
    assert!(blames(&nobody, TlsSetting::ClientCertificates));
    let mut unasked = scene();
    unasked.settings.default.client_certificates = ClientCertificates::None;
    assert!(blames(&unasked, TlsSetting::ClientCertificates));
}

#[test]
fn a_client_that_showed_a_certificate_shows_it_again_the_next_time() {
    let one = Authority::new("One");
    let scene = Scene::new(ClientCertificates::Required, &[("one", &one)]);
    let tls = scene.load().unwrap();
    assert_eq!(tls.config().send_tls13_tickets, 0);
    assert!(!tls.config().session_storage.can_cache());
    assert!(!tls.config().ticketer.enabled());
}
