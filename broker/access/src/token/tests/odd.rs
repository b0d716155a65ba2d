//! Odd tokens: each with why it is refused, and those that look odd and are good.

use serde_json::{Value, json};

use super::forge::{Forge, NOW, base64};
use super::{judge, settings};

const HS: &str = r#"{"alg":"HS256"}"#;

/// All that is odd about headers and form is refused before anything is verified or believed.
#[tokio::test]
async fn tokens_of_an_odd_form_are_refused() {
    let forge = Forge::new();
    let settings = settings(&forge, json!({}));
    let claims = json!({"sub": "pump", "exp": NOW + 60}).to_string();
    let with = |header: &str| forge.token_of(header, &claims).into_bytes();
    let good = String::from_utf8(with(HS)).unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let form = "three parts";
    let coding = "not Base64";
    let unknown = "none of the algorithms";
    let header = "header cannot be read";
    let critical = "`crit`";
    let signed = "signature is wrong";
    let odd: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], form),
        ("dots", b"..".to_vec(), form),
        ("one part", head.into(), form),
        ("two parts", format!("{head}.{body}").into(), form),
        ("no signature", format!("{head}.{body}.").into(), form),
        ("no claims", format!("{head}..{signature}").into(), form),
        ("four parts", format!("{good}.").into(), form),
        ("five parts, as if encrypted", format!("{good}.a.b").into(), form),
        ("a password", b"correct horse battery staple".to_vec(), form),
        ("not text", b"\xff\xfe.\0.\x80".to_vec(), coding),
        ("too long", format!("{good}{}", "A".repeat(8192)).into(), "longer than 8192 bytes"),
        ("padding", format!("{head}=.{body}.{signature}").into(), coding),
        ("padding behind", format!("{good}=").into(), coding),
        ("a line's end behind", format!("{good}\n").into(), coding),
        ("white space before", format!(" {good}").into(), coding),
        ("the other alphabet", format!("{head}.{body}.++++").into(), coding),
        ("bits left over", format!("{head}.{body}.{}", left_over(signature)).into(), coding),
        ("cut signature", good[..good.len() - 3].into(), signed),
        ("signature and more", format!("{good}AAAA").into(), signed),
        ("signature of another", format!("{head}.{}.{signature}", base64(b"{}")).into(), signed),
        ("alg none", with(r#"{"alg":"none"}"#), unknown),
        ("alg None", with(r#"{"alg":"None"}"#), unknown),
        ("alg none and no signature", format!("{}.{body}.", base64(NONE)).into(), form),
        ("no alg", with(r#"{"typ":"JWT"}"#), unknown),
        ("alg in lower case", with(r#"{"alg":"hs256"}"#), unknown),
        ("alg with a space", with(r#"{"alg":"HS256 "}"#), unknown),
        ("alg as a list", with(r#"{"alg":["HS256"]}"#), unknown),
        ("alg null", with(r#"{"alg":null}"#), unknown),
        ("alg of encryption", with(r#"{"alg":"dir","enc":"A128GCM"}"#), unknown),
        ("alg of SHA-1", with(r#"{"alg":"RS1"}"#), unknown),
        ("alg twice", with(r#"{"alg":"HS256","alg":"HS256"}"#), header),
        ("alg twice, one escaped", with(r#"{"alg":"none","\u0061lg":"HS256"}"#), header),
        ("kid a number", with(r#"{"alg":"HS256","kid":7}"#), header),
        ("kid null", with(r#"{"alg":"HS256","kid":null}"#), header),
        ("crit", with(r#"{"alg":"HS256","crit":["exp"]}"#), critical),
        ("crit, empty", with(r#"{"alg":"HS256","crit":[]}"#), critical),
        ("b64", with(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#), critical),
        ("b64 alone", with(r#"{"alg":"HS256","b64":true}"#), critical),
        ("header a list", with("[]"), header),
        ("header a text", with(r#""HS256""#), header),
        ("header not JSON", with("{alg:HS256}"), header),
        ("header and more", with(r#"{"alg":"HS256"}{}"#), header),
        ("header with a mark", with("\u{feff}{\"alg\":\"HS256\"}"), header),
        ("header deep", with(&format!("{{\"alg\":\"HS256\",\"x\":{}", "[".repeat(2000))), header),
    ];
    for (what, token, why) in &odd {
        let refused = judge(&settings, token).await.unwrap_err();
        assert!(refused.contains(why), "{what}: {refused}");
    }
    assert!(judge(&settings, good.as_bytes()).await.is_ok());
    assert!(judge(&settings, &with(r#"{"alg":"HS256","typ":"at+jwt","x":1}"#)).await.is_ok());
}

const NONE: &[u8] = br#"{"alg":"none"}"#;

/// The same bytes in another spelling: the last character has bits that count for nothing.
fn left_over(part: &str) -> String {
    assert!(!part.len().is_multiple_of(4), "there are bits left over");
    let mut bytes = part.as_bytes().to_vec();
    let last = bytes.last_mut().unwrap();
    *last += 1;
    String::from_utf8(bytes).unwrap()
}

/// Keys that a token brings or points at are its own word.
#[tokio::test]
async fn a_token_brings_no_key() {
    let (forge, thief) = (Forge::new(), Forge::new());
    let settings = settings(&forge, json!({}));
    let claims = json!({"sub": "pump", "exp": NOW + 60});
    let jwk = thief.keys().swap_remove(1);
    for more in [
        json!({"jwk": jwk}),
        json!({"jku": "http://127.0.0.1:1/keys"}),
        json!({"x5u": "http://127.0.0.1:1/chain"}),
        json!({"x5c": ["AAAA"]}),
        json!({"kid": "../../dev/null"}),
        json!({"kid": "http://127.0.0.1:1/keys"}),
        json!({"kid": "' OR 1=1 --"}),
        json!({"kid": ""}),
    ] {
        let mut header = json!({"alg": "ES256"});
        header.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let forged = judge(&settings, thief.token(&header, &claims).as_bytes()).await;
        assert_eq!(forged, Err("the token's signature is wrong".into()), "{more}");
        assert!(judge(&settings, forge.token(&header, &claims).as_bytes()).await.is_ok(), "{more}");
    }
}

/// `claims` are JSON as it is written; none as why: it is good.
async fn check(settings: &super::JwtSettings, forge: &Forge, table: &[(&str, Option<&str>)]) {
    for (claims, why) in table {
        let judged = judge(settings, forge.token_of(HS, claims).as_bytes()).await;
        match (why, judged) {
            (None, Ok(claims)) => assert!(!claims.username.is_empty()),
            (Some(why), Err(error)) => assert!(error.contains(why), "{claims}: {error}"),
            (_, judged) => panic!("{claims}: {judged:?}"),
        }
    }
}

/// It is 1800000000, give or take 30 seconds.
#[tokio::test]
async fn a_token_holds_at_its_time() {
    let forge = Forge::new();
    let not_a_time = Some("is not a time");
    let settings = |more: Value| settings(&forge, more);
    check(
        &settings(json!({})),
        &forge,
        &[
            (r#"{"sub":"a","exp":1800000060}"#, None),
            (r#"{"sub":"a","exp":1800000060.75}"#, None),
            (r#"{"sub":"a","exp":18e8}"#, None),
            (r#"{"sub":"a","exp":1799999971}"#, None),
            (r#"{"sub":"a","exp":1799999970}"#, Some("has expired")),
            (r#"{"sub":"a","exp":0}"#, Some("has expired")),
            (r#"{"sub":"a"}"#, Some("has no `exp`")),
            (r#"{"sub":"a","exp":null}"#, not_a_time),
            (r#"{"sub":"a","exp":"1800000060"}"#, not_a_time),
            (r#"{"sub":"a","exp":-1}"#, not_a_time),
            (r#"{"sub":"a","exp":-0.5}"#, not_a_time),
            (r#"{"sub":"a","exp":1800000060000}"#, not_a_time),
            (r#"{"sub":"a","exp":18446744073709551615}"#, not_a_time),
            (r#"{"sub":"a","exp":99999999999999999999999}"#, not_a_time),
            (r#"{"sub":"a","exp":1e300}"#, not_a_time),
            (r#"{"sub":"a","exp":1e999}"#, Some("claims cannot be read")),
            (r#"{"sub":"a","exp":true}"#, not_a_time),
            (r#"{"sub":"a","exp":[1800000060]}"#, not_a_time),
            (r#"{"sub":"a","exp":1800000060,"exp":1}"#, Some("claims cannot be read")),
            (
                r#"{"sub":"a","exp":1800000060,"\u0065xp":1800000060}"#,
                Some("claims cannot be read"),
            ),
            (r#"{"sub":"a","exp":1800000060,"x":{"y":1,"y":2}}"#, Some("claims cannot be read")),
            (r#"{"sub":"a","exp":1800000060}x"#, Some("claims cannot be read")),
            (r#"["sub"]"#, Some("claims cannot be read")),
            (r#"{"sub":"a","exp":1800000060,"nbf":1800000030}"#, None),
            (r#"{"sub":"a","exp":1800000060,"nbf":1800000031}"#, Some("not valid yet")),
            (r#"{"sub":"a","exp":1800000060,"nbf":"now"}"#, not_a_time),
            (r#"{"sub":"a","exp":1800000060,"iat":1800000030}"#, None),
            (r#"{"sub":"a","exp":1800000060,"iat":1800000031}"#, Some("in the future")),
            (r#"{"sub":"a","exp":1800000060,"iat":{}}"#, not_a_time),
        ],
    )
    .await;
    let exact = settings(json!({"leeway_s": 0, "maximum_lifetime_s": 3600}));
    check(
        &exact,
        &forge,
        &[
            (r#"{"sub":"a","exp":1800000001}"#, None),
            (r#"{"sub":"a","exp":1800000000}"#, Some("has expired")),
            (r#"{"sub":"a","exp":1800003600}"#, None),
            (r#"{"sub":"a","exp":1800003601}"#, Some("for longer than")),
        ],
    )
    .await;
    let lenient = settings(json!({"require_expiry": false}));
    let good = r#"{"sub":"a"}"#;
    check(&lenient, &forge, &[(good, None), (r#"{"sub":"a","exp":1}"#, Some("expired"))]).await;
    let both = settings(json!({"require_expiry": false, "maximum_lifetime_s": 60}));
    check(&both, &forge, &[(good, Some("has no `exp`"))]).await;
}

#[tokio::test]
async fn a_token_is_by_our_issuer_and_for_us() {
    let forge = Forge::new();
    let settings = |more: Value| {
        let mut all = json!({"require_expiry": false});
        all.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        settings(&forge, all)
    };
    let (issuer, audience) = (Some("another issuer"), Some("another audience"));
    check(
        &settings(json!({"issuers": ["https://id.example", "b"], "audiences": ["mqtt", "x"]})),
        &forge,
        &[
            (r#"{"sub":"a","iss":"https://id.example","aud":"mqtt"}"#, None),
            (r#"{"sub":"a","iss":"b","aud":["web","x"]}"#, None),
            (r#"{"sub":"a","iss":"https://id.example/","aud":"mqtt"}"#, issuer),
            (r#"{"sub":"a","iss":"HTTPS://ID.EXAMPLE","aud":"mqtt"}"#, issuer),
            (r#"{"sub":"a","iss":["b"],"aud":"mqtt"}"#, issuer),
            (r#"{"sub":"a","iss":null,"aud":"mqtt"}"#, issuer),
            (r#"{"sub":"a","aud":"mqtt"}"#, issuer),
            (r#"{"sub":"a","iss":"b"}"#, audience),
            (r#"{"sub":"a","iss":"b","aud":"MQTT"}"#, audience),
            (r#"{"sub":"a","iss":"b","aud":"mqtt x"}"#, audience),
            (r#"{"sub":"a","iss":"b","aud":[]}"#, audience),
            (r#"{"sub":"a","iss":"b","aud":["web"]}"#, audience),
            (r#"{"sub":"a","iss":"b","aud":["mqtt",7]}"#, audience),
            (r#"{"sub":"a","iss":"b","aud":[["mqtt"]]}"#, audience),
            (r#"{"sub":"a","iss":"b","aud":{"mqtt":true}}"#, audience),
            (r#"{"sub":"a","iss":"b","aud":null}"#, audience),
        ],
    )
    .await;
    // Who has no name is not meant by one.
    let anybody = settings(json!({}));
    check(&anybody, &forge, &[(r#"{"sub":"a"}"#, None), (r#"{"sub":"a","aud":"b"}"#, audience)])
        .await;
}

#[tokio::test]
async fn names_in_a_token_mean_one_thing_only() {
    let forge = Forge::new();
    let more = json!({"require_expiry": false, "roles_from": "groups", "attributes": {"s": "{s}"}});
    let long = format!(r#"{{"sub":"{}","s":"x"}}"#, "n".repeat(257));
    let many = json!({"sub": "a", "s": "x", "groups": vec!["r"; 65]}).to_string();
    check(
        &settings(&forge, more),
        &forge,
        &[
            (r#"{"sub":"Bär","s":"x"}"#, None),
            (r#"{"sub":7,"s":true}"#, None),
            (r#"{"sub":"a","s":"x","groups":"read write"}"#, None),
            (r#"{"s":"x"}"#, Some("there is no sub")),
            (r#"{"sub":"","s":"x"}"#, Some("there is no sub")),
            (r#"{"sub":null,"s":"x"}"#, Some("there is no sub")),
            (r#"{"sub":7.5,"s":"x"}"#, Some("there is no sub")),
            (r#"{"sub":["a"],"s":"x"}"#, Some("there is no sub")),
            (r#"{"sub":"a+","s":"x"}"#, Some("a wildcard")),
            (r#"{"sub":"a","s":"x/#"}"#, Some("a wildcard")),
            (r#"{"sub":" a","s":"x"}"#, Some("white space")),
            (r#"{"sub":"a\u0000","s":"x"}"#, Some("SASLprep")),
            (r#"{"sub":"a\u202eb","s":"x"}"#, Some("SASLprep")),
            (r#"{"sub":"\u2168","s":"x"}"#, Some("SASLprep")),
            (r#"{"sub":"a\ud800","s":"x"}"#, Some("claims cannot be read")),
            (r#"{"sub":"a"}"#, Some("attribute s: there is no s")),
            (r#"{"sub":"a","s":"x","groups":7}"#, Some("roles: they are neither")),
            (r#"{"sub":"a","s":"x","groups":["a",7]}"#, Some("roles: one is no text")),
            (r#"{"sub":"a","s":"x","groups":["a",""]}"#, Some("roles: one is empty")),
            (r#"{"sub":"a","s":"x","groups":["a*"]}"#, Some("roles: one is empty")),
            (&long, Some("longer than 256")),
            (&many, Some("too many")),
        ],
    )
    .await;
}

/// What is not understood about a permission might be what narrows it.
#[tokio::test]
async fn permissions_that_are_not_understood_whole_refuse_the_token() {
    let forge = Forge::new();
    let settings = settings(
        &forge,
        json!({"require_expiry": false, "permissions_from": "token", "maximum_bytes": 65536}),
    );
    let entry = |entry: Value| json!({"sub": "a", "permissions": [entry]}).to_string();
    let one = json!({"action": "publish", "filter": "a"});
    let most = json!({"sub": "a", "permissions": vec![&one; 256]}).to_string();
    let many = json!({"sub": "a", "permissions": vec![&one; 257]}).to_string();
    let malformed = Some("entry 1 of the token's permissions");
    for (claims, why) in [
        (entry(one.clone()), None),
        (
            entry(json!({"action": ["publish", "receive"], "filter": "a/{username}/#",
            "effect": "deny", "max_qos": 1, "retain": false, "priority": -5})),
            None,
        ),
        (most, None),
        (many, Some("more than 256")),
        (json!({"sub": "a", "permissions": {}}).to_string(), Some("are no list")),
        (entry(json!("publish a")), malformed),
        (entry(json!({"filter": "a"})), malformed),
        (entry(json!({"action": "publish"})), malformed),
        (entry(json!({"action": "all", "filter": "a"})), malformed),
        (entry(json!({"action": "Publish", "filter": "a"})), malformed),
        (entry(json!({"action": "publish", "filter": ""})), malformed),
        (entry(json!({"action": "publish", "filter": "a/#/b"})), malformed),
        (entry(json!({"action": "publish", "filter": "{sub}/a"})), malformed),
        (entry(json!({"action": "publish", "filter": "$share/g/a"})), malformed),
        (entry(json!({"action": "publish", "filter": "a", "max_qos": 3})), malformed),
        (entry(json!({"action": "publish", "filter": "a", "max_qos": -1})), malformed),
        (entry(json!({"action": "publish", "filter": "a", "retain": "no"})), malformed),
        (entry(json!({"action": "publish", "filter": "a", "effect": "Deny"})), malformed),
        (entry(json!({"action": "publish", "filter": "a", "efect": "deny"})), malformed),
        (entry(json!({"action": "publish", "filter": "a", "only_from": "10.0.0.1"})), malformed),
    ] {
        check(&settings, &forge, &[(&claims, why)]).await;
    }
}
