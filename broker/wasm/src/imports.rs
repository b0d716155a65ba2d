//! What a guest may ask of the broker: the contract's imports, each within a bound per call.
//!
//! A guest that asks without end meets its deadline as any endless loop does; the bounds here keep
//! what it can fill and hold until then.

mod http;

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hookmq_codec::TopicName;
use hookmq_hooks::{
    Emission, Hook, Keeper, KeyValueError, KeyValueStore, Note, ProgramName, is_noted, keep_notes,
};
use tracing::Level;
use wasmtime::component::{HasSelf, Linker};

use crate::contract::{clock, emit, explain, http as http_import, kv, log, metric, secret, types};
use crate::guest_log::cut;
use crate::instance::{GuestState, MAX_REASON_BYTES};
use crate::output::qos;

/// Lines of one call that are looked at; the log's own rate holds beside it.
const MAX_LOG_LINES: u32 = 1000;
/// The word that says what a note is about.
const MAX_ABOUT_BYTES: usize = 32;
/// Changes of figures in one call; later ones are lost.
const MAX_FIGURES: u32 = 1000;

/// Offers every import. A plugin gets those that its manifest asks for, which is checked when it is
/// loaded.
pub(crate) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    log::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    explain::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    clock::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    metric::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    kv::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    emit::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    http_import::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    secret::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl types::Host for GuestState {}

impl log::Host for GuestState {
    fn write(&mut self, level: log::Level, line: String) {
        let level = match level {
            log::Level::Trace => Level::TRACE,
            log::Level::Debug => Level::DEBUG,
            log::Level::Info => Level::INFO,
            log::Level::Warn => Level::WARN,
            log::Level::Error => Level::ERROR,
        };
        if level == Level::ERROR {
            self.call.last_error = Some(cut(&line, MAX_REASON_BYTES).to_owned());
        }
        if one_more(&mut self.call.log_lines, MAX_LOG_LINES) {
            self.own.log.write(&self.tenant, level, &line);
        }
    }
}

impl explain::Host for GuestState {
    fn wanted(&mut self) -> bool {
        is_noted()
    }

    fn note(&mut self, about: String, text: String) {
        if is_noted() {
            let about = cut(&about, MAX_ABOUT_BYTES).to_owned().into();
            keep_notes([Note { about, text: cut(&text, MAX_REASON_BYTES).to_owned() }]);
        }
    }
}

impl metric::Host for GuestState {
    fn count(&mut self, name: String, increase: u64) {
        if one_more(&mut self.call.figures, MAX_FIGURES) {
            self.own.services.metrics.count(&self.own.name.name, &name, &self.tenant, increase);
        }
    }

    fn set(&mut self, name: String, value: f64) {
        if one_more(&mut self.call.figures, MAX_FIGURES) {
            self.own.services.metrics.set(&self.own.name.name, &name, &self.tenant, value);
        }
    }
}

/// Where the broker's monotonic clock begins.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl clock::Host for GuestState {
    fn now(&mut self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since_1970.as_millis().try_into().unwrap_or(u64::MAX)
    }

    fn monotonic(&mut self) -> u64 {
        START.elapsed().as_micros().try_into().unwrap_or(u64::MAX)
    }
}

impl GuestState {
    /// The store, the tenant and the plugin whose part of it is meant; none where the call has used it
    /// as often as it may.
    fn key_value(&mut self) -> Option<(&KeyValueStore, &str, Keeper<'_>)> {
        if !one_more(&mut self.call.kv_calls, self.own.limits.kv_calls) {
            return None;
        }
        // An instance is configured before it is known whether its tenant will call.
        let tenant = if self.hook.is_some() { &*self.tenant } else { &*self.own.home };
        let ProgramName { kind, name } = &self.own.name;
        Some((&self.own.services.key_value, tenant, Keeper { kind: *kind, name }))
    }
}

impl kv::Host for GuestState {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        let (store, tenant, plugin) = self.key_value()?;
        store.get(tenant, plugin, &key, Instant::now())
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<(), kv::Error> {
        let (store, tenant, plugin) = self.key_value().ok_or(kv::Error::TooManyCalls)?;
        let lifetime = ttl_ms.map(Duration::from_millis);
        store.set(tenant, plugin, &key, value, lifetime, Instant::now()).map_err(kv_error)
    }

    fn delete(&mut self, key: String) {
        if let Some((store, tenant, plugin)) = self.key_value() {
            store.delete(tenant, plugin, &key);
        }
    }

    fn increase(&mut self, key: String, by: i64, ttl_ms: Option<u64>) -> Result<i64, kv::Error> {
        let (store, tenant, plugin) = self.key_value().ok_or(kv::Error::TooManyCalls)?;
        let lifetime = ttl_ms.map(Duration::from_millis);
        store.increase(tenant, plugin, &key, by, lifetime, Instant::now()).map_err(kv_error)
    }
}

fn kv_error(error: KeyValueError) -> kv::Error {
    match error {
        KeyValueError::KeyTooLong(_) => kv::Error::KeyTooLong,
        KeyValueError::ValueTooLong(_) => kv::Error::ValueTooLong,
        KeyValueError::Full => kv::Error::Full,
        KeyValueError::NotANumber => kv::Error::NotANumber,
    }
}

impl emit::Host for GuestState {
    fn publish(&mut self, message: emit::Emission) -> Result<(), emit::Error> {
        if self.hook != Some(Hook::Publish) {
            return Err(emit::Error::NotHere);
        }
        let topic = TopicName::new(&message.topic).map_err(|_| emit::Error::Topic)?;
        if !self.own.grants.emit.iter().any(|granted| granted.matches(topic)) {
            return Err(emit::Error::Topic);
        }
        let limits = &self.own.limits;
        let bytes = self.call.emitted_bytes + message.topic.len() + message.payload.len();
        if self.call.emitted.len() >= limits.emitted_messages || bytes > limits.output_bytes {
            return Err(emit::Error::TooMany);
        }
        self.call.emitted_bytes = bytes;
        self.call.emitted.push(Emission {
            payload: message.payload,
            qos: qos(message.qos),
            retain: message.retain,
            topic: message.topic,
        });
        Ok(())
    }
}

impl secret::Host for GuestState {
    fn get(&mut self, name: String) -> Option<Vec<u8>> {
        Some(self.own.grants.secrets.get(&name)?.expose().to_vec())
    }
}

/// Counts up to `limit`; whether there was room.
fn one_more(count: &mut u32, limit: u32) -> bool {
    let fits = *count < limit;
    *count += u32::from(fits);
    fits
}
