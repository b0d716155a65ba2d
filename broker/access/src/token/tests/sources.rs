//! Where keys come from: sets with several, and places that change, hang and talk nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookmq_hooks::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::forge::{Forge, NOW};
use super::{judge, settings};
use crate::token::{Compact, FetchKeySet, JwtSettings, KeyRing, KeySetUrl, Unverified};

/// A place whose answer the test sets; none: it does not answer.
#[derive(Default)]
struct Place {
    answer: Mutex<Option<Vec<u8>>>,
    asked: AtomicUsize,
}

impl FetchKeySet for Place {
    fn fetch(&self, _: &KeySetUrl, _: Duration) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.lock().clone();
        Box::pin(async {
            match answer {
                Some(answer) => Ok(answer),
                None => std::future::pending().await,
            }
        })
    }
}

impl Place {
    fn answers(&self, keys: &[Value]) {
        *self.answer.lock() = Some(json!({"keys": keys}).to_string().into_bytes());
    }
}

fn named(key: &Value, id: &str) -> Value {
    let mut key = key.clone();
    key["kid"] = id.into();
    key
}

fn at_url(forge: &Forge, more: Value) -> JwtSettings {
    let mut key = json!({"jwks_url": "https://id.example/keys", "algorithms": ["ES256", "EdDSA"],
        "timeout_ms": 50, "refresh_ms": 3_600_000, "ask_again_ms": 3_600_000});
    key.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    settings(forge, json!({"keys": [key]}))
}

async fn verify(ring: &KeyRing, forge: &Forge, header: Value) -> Result<(), Unverified> {
    let token = forge.token(&header, &json!({"sub": "a", "exp": NOW + 60}));
    ring.verify(&Compact::read(token.as_bytes(), 8192).unwrap()).await
}

#[tokio::test]
async fn a_name_chooses_among_keys_and_its_absence_tries_all() {
    let (ours, others) = (Forge::new(), Forge::new());
    let keys = [named(&others.keys()[1], "old"), named(&ours.keys()[1], "new")];
    ours.write("set", json!({"keys": keys}).to_string().as_bytes(), 0o600);
    let settings = settings(&ours, json!({}));
    let judged = async |forge: &Forge, header: Value| {
        let token = forge.token(&header, &json!({"sub": "a", "exp": NOW + 60}));
        judge(&settings, token.as_bytes()).await.map(|_| ())
    };
    let wrong = || Err("the token's signature is wrong".to_owned());
    let unknown = || Err("no key is known that may verify the token".to_owned());
    assert_eq!(judged(&ours, json!({"alg": "ES256", "kid": "new"})).await, Ok(()));
    assert_eq!(judged(&ours, json!({"alg": "ES256"})).await, Ok(()));
    assert_eq!(judged(&others, json!({"alg": "ES256"})).await, Ok(()));
    assert_eq!(judged(&ours, json!({"alg": "ES256", "kid": "old"})).await, wrong());
    assert_eq!(judged(&ours, json!({"alg": "ES256", "kid": "older"})).await, unknown());
    assert_eq!(judged(&ours, json!({"alg": "ES384", "kid": "new"})).await, unknown());
    assert_eq!(judged(&Forge::new(), json!({"alg": "ES256"})).await, wrong());
}

/// Anybody can send a token without a name, and each try costs.
#[tokio::test]
async fn a_token_without_a_name_is_tried_with_a_few_keys_only() {
    let (ours, others) = (Forge::new(), Forge::new());
    let mut keys = vec![others.keys().swap_remove(1); 8];
    keys.push(ours.keys().swap_remove(1));
    ours.write("set", json!({"keys": keys}).to_string().as_bytes(), 0o600);
    let ring = KeyRing::new(&settings(&ours, json!({})).keys, None).unwrap();
    let header = json!({"alg": "ES256"});
    assert_eq!(verify(&ring, &others, header.clone()).await, Ok(()));
    assert_eq!(verify(&ring, &ours, header).await, Err(Unverified::WrongSignature));
}

#[tokio::test]
async fn keys_of_a_set_that_are_odd_are_passed_over() {
    let forge = Forge::new();
    let good = forge.keys().swap_remove(1);
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    for odd in [
        json!(null),
        json!("key"),
        json!({}),
        json!({"kty": "quantum", "kid": "a"}),
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!("verify")),
        with("alg", json!("ES384")),
        with("alg", json!(7)),
        with("kid", json!(7)),
        with("crv", json!("P-384")),
        with("crv", json!("secp256k1")),
        with("x", json!("AAAA")),
        with("y", json!("+")),
        with("kty", json!("OKP")),
        // Published, it is no secret.
        forge.keys().swap_remove(4),
    ] {
        let place = Arc::new(Place::default());
        place.answers(&[odd.clone(), forge.keys().swap_remove(3)]);
        let fetch: Arc<dyn FetchKeySet> = place;
        let ring = KeyRing::new(&at_url(&forge, json!({})).keys, Some(&fetch)).unwrap();
        assert_eq!(verify(&ring, &forge, json!({"alg": "EdDSA"})).await, Ok(()), "{odd}");
        for algorithm in ["ES256", "HS256"] {
            let refused = verify(&ring, &forge, json!({"alg": algorithm})).await;
            assert_eq!(refused, Err(Unverified::UnknownKey), "{odd}");
        }
    }
}

