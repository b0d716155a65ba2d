//! What the fuzz targets try here: what strangers send, and what operators have in files and tables.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hookmq_codec::{Qos, TopicFilter, TopicName};
use hookmq_hooks::{Access, Action, Attribute, CertificateFacts, Effect, Voucher};
use serde_json::json;

use crate::certificate::MAX_NAME_LENGTH;
use crate::name::ambiguity;
use crate::scram::ClientFirst;
use crate::token::{Compact, read_keys};
use crate::{
    FilterPattern, Holder, JwtSettings, Mapping, PasswordHash, Permission, PermissionSet, Ruling,
    ScramSecret, ShareNames, Terms, certificate_facts, crl_facts, may_sign_certificates,
    proxied_certificate,
};

/// Seconds since 1970.
const NOW: u64 = 1_700_000_000;

/// Reads `bytes` as a token, and as the claims of one.
///
/// # Panics
/// Where a name that is taken from claims could mean two things.
pub fn token(bytes: &[u8]) {
    static SETTINGS: LazyLock<JwtSettings> = LazyLock::new(|| {
        let settings = json!({
            "keys": [],
            "audiences": ["broker"],
            "require_expiry": false,
            "tenant": "{/org/name}",
            "username": "{sub}",
            "roles": ["{role}"],
            "roles_from": "scope",
            "attributes": {"site": "{site}"},
            "permissions_from": "both",
        });
        serde_json::from_value(settings).expect("they are settings")
    });
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let wrapped = format!("{}.{}.{}", encode(br#"{"alg":"ES256"}"#), encode(bytes), encode(b"-"));
    for token in [bytes, wrapped.as_bytes()] {
        let Ok(token) = Compact::read(token, 64 << 10) else { continue };
        let Ok(claims) = SETTINGS.read(&token, "claimed", NOW) else { continue };
        let tenant = claims.tenant.expect("the settings have it named");
        let attributes = claims.attributes.values().map(String::as_str);
        for name in [&*claims.username, &tenant].into_iter().chain(attributes) {
            assert!(!name.is_empty() && ambiguity(name).is_none(), "{name:?}");
        }
    }
}

/// Reads `bytes` as keys of tokens, and as what is kept of passwords.
///
/// # Panics
/// Where what is kept of a password is not written as it was read.
pub fn keys(bytes: &[u8]) {
    read_keys(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(secret) = text.parse::<ScramSecret>() {
        let again: ScramSecret = secret.to_text().parse().expect("it was written so");
        assert_eq!(again.to_text(), secret.to_text());
    }
    if let Ok(hash) = text.parse::<PasswordHash>()
        && let Some(written) = hash.to_text()
    {
        let again: PasswordHash = written.parse().expect("it was written so");
        assert_eq!(again.to_text(), Some(written));
    }
}

/// Has an exchange of SCRAM whose two messages from the client are the lines of `bytes`.
///
/// # Panics
/// Where it succeeds: the client does not know the password.
pub fn scram(bytes: &[u8]) {
    static SECRET: LazyLock<ScramSecret> = LazyLock::new(|| {
        let iterations = std::num::NonZeroU32::new(crate::MINIMUM_ITERATIONS);
        let iterations = iterations.expect("there are some");
        ScramSecret::of_stranger(b"a key that nobody knows", "acme", "kim", iterations)
    });
    let mut messages = bytes.splitn(2, |byte| *byte == b'\n');
    let first = messages.next().unwrap_or_default();
    let last = messages.next().unwrap_or_default();
    let Ok(first) = ClientFirst::read(first) else { return };
    assert!(!first.username().is_empty());
    let challenged = first.challenge(SECRET.clone(), "nonce");
    // With the nonce that the server has chosen, as no stranger can know it before.
    let last = String::from_utf8_lossy(last).replace('@', nonce(challenged.message()));
    assert!(challenged.finish(last.as_bytes()).is_err(), "{last:?} proves nothing");
}

fn nonce(server_first: &str) -> &str {
    let nonce = server_first.strip_prefix("r=").and_then(|it| it.split_once(','));
    nonce.expect("the nonce comes first").0
}

/// Reads `bytes` as a certificate and as a revocation list, and maps the certificate.
///
/// # Panics
/// Where a name in it is not clean text.
pub fn certificate(bytes: &[u8]) {
    static MAPPING: LazyLock<Mapping> = LazyLock::new(|| {
        let mapping = json!({
            "tenant": "{o}",
            "username": "{cn}",
            "client_id": "{serial}",
            "attributes": {"host": "{san_dns}"},
        });
        serde_json::from_value(mapping).expect("it is a mapping")
    });
    let _ = crl_facts(bytes);
    let _ = may_sign_certificates(bytes);
    let _ = proxied_certificate(None, Some(bytes), "edge");
    let Ok(facts) = certificate_facts(bytes, "anchor") else { return };
    assert_eq!(certificate_facts(bytes, "anchor"), Ok(facts.clone()));
    for name in names(&facts) {
        assert!(!name.contains(char::is_control), "{name:?}");
        assert!(name.len() <= MAX_NAME_LENGTH, "{} bytes", name.len());
    }
    let Ok(patch) = MAPPING.identify(&facts) else { return };
    for name in [patch.tenant, patch.username, patch.client_id] {
        let name = name.expect("the mapping names it");
        assert!(!name.is_empty() && ambiguity(&name).is_none(), "{name:?}");
    }
}

fn names(facts: &CertificateFacts) -> impl Iterator<Item = &String> {
    let subject = &facts.subject;
    let subject = [&subject.common_name, &subject.organization, &subject.organizational_unit];
    let alternative = [&facts.san_dns, &facts.san_uri, &facts.san_email, &facts.san_ip];
    subject.into_iter().chain(alternative).flatten()
}

/// Asks a permission, which is a filter, a username, a client id and a topic in the lines of `bytes`.
///
/// # Panics
/// Where it allows what its filter does not say, or the other way round.
pub fn permissions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines: Vec<&str> = text.splitn(5, '\n').collect();
    let [pattern, username, client_id, asked, topic] = lines[..] else { return };
    let site = Attribute { value: "north".into(), vouched_by: Voucher::Tls };
    let attributes = BTreeMap::from([(Arc::from("site"), site)]);
    let holder =
        Holder { tenant: "acme", username, client_id: Some(client_id), attributes: &attributes };
    let values = [
        ("{username}", username),
        ("{client_id}", client_id),
        ("{tenant}", "acme"),
        ("{attribute:site}", "north"),
    ];
    let allows = |action, topic| {
        let bound = PermissionSet::new([permission(pattern, action, ALLOW)]).bind(&holder);
        let qos = Qos::AtMostOnce;
        let ruling = bound.decide(&Access { action, topic, qos, retain: false, share_name: None });
        matches!(ruling, Ruling::Allow { .. })
    };
    let Ok(topic) = TopicName::new(topic) else { return };
    let speaks = speaks(pattern, &values, topic.as_str());
    assert_eq!(allows(Action::Publish, topic.as_str()), speaks);
    let Ok(asked) = TopicFilter::new(asked) else { return };
    if asked.share_name().is_none() && allows(Action::Subscribe, asked.as_str()) {
        assert!(speaks || !asked.matches(topic), "the subscription reaches further");
    }
    denies(pattern, &holder, topic);
}

const ALLOW: Terms = Terms::Allow { maximum_qos: Qos::ExactlyOnce, retain: true };

fn permission(pattern: &str, action: Action, terms: Terms) -> Permission {
    Permission {
        id: 1,
        action,
        filter: FilterPattern::lenient(pattern),
        terms,
        share_names: ShareNames::Any,
        priority: 0,
        on_denial: Effect::default(),
        only_client_id: None,
    }
}

/// What cannot be read might mean anything: it denies everything, and allows nothing.
fn denies(pattern: &str, holder: &Holder<'_>, topic: TopicName<'_>) {
    if FilterPattern::new(pattern).is_ok() {
        return;
    }
    let all = permission("#", Action::Publish, ALLOW);
    let denial = permission(pattern, Action::Publish, Terms::Deny);
    let bound = PermissionSet::new([all, denial]).bind(holder);
    let access = Access {
        action: Action::Publish,
        topic: topic.as_str(),
        qos: Qos::AtMostOnce,
        retain: false,
        share_name: None,
    };
    assert!(!matches!(bound.decide(&access), Ruling::Allow { .. }), "{pattern:?} is passed over");
}

/// Level by level, as docs/permissions.md has it.
fn speaks(pattern: &str, values: &[(&str, &str)], topic: &str) -> bool {
    let Ok(_) = FilterPattern::new(pattern) else { return false };
    let fits = |value: &str| !value.is_empty() && !value.contains(['+', '#', '/', '\0']);
    let used = |name: &str| pattern.contains(name);
    if values.iter().any(|(name, value)| used(name) && !fits(value)) {
        return false;
    }
    let is_known = |name: &str| values.iter().any(|(known, _)| *known == format!("{{{name}}}"));
    let placeholders = pattern.split('{').skip(1).filter_map(|it| Some(it.split_once('}')?.0));
    if !placeholders.into_iter().all(is_known) {
        return false;
    }
    let starts_with_value =
        values.iter().any(|(name, value)| pattern.starts_with(name) && value.starts_with('$'));
    let by_wildcard = pattern.starts_with(['+', '#']) && topic.starts_with('$');
    if starts_with_value || by_wildcard {
        return false;
    }
    let (mut pattern, mut topic) = (pattern.split('/'), topic.split('/'));
    loop {
        match (pattern.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(found)) if filled(level, values) == found => {}
            _ => return false,
        }
    }
}

/// Each placeholder once: a value that looks like one stays as it is.
fn filled(level: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = level;
    while let Some(character) = rest.chars().next() {
        match values.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                filled.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                filled.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_speak_as_their_filters_say() {
        for text in [
            "a/{username}/#\nkim\nc1\na/kim/+\na/kim/b",
            "{username}/{client_id}\n$SYS\nc1\n#\n$SYS/c1",
            "a{client_id}b/+\nkim\n{username}\na/+\na{username}b/",
            "{attribute:site}/{attribute:none}\nkim\nc\nnorth/+\nnorth/",
            "#\n\n\n#\n$SYS/a",
            "a{\nkim\nc1\n#\na",
            "x/{username}\n+\nc\nx/+\nx/+",
        ] {
            permissions(text.as_bytes());
        }
    }

    #[test]
    fn what_strangers_send_does_no_harm() {
        for bytes in
            [&b""[..], b"n,,n=kim,r=abc\nc=biws,r=@,p=AAAA", b"n,,n=a=2Cb,r=a,x=y\n", b"\xFF"]
        {
            scram(bytes);
            keys(bytes);
            certificate(bytes);
        }
        token(br#"{"sub":"kim","org":{"name":"acme"},"aud":"broker","site":"n","role":"r"}"#);
        token(b"e30.e30.e30");
    }
}
