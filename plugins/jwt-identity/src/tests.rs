//! Whom tokens stand for, through the configuration that an operator writes.

mod rsa_key;
mod signer;

use std::time::Duration;

use hookmq_plugin::IdentityPatch;
use hookmq_plugin::test::{self, Harness, Host};
use serde_json::{Value, json};

use super::*;
use signer::{HMAC_SECRET, ecdsa_jwk, ed25519_jwk, encode, rsa_jwk, token};

const NOW: u64 = 1_700_000_000;
const URL: &str = "https://idp.example/jwks";

fn host() -> Host {
    let host = Host::new();
    host.set_secret("hmac", HMAC_SECRET);
    host
}

fn config(algorithms: Value, keys: Value) -> Value {
    json!({
        "algorithms": algorithms,
        "keys": keys,
        "issuer": "https://idp.example",
        "audiences": ["mqtt", "mqtt-2"],
        "identity": {
            "tenant": {"claim": "org"},
            "username": {"claim": "sub"},
            "roles": {"claim": "/realm/roles"},
            "attributes": {"plant": {"claim": "plant"}, "source": {"value": "jwt"}},
        },
    })
}

fn inline() -> Value {
    let set = json!({"keys": [rsa_jwk(), ecdsa_jwk(), ed25519_jwk()]});
    config(json!(["RS256", "ES256", "EdDSA", "HS256"]), json!({"jwks": set, "hmac_secret": "hmac"}))
}

fn claims() -> Value {
    json!({
        "iss": "https://idp.example", "aud": "mqtt", "exp": NOW + 60, "nbf": NOW - 60,
        "sub": "meter-7", "org": "acme", "plant": 7, "realm": {"roles": ["device", "viewer"]},
    })
}

fn plugin(config: Value) -> Harness<JwtIdentity> {
    Harness::new(config).unwrap()
}

fn ask(plugin: &mut Harness<JwtIdentity>, token: &str) -> ConnectVerdict {
    plugin.connect(&test::login("claimed", token)).unwrap()
}

fn accepted(plugin: &mut Harness<JwtIdentity>, token: &str) -> IdentityPatch {
    match ask(plugin, token) {
        ConnectVerdict::Accept(patch) => patch,
        other => panic!("{token}: {other:?}"),
    }
}

fn refused(plugin: &mut Harness<JwtIdentity>, token: &str) -> String {
    match ask(plugin, token) {
        ConnectVerdict::Deny(refusal) => {
            assert_eq!(refusal.reason_code, 0x86, "{}", refusal.reason);
            refusal.reason
        }
        other => panic!("{token}: {other:?}"),
    }
}

#[test]
fn each_algorithm_verifies_and_claims_become_the_identity() {
    let host = host();
    host.set_now(NOW * 1000);
    let mut plugin = plugin(inline());
    for (alg, kid) in [("RS256", "r1"), ("ES256", "e1"), ("EdDSA", "o1"), ("HS256", "any")] {
        for header in [json!({"alg": alg, "kid": kid}), json!({"alg": alg, "typ": "JWT"})] {
            let patch = accepted(&mut plugin, &token(header, &claims()));
            assert_eq!(patch.tenant.as_deref(), Some("acme"));
            assert_eq!(patch.username.as_deref(), Some("meter-7"));
            assert_eq!(
                (patch.client_id, patch.roles),
                (None, vec!["device".into(), "viewer".into()])
            );
            let attributes = [("plant", "7"), ("source", "jwt")];
            assert_eq!(patch.attributes, attributes.map(|(n, v)| (n.to_owned(), v.to_owned())));
            assert_eq!(patch.limits.expires_at, Some((NOW + 60 + 30) * 1000));
        }
    }
}

