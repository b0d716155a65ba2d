//! Whom certificates stand for, through the configuration that an operator writes.

use hookmq_plugin::test::{self, Harness};
use serde_json::{Value, json};

use super::*;

const NOT_AFTER: i64 = 1_800_000_000;

fn config() -> Value {
    json!({
        "trust_domains": [
            {
                "name": "plant.example",
                "trust_anchors": ["plant-ca"],
                "paths": [
                    {
                        "path": "/ns/{tenant}/sa/{name}",
                        "tenant": "{tenant}",
                        "username": "{name}@{trust_domain}",
                        "client_id": "{tenant}-{name}",
                        "roles": ["device", "sa-{name}"],
                    },
                    {"path": "/gateway", "tenant": "infra", "username": "{spiffe_id}"},
                ],
            },
            {
                "name": "partner.example",
                "trust_anchors": ["partner-ca", "partner-ca-2"],
                "paths": [{"path": "/{name}", "tenant": "partner", "username": "{name}"}],
            },
        ],
    })
}

fn plugin() -> Harness<SpiffeIdentity> {
    Harness::new(config()).unwrap()
}

fn certificate(uris: &[&str], trust_anchor: &str) -> Certificate {
    Certificate {
        san_uri: uris.iter().map(|uri| (*uri).to_owned()).collect(),
        trust_anchor: trust_anchor.into(),
        not_after: NOT_AFTER,
        extended_key_usage: vec!["serverAuth".into(), "clientAuth".into()],
        ..Certificate::default()
    }
}

fn verdict(certificate: Certificate) -> ConnectVerdict {
    plugin().connect(&test::certified(certificate)).unwrap()
}

fn accepted(uri: &str, trust_anchor: &str) -> IdentityPatch {
    match verdict(certificate(&[uri], trust_anchor)) {
        ConnectVerdict::Accept(patch) => patch,
        other => panic!("{uri}: {other:?}"),
    }
}

