//! The `$SYS` topics: the broker's own figures as retained messages, under the names of Mosquitto.

mod load;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_codec::{Qos, TopicName};
use hookmq_core::{Message, NewMessage};

use self::load::Loads;
use super::Broker;

/// How often the figures are published, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysOptions {
    pub interval: Duration,
    /// The figures are those of the whole broker, whichever tenant sees them.
    pub tenants: Vec<Arc<str>>,
}

/// Nobody but the broker publishes at or below this topic.
pub const SYS: &str = "$SYS";

/// Whether a topic is the broker's own.
pub fn is_sys(topic: &str) -> bool {
    topic.strip_prefix(SYS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What was published last, so that only what has changed is published again.
struct SysTopics {
    broker: Arc<Broker>,
    tenants: Vec<Arc<str>>,
    published: HashMap<&'static str, String>,
    loads: Loads,
}

/// Publishes the figures for as long as the task lives.
pub async fn run(broker: Arc<Broker>, options: SysOptions) {
    let SysOptions { interval, tenants } = options;
    let loads = Loads::new(&broker.metrics, Instant::now());
    let mut topics = SysTopics { broker, tenants, published: HashMap::new(), loads };
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        topics.publish_all(Instant::now());
    }
}

impl SysTopics {
    fn publish_all(&mut self, now: Instant) {
        for (topic, value) in figures(&self.broker) {
            self.publish(topic, value);
        }
        self.loads.update(&self.broker.metrics, now);
        for (topic, value) in self.loads.figures() {
            self.publish(topic, format!("{value:.2}"));
        }
    }

    fn publish(&mut self, topic: &'static str, value: String) {
        if self.published.get(topic) == Some(&value) {
            return;
        }
        for tenant in &self.tenants {
            let message = Message::new(NewMessage {
                topic: TopicName::from_checked(topic),
                forwarded_properties: &[],
                payload: value.as_bytes(),
                qos: Qos::AtMostOnce,
                retain: true,
                expires_at: None,
                publisher: 0,
            });
            self.broker.announce(&self.broker.tenant(tenant), &message);
        }
        self.published.insert(topic, value);
    }
}

/// The figures that are counted, by topic.
fn figures(broker: &Broker) -> Vec<(&'static str, String)> {
    let metrics = &broker.metrics;
    let traffic = metrics.traffic.sum();
    let tenants = broker.tenants();
    let sum = |count: fn(&super::tenant::Tenant) -> usize| -> u64 {
        tenants.iter().map(|tenant| count(tenant) as u64).sum()
    };
    let connected = metrics.connections.value();
    let total = sum(|tenant| tenant.session_count()).max(connected);
    let shared = sum(|tenant| tenant.share_count());
    let numbers = [
        ("$SYS/broker/clients/connected", connected),
        ("$SYS/broker/clients/active", connected),
        ("$SYS/broker/clients/disconnected", total - connected),
        ("$SYS/broker/clients/inactive", total - connected),
        ("$SYS/broker/clients/total", total),
        ("$SYS/broker/clients/maximum", metrics.connections_maximum.value()),
        ("$SYS/broker/clients/expired", metrics.sessions_expired.value()),
        ("$SYS/broker/messages/received", traffic.packets_received),
        ("$SYS/broker/messages/sent", traffic.packets_sent),
        ("$SYS/broker/bytes/received", traffic.bytes_received),
        ("$SYS/broker/bytes/sent", traffic.bytes_sent),
        ("$SYS/broker/publish/messages/received", traffic.messages_received),
        ("$SYS/broker/publish/messages/sent", traffic.messages_sent),
        ("$SYS/broker/publish/messages/dropped", metrics.messages_dropped()),
        ("$SYS/broker/publish/bytes/received", traffic.payload_bytes_received),
        ("$SYS/broker/publish/bytes/sent", traffic.payload_bytes_sent),
        ("$SYS/broker/retained messages/count", sum(|tenant| tenant.retained_count())),
        ("$SYS/broker/subscriptions/count", sum(|tenant| tenant.subscription_count())),
        ("$SYS/broker/shared_subscriptions/count", shared),
    ];
    let uptime = broker.started.elapsed().as_secs();
    let texts = [
        ("$SYS/broker/version", concat!("HookMQ version ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("$SYS/broker/uptime", format!("{uptime} seconds")),
    ];
    texts.into_iter().chain(numbers.map(|(topic, number)| (topic, number.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_own_topics_are_told_from_others() {
        for topic in ["$SYS", "$SYS/", "$SYS/broker/uptime"] {
            assert!(is_sys(topic), "{topic}");
        }
        for topic in ["$SYSTEM", "a/$SYS", "SYS", "$sys/x"] {
            assert!(!is_sys(topic), "{topic}");
        }
    }
}