#[tokio::test]
async fn nonsense_instead_of_a_set_is_no_set() {
    let forge = Forge::new();
    for answer in [
        "",
        "<html>",
        "{}",
        "[]",
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[],"keys":[]}"#,
        &json!({"keys": vec![forge.keys().swap_remove(1); 129]}).to_string(),
        &" ".repeat(300_000),
    ] {
        let place = Arc::new(Place::default());
        *place.answer.lock() = Some(answer.as_bytes().to_vec());
        let fetch: Arc<dyn FetchKeySet> = place;
        let ring = KeyRing::new(&at_url(&forge, json!({})).keys, Some(&fetch)).unwrap();
        let refused = verify(&ring, &forge, json!({"alg": "ES256"})).await;
        assert_eq!(refused, Err(Unverified::NoKeys), "{:?}", answer.get(..30));
    }
}

#[tokio::test]
async fn a_place_that_hangs_refuses_until_it_answers() {
    let forge = Forge::new();
    let place = Arc::new(Place::default());
    let fetch: Arc<dyn FetchKeySet> = place.clone();
    let settings = at_url(&forge, json!({"ask_again_ms": 1}));
    let ring = KeyRing::new(&settings.keys, Some(&fetch)).unwrap();
    let header = json!({"alg": "ES256"});
    assert_eq!(verify(&ring, &forge, header.clone()).await, Err(Unverified::NoKeys));
    place.answers(&forge.keys());
    while verify(&ring, &forge, header.clone()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn keys_count_for_a_while_after_their_place_has_fallen_silent() {
    let forge = Forge::new();
    let place = Arc::new(Place::default());
    place.answers(&forge.keys());
    let fetch: Arc<dyn FetchKeySet> = place.clone();
    let short = json!({"keep_ms": 1, "refresh_ms": 500, "ask_again_ms": 1});
    let rings = [json!({}), short]
        .map(|more| KeyRing::new(&at_url(&forge, more).keys, Some(&fetch)).unwrap());
    let [kept, lost] = &rings;
    let header = json!({"alg": "ES256"});
    assert_eq!(verify(kept, &forge, header.clone()).await, Ok(()));
    assert_eq!(verify(lost, &forge, header.clone()).await, Ok(()));
    *place.answer.lock() = None;
    while verify(lost, &forge, header.clone()).await != Err(Unverified::NoKeys) {
        tokio::task::yield_now().await;
    }
    assert_eq!(verify(kept, &forge, header).await, Ok(()));
}

#[tokio::test]
async fn strangers_cannot_have_the_place_asked_more_often() {
    let (forge, stranger) = (Forge::new(), Forge::new());
    let place = Arc::new(Place::default());
    place.answers(&[named(&forge.keys()[1], "known")]);
    let fetch: Arc<dyn FetchKeySet> = place.clone();
    let ring = KeyRing::new(&at_url(&forge, json!({})).keys, Some(&fetch)).unwrap();
    assert_eq!(verify(&ring, &forge, json!({"alg": "ES256", "kid": "known"})).await, Ok(()));
    for number in 0..100 {
        let header = json!({"alg": "ES256", "kid": number.to_string()});
        let refused = verify(&ring, &stranger, header).await;
        assert_eq!(refused, Err(Unverified::UnknownKey));
    }
    assert_eq!(place.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_new_key_is_found_when_a_token_names_it_and_an_old_one_is_gone() {
    let forge = Forge::new();
    let place = Arc::new(Place::default());
    place.answers(&[named(&forge.keys()[1], "old")]);
    let fetch: Arc<dyn FetchKeySet> = place.clone();
    let settings = at_url(&forge, json!({"ask_again_ms": 1}));
    let ring = KeyRing::new(&settings.keys, Some(&fetch)).unwrap();
    assert_eq!(verify(&ring, &forge, json!({"alg": "ES256", "kid": "old"})).await, Ok(()));
    place.answers(&[named(&forge.keys()[1], "new")]);
    while verify(&ring, &forge, json!({"alg": "ES256", "kid": "new"})).await.is_err() {
        tokio::task::yield_now().await;
    }
    let gone = verify(&ring, &forge, json!({"alg": "ES256", "kid": "old"})).await;
    assert_eq!(gone, Err(Unverified::UnknownKey));
}

/// A changed file counts, a broken one does not.
#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let (forge, next) = (Forge::new(), Forge::new());
    let key = json!({"jwks_file": forge.set_file(), "algorithms": ["ES256"], "refresh_ms": 5});
    let settings = settings(&forge, json!({"keys": [key]}));
    let ring = KeyRing::new(&settings.keys, None).unwrap();
    let header = json!({"alg": "ES256"});
    assert_eq!(verify(&ring, &forge, header.clone()).await, Ok(()));
    forge.write("set", b"{\"keys\":", 0o600);
    assert_eq!(verify(&ring, &forge, header.clone()).await, Ok(()));
    let set = json!({"keys": next.keys()}).to_string();
    forge.write("set", set.as_bytes(), 0o600);
    while verify(&ring, &next, header.clone()).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(verify(&ring, &forge, header).await, Err(Unverified::WrongSignature));
}
