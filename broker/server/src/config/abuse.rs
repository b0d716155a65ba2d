//! The `abuse` section: who waits after failures, and who may connect how often.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use super::document::positive;
use crate::admission::{AbuseOptions, BackoffOptions, FlappingOptions};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct AbuseDocument {
    failures_per_address: u32,
    failures_per_username: u32,
    #[serde(deserialize_with = "positive")]
    failure_window_s: u32,
    #[serde(deserialize_with = "positive")]
    first_hold_ms: u32,
    #[serde(deserialize_with = "positive")]
    longest_hold_ms: u32,
    connects_per_client_id: u32,
    connects_per_principal: u32,
    #[serde(deserialize_with = "positive")]
    connect_window_s: u32,
    #[serde(deserialize_with = "positive")]
    connect_hold_s: u32,
    #[serde(deserialize_with = "positive")]
    remembered: u32,
}

impl Default for AbuseDocument {
    fn default() -> Self {
        let AbuseOptions { backoff, flapping } = AbuseOptions::default();
        let or_zero = |bound: Option<NonZeroU32>| bound.map_or(0, NonZeroU32::get);
        let seconds = |it: Duration| u32::try_from(it.as_secs()).unwrap_or(u32::MAX);
        let milliseconds = |it: Duration| u32::try_from(it.as_millis()).unwrap_or(u32::MAX);
        Self {
            failures_per_address: or_zero(backoff.per_address),
            failures_per_username: or_zero(backoff.per_username),
            failure_window_s: seconds(backoff.window),
            first_hold_ms: milliseconds(backoff.first),
            longest_hold_ms: milliseconds(backoff.longest),
            connects_per_client_id: or_zero(flapping.per_client_id),
            connects_per_principal: or_zero(flapping.per_principal),
            connect_window_s: seconds(flapping.window),
            connect_hold_s: seconds(flapping.hold),
            remembered: u32::try_from(backoff.remembered).unwrap_or(u32::MAX),
        }
    }
}

impl From<AbuseDocument> for AbuseOptions {
    fn from(document: AbuseDocument) -> Self {
        let seconds = |it: u32| Duration::from_secs(it.into());
        let remembered = document.remembered as usize;
        let backoff = BackoffOptions {
            per_address: NonZeroU32::new(document.failures_per_address),
            per_username: NonZeroU32::new(document.failures_per_username),
            window: seconds(document.failure_window_s),
            first: Duration::from_millis(document.first_hold_ms.into()),
            longest: Duration::from_millis(document.longest_hold_ms.into()),
            remembered,
        };
        let flapping = FlappingOptions {
            per_client_id: NonZeroU32::new(document.connects_per_client_id),
            per_principal: NonZeroU32::new(document.connects_per_principal),
            window: seconds(document.connect_window_s),
            hold: seconds(document.connect_hold_s),
            remembered,
        };
        Self { backoff, flapping }
    }
}
