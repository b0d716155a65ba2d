//! What strangers write: compiled apart, kept on a shelf of theirs, and at home with one tenant.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_hooks::{Keeper, Program, ProgramKind, ProgramName, PublishVerdict, Services};
use hookmq_wasm::{ApartLimits, Journal, PluginHost, PluginSettings};
use serde_json::json;
use tracing::Level;

use crate::imports::options;
use crate::{artefact, artefacts, client, host, message, patient, settings};

const LIMITS: ApartLimits =
    ApartLimits { time: Duration::from_secs(60), memory_bytes: 1 << 30, compiled_bytes: 64 << 20 };

struct Nowhere;

impl Journal for Nowhere {
    fn write(&self, _: Level, _: &str) {}
}

#[test]
fn code_is_found_on_its_shelf_until_it_is_damaged() {
    let (host, shelf) = (host(), tempfile::tempdir().unwrap());
    fs::set_permissions(shelf.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let counter = artefact("fixtures/counter");
    assert!(host.prepare_kept(&counter, shelf.path()).unwrap().is_none());
    let mut busy = Duration::ZERO;
    let (_, code) = host.prepare_apart(&counter, LIMITS, &mut busy).unwrap();
    assert!(busy > Duration::ZERO);
    assert_eq!(fs::read_dir(shelf.path()).unwrap().count(), 0, "nothing is kept by itself");
    code.keep(shelf.path()).unwrap();
    let prepared = host.prepare_kept(&counter, shelf.path()).unwrap().expect("the code");
    let alias = ProgramName { kind: ProgramKind::Plugin, name: "acme/counts".into() };
    let settings = PluginSettings { alias: Some(alias), ..settings(json!(null)) };
    let plugin = host.start(&prepared, settings, Arc::new(Nowhere)).unwrap();
    assert_eq!(plugin.identity().to_string(), "plugin acme/counts");
    for number in ["1", "2"] {
        let answer = plugin.publish(&client("acme"), &message("x")).unwrap();
        let PublishVerdict::Replace(patch) = answer.verdict else { panic!("it replaces") };
        assert_eq!(patch.payload.as_deref(), Some(number.as_bytes()));
    }
    let file = fs::read_dir(shelf.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(host.prepare_kept(&counter, shelf.path()).unwrap().is_none());
}

#[test]
fn a_plugin_at_home_with_a_tenant_is_configured_as_its() {
    let services = Arc::new(Services::default());
    let host = PluginHost::new(options(patient()), services.clone()).unwrap();
    let manifest = json!({
        "name": "asker", "version": "1.0.0", "hooks": ["publish"], "http": ["*"], "secrets": ["*"],
        "capabilities": ["log", "clock", "metric", "kv"],
    });
    let asker = artefacts::with_manifest(&artefact("fixtures/asker"), &manifest.to_string());
    for (home, tenant) in [(None, ""), (Some("acme"), "acme")] {
        let home = home.map(Into::into);
        let settings = PluginSettings { home, ..settings(json!("set mark x")) };
        let keeper = Keeper { kind: ProgramKind::Plugin, name: "asker" };
        host.load(&asker, settings).unwrap();
        let kept = services.key_value.get(tenant, keeper, "mark", Instant::now());
        assert_eq!(kept, Some(b"x".to_vec()), "{tenant:?}");
        let other = if tenant.is_empty() { "acme" } else { "" };
        services.key_value.forget(tenant, keeper);
        assert_eq!(services.key_value.get(other, keeper, "mark", Instant::now()), None);
    }
}
