//! Strings: all give a new string and leave the old one.

use hookmq_codec::{TopicFilter, TopicName};
use rhai::{Array, Dynamic, Engine, ImmutableString};

use super::{count, text};
use crate::RuleLimits;
use crate::fault::{Fallible, fault, too_large};

pub(super) fn register(engine: &mut Engine, limits: &RuleLimits) {
    let (most, most_pieces) = (limits.string_size, limits.array_size);
    register_trimming(engine);
    register_filling(engine, most);
    engine
        .register_fn("len", |it: &str| it.chars().count() as i64)
        .register_fn("is_empty", |it: &str| it.is_empty())
        .register_fn("contains", |it: &str, part: &str| it.contains(part))
        .register_fn("contains", |it: &str, part: char| it.contains(part))
        .register_fn("starts_with", |it: &str, part: &str| it.starts_with(part))
        .register_fn("ends_with", |it: &str, part: &str| it.ends_with(part))
        .register_fn("consists_of", |it: &str, letters: &str| {
            it.chars().all(|letter| letters.contains(letter))
        })
        .register_fn("index_of", |it: &str, part: &str| {
            it.find(part).map_or(-1, |at| it[..at].chars().count() as i64)
        })
        .register_fn("last_index_of", |it: &str, part: &str| {
            it.rfind(part).map_or(-1, |at| it[..at].chars().count() as i64)
        })
        .register_fn("to_upper", |it: &str| it.to_uppercase())
        .register_fn("to_lower", |it: &str| it.to_lowercase())
        .register_fn("sub_string", |it: &str, start: i64| part(it, start, i64::MAX))
        .register_fn("sub_string", part)
        .register_fn("replace", move |it: &str, old: &str, new: &str| replace(it, old, new, most))
        .register_fn("split", move |it: &str, separator: &str| split(it, separator, most_pieces))
        .register_fn("matches", matches)
        .register_fn("to_string", |it: Dynamic| text(&it))
        .register_fn("+", move |left: &str, right: i64| joined(left, right, most))
        .register_fn("+", move |left: &str, right: f64| joined(left, right, most))
        .register_fn("+", move |left: &str, right: bool| joined(left, right, most));
}

fn register_trimming(engine: &mut Engine) {
    engine
        .register_fn("trim", |it: &str| ImmutableString::from(it.trim()))
        .register_fn("trim_start", |it: &str| ImmutableString::from(it.trim_start()))
        .register_fn("trim_end", |it: &str| ImmutableString::from(it.trim_end()))
        .register_fn("strip_prefix", |it: &str, part: &str| or_unit(it.strip_prefix(part)))
        .register_fn("strip_suffix", |it: &str, part: &str| or_unit(it.strip_suffix(part)));
}

fn register_filling(engine: &mut Engine, most: usize) {
    engine
        .register_fn("repeat", move |it: &str, times: i64| {
            repeat(it, count(times), most).map(ImmutableString::from)
        })
        .register_fn("pad_start", move |it: &str, length: i64, with: char| {
            padding(it, length, with, most).map(|padding| padding + it)
        })
        .register_fn("pad_start", move |it: &str, length: i64, with: &str| {
            padding(it, length, single(with)?, most).map(|padding| padding + it)
        })
        .register_fn("pad_end", move |it: &str, length: i64, with: char| {
            padding(it, length, with, most).map(|padding| format!("{it}{padding}"))
        })
        .register_fn("pad_end", move |it: &str, length: i64, with: &str| {
            padding(it, length, single(with)?, most).map(|padding| format!("{it}{padding}"))
        });
}

fn or_unit(text: Option<&str>) -> Dynamic {
    text.map_or(Dynamic::UNIT, Into::into)
}

fn repeat(it: &str, times: usize, most: usize) -> Fallible<String> {
    match it.len().saturating_mul(times) > most {
        true => Err(too_large("length of a string")),
        false => Ok(it.repeat(times)),
    }
}

/// What `it` lacks of `length` characters, so that both together fit.
fn padding(it: &str, length: i64, with: char, most: usize) -> Fallible<String> {
    let missing = count(length).saturating_sub(it.chars().count());
    repeat(with.encode_utf8(&mut [0; 4]), missing, most.saturating_sub(it.len()))
}

fn single(text: &str) -> Fallible<char> {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) => Ok(letter),
        _ => Err(fault("padding is done with one character")),
    }
}

/// At most `length` characters from the character `start` on, which counts from the end where
/// negative.
fn part(it: &str, start: i64, length: i64) -> ImmutableString {
    let start = match start < 0 {
        true => it.chars().count().saturating_sub(count(start.saturating_neg())),
        false => count(start),
    };
    it.chars().skip(start).take(count(length)).collect::<String>().into()
}

/// Counts first: the result may be as long as both lengths multiplied.
fn replace(it: &str, old: &str, new: &str, most: usize) -> Fallible<ImmutableString> {
    if old.is_empty() {
        return Err(fault("replace needs something to look for"));
    }
    let grown = it.matches(old).count().saturating_mul(new.len().saturating_sub(old.len()));
    match it.len().saturating_add(grown) > most {
        true => Err(too_large("length of a string")),
        false => Ok(it.replace(old, new).into()),
    }
}

fn split(it: &str, separator: &str, most: usize) -> Fallible<Array> {
    if separator.is_empty() {
        return Err(fault("split needs a separator"));
    }
    let pieces: Array =
        it.split(separator).take(most + 1).map(|piece| Dynamic::from(piece.to_owned())).collect();
    if pieces.len() > most { Err(too_large("pieces of a string")) } else { Ok(pieces) }
}

/// Whether a topic filter matches a topic, as a subscription would.
fn matches(filter: &str, topic: &str) -> Fallible<bool> {
    let filter = TopicFilter::new(filter).map_err(|error| fault(format!("`{filter}`: {error}")))?;
    let topic = TopicName::new(topic).map_err(|error| fault(format!("`{topic}`: {error}")))?;
    Ok(filter.matches(topic))
}

fn joined(left: &str, right: impl std::fmt::Display, most: usize) -> Fallible<ImmutableString> {
    let joined = format!("{left}{right}");
    if joined.len() > most { Err(too_large("length of a string")) } else { Ok(joined.into()) }
}
