//! Bounds how fast clients publish, by topic filter.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use hookmq_plugin::{Client, Message, Plugin, PublishVerdict, TopicFilter, clock, kv, metric};
use serde::Deserialize;

mod bucket;

use bucket::{Buckets, Rate};

/// "Quota exceeded".
const QUOTA_EXCEEDED: u8 = 0x97;

const MAX_LIMITS: usize = 256;
const MAX_TOPICS: usize = 256;
const MAX_RATE: f64 = 1e6;
/// A shared window is a burst's worth of the rate; shorter ones would count nothing, longer ones would
/// make clients wait for days.
const WINDOW_SECONDS: std::ops::RangeInclusive<f64> = 0.1..=86_400.0;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// All whose topics fit are asked; each must have room.
    pub limits: Vec<LimitConfig>,
    pub on_excess: OnExcess,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    pub topics: Vec<TopicFilter>,
    #[serde(default)]
    pub per: Per,
    pub rate: f64,
    pub burst: Option<f64>,
    #[serde(default)]
    pub scope: Scope,
}

/// Who shares a bucket.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// All clients of one username: a client cannot escape by another client id.
    #[default]
    Username,
    ClientId,
    Tenant,
}

/// Among which instances a bucket is shared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    #[default]
    Instance,
    /// All instances of the tenant, by the broker's store.
    Shared,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExcess {
    #[default]
    Drop,
    /// Only counted.
    Pass,
}

#[derive(Debug)]
pub struct RateGuard {
    limits: Vec<Limit>,
    on_excess: OnExcess,
    buckets: Buckets,
}

#[derive(Debug)]
struct Limit {
    topics: Vec<TopicFilter>,
    per: Per,
    rate: Rate,
    scope: Scope,
}

impl Limit {
    fn new(config: LimitConfig) -> Result<Self, String> {
        if config.topics.is_empty() || config.topics.len() > MAX_TOPICS {
            return Err(format!("topics: 1 to {MAX_TOPICS} are possible"));
        }
        if !(config.rate > 0.0 && config.rate <= MAX_RATE) {
            return Err(format!("rate: {} is not between 0 and {MAX_RATE}", config.rate));
        }
        let burst = config.burst.unwrap_or(config.rate.max(1.0));
        if !(1.0..=MAX_RATE).contains(&burst) {
            return Err(format!("burst: {burst} is not between 1 and {MAX_RATE}"));
        }
        let rate = Rate { per_second: config.rate, burst };
        let window = burst / config.rate;
        if config.scope == Scope::Shared && !WINDOW_SECONDS.contains(&window) {
            return Err(format!(
                "burst: {burst} at a rate of {} is a window of {window} seconds; a shared one has \
                 {} to {}",
                config.rate,
                WINDOW_SECONDS.start(),
                WINDOW_SECONDS.end()
            ));
        }
        Ok(Self { topics: config.topics, per: config.per, rate, scope: config.scope })
    }

    /// The time in which a burst may pass, again and again: all that the store can count.
    fn window(&self) -> Duration {
        Duration::from_secs_f64(self.rate.burst / self.rate.per_second)
    }

    /// Whether one more message of this client has room.
    fn has_room(&self, index: usize, client: &Client, buckets: &mut Buckets, now: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        (index, self.subject(client)).hash(&mut hasher);
        let key = hasher.finish();
        if self.scope == Scope::Shared {
            match kv::increase(&format!("{key:016x}"), 1, Some(self.window())) {
                Ok(count) => return count as f64 <= self.rate.burst,
                // The instance's own bucket is better than none.
                Err(_) => metric::count("store_refused", 1),
            }
        }
        buckets.take(key, self.rate, now)
    }

    fn subject<'a>(&self, client: &'a Client) -> &'a str {
        match self.per {
            Per::Username => &client.username,
            Per::ClientId => &client.client_id,
            Per::Tenant => &client.tenant,
        }
    }
}

impl Plugin for RateGuard {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if config.limits.is_empty() || config.limits.len() > MAX_LIMITS {
            return Err(format!("limits: 1 to {MAX_LIMITS} are possible"));
        }
        let limit =
            |(index, limit)| Limit::new(limit).map_err(|why| format!("limits[{index}].{why}"));
        let limits = config.limits.into_iter().enumerate().map(limit).collect::<Result<_, _>>()?;
        Ok(Self { limits, on_excess: config.on_excess, buckets: Buckets::default() })
    }

    fn publish(
        &mut self,
        client: Option<Client>,
        message: Message,
    ) -> Result<PublishVerdict, String> {
        let client = client.unwrap_or_default();
        let now = clock::monotonic();
        for (index, limit) in self.limits.iter().enumerate() {
            let concerns = limit.topics.iter().any(|topic| topic.matches(&message.topic));
            if !concerns || limit.has_room(index, &client, &mut self.buckets, now) {
                continue;
            }
            match self.on_excess {
                OnExcess::Pass => metric::count("excess_passed", 1),
                OnExcess::Drop => {
                    metric::count("excess_dropped", 1);
                    return Ok(PublishVerdict::Drop(QUOTA_EXCEEDED));
                }
            }
        }
        Ok(PublishVerdict::Pass)
    }
}

hookmq_plugin::export! {
    plugin: RateGuard,
    hooks: [publish],
    fields: [client],
    capabilities: [log, metric, clock, kv],
    config_schema: "../schema.json",
}

#[cfg(test)]
mod tests;