#[test]
fn the_algorithm_is_the_operators_choice_and_keys_are_not_confused() {
    let host = host();
    host.set_now(NOW * 1000);
    let signed =
        |header: &Value| format!("{}.{}", encode(header.to_string()), encode(claims().to_string()));
    let mut all = plugin(inline());
    for alg in ["none", "None", "NONE", "", "HS384", "RS512", "rs256", "ES256K"] {
        let header = json!({"alg": alg});
        for signature in ["", "AA"] {
            let reason = refused(&mut all, &format!("{}.{signature}", signed(&header)));
            assert!(reason.contains("none of the known algorithms"), "{alg}: {reason}");
        }
    }
    let set = json!({"keys": [rsa_jwk(), {"kty": "oct", "kid": "h", "k": encode(HMAC_SECRET)}]});
    let mut rsa_only = plugin(config(json!(["RS256"]), json!({"jwks": set})));
    for alg in ["HS256", "ES256", "EdDSA"] {
        let reason = refused(&mut rsa_only, &token(json!({"alg": alg}), &claims()));
        assert!(reason.contains("not permitted"), "{alg}: {reason}");
    }
    let header = json!({"alg": "HS256", "kid": "r1"});
    let public_key = rsa_jwk()["n"].as_str().unwrap().to_owned();
    for secret in [public_key.as_bytes(), b"", rsa_jwk().to_string().as_bytes()] {
        let forged =
            format!("{}.{}", signed(&header), encode(signer::hmac(secret, &signed(&header))));
        assert!(refused(&mut all, &forged).contains("signature is wrong"));
    }
    // A token of one key under the name of another, or with a key of its own.
    let swapped = token(json!({"alg": "ES256", "kid": "r1"}), &claims());
    assert!(refused(&mut all, &swapped).contains("no key"));
    let own = json!({"alg": "RS256", "kid": "x", "jwk": rsa_jwk(), "jku": "https://evil.example"});
    assert!(refused(&mut all, &token(own, &claims())).contains("no key"));
    let critical = json!({"alg": "RS256", "crit": ["b64"], "b64": false});
    assert!(refused(&mut all, &token(critical, &claims())).contains("critical"));
}

#[test]
fn what_is_changed_does_not_verify() {
    let host = host();
    host.set_now(NOW * 1000);
    let mut plugin = plugin(inline());
    for alg in ["RS256", "ES256", "EdDSA", "HS256"] {
        let good = token(json!({"alg": alg}), &claims());
        let mut parts: Vec<&str> = good.split('.').collect();
        let other = encode(claims().to_string().replace("acme", "evil"));
        parts[1] = &other;
        assert!(refused(&mut plugin, &parts.join(".")).contains("signature is wrong"), "{alg}");
        refused(&mut plugin, &good[..good.len() - 4]);
        refused(&mut plugin, &format!("{good}AA"));
        let (signed, _) = good.rsplit_once('.').unwrap();
        for zeros in [0, 32, 64, 256] {
            refused(&mut plugin, &format!("{signed}.{}", encode(vec![0; zeros])));
        }
    }
}

#[test]
fn claims_must_hold_here_and_now() {
    let host = host();
    host.set_now(NOW * 1000);
    let mut plugin = plugin(inline());
    let mut with = |claim: &str, value: Value| {
        let mut claims = claims();
        claims[claim] = value;
        ask(&mut plugin, &token(json!({"alg": "HS256"}), &claims))
    };
    let good = [
        ("aud", json!(["other", "mqtt-2"])),
        ("exp", json!(NOW - 29)),
        ("exp", json!(NOW as f64 + 0.5)),
        ("exp", json!(1e300)),
        ("nbf", json!(NOW + 30)),
        ("nbf", json!(0)),
        ("realm", json!({"roles": "a b"})),
        ("realm", json!({})),
        ("plant", json!(null)),
        ("sub", json!(7)),
    ];
    for (claim, value) in good {
        let verdict = with(claim, value.clone());
        assert!(matches!(verdict, ConnectVerdict::Accept(_)), "{claim} {value}: {verdict:?}");
    }
    let bad = [
        ("iss", json!("https://idp.example/")),
        ("iss", json!(null)),
        ("iss", json!(["https://idp.example"])),
        ("aud", json!("MQTT")),
        ("aud", json!([])),
        ("aud", json!(null)),
        ("exp", json!(NOW - 30)),
        ("exp", json!("soon")),
        ("exp", json!(-1)),
        ("exp", json!(null)),
        ("nbf", json!(NOW + 31)),
        ("nbf", json!("later")),
        ("sub", json!("")),
        ("sub", json!("a\u{0}b")),
        ("sub", json!({"x": 1})),
        ("sub", json!("x".repeat(257))),
        ("org", json!(null)),
        ("realm", json!({"roles": [["x"]]})),
        ("realm", json!({"roles": 7})),
        ("realm", json!({"roles": vec!["r"; 65]})),
        ("plant", json!("x\ny")),
    ];
    for (claim, value) in bad {
        let verdict = with(claim, value.clone());
        assert!(matches!(verdict, ConnectVerdict::Deny(_)), "{claim} {value}: {verdict:?}");
    }
}

