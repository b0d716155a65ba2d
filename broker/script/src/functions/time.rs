//! Time: milliseconds since 1970, UTC. The host tells it; the rest is arithmetic.

use rhai::{Dynamic, Engine, ImmutableString, Map};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Facilities;
use crate::fault::{Fallible, fault};

/// Characters that a time may have as text.
const LONGEST_TEXT: usize = 64;

pub(super) fn register(engine: &mut Engine, facilities: &Facilities) {
    let facilities = facilities.clone();
    engine
        .register_fn("now", move || facilities.now())
        .register_fn("format_time", |milliseconds: i64| -> Fallible<ImmutableString> {
            let text = moment(milliseconds)?.format(&Rfc3339);
            text.map(Into::into).map_err(|_| fault("the year must have four digits"))
        })
        .register_fn("parse_time", |text: &str| parse(text).map_or(Dynamic::UNIT, Into::into))
        .register_fn("time_parts", parts);
}

fn moment(milliseconds: i64) -> Fallible<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000)
        .map_err(|_| fault("the time is out of range"))
}

/// RFC 3339 with any offset; nothing where the text is none.
fn parse(text: &str) -> Option<i64> {
    let text = (text.len() <= LONGEST_TEXT).then_some(text)?;
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

/// `weekday` is 1 for Monday.
fn parts(milliseconds: i64) -> Fallible<Map> {
    let moment = moment(milliseconds)?;
    let parts = [
        ("year", i64::from(moment.year())),
        ("month", i64::from(u8::from(moment.month()))),
        ("day", i64::from(moment.day())),
        ("hour", i64::from(moment.hour())),
        ("minute", i64::from(moment.minute())),
        ("second", i64::from(moment.second())),
        ("weekday", i64::from(moment.weekday().number_from_monday())),
    ];
    Ok(parts.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}
