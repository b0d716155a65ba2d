//! The contract's imports as functions on the thread's [`Host`](super::Host).

use std::collections::BTreeMap;
use std::time::Duration;

use super::host::{Kept, State, with};

impl State {
    /// Fails the test where the manifest does not name the capability; the broker would not have
    /// loaded the plugin.
    fn need(&self, capability: &str) {
        let Some(call) = &self.call else { return };
        let named = &call.manifest.capabilities;
        assert!(
            named.iter().any(|name| name == capability),
            "the plugin uses `{capability}`, which is not among the capabilities of its manifest"
        );
    }

    fn tenant(&self) -> &str {
        self.call.as_ref().map_or("", |call| &call.tenant)
    }

    /// Whether the call may use the store once more.
    fn charge_kv(&mut self) -> bool {
        self.need("kv");
        let limit = self.bounds.kv_calls;
        self.call.as_mut().is_none_or(|call| {
            call.kv_calls += 1;
            call.kv_calls <= limit
        })
    }

    /// The values of the tenant, without those whose time is over.
    fn values(&mut self) -> &mut BTreeMap<String, Kept> {
        let (now, tenant) = (self.monotonic, self.tenant().to_owned());
        let values = self.kv.entry(tenant).or_default();
        values.retain(|_, kept| kept.is_alive(now));
        values
    }
}

pub(crate) mod log {
    use super::with;
    use crate::log::Level;

    pub(crate) fn write(level: Level, line: &str) {
        with(|state| {
            state.need("log");
            state.log.push((level, line.to_owned()));
        });
    }
}

pub(crate) mod explain {
    use super::with;

    pub(crate) fn wanted() -> bool {
        with(|state| state.notes.is_some())
    }

    pub(crate) fn note(about: &str, text: &str) {
        with(|state| {
            if let Some(notes) = &mut state.notes {
                notes.push((about.to_owned(), text.to_owned()));
            }
        });
    }
}

pub(crate) mod metric {
    use super::with;

    pub(crate) fn count(name: &str, increase: u64) {
        keep(name, |state| {
            let counter = state.counters.entry(name.to_owned()).or_default();
            *counter = counter.saturating_add(increase);
        });
    }

    pub(crate) fn set(name: &str, value: f64) {
        keep(name, |state| _ = state.gauges.insert(name.to_owned(), value));
    }

    /// Under a name that is none, the broker keeps nothing, which a test should hear of.
    fn keep(name: &str, keep: impl FnOnce(&mut super::State)) {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(fits);
        assert!(is_name, "{name:?} is not 1 to 64 characters of a-z 0-9 _");
        with(|state| {
            state.need("metric");
            keep(state);
        });
    }
}

pub(crate) mod clock {
    use super::with;

    pub(crate) fn now() -> u64 {
        with(|state| {
            state.need("clock");
            state.now
        })
    }

    pub(crate) fn monotonic() -> u64 {
        with(|state| {
            state.need("clock");
            u64::try_from(state.monotonic.as_micros()).unwrap_or(u64::MAX)
        })
    }
}

pub(crate) mod kv {
    use super::{Duration, Kept, State, with};
    use crate::kv::Error;

    pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
        with(|state| {
            if !state.charge_kv() {
                return None;
            }
            state.values().get(key).map(|kept| kept.value.clone())
        })
    }

    pub(crate) fn set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), Error> {
        with(|state| {
            if !state.charge_kv() {
                return Err(Error::TooManyCalls);
            }
            put(state, key, value.to_vec(), ttl_ms)
        })
    }

    pub(crate) fn delete(key: &str) {
        with(|state| {
            if state.charge_kv() {
                state.values().remove(key);
            }
        });
    }

    pub(crate) fn increase(key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, Error> {
        with(|state| {
            if !state.charge_kv() {
                return Err(Error::TooManyCalls);
            }
            let Some(kept) = state.values().get_mut(key) else {
                put(state, key, by.to_string().into_bytes(), ttl_ms)?;
                return Ok(by);
            };
            let number = std::str::from_utf8(&kept.value).ok().and_then(|text| text.parse().ok());
            let sum = number.and_then(|number: i64| number.checked_add(by));
            let sum = sum.ok_or(Error::NotANumber)?;
            kept.value = sum.to_string().into_bytes();
            Ok(sum)
        })
    }

    fn put(state: &mut State, key: &str, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<(), Error> {
        let bounds = state.bounds;
        let ttl = ttl_ms.map(Duration::from_millis);
        let forgotten_at = ttl.and_then(|ttl| state.monotonic.checked_add(ttl));
        let values = state.values();
        if key.len() > bounds.kv_key_bytes {
            return Err(Error::KeyTooLong);
        }
        if value.len() > bounds.kv_value_bytes {
            return Err(Error::ValueTooLong);
        }
        if values.len() >= bounds.kv_values && !values.contains_key(key) {
            return Err(Error::Full);
        }
        values.insert(key.to_owned(), Kept { value, forgotten_at });
        Ok(())
    }
}

pub(crate) mod emit {
    use super::with;
    use crate::emit::{Emission, Error};

    pub(crate) fn publish(message: &Emission) -> Result<(), Error> {
        with(|state| {
            let limit = state.bounds.emitted_messages;
            let Some(call) = &mut state.call else {
                state.emitted.push(message.clone());
                return Ok(());
            };
            let filters = &call.manifest.emit;
            assert!(!filters.is_empty(), "the plugin emits, but its manifest has no `emit`");
            if call.hook != "publish" {
                return Err(Error::NotHere);
            }
            if !filters.iter().any(|filter| filter.matches(&message.topic)) {
                return Err(Error::Topic);
            }
            if call.emitted.len() >= limit {
                return Err(Error::TooMany);
            }
            call.emitted.push(message.clone());
            Ok(())
        })
    }
}

pub(crate) mod http {
    use super::with;
    use crate::http::{Error, Request, Response};

    pub(crate) fn send(request: &Request) -> Result<Response, Error> {
        with(|state| {
            let limit = state.bounds.http_requests;
            if let Some(call) = &mut state.call {
                let named = !call.manifest.http.is_empty();
                assert!(named, "the plugin sends requests, but its manifest has no `http`");
                if !["configure", "connect"].contains(&call.hook) {
                    return Err(Error::NotHere);
                }
                if !call.manifest.reaches(&request.url) {
                    return Err(Error::NotGranted(request.url.clone()));
                }
                call.http_requests += 1;
                if call.http_requests > limit {
                    return Err(Error::TooMany);
                }
            }
            state.requests.push(request.clone());
            let unknown = || Err(Error::Failed(format!("no host answers {}", request.url)));
            state.responses.get(&request.url).cloned().unwrap_or_else(unknown)
        })
    }
}

pub(crate) mod secret {
    use super::with;

    pub(crate) fn get(name: &str) -> Option<Vec<u8>> {
        with(|state| {
            if let Some(call) = &state.call {
                let named = &call.manifest.secrets;
                assert!(!named.is_empty(), "the plugin asks for a secret; its manifest has none");
                if !named.iter().any(|named| named == "*" || named == name) {
                    return None;
                }
            }
            state.secrets.get(name).cloned()
        })
    }
}
