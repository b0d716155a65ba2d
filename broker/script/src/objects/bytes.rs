//! `bytes`: a payload or key as bytes, which a rule reads but never grows.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rhai::{Dynamic, Engine};

use crate::RuleLimits;
use crate::fault::{Fallible, fault, too_large};

/// Which byte of a number comes first.
#[derive(Clone, Copy)]
enum Order {
    Big,
    Little,
}

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

    /// The number in `width` bytes from `at` on, 1 to 8; nothing where they are not there.
    fn bits(&self, at: i64, width: i64, order: Order) -> Fallible<Option<u64>> {
        let width = usize::try_from(width).ok().filter(|width| (1..=8).contains(width));
        let width = width.ok_or_else(|| fault("a number has 1 to 8 bytes"))?;
        let start = usize::try_from(at).ok();
        let bytes = start.and_then(|start| self.0.get(start..start.checked_add(width)?));
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Ok(bytes.map(|bytes| match order {
            Order::Big => bytes.iter().fold(0, join),
            Order::Little => bytes.iter().rev().fold(0, join),
        }))
    }

    /// `()` where the bytes are not there, or the number is beyond a signed one of 64 bits.
    fn whole(&self, at: i64, width: i64, order: Order) -> Fallible<Dynamic> {
        let number = self.bits(at, width, order)?.and_then(|bits| i64::try_from(bits).ok());
        Ok(number.map_or(Dynamic::UNIT, Into::into))
    }

    fn signed(&self, at: i64, width: i64, order: Order) -> Fallible<Dynamic> {
        let unused = 64 - 8 * width.clamp(1, 8);
        let number = self.bits(at, width, order)?.map(|bits| (bits << unused) as i64 >> unused);
        Ok(number.map_or(Dynamic::UNIT, Into::into))
    }

    /// IEEE 754 with 4 or 8 bytes.
    fn float(&self, at: i64, width: i64, order: Order) -> Fallible<Dynamic> {
        let number = match (width, self.bits(at, width, order)?) {
            (4, Some(bits)) => Some(f64::from(f32::from_bits(bits as u32))),
            (8, Some(bits)) => Some(f64::from_bits(bits)),
            (4 | 8, None) => None,
            _ => return Err(fault("a float has 4 or 8 bytes")),
        };
        Ok(number.map_or(Dynamic::UNIT, Into::into))
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
        .register_fn("be_uint", |it: &mut Bytes, at: i64, width: i64| {
            it.whole(at, width, Order::Big)
        })
        .register_fn("le_uint", |it: &mut Bytes, at: i64, width: i64| {
            it.whole(at, width, Order::Little)
        })
        .register_fn("be_int", |it: &mut Bytes, at: i64, width: i64| {
            it.signed(at, width, Order::Big)
        })
        .register_fn("le_int", |it: &mut Bytes, at: i64, width: i64| {
            it.signed(at, width, Order::Little)
        })
        .register_fn("be_float", |it: &mut Bytes, at: i64, width: i64| {
            it.float(at, width, Order::Big)
        })
        .register_fn("le_float", |it: &mut Bytes, at: i64, width: i64| {
            it.float(at, width, Order::Little)
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
