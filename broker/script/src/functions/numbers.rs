//! Numbers: operators beyond Rhai's built-in ones, and conversions, which give `()` when they fail.

use rhai::{Dynamic, Engine, ImmutableString};

use crate::RuleLimits;
use crate::fault::{Fallible, fault, too_large};

pub(super) fn register(engine: &mut Engine, limits: &RuleLimits) {
    register_texts(engine, limits);
    engine
        .register_fn("!", |it: bool| !it)
        .register_fn("-", |it: i64| it.checked_neg().ok_or_else(overflow))
        .register_fn("-", |it: f64| -it)
        .register_fn("+", |it: i64| it)
        .register_fn("+", |it: f64| it)
        .register_fn("abs", |it: i64| it.checked_abs().ok_or_else(overflow))
        .register_fn("abs", f64::abs)
        .register_fn("min", |left: i64, right: i64| left.min(right))
        .register_fn("min", |left: f64, right: f64| left.min(right))
        .register_fn("min", |left: i64, right: f64| (left as f64).min(right))
        .register_fn("min", |left: f64, right: i64| left.min(right as f64))
        .register_fn("max", |left: i64, right: i64| left.max(right))
        .register_fn("max", |left: f64, right: f64| left.max(right))
        .register_fn("max", |left: i64, right: f64| (left as f64).max(right))
        .register_fn("max", |left: f64, right: i64| left.max(right as f64))
        .register_fn("round", f64::round)
        .register_fn("round", |it: i64| it)
        .register_fn("round", round_to)
        .register_fn("floor", f64::floor)
        .register_fn("floor", |it: i64| it)
        .register_fn("ceil", f64::ceil)
        .register_fn("ceil", |it: i64| it)
        .register_fn("to_int", to_int)
        .register_fn("to_int", |it: i64| it)
        .register_fn("to_float", |it: i64| it as f64)
        .register_fn("to_float", |it: f64| it)
        .register_fn("clamp", |it: i64, least: i64, most: i64| it.min(most).max(least))
        .register_fn("clamp", |it: f64, least: f64, most: f64| it.min(most).max(least))
        .register_fn("sqrt", |it: f64| it.sqrt())
        .register_fn("sqrt", |it: i64| (it as f64).sqrt());
}

/// Numbers from texts and texts from numbers.
fn register_texts(engine: &mut Engine, limits: &RuleLimits) {
    let most = limits.string_size;
    engine
        .register_fn("to_fixed", move |it: f64, digits: i64| to_fixed(it, digits, most))
        .register_fn("to_fixed", move |it: i64, digits: i64| to_fixed(it as f64, digits, most))
        .register_fn("to_hex", |it: i64| ImmutableString::from(format!("{it:x}")))
        .register_fn("parse_int", |it: &str, radix: i64| match u32::try_from(radix) {
            Ok(radix @ 2..=36) => {
                Ok(i64::from_str_radix(it.trim(), radix).map_or(Dynamic::UNIT, Into::into))
            }
            _ => Err(fault("a radix is a number from 2 to 36")),
        })
        .register_fn("parse_int", |it: &str| {
            it.trim().parse::<i64>().map_or(Dynamic::UNIT, Into::into)
        })
        .register_fn("parse_float", |it: &str| {
            let number = it.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            number.map_or(Dynamic::UNIT, Into::into)
        });
}

/// To so many digits behind the point, of which a float has at most 15 that mean anything.
fn round_to(it: f64, digits: i64) -> f64 {
    let factor = 10_f64.powi(digits.clamp(0, 15) as i32);
    let rounded = (it * factor).round() / factor;
    if rounded.is_finite() { rounded } else { it }
}

/// With so many digits behind the point, at most 15.
fn to_fixed(it: f64, digits: i64, most: usize) -> Fallible<ImmutableString> {
    let text = format!("{it:.0$}", digits.clamp(0, 15) as usize);
    if text.len() > most { Err(too_large("length of a string")) } else { Ok(text.into()) }
}

/// Cuts off what is behind the point; `()` for what is no whole number of 64 bits.
fn to_int(it: f64) -> Dynamic {
    let fits = it >= i64::MIN as f64 && it < i64::MAX as f64;
    if fits { (it as i64).into() } else { Dynamic::UNIT }
}

fn overflow() -> Box<rhai::EvalAltResult> {
    fault("the number is too large")
}
