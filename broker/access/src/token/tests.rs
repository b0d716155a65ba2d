//! Tokens, good and odd, against keys of every kind.

mod forge;
mod odd;
mod sources;

use std::sync::Arc;

use serde_json::{Value, json};

use self::forge::{Forge, NOW};
use super::algorithm::Algorithm;
use super::mapping::{Claims, Unnamed};
use super::{Compact, JwtSettings, KeyRing};

/// Settings with the keys of [`Forge`] in files, and `more`.
fn settings(forge: &Forge, more: Value) -> JwtSettings {
    let mut settings = json!({
        "keys": [
            {"jwks_file": forge.set_file(), "algorithms": Algorithm::ALL.map(Algorithm::name)},
        ],
        "tenant": "acme",
        "username": "{sub}",
    });
    let more = more.as_object().cloned().unwrap_or_default();
    settings.as_object_mut().unwrap().extend(more);
    serde_json::from_value(settings).unwrap()
}

/// What the step makes of `token`, for a client that claims the id `device`.
async fn judge(settings: &JwtSettings, token: &[u8]) -> Result<Claims, String> {
    let keys = KeyRing::new(&settings.keys, None).unwrap();
    let token = Compact::read(token, settings.maximum_bytes.get()).map_err(|it| it.to_string())?;
    keys.verify(&token).await.map_err(|error| error.to_string())?;
    settings.read(&token, "device", NOW).map_err(|unnamed| match unnamed {
        Unnamed::Unfit(why) => why,
        Unnamed::ClientId(own) => format!("client id, not {own}"),
    })
}

#[tokio::test]
async fn every_algorithm_verifies_its_own_and_no_other() {
    let forge = Forge::new();
    let settings = settings(&forge, json!({}));
    for algorithm in Algorithm::ALL {
        let name = algorithm.name();
        let token = forge.token(&json!({"alg": name}), &json!({"sub": "pump", "exp": NOW + 60}));
        let claims = judge(&settings, token.as_bytes()).await;
        assert_eq!(claims.map(|it| it.username), Ok("pump".into()), "{name}");
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let signed = forge.relabelled(&token, &json!({"alg": other.name()}));
            let refused = judge(&settings, signed.as_bytes()).await;
            assert_eq!(refused, Err("the token's signature is wrong".into()), "{name} {other:?}");
        }
        for place in 0..4 {
            let refused = judge(&settings, &forge::damaged(&token, place)).await;
            assert!(refused.is_err(), "{name}, damaged in {place}");
        }
    }
}

/// A key is for what the configuration says, and for nothing that a token says.
#[tokio::test]
async fn a_key_verifies_only_the_algorithms_that_it_is_given() {
    let forge = Forge::new();
    let key = |file: &str, algorithms: &[&str]| {
        settings(&forge, json!({"keys": [{file: forge.file(file), "algorithms": algorithms}]}))
    };
    let claims = json!({"sub": "pump", "exp": NOW + 60});
    let signed = |name: &str| forge.token(&json!({"alg": name}), &claims);
    let pem = key("pem_file", &["RS256"]);
    assert!(judge(&pem, signed("RS256").as_bytes()).await.is_ok());
    for name in ["RS384", "PS256", "ES256", "EdDSA", "HS256"] {
        assert!(judge(&pem, signed(name).as_bytes()).await.is_err(), "{name}");
    }
    // What verifies in public is no secret to sign by.
    for secret in [forge.pem().into_bytes(), forge.rsa_der(), forge.rsa_modulus()] {
        let forged = forge.token_by(&secret, &json!({"alg": "HS256"}), &claims);
        assert!(judge(&pem, forged.as_bytes()).await.is_err());
        assert!(judge(&settings(&forge, json!({})), forged.as_bytes()).await.is_err());
    }
    let secret = key("secret_file", &["HS256", "HS512"]);
    assert!(judge(&secret, signed("HS256").as_bytes()).await.is_ok());
    assert!(judge(&secret, signed("HS512").as_bytes()).await.is_ok());
    assert!(judge(&secret, signed("HS384").as_bytes()).await.is_err());
}

