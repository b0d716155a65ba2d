//! Small values that outlive the instance, but not the broker. Needs the capability `kv`.
//!
//! A plugin sees what its own instances have kept for the tenant that it is called for, and nothing
//! else. In `new`, and in `connect` before a step has named a tenant, that is a part of its own. How
//! long keys and values may be, how many there may be, and how often one call may use the store is
//! the broker's to say.
//!
//! ```
//! use std::time::Duration;
//! use hookmq_plugin::kv;
//!
//! kv::set("greeting", "hello", None)?;
//! assert_eq!(kv::text("greeting").as_deref(), Some("hello"));
//! kv::set_json("seen", &vec![1, 2], Some(Duration::from_secs(60)))?;
//! assert_eq!(kv::json::<Vec<u32>>("seen"), Some(vec![1, 2]));
//! assert_eq!(kv::increase("calls", 1, None)?, 1);
//! # Ok::<(), String>(())
//! ```

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::bindings::kv::Error;
use crate::host::kv as host;

/// None where nothing is kept, or where the call has used the store as often as it may.
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::get(key)
}

/// As [`get`]; none, too, where the value is not UTF-8.
pub fn text(key: &str) -> Option<String> {
    String::from_utf8(get(key)?).ok()
}

/// As [`get`]; none, too, where the value does not read as a `T`, as one that an older version of the
/// plugin has kept.
pub fn json<T: DeserializeOwned>(key: &str) -> Option<T> {
    serde_json::from_slice(&get(key)?).ok()
}

/// Puts a value in the place of what was there. It is forgotten after `ttl`.
///
/// # Errors
/// Where a bound of the broker is reached; what was there remains.
pub fn set(key: &str, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<(), Error> {
    host::set(key, value.as_ref(), ttl.map(milliseconds))
}

/// As [`set`], with the value as JSON.
///
/// # Errors
/// As [`set`], and where the value has no JSON, such as a map whose keys are not texts.
pub fn set_json(
    key: &str,
    value: &(impl Serialize + ?Sized),
    ttl: Option<Duration>,
) -> Result<(), String> {
    let value = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    Ok(set(key, value, ttl)?)
}

/// Forgets a value.
pub fn delete(key: &str) {
    host::delete(key);
}

/// Adds to a number, which begins at 0 and is kept as decimal text; gives the sum. `ttl` counts from
/// the beginning: with it the number is a count in a window of time.
///
/// # Errors
/// Where something else is kept, or a bound of the broker is reached.
pub fn increase(key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, Error> {
    host::increase(key, by, ttl.map(milliseconds))
}

fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

impl From<Error> for String {
    fn from(error: Error) -> Self {
        let words = match error {
            Error::KeyTooLong => "the key is too long",
            Error::ValueTooLong => "the value is too long",
            Error::Full => "the tenant keeps as much as it may",
            Error::NotANumber => "what is kept is not a number",
            Error::TooManyCalls => "this call has used the store as often as it may",
        };
        format!("kv: {words}")
    }
}
