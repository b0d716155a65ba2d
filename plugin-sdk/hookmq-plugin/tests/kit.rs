//! What `export!` writes into the manifest, and that the test kit is as strict as the broker.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use hookmq_plugin::emit::Emission;
use hookmq_plugin::http::Request;
use hookmq_plugin::test::{self, Bounds, Harness, Host};
use hookmq_plugin::{
    Attribute, Client, ConnectAttempt, ConnectVerdict, DeliverVerdict, Exported, IdentityPatch,
    Message, Plugin, PublishVerdict, Refusal, Voucher, clock, emit, http, kv, log, metric, secret,
};
use serde_json::json;

/// Does what the payload, or the password, says, and answers what it saw.
struct Everything {
    answers: u64,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    fetch: Option<String>,
}

impl Plugin for Everything {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if let Some(url) = config.fetch {
            Request::get(url).send()?;
        }
        Ok(Self { answers: 0 })
    }

    fn connect(&mut self, attempt: ConnectAttempt) -> Result<ConnectVerdict, String> {
        assert!(attempt.password.is_none(), "the manifest does not ask for passwords");
        match http::send(&Request::get(attempt.client_id)) {
            Ok(_) => Ok(ConnectVerdict::Accept(IdentityPatch::default())),
            Err(error) => {
                Ok(ConnectVerdict::Deny(Refusal { reason_code: 0x87, reason: error.into() }))
            }
        }
    }

    fn publish(
        &mut self,
        client: Option<Client>,
        message: Message,
    ) -> Result<PublishVerdict, String> {
        self.answers += 1;
        log::info!("{} {:?}", self.answers, message.properties);
        metric::count("answers", 1);
        assert!(client.is_some_and(|c| c.attributes.is_empty() && c.connection.is_empty()));
        kv::increase("answers", 1, None)?;
        match message.payload.as_deref() {
            Some(b"emit") => emit::publish(&Emission::new(message.topic, "x"))?,
            Some(b"fail") => {
                emit::publish(&Emission::new("granted/x", "x"))?;
                return Err("failed".into());
            }
            Some(b"flood") => while emit::publish(&Emission::new("granted/x", "x")).is_ok() {},
            Some(b"fetch") => _ = Request::get("https://a.example/").send()?,
            Some(b"kv") => while kv::set("k", "v", None).is_ok() {},
            Some(b"secret") => {
                assert_eq!(secret::text("key").as_deref(), Some("s"));
                assert_eq!(secret::get("other"), None);
            }
            _ => {}
        }
        Ok(PublishVerdict::Pass)
    }

    fn deliver(&mut self, _: Option<Client>, _: Message) -> Result<DeliverVerdict, String> {
        emit::publish(&Emission::new("granted/x", "x"))?;
        Ok(DeliverVerdict::Pass)
    }
}

hookmq_plugin::export! {
    limits: { memory_bytes: 1048576, time_ms: 10 },
    config_schema: "schema.json",
    secrets: ["key"],
    http: ["a.example", "http://b.example:8080"],
    emit: ["granted/#"],
    fields: [payload, client],
    capabilities: [log, metric, clock, kv],
    hooks: [connect, publish, deliver],
    topics: ["plant/+", "x/#"],
    name: "everything",
    plugin: Everything,
}

fn publish(plugin: &mut Harness<Everything>, topic: &str, what: &str) -> Result<(), String> {
    let mut client = test::client("c1");
    let attribute = Attribute { name: "n".into(), value: "v".into(), vouched_by: Voucher::Tls };
    client.attributes = vec![attribute];
    let verdict = plugin.publish(&client, &test::message(topic, what))?;
    assert_eq!(verdict, PublishVerdict::Pass);
    Ok(())
}

fn plugin() -> (Host, Harness<Everything>) {
    (Host::new(), Harness::new("null").unwrap())
}

#[test]
fn the_manifest_says_what_export_was_told() {
    let manifest: serde_json::Value = serde_json::from_str(Everything::MANIFEST).unwrap();
    let expected = json!({
        "name": "everything",
        "version": env!("CARGO_PKG_VERSION"),
        "hooks": ["connect", "publish", "deliver"],
        "capabilities": ["log", "metric", "clock", "kv"],
        "topics": ["plant/+", "x/#"],
        "fields": ["payload", "client"],
        "emit": ["granted/#"],
        "http": ["a.example", "http://b.example:8080"],
        "secrets": ["key"],
        "config_schema": {"type": "object"},
        "limits": {"memory_bytes": 1_048_576, "time_ms": 10},
    });
    assert_eq!(manifest, expected);
}