#[test]
fn keys_of_a_url_are_fetched_once_and_shared() {
    let host = host();
    host.set_now(NOW * 1000);
    let url = || config(json!(["RS256", "ES256"]), json!({"jwks_url": URL}));
    let set = json!({"keys": [rsa_jwk(), {"kty": "oct"}, 7]});
    host.respond(URL, Ok(test::response(200, set.to_string())));
    let (mut one, mut two) = (plugin(url()), plugin(url()));
    assert!(host.requests().is_empty(), "a plugin starts without its provider");
    let rsa = token(json!({"alg": "RS256", "kid": "r1"}), &claims());
    for plugin in [&mut one, &mut two] {
        accepted(plugin, &rsa);
        plugin.replace_instances();
        accepted(plugin, &rsa);
    }
    assert_eq!(host.requests().len(), 1);

    // A new key appears; strangers do not make the plugin ask again and again.
    let new = token(json!({"alg": "ES256", "kid": "e1"}), &claims());
    for _ in 0..10 {
        assert!(refused(&mut one, &new).contains("no key"));
    }
    assert_eq!(host.requests().len(), 1, "it has asked just now");
    host.respond(URL, Ok(test::response(200, json!({"keys": [ecdsa_jwk()]}).to_string())));
    host.advance(Duration::from_secs(31));
    accepted(&mut one, &new);
    accepted(&mut two, &new);
    assert_eq!(host.requests().len(), 2);
    assert!(refused(&mut two, &rsa).contains("no key"), "a key that is gone no longer counts");
}