#[test]
fn settings_that_would_let_in_too_many_or_nobody_are_refused() {
    let forge = Forge::new();
    let problems = |more: Value| {
        let problems = settings(&forge, more).problems();
        problems.into_iter().map(|it| it.name).collect::<Vec<_>>()
    };
    let key = |key: Value| json!({"keys": [key]});
    assert_eq!(problems(json!({})), Vec::<&str>::new());
    assert_eq!(problems(json!({"keys": []})), ["keys"]);
    assert_eq!(problems(json!({"leeway_s": 601})), ["leeway_s"]);
    assert_eq!(problems(json!({"authentication_method": ""})), ["authentication_method"]);
    let (pem, secret) = (forge.file("pem_file"), forge.file("secret_file"));
    for (entry, name) in [
        (json!({"pem_file": pem, "algorithms": []}), "algorithms"),
        (json!({"pem_file": pem, "algorithms": ["HS256"]}), "algorithms"),
        (json!({"secret_file": secret, "algorithms": ["RS256"]}), "algorithms"),
        (json!({"jwks_url": "https://a.example", "algorithms": ["HS256"]}), "algorithms"),
        (json!({"jwks_url": "https://a.example", "algorithms": ["RS256"], "id": "a"}), "id"),
        (json!({"pem_file": pem, "secret_file": secret, "algorithms": ["RS256"]}), ""),
        (json!({"algorithms": ["RS256"]}), ""),
        (json!({"pem_file": secret, "algorithms": ["RS256"]}), "pem_file"),
        (json!({"pem_file": pem, "algorithms": ["ES256"]}), "pem_file"),
        (json!({"secret_file": forge.file("short"), "algorithms": ["HS256"]}), "secret_file"),
        (json!({"secret_file": forge.file("open"), "algorithms": ["HS256"]}), "secret_file"),
        (json!({"jwks_file": pem, "algorithms": ["RS256"]}), "jwks_file"),
        (json!({"pem_file": forge.file("small"), "algorithms": ["RS256"]}), "pem_file"),
    ] {
        assert_eq!(problems(key(entry.clone())), [name], "{entry}");
    }
    let one = json!({"pem_file": pem, "algorithms": ["RS256"]});
    let two = json!({"keys": [one, one], "issuers": ["a", "b"]});
    assert_eq!(problems(two), ["issuers"], "whose key is whose");
}

#[test]
fn a_key_set_comes_by_https_or_from_this_machine() {
    let url = |text: &str| super::KeySetUrl::try_from(text.to_owned());
    for text in [
        "https://id.example/keys",
        "https://id.example:8443?a=b",
        "http://127.0.0.1:80/",
        "http://[::1]:80/x",
        "http://localhost",
    ] {
        assert!(url(text).is_ok(), "{text}");
    }
    for text in [
        "",
        "id.example/keys",
        "http://id.example/keys",
        "http://127.0.0.1.id.example/",
        "http://localhost.id.example",
        "http://localhost@id.example/",
        "https://user:secret@id.example/",
        "https://",
        "https:///keys",
        "https://id.example/#x",
        "https://id.example/a b",
        "http://127.0.0.1\\@id.example",
        "ftp://127.0.0.1/",
        "HTTPS://id.example",
    ] {
        assert!(url(text).is_err(), "{text}");
    }
    let shown = url("https://id.example/keys?token=1").map(|url| url.to_string());
    assert_eq!(shown.as_deref(), Ok("https://id.example/keys"), "a query may be secret");
}

#[tokio::test]
async fn claims_become_an_identity() {
    let forge = Forge::new();
    let settings = settings(
        &forge,
        json!({
            "tenant": "{/org/name}", "tenants": ["acme"], "username": "{kind}-{serial}",
            "client_id": "{kind}-*", "roles": ["{kind}"], "roles_from": "groups",
            "attributes": {"site": "{https://acme.example/site}", "fleet": "7"},
            "permissions_from": "both", "permissions_claim": "acl",
        }),
    );
    let claims = json!({
        "exp": NOW + 60, "org": {"name": "acme"}, "kind": "device".to_owned(), "serial": 7,
        "groups": ["a", "b"], "https://acme.example/site": "north",
        "acl": [{"action": ["publish", "subscribe"], "filter": "a/{username}"}],
    });
    let judged = async |claims: &Value| {
        let token = forge.token(&json!({"alg": "ES256"}), claims);
        judge(&settings, token.as_bytes()).await
    };
    // The client claims `device`, which has nothing behind the hyphen.
    assert_eq!(judged(&claims).await, Err("client id, not device-*".into()));
    let claims = json!({"kind": "d", "serial": 7}).as_object().map(|more| {
        let mut claims = claims.as_object().cloned().unwrap();
        claims.extend(more.clone());
        Value::from(claims)
    });
    let mut settings = settings.clone();
    settings.client_id = None;
    let token = forge.token(&json!({"alg": "ES256"}), &claims.unwrap());
    let claims = judge(&settings, token.as_bytes()).await.unwrap();
    assert_eq!((claims.tenant.as_deref(), &*claims.username), (Some("acme"), "d-7"));
    assert_eq!(claims.roles, ["a", "b", "d"].map(Arc::from).into());
    let attributes: Vec<_> = claims.attributes.iter().map(|(name, it)| (&**name, &**it)).collect();
    assert_eq!(attributes, [("fleet", "7"), ("site", "north")]);
    assert_eq!(claims.permissions.map(|it| it.len()), Some(2));
    assert_eq!(claims.ends_at, Some((NOW + 60 + 30) * 1000));
}