fn refused(certificate: Certificate) -> String {
    match verdict(certificate) {
        ConnectVerdict::Deny(refusal) => {
            assert_eq!(refusal.reason_code, 0x87);
            refusal.reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_path_names_tenant_username_client_id_and_roles() {
    let patch = accepted("spiffe://plant.example/ns/acme/sa/press-7", "plant-ca");
    assert_eq!(patch.tenant.as_deref(), Some("acme"));
    assert_eq!(patch.username.as_deref(), Some("press-7@plant.example"));
    assert_eq!(patch.client_id.as_deref(), Some("acme-press-7"));
    assert_eq!(patch.roles, ["device", "sa-press-7"]);
    let attribute = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [
        attribute("spiffe_id", "spiffe://plant.example/ns/acme/sa/press-7"),
        attribute("trust_domain", "plant.example"),
    ];
    assert_eq!(patch.attributes, expected);
    assert_eq!(patch.limits.expires_at, Some(1_800_000_000_000));

    let patch = accepted("spiffe://plant.example/gateway", "plant-ca");
    assert_eq!(patch.username.as_deref(), Some("spiffe://plant.example/gateway"));
    assert_eq!((patch.client_id, patch.roles.len()), (None, 0));
}

#[test]
fn a_trust_anchor_vouches_for_its_own_trust_domains_only() {
    assert_eq!(accepted("spiffe://partner.example/x", "partner-ca-2").tenant.unwrap(), "partner");
    for (uri, anchor) in [
        ("spiffe://plant.example/gateway", "partner-ca"),
        ("spiffe://partner.example/x", "plant-ca"),
        ("spiffe://plant.example/gateway", ""),
    ] {
        let reason = refused(certificate(&[uri], anchor));
        assert!(reason.contains("does not vouch"), "{uri} {anchor}: {reason}");
    }
}

#[test]
fn an_svid_has_exactly_one_uri() {
    let one = "spiffe://plant.example/gateway";
    for uris in [&[][..], &[one, one], &[one, "https://plant.example/"], &["urn:x", one]] {
        let reason = refused(certificate(uris, "plant-ca"));
        assert!(reason.contains("an X.509-SVID has one"), "{uris:?}: {reason}");
    }
}

#[test]
fn what_is_no_spiffe_id_of_a_workload_is_refused() {
    let long = format!("spiffe://plant.example/{}", "x".repeat(2048));
    let long_domain = format!("spiffe://{}/x", "d".repeat(256));
    let table = [
        ("", "scheme"),
        ("spiffe:", "scheme"),
        ("https://plant.example/gateway", "scheme"),
        ("SPIFFE://plant.example/gateway", "scheme"),
        ("spiffe:///gateway", "trust domain is empty"),
        ("spiffe://plant.example", "no path"),
        ("spiffe://Plant.example/gateway", "a-z 0-9"),
        ("spiffe://plant.example:8443/gateway", "a-z 0-9"),
        ("spiffe://user@plant.example/gateway", "a-z 0-9"),
        ("spiffe://plant.example%2f/gateway", "a-z 0-9"),
        ("spiffe://plänt.example/gateway", "a-z 0-9"),
        ("spiffe://plant.example/", "empty segment"),
        ("spiffe://plant.example/gateway/", "empty segment"),
        ("spiffe://plant.example//gateway", "empty segment"),
        ("spiffe://plant.example/ns/../gateway", "relative"),
        ("spiffe://plant.example/./gateway", "relative"),
        ("spiffe://plant.example/gate%77ay", "letters"),
        ("spiffe://plant.example/gateway?x=1", "letters"),
        ("spiffe://plant.example/gateway#x", "letters"),
        ("spiffe://plant.example/ns/a+b/sa/x", "letters"),
        ("spiffe://plant.example/gateway\0", "letters"),
        ("spiffe://plant.example/gateway\n", "letters"),
        (&long, "2048"),
        (&long_domain, "255"),
    ];
    for (uri, expected) in table {
        let reason = refused(certificate(&[uri], "plant-ca"));
        assert!(reason.contains(expected), "{uri:?}: {reason}");
    }
}

#[test]
fn an_id_that_nothing_is_configured_for_is_refused() {
    for uri in [
        "spiffe://other.example/gateway",
        "spiffe://sub.plant.example/gateway",
        "spiffe://plant.example/Gateway",
        "spiffe://plant.example/gateway/x",
        "spiffe://plant.example/ns/acme/sa",
        "spiffe://plant.example/ns/acme/sa/press-7/x",
    ] {
        refused(certificate(&[uri], "plant-ca"));
    }
}

#[test]
fn only_certificates_for_clients_that_the_broker_has_verified_count() {
    let good = || certificate(&["spiffe://plant.example/gateway"], "plant-ca");
    let proxied = Certificate { vouched_by_proxy: true, ..good() };
    assert!(refused(proxied).contains("proxy"));
    let server = Certificate { extended_key_usage: vec!["serverAuth".into()], ..good() };
    assert!(refused(server).contains("client authentication"));
    let without = Certificate { extended_key_usage: Vec::new(), ..good() };
    assert!(matches!(verdict(without), ConnectVerdict::Accept(_)));
    let bare = plugin().connect(&test::attempt("c1")).unwrap();
    let ConnectVerdict::Deny(refusal) = bare else { panic!("{bare:?}") };
    assert!(refusal.reason.contains("no certificate"));
}

#[test]
fn the_verdict_and_the_expiry_are_configured() {
    let mut config = config();
    config["verdict"] = json!("next");
    config["expiry"] = json!("ignore");
    let mut plugin = Harness::<SpiffeIdentity>::new(config).unwrap();
    let attempt = test::certified(certificate(&["spiffe://plant.example/gateway"], "plant-ca"));
    let verdict = plugin.connect(&attempt).unwrap();
    let ConnectVerdict::Next(patch) = verdict else { panic!("{verdict:?}") };
    assert_eq!(patch.limits.expires_at, None);
}

#[test]
fn a_certificate_that_ends_before_1970_ends_the_connection() {
    let mut certificate = certificate(&["spiffe://plant.example/gateway"], "plant-ca");
    certificate.not_after = -5;
    let ConnectVerdict::Accept(patch) = verdict(certificate) else { panic!("it is known") };
    assert_eq!(patch.limits.expires_at, Some(0));
}

#[test]
fn what_is_wrong_with_a_configuration_is_named() {
    let path = |key: &str, value: Value| {
        let mut config = config();
        config["trust_domains"][0]["paths"][1][key] = value;
        config
    };
    let domain = |key: &str, value: Value| {
        let mut config = config();
        config["trust_domains"][1][key] = value;
        config
    };
    let table = [
        (json!(null), "trust_domains: at least one"),
        (json!({"trust_domain": []}), "unknown field"),
        (domain("name", json!("Plant")), "trust_domains[1].name: \"Plant\""),
        (domain("name", json!("plant.example")), "stands twice"),
        (domain("trust_anchors", json!([])), "trust_domains[1].trust_anchors: at least one"),
        (domain("paths", json!([])), "trust_domains[1].paths: at least one"),
        (path("path", json!("gateway")), "trust_domains[0].paths[1].path: \"gateway\""),
        (path("path", json!("/")), "empty segment"),
        (path("path", json!("/{a}/{a}")), "has a meaning already"),
        (path("path", json!("/{spiffe_id}")), "has a meaning already"),
        (path("path", json!("/{A}")), "a placeholder's name"),
        (path("path", json!("/x{a}")), "letters"),
        (path("path", json!("/x".repeat(33))), "at most 32"),
        (path("tenant", json!("{tenant}")), "paths[1].tenant: \"{tenant}\": the path has no"),
        (path("tenant", json!("")), "it is empty"),
        (path("username", json!("{spiffe_id")), "not closed"),
        (path("username", json!("x}")), "not opened"),
        (path("roles", json!(["{x}"])), "paths[1].roles"),
    ];
    for (config, expected) in table {
        let error = Harness::<SpiffeIdentity>::new(&config).err().unwrap();
        assert!(error.contains(expected), "{config}: {error}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let uri = "spiffe://plant.example/ns/acme/sa/press-7";
    let mut plugin = plugin();
    for at in 0..uri.len() {
        for byte in 0..=255_u8 {
            let mut bytes = uri.as_bytes().to_vec();
            bytes[at] = byte;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let attempt = test::certified(certificate(&[&text], "plant-ca"));
            if let ConnectVerdict::Accept(patch) = plugin.connect(&attempt).unwrap() {
                let tenant = patch.tenant.unwrap();
                assert!(!tenant.contains(['+', '#', '/', '\0']), "{tenant}");
            }
        }
    }
}
