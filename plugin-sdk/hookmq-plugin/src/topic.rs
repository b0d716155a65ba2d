//! Topic filters for configurations, matched as the broker matches subscriptions.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// A valid topic filter, which is no shared subscription.
///
/// ```
/// # use hookmq_plugin::TopicFilter;
/// let filter: TopicFilter = serde_json::from_str(r#""plant/+/t""#).unwrap();
/// assert!(filter.matches("plant/7/t"));
/// assert!(!filter.matches("plant/7/t/raw"));
/// assert!(serde_json::from_str::<TopicFilter>(r##""plant/#/t""##).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(hookmq_codec::TopicFilter);

impl TopicFilter {
    /// # Errors
    /// Says what is wrong with the text.
    pub fn new(text: &str) -> Result<Self, String> {
        let filter = hookmq_codec::TopicFilter::new(text)
            .map_err(|error| format!("{text:?} is not a topic filter: {error}"))?;
        match filter.share_name() {
            None => Ok(Self(filter)),
            Some(_) => Err(format!("{text:?} is a shared subscription")),
        }
    }

    /// Whether a message on `topic` is due to this filter. What is not a topic name never is.
    pub fn matches(&self, topic: &str) -> bool {
        hookmq_codec::TopicName::new(topic).is_ok_and(|topic| self.0.matches(topic))
    }

    /// Whether every topic that `other` matches is matched by this filter, too.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.covers(&other.0)
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for TopicFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Whether a message may have this topic: not empty, not too long, without wildcards and NUL.
pub fn is_topic_name(text: &str) -> bool {
    hookmq_codec::TopicName::new(text).is_ok()
}