#[test]
fn a_misspelt_configuration_is_refused() {
    let refused = Harness::<Everything>::new(json!({"fetsh": "x"})).err().unwrap();
    assert!(refused.contains("unknown field `fetsh`"), "{refused}");
}

#[test]
fn emissions_need_a_granted_topic_a_call_that_ends_well_and_publish() {
    let (host, mut plugin) = plugin();
    publish(&mut plugin, "granted/a", "emit").unwrap();
    assert_eq!(host.take_emitted().len(), 1);
    assert!(publish(&mut plugin, "elsewhere", "emit").unwrap_err().contains("granted"));
    publish(&mut plugin, "a", "fail").unwrap_err();
    let delivered = plugin.deliver(&test::client("c1"), &test::message("a", ""));
    assert!(delivered.unwrap_err().contains("only publish"));
    assert!(host.emitted().is_empty());
    publish(&mut plugin, "a", "flood").unwrap();
    assert_eq!(host.emitted().len(), Bounds::default().emitted_messages);
}

#[test]
fn requests_need_a_granted_host_and_a_hook_that_may_wait() {
    let (host, mut plugin) = plugin();
    let attempt = |url: &str| test::attempt(url);
    for url in ["https://a.example/x", "http://b.example:8080/"] {
        host.respond(url, Ok(test::response(204, "")));
        let verdict = plugin.connect(&attempt(url)).unwrap();
        assert!(matches!(verdict, ConnectVerdict::Accept(_)), "{url}: {verdict:?}");
    }
    for url in ["http://a.example/x", "https://b.example:8080/", "https://c.example/", "no url"] {
        let verdict = plugin.connect(&attempt(url)).unwrap();
        let ConnectVerdict::Deny(refusal) = verdict else { panic!("{url}") };
        assert!(refusal.reason.contains("not granted"), "{url}: {}", refusal.reason);
    }
    assert!(publish(&mut plugin, "a", "fetch").unwrap_err().contains("only new and connect"));
    assert_eq!(host.requests().len(), 2);
    host.respond("https://a.example/at-start", Ok(test::response(200, "")));
    Harness::<Everything>::new(json!({"fetch": "https://a.example/at-start"})).unwrap();
}

#[test]
fn the_store_is_each_tenants_own_outlives_instances_and_has_bounds() {
    let (host, mut plugin) = plugin();
    publish(&mut plugin, "a", "").unwrap();
    plugin.replace_instances();
    publish(&mut plugin, "a", "").unwrap();
    assert_eq!(host.lines().len(), 2);
    assert!(host.lines()[1].starts_with("1 "), "a fresh instance counts anew");
    assert_eq!(host.counted("answers"), 2);
    assert_eq!(host.kept("test")["answers"], b"2");
    assert!(host.kept("other").is_empty());
    publish(&mut plugin, "a", "kv").unwrap();
    let bounds = Bounds { kv_values: 1, kv_value_bytes: 2, ..Bounds::default() };
    host.set_bounds(bounds);
    assert_eq!(kv::set("b", "1", None), Ok(()));
    assert_eq!(kv::set("c", "1", None), Err(kv::Error::Full));
    assert_eq!(kv::set("b", "123", None), Err(kv::Error::ValueTooLong));
    assert_eq!(kv::set("k".repeat(300).as_str(), "1", None), Err(kv::Error::KeyTooLong));
}

#[test]
fn values_are_forgotten_after_their_time() {
    let host = Host::new();
    let ttl = Some(Duration::from_secs(1));
    assert_eq!(kv::increase("n", 2, ttl), Ok(2));
    host.advance(Duration::from_millis(999));
    assert_eq!(kv::increase("n", 2, ttl), Ok(4));
    host.advance(Duration::from_millis(1));
    assert_eq!(kv::get("n"), None);
    assert_eq!(kv::increase("n", 2, ttl), Ok(2));
    kv::set("n", "x", None).unwrap();
    assert_eq!(kv::increase("n", 1, None), Err(kv::Error::NotANumber));
}

#[test]
fn secrets_and_clocks_are_what_the_test_says() {
    let (host, mut plugin) = plugin();
    host.set_secret("key", "s");
    host.set_secret("other", "t");
    publish(&mut plugin, "a", "secret").unwrap();
    host.set_now(5);
    assert_eq!(clock::now(), 5);
}

#[test]
#[should_panic = "`authorize` is not among the hooks of the manifest"]
fn a_hook_that_the_manifest_does_not_name_fails_the_test() {
    let (_host, mut plugin) = plugin();
    let _ = plugin.authorize(&test::client("c1"), &test::publish("a"));
}
