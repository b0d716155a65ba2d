//! The demo is made once, completely, and serves as it is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use hookmq_access::certificate_facts;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::tls::{
    ApplicationProtocol, ClientCertificates, ListenerTls, OpenKey, ScopeSettings, TlsSettings,
    TrustAnchorSettings,
};

/// A place for the demo, with files for the rules and plugins that it names.
fn place() -> TempDir {
    let place = TempDir::new().unwrap();
    for file in [
        "certificate_identity.rhai",
        "threshold_alarm.rhai",
        "redact_by_role.rhai",
        "json-transform.wasm",
    ] {
        fs::write(place.path().join(file), "").unwrap();
    }
    place
}

fn make(place: &TempDir) -> Result<Demo> {
    let data_dir = place.path().join("a \"data\" directory");
    create(DemoPaths { data_dir: &data_dir, rules: place.path(), plugins: place.path() })
}

fn contents(demo: &Demo) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(&demo.directory).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

#[test]
fn making_it_again_changes_nothing() {
    let place = place();
    let demo = make(&place).unwrap();
    let first = contents(&demo);
    let names = first.keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(
        names,
        [
            "devices-ca.crt",
            "devices-ca.key",
            "hookmq.yaml",
            "operator-1.crt",
            "operator-1.key",
            "sensor-1.crt",
            "sensor-1.key",
            "server.crt",
            "server.key"
        ]
    );
    assert_eq!(make(&place).unwrap(), demo);
    assert_eq!(contents(&demo), first);
}

#[test]
fn keys_are_for_their_owner_alone() {
    let place = place();
    let demo = make(&place).unwrap();
    for name in ["devices-ca.key", "server.key", "sensor-1.key", "operator-1.key"] {
        let mode = fs::metadata(demo.directory.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn its_configuration_is_sound() {
    let place = place();
    let demo = make(&place).unwrap();
    let config = Config::load(&demo.config).unwrap();
    let names = config.listeners.iter().map(|listener| &*listener.name).collect::<Vec<_>>();
    assert_eq!(names, ["plain", "devices"]);
    assert_eq!(config.data_dir, place.path().join("a \"data\" directory"));
}

#[test]
fn its_authority_vouches_for_its_clients() {
    let place = place();
    let demo = make(&place).unwrap();
    let file = |name: &str| demo.directory.join(name);
    // With two anchors, the name of one is the outcome of a verification.
    let anchor = |name: &str| TrustAnchorSettings {
        name: name.into(),
        file: file("devices-ca.crt"),
        crl: None,
    };
    let settings = TlsSettings {
        default: ScopeSettings {
            certificate: file("server.crt"),
            key: file("server.key"),
            client_certificates: ClientCertificates::Required,
            trust_anchors: vec![anchor("devices"), anchor("again")],
        },
        named: Vec::new(),
        open_key: OpenKey::Refuse,
        protocol: ApplicationProtocol::Mqtt,
    };
    let tls = ListenerTls::load("devices".into(), settings).unwrap().greet(None);
    let certificate = |name: &str| CertificateDer::from_pem_file(file(name)).unwrap();
    for name in CLIENTS {
        let certificate = certificate(&format!("{name}.crt"));
        let facts = certificate_facts(&certificate, "devices").unwrap();
        assert_eq!(facts.issuer.common_name, ["HookMQ Device CA"]);
        assert_eq!(facts.subject.common_name, [name]);
        assert_eq!(facts.subject.organization, ["demo"]);
        assert_eq!(facts.san_uri, [format!("urn:hookmq:device:demo/{name}")]);
        assert_eq!(tls.trust_anchor(&[certificate]), Some(&"devices".into()));
    }
    assert_eq!(tls.trust_anchor(&[certificate("server.crt")]), None, "it is no client's");
}

#[test]
fn what_is_missing_is_made_again_unless_its_other_half_is_there() {
    let place = place();
    let demo = make(&place).unwrap();
    let file = |name: &str| demo.directory.join(name);
    fs::remove_file(file("sensor-1.crt")).unwrap();
    fs::remove_file(file("operator-1.crt")).unwrap();
    fs::remove_file(file("operator-1.key")).unwrap();
    make(&place).unwrap();
    assert!(file("sensor-1.crt").exists() && file("operator-1.key").exists());

    fs::remove_file(file("sensor-1.key")).unwrap();
    let error = make(&place).unwrap_err().to_string();
    assert!(error.contains("sensor-1.key is gone"), "{error}");
}
