//! Messages on their way to the client: expiry, deliver hooks, window, packet id, encoding.

use std::time::Instant;

use hookmq_codec::{Ack, AckProperties, OutgoingPublish, Packet, PacketId, Qos, ReasonCode};
use hookmq_core::{Delivery, Message, Redelivery};
use hookmq_hooks::{Hook, StepSet};

use super::Stream;
use super::buffers::WRITE_SIZE;
use super::driver::{Driver, Terms};
use crate::broker::topic_cache::TopicCache;

/// Why no more was delivered in this turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing waits.
    Empty,
    /// The client has to acknowledge first.
    WindowClosed,
    /// The output is to be written first.
    OutputFull,
}

/// The deliver steps of the topics that the client is sent, for one generation of the pipeline.
#[derive(Debug, Default)]
pub struct DeliverySteps {
    generation: u64,
    by_topic: TopicCache<Option<StepSet>>,
}

impl<S: Stream> Driver<S> {
    /// Moves deliveries from the mailbox into the output as far as window and output allow.
    pub(super) fn deliver(&mut self) -> Stopped {
        if self.opened.session.outgoing.has_redeliveries()
            && let Some(stopped) = self.redeliver()
        {
            return stopped;
        }
        let mut now = None;
        loop {
            if self.batch.is_empty() {
                self.opened.handle.mailbox.take(&mut self.batch);
                if self.batch.is_empty() {
                    return Stopped::Empty;
                }
            }
            let now = *now.get_or_insert_with(Instant::now);
            while let Some(delivery) = self.batch.front() {
                if self.out.len() >= WRITE_SIZE {
                    return Stopped::OutputFull;
                }
                if delivery.qos > Qos::AtMostOnce && !self.opened.session.outgoing.is_open() {
                    return Stopped::WindowClosed;
                }
                if let Some(delivery) = self.batch.pop_front() {
                    self.deliver_one(delivery, now);
                }
            }
        }
    }

    /// Sends again what an earlier connection left in flight, in its order, with DUP `[MQTT-3.3.1-1]`.
    /// None: that was all.
    fn redeliver(&mut self) -> Option<Stopped> {
        let now = Instant::now();
        let Self { opened, terms, out, .. } = self;
        let in_flight = &mut opened.session.outgoing;
        loop {
            if out.len() >= WRITE_SIZE {
                return Some(Stopped::OutputFull);
            }
            match in_flight.poll_redelivery() {
                None => return in_flight.has_redeliveries().then_some(Stopped::WindowClosed),
                Some(Redelivery::Publish(id, delivery)) if fits(delivery, terms, now) => {
                    outgoing(delivery, Some(id), true, now).encode(terms.version, out);
                }
                Some(Redelivery::Publish(id, _)) => {
                    // It was found in flight just now.
                    let _ = in_flight.abandon(id);
                }
                Some(Redelivery::Release(packet_id)) => {
                    let reason_code = ReasonCode::Success;
                    let properties = AckProperties::default();
                    let release = Packet::PubRel(Ack { packet_id, reason_code, properties });
                    // An acknowledgement without properties always fits.
                    let _ = release.encode(terms.version, out);
                }
            }
        }
    }

    #[inline]
    fn deliver_one(&mut self, mut delivery: Delivery, now: Instant) {
        if delivery.message.expires_at().is_some_and(|expiry| expiry <= now) {
            return;
        }
        if !self.publisher.pipeline().steps(Hook::Deliver).is_empty() {
            match self.pass_deliver_steps(delivery.message) {
                Some(message) => delivery.message = message,
                None => return self.broker.metrics.messages_dropped_by_hooks.add(1),
            }
        }
        if !fits(&delivery, &self.terms, now) {
            return;
        }
        if delivery.qos == Qos::AtMostOnce {
            outgoing(&delivery, None, false, now).encode(self.terms.version, &mut self.out);
        } else {
            let id = self.opened.session.outgoing.assign(delivery.clone());
            outgoing(&delivery, Some(id), false, now).encode(self.terms.version, &mut self.out);
        }
        self.sent += 1;
    }

    fn pass_deliver_steps(&mut self, message: Message) -> Option<Message> {
        let pipeline = self.publisher.pipeline().clone();
        let cache = &mut self.delivery_steps;
        if cache.generation != pipeline.generation() {
            cache.generation = pipeline.generation();
            cache.by_topic.clear();
        }
        let topic = message.topic();
        let steps = cache
            .by_topic
            .entry(topic.as_str())
            .get_or_insert_with(|| pipeline.select(Hook::Deliver, &self.client, topic));
        if steps.is_empty() {
            return Some(message);
        }
        pipeline.deliver(steps, &self.client, message, &*self.broker)
    }
}

/// Whether the client takes packets of this size `[MQTT-3.1.2-24]`; else the message is as good as sent
/// `[MQTT-3.1.2-25]`.
#[inline]
fn fits(delivery: &Delivery, terms: &Terms, now: Instant) -> bool {
    if terms.maximum_packet_size == u32::MAX {
        return true;
    }
    let id = (delivery.qos > Qos::AtMostOnce).then_some(PacketId::MIN);
    let length = outgoing(delivery, id, false, now).encoded_length(terms.version);
    length <= terms.maximum_packet_size as usize
}

#[inline]
fn outgoing(
    delivery: &Delivery,
    packet_id: Option<PacketId>,
    dup: bool,
    now: Instant,
) -> OutgoingPublish<'_> {
    let message = &delivery.message;
    OutgoingPublish {
        topic: message.topic(),
        payload: message.payload(),
        dup,
        qos: delivery.qos,
        retain: delivery.retain,
        packet_id,
        message_expiry_interval: message
            .expires_at()
            .map(|expiry| expiry.saturating_duration_since(now).as_secs() as u32),
        topic_alias: None,
        omit_topic: false,
        subscription_identifiers: delivery.subscription_identifiers.as_deref().unwrap_or(&[]),
        forwarded_properties: message.forwarded_properties(),
    }
}
