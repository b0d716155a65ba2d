//! Who a certificate makes of its holder.

use hookmq_hooks::DistinguishedName;
use serde_json::{Value, json};

use super::*;

fn mapping(settings: Value) -> Result<Mapping, String> {
    serde_json::from_value(settings).map_err(|error| error.to_string())
}

fn by(username: &str) -> Mapping {
    mapping(json!({"tenant": "acme", "username": username})).unwrap()
}

fn certificate() -> CertificateFacts {
    CertificateFacts {
        subject: DistinguishedName {
            common_name: vec!["pump-7".into()],
            organization: vec!["acme".into()],
            organizational_unit: vec!["one".into(), "two".into()],
            text: "CN=pump-7,O=acme".into(),
            ..DistinguishedName::default()
        },
        issuer: DistinguishedName { text: "CN=CA".into(), ..DistinguishedName::default() },
        san_uri: vec!["urn:pump:7".into()],
        serial: "2a".into(),
        fingerprint: "ff".into(),
        trust_anchor: "devices".into(),
        ..CertificateFacts::default()
    }
}

fn username(mapping: &Mapping, certificate: &CertificateFacts) -> Result<String, String> {
    mapping.identify(certificate).map(|patch| patch.username.unwrap().to_string())
}

#[test]
fn everything_can_come_from_the_certificate() {
    let mapping = mapping(json!({
        "trust_anchor": "devices",
        "tenant": "{o}",
        "tenants": ["acme"],
        "username": "{cn}",
        "client_id": "{trust_anchor}-{cn}-{serial}",
        "roles": ["device", "of-{o}"],
        "attributes": {"uri": "{san_uri}", "print": "{fingerprint}", "issuer": "{issuer}"},
    }))
    .unwrap();
    let patch = mapping.identify(&certificate()).unwrap();
    assert_eq!(patch.tenant.as_deref(), Some("acme"));
    assert_eq!(patch.username.as_deref(), Some("pump-7"));
    assert_eq!(patch.client_id.as_deref(), Some("devices-pump-7-2a"));
    assert_eq!(patch.roles, ["device".into(), "of-acme".into()].into());
    let attributes = [("uri", "urn:pump:7"), ("print", "ff"), ("issuer", "CN=CA")];
    assert_eq!(patch.attributes, attributes.map(|(name, it)| (name.into(), it.into())).into());
    assert_eq!(patch.vouched_by, Some(Voucher::Tls));
    let proxied = CertificateFacts { vouched_by_proxy: true, ..certificate() };
    assert_eq!(mapping.identify(&proxied).unwrap().vouched_by, Some(Voucher::Proxy));
}

#[test]
fn a_mapping_is_for_its_anchor_its_issuer_and_its_voucher() {
    let good = certificate();
    let proxied = CertificateFacts { vouched_by_proxy: true, ..certificate() };
    for (pins, own, of_proxy) in [
        (json!({}), true, false),
        (json!({"trust_anchor": "devices"}), true, false),
        (json!({"trust_anchor": "guests"}), false, false),
        (json!({"trust_anchor": "devices", "issuer": "CN=CA"}), true, false),
        (json!({"trust_anchor": "devices", "issuer": "CN=Other"}), false, false),
        (json!({"vouched_by": "proxy"}), false, true),
        (json!({"vouched_by": "proxy", "trust_anchor": "guests"}), false, false),
    ] {
        let mut settings = json!({"tenant": "acme", "username": "{cn}"});
        settings.as_object_mut().unwrap().extend(pins.as_object().unwrap().clone());
        let mapping = mapping(settings.clone()).unwrap();
        let concerns = (mapping.concerns(&good), mapping.concerns(&proxied));
        assert_eq!(concerns, (own, of_proxy), "{settings}");
    }
}

#[test]
fn a_field_must_have_one_value_that_means_one_thing() {
    let refused = |template: &str, expected: &str| {
        let error = username(&by(template), &certificate()).unwrap_err();
        assert!(error.contains(expected), "{template}: {error}");
    };
    refused("{ou}", "has 2 ou");
    refused("{san_dns}", "has no san_dns");
    refused("{san_dns}-{cn}", "has no san_dns");
    let long = "x".repeat(300);
    for (name, expected) in [
        ("", "has no cn"),
        ("*", "a wildcard"),
        ("*.acme.example", "a wildcard"),
        ("pump/+/7", "a wildcard"),
        ("pump#", "a wildcard"),
        (" pump", "white space"),
        ("pump\u{a0}", "white space"),
        ("pump\u{200b}7", "SASLprep"),
        ("\u{202e}7-pmup", "SASLprep"),
        ("pump\u{7}", "SASLprep"),
        ("pu\u{308}mp", "SASLprep"),
        ("ｐump", "SASLprep"),
        (&long, "longer than 256"),
    ] {
        let mut certificate = certificate();
        certificate.subject.common_name = vec![name.to_owned()];
        let error = username(&by("{cn}"), &certificate).unwrap_err();
        assert!(error.starts_with("username: ") && error.contains(expected), "{name:?}: {error}");
    }
    let mut certificate = certificate();
    certificate.subject.common_name = vec!["pümp/7".into()];
    assert_eq!(username(&by("{cn}"), &certificate).unwrap(), "pümp/7");
}

#[test]
fn a_tenant_of_others_is_refused() {
    let settings = json!({"tenant": "{o}", "tenants": ["globex"], "username": "{cn}"});
    let error = mapping(settings).unwrap().identify(&certificate()).unwrap_err();
    assert!(error.contains("\"acme\" is not among"), "{error}");
}

#[test]
fn templates_are_checked_when_they_are_read() {
    for (template, expected) in [
        ("", "must not be empty"),
        ("{cn", "not closed"),
        ("cn}", "not closed"),
        ("{}", "{} is no field"),
        ("{CN}", "{CN} is no field of a certificate; there are cn, o, ou"),
    ] {
        let error = mapping(json!({"tenant": "acme", "username": template})).unwrap_err();
        assert!(error.contains(expected), "{template}: {error}");
    }
    assert!(mapping(json!({"tenant": "a", "username": "b", "rolls": []})).is_err());
    assert!(mapping(json!({"tenant": "a"})).is_err());
}
