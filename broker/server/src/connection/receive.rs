//! authorize(receive): whether the client may have a message, where that is asked for.

use std::sync::Arc;

use hookmq_core::Delivery;
use hookmq_hooks::{Access, Action, Client, Decision};

use super::Stream;
use super::driver::Driver;
use crate::broker::Broker;
use crate::broker::topic_cache::TopicCache;

/// What is known about the topics that a client is sent. A connection has one only where its deliveries
/// are to be authorized.
#[derive(Debug, Default)]
pub struct ReceiveCheck {
    access_generation: u64,
    pipeline_generation: u64,
    /// Of the steps of the tenant's own.
    own_generation: u64,
    /// By QoS and retain flag, where it is known.
    by_topic: TopicCache<[Option<bool>; 6]>,
}

impl ReceiveCheck {
    /// One where the configuration demands it or a step asks for it.
    pub fn where_asked(broker: &Broker, client: &Arc<Client>) -> Option<Box<Self>> {
        let asked =
            broker.rights.receive.includes(client) || broker.pipeline.load().asks_receive(client);
        asked.then(Box::default)
    }
}

impl<S: Stream> Driver<S> {
    /// Whether the client may have this; it is not told where not.
    #[inline]
    pub(super) fn may_receive(&mut self, delivery: &Delivery) -> bool {
        self.receive.is_none() || self.authorize_receive(delivery)
    }

    fn authorize_receive(&mut self, delivery: &Delivery) -> bool {
        let pipeline = self.publisher.pipeline().clone();
        let Some(check) = &mut self.receive else { return true };
        let own = self.client.steps.generation();
        let generations = (self.broker.access_generation(), pipeline.generation(), own);
        let known = (check.access_generation, check.pipeline_generation, check.own_generation);
        if known != generations {
            (check.access_generation, check.pipeline_generation, check.own_generation) =
                generations;
            check.by_topic.clear();
        }
        let topic = delivery.message.topic();
        let place = delivery.qos as usize * 2 + usize::from(delivery.retain);
        let known = &mut check.by_topic.entry(topic.as_str())[place];
        if let Some(known) = *known {
            return known;
        }
        let access = Access {
            action: Action::Receive,
            topic: topic.as_str(),
            qos: delivery.qos,
            retain: delivery.retain,
            share_name: None,
        };
        let (decision, cacheable) = pipeline.authorize(&self.client, &access, &*self.broker);
        let allowed = matches!(decision, Decision::Allowed { .. });
        *known = cacheable.then_some(allowed);
        allowed
    }
}