#[test]
fn a_provider_that_does_not_answer_is_bridged_for_an_hour() {
    let host = host();
    let set = json!({"keys": [rsa_jwk()]}).to_string();
    let mut plugin = plugin(config(json!(["RS256"]), json!({"jwks_url": URL})));
    let mut claims = claims();
    claims["exp"] = json!(NOW + 100_000);
    let token = token(json!({"alg": "RS256", "kid": "r1"}), &claims);
    for broken in [(500, set.as_str()), (200, "no JSON"), (200, "{}"), (200, r#"{"keys":[]}"#)] {
        host.respond(URL, Ok(test::response(broken.0, broken.1)));
        let verdict = ask(&mut plugin, &token);
        let ConnectVerdict::Deny(refusal) = verdict else { panic!("{verdict:?}") };
        assert_eq!(refusal.reason_code, 0x88, "{broken:?}");
        host.advance(Duration::from_secs(31));
    }
    assert_eq!(host.counted("jwks_failed"), 4);
    host.respond(URL, Ok(test::response(200, set)));
    accepted(&mut plugin, &token);
    host.respond(URL, Err(hookmq_plugin::http::Error::Timeout));
    host.advance(Duration::from_secs(3599));
    accepted(&mut plugin, &token);
    plugin.replace_instances();
    accepted(&mut plugin, &token);
    host.advance(Duration::from_secs(1));
    let verdict = ask(&mut plugin, &token);
    assert!(matches!(verdict, ConnectVerdict::Deny(refusal) if refusal.reason_code == 0x88));
}

#[test]
fn keys_that_are_weak_or_for_something_else_are_not_usable() {
    let host = host();
    host.set_now(NOW * 1000);
    let with = |mut jwk: Value, member: &str, value: Value| {
        jwk[member] = value;
        jwk
    };
    let short = encode([0xff_u8; 128]);
    for jwk in [
        with(rsa_jwk(), "use", json!("enc")),
        with(rsa_jwk(), "key_ops", json!(["encrypt"])),
        with(rsa_jwk(), "alg", json!("RS512")),
        with(rsa_jwk(), "n", json!(short)),
        with(rsa_jwk(), "n", json!("")),
        with(rsa_jwk(), "n", json!("*")),
        with(rsa_jwk(), "e", json!("AQ")),
        with(ecdsa_jwk(), "crv", json!("P-384")),
        with(ecdsa_jwk(), "x", json!(encode([1; 32]))),
        with(ecdsa_jwk(), "x", json!(encode([1; 33]))),
        with(ed25519_jwk(), "x", json!(encode([0; 32]))),
        with(ed25519_jwk(), "crv", json!("Ed448")),
        json!({"kty": "oct", "k": encode(HMAC_SECRET)}),
        json!(null),
    ] {
        let keys = json!({"jwks": {"keys": [&jwk]}});
        let error = Harness::<JwtIdentity>::new(config(json!(["RS256"]), keys)).err().unwrap();
        assert!(error.contains("no usable key"), "{jwk}: {error}");
    }
}

#[test]
fn passwords_that_are_no_tokens_are_refused() {
    let host = host();
    host.set_now(NOW * 1000);
    let mut plugin = plugin(inline());
    let no_password = plugin.connect(&test::attempt("c1")).unwrap();
    assert!(matches!(no_password, ConnectVerdict::Deny(r) if r.reason_code == 0x86));
    for password in ["", ".", "..", "...", "a.b.c", "e30.e30.", "\u{feff}e30.e30.e30", "a.b"] {
        refused(&mut plugin, password);
    }
    let twice = encode(r#"{"alg":"HS256","alg":"none"}"#);
    refused(&mut plugin, &format!("{twice}.e30.AA"));
    refused(&mut plugin, &"a".repeat(20_000));
    let bytes = test::login("x", [0xff, 0xfe]);
    assert!(matches!(plugin.connect(&bytes).unwrap(), ConnectVerdict::Deny(_)));
}

#[test]
fn no_bytes_make_it_panic() {
    let host = host();
    host.set_now(NOW * 1000);
    let mut plugin = plugin(inline());
    let good = token(json!({"alg": "HS256"}), &claims());
    for at in 0..good.len() {
        for byte in (0..=255).step_by(3) {
            let mut bytes = good.clone().into_bytes();
            if bytes[at] != byte {
                bytes[at] = byte;
                let verdict = plugin.connect(&test::login("x", bytes)).unwrap();
                assert!(matches!(verdict, ConnectVerdict::Deny(_)), "{at} {byte}");
            }
        }
    }
}

#[test]
fn what_is_wrong_with_a_configuration_is_named() {
    let host = host();
    host.set_secret("short", "0123456789abcdef");
    let with = |key: &str, value: Value| {
        let mut config = inline();
        config[key] = value;
        config
    };
    let table = [
        (json!(null), "a configuration is needed"),
        (json!({}), "missing field"),
        (with("algorithms", json!([])), "algorithms: 1 to 64"),
        (with("algorithms", json!(["none"])), "unknown variant `none`"),
        (with("algorithms", json!(["HS256"])), "keys: jwks or jwks_url"),
        (with("algorithms", json!(["RS256"])), "keys.hmac_secret"),
        (with("keys", json!({"hmac_secret": "hmac"})), "keys: jwks or jwks_url"),
        (with("keys", json!({"jwks_url": "ftp://x", "hmac_secret": "hmac"})), "keys.jwks_url"),
        (with("keys", json!({"jwks": 7, "hmac_secret": "hmac"})), "keys.jwks"),
        (with("issuer", json!("")), "issuer"),
        (with("audiences", json!([])), "audiences"),
        (with("leeway_seconds", json!(3600)), "leeway_seconds"),
        (with("identity", json!({"tenant": {"claim": "a"}})), "missing field `username`"),
        (with("x", json!(1)), "unknown field"),
    ];
    for (config, expected) in table {
        let error = Harness::<JwtIdentity>::new(&config).err().unwrap();
        assert!(error.contains(expected), "{config}: {error}");
    }
    for (name, expected) in [("short", "fewer than 32"), ("absent", "there is no secret")] {
        let config = config(json!(["HS256"]), json!({"hmac_secret": name}));
        let error = Harness::<JwtIdentity>::new(&config).err().unwrap();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("0123456789"), "{error}");
    }
}
