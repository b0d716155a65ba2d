//! The plugin host with real artefacts, which `cargo xtask plugins` builds.

#![allow(clippy::unwrap_used)]

mod apart;
mod artefacts;
mod cancellation;
mod components;
mod contract;
mod imports;
mod languages;
mod limits;
mod loading;
mod shipped;

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hookmq_codec::{ProtocolVersion, Qos, TopicFilter, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{Client, ConnectAttempt, ConnectionFacts, Identity};
use hookmq_wasm::{Grants, HostOptions, Limits, LoadError, PluginHost, PluginSettings, WasmPlugin};
use serde_json::Value;

/// The built artefact of this name, such as `fixtures/hostile`.
fn artefact(name: &str) -> Vec<u8> {
    let file = plugins().join(format!("{name}.wasm"));
    std::fs::read(&file)
        .unwrap_or_else(|error| panic!("{}: {error}. Run `cargo xtask plugins`", file.display()))
}

fn plugins() -> PathBuf {
    match std::env::var_os("HOOKMQ_PLUGINS_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => target_directory().join("plugins"),
    }
}

/// Cargo keeps what it builds for tests below the target directory.
fn target_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// Time for a busy machine; a test of the deadline sets its own.
fn patient() -> Limits {
    Limits { time: Duration::from_secs(60), ..Limits::default() }
}

fn host() -> PluginHost {
    host_with(HostOptions { limits: patient(), ..HostOptions::default() })
}

/// Few instances, so that many tests side by side need little address space.
fn host_with(options: HostOptions) -> PluginHost {
    let options = HostOptions { instances: options.instances.min(8), ..options };
    PluginHost::new(options, Arc::default()).unwrap()
}

/// Everything that a fixture asks for is granted.
fn settings(config: Value) -> PluginSettings {
    let emit = vec![TopicFilter::new("granted/#").unwrap()];
    let grants =
        Grants { log: true, clock: true, metric: true, kv: true, emit, ..Grants::default() };
    PluginSettings { name: None, alias: None, home: None, config, grants, limits: patient() }
}

fn load(name: &str, config: Value) -> Result<WasmPlugin, LoadError> {
    host().load(&artefact(name), settings(config))
}

fn connection() -> ConnectionFacts {
    ConnectionFacts {
        listener: "main".into(),
        peer: Some("127.0.0.1:1883".parse().unwrap()),
        protocol: ProtocolVersion::V5,
        encrypted: false,
    }
}

fn client(tenant: &str) -> Arc<Client> {
    Arc::new(Client {
        tenant: tenant.into(),
        username: "meter-7".into(),
        client_id: "c1".into(),
        client_id_bound: true,
        roles: Default::default(),
        attributes: Default::default(),
        connection: connection(),
        certificate: None,
        attachments: Default::default(),
        limits: Default::default(),
        budget: Default::default(),
        steps: Default::default(),
    })
}

fn attempt(client_id: &str) -> ConnectAttempt {
    ConnectAttempt {
        connection: connection(),
        certificate: None,
        client_id: client_id.into(),
        username: None,
        password: None,
        authentication: None,
        waited: Default::default(),
        identity: Identity::default(),
    }
}

fn message(payload: impl AsRef<[u8]>) -> Message {
    Message::new(NewMessage {
        topic: TopicName::new("plant/1").unwrap(),
        forwarded_properties: &[],
        payload: payload.as_ref(),
        qos: Qos::AtMostOnce,
        retain: false,
        expires_at: None,
        publisher: 0,
    })
}

/// The value of a future that is ready at once.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a plugin's connect answers at once"),
    }
}
