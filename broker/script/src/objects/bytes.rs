//! `bytes`: a payload or key as bytes, which a rule reads but never grows.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rhai::{Dynamic, Engine};

use crate::RuleLimits;
use crate::fault::{Fallible, too_large};

#[derive(Clone, PartialEq)]
pub(crate) struct Bytes(Arc<[u8]>);

impl Bytes {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The byte at `index`, counted from the end where negative; `()` outside.
    fn at(&self, index: i64) -> Dynamic {
        let length = self.0.len() as i64;
        let index = if index < 0 { index.saturating_add(length) } else { index };
        let byte = usize::try_from(index).ok().and_then(|index| self.0.get(index));
        byte.map_or(Dynamic::UNIT, |&byte| i64::from(byte).into())
    }

    /// At most `length` bytes from `start` on.
    fn slice(&self, start: i64, length: i64) -> Self {
        let most = self.0.len();
        let start = usize::try_from(start.max(0)).unwrap_or(most).min(most);
        let length = usize::try_from(length.max(0)).unwrap_or(most).min(most - start);
        Self::new(&self.0[start..start + length])
    }
}

pub(super) fn register(engine: &mut Engine, limits: &RuleLimits) {
    let most = limits.string_size;
    engine
        .register_type_with_name::<Bytes>("bytes")
        .register_indexer_get(|bytes: &mut Bytes, index: i64| bytes.at(index))
        .register_fn("len", |bytes: &mut Bytes| bytes.0.len() as i64)
        .register_fn("is_empty", |bytes: &mut Bytes| bytes.0.is_empty())
        .register_fn("slice", |bytes: &mut Bytes, start: i64, length: i64| {
            bytes.slice(start, length)
        })
        .register_fn("==", |left: Bytes, right: Bytes| left == right)
        .register_fn("!=", |left: Bytes, right: Bytes| left != right)
        .register_fn("to_text", |bytes: &mut Bytes| {
            super::optional(std::str::from_utf8(&bytes.0).ok())
        })
        .register_fn("to_hex", move |bytes: &mut Bytes| {
            fitting(bytes.0.len().saturating_mul(2), most).map(|()| hex::encode(&bytes.0))
        })
        .register_fn("to_base64", move |bytes: &mut Bytes| {
            let length = bytes.0.len().saturating_mul(4) / 3 + 4;
            fitting(length, most).map(|()| STANDARD.encode(&bytes.0))
        })
        .register_fn("to_bytes", |text: &str| Bytes::new(text.as_bytes()))
        .register_fn("from_hex", |text: &str| decoded(hex::decode(text)))
        .register_fn("from_base64", |text: &str| decoded(STANDARD.decode(text)));
}

/// `()` for a text that does not decode.
fn decoded<E>(bytes: Result<Vec<u8>, E>) -> Dynamic {
    bytes.map_or(Dynamic::UNIT, |bytes| Dynamic::from(Bytes(bytes.into())))
}

fn fitting(length: usize, most: usize) -> Fallible<()> {
    if length > most { Err(too_large("length of a string")) } else { Ok(()) }
}
