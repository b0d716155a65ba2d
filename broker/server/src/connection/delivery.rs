//! Messages on their way to the client: expiry, deliver hooks, window, packet id, encoding.

use std::num::NonZeroU16;
use std::time::Instant;

use hookmq_codec::{OutgoingPublish, PacketId, Qos, ReasonCode};
use hookmq_core::{CommitSequence, Delivery, Message, Redelivery};
use hookmq_hooks::{Hook, StepSet};

use super::Stream;
use super::aliases::{OutgoingAlias, OutgoingAliases};
use super::buffers::WRITE_SIZE;
use super::driver::{Driver, Terms};
use crate::broker::meter::Bound;
use crate::broker::share::Share;
use crate::broker::topic_cache::TopicCache;
use crate::clock;

/// Why no more was delivered in this turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing waits.
    Empty,
    /// The client has to acknowledge first.
    WindowClosed,
    /// The output is to be written first.
    OutputFull,
    /// The tenant has used up what its clients may be sent.
    HeldBack,
}

/// The deliver steps of the topics that the client is sent, for one generation of the pipeline.
#[derive(Debug, Default)]
pub struct DeliverySteps {
    generation: u64,
    /// Of the tenant's own.
    own_generation: u64,
    by_topic: TopicCache<Option<StepSet>>,
}

impl<S: Stream> Driver<S> {
    /// Moves deliveries into the output as far as window and output allow: what is to be sent again,
    /// then from the mailbox, then from shared subscriptions.
    #[inline]
    pub(super) fn deliver(&mut self) -> Stopped {
        let given = self.tenant.meter.outgoing.allowance(clock::now);
        self.sendable = given;
        let stopped = self.deliver_all();
        self.tenant.meter.outgoing.settle(given, self.sendable, clock::now);
        if stopped == Stopped::HeldBack {
            self.hold(Bound::Outgoing);
        }
        stopped
    }

    #[inline]
    fn deliver_all(&mut self) -> Stopped {
        match self.deliver_own() {
            stopped if self.opened.shares.is_empty() => stopped,
            Stopped::Empty => self.deliver_shared(),
            // The other members have no more credit than this one.
            Stopped::HeldBack => Stopped::HeldBack,
            stopped => {
                self.pass_shares_on();
                stopped
            }
        }
    }

    fn deliver_own(&mut self) -> Stopped {
        if self.opened.session.outgoing.has_redeliveries()
            && let Some(stopped) = self.redeliver()
        {
            return stopped;
        }
        let mut now = None;
        loop {
            while self.batch.is_empty() && self.may_send_retained() {
                self.queue_retained();
            }
            if self.batch.is_empty() {
                if self.sendable.is_spent() && self.opened.handle.mailbox.queued() > 0 {
                    return Stopped::HeldBack;
                }
                if self.opened.handle.mailbox.take(&mut self.batch) && self.batch.is_empty() {
                    self.fetch();
                }
                if self.batch.is_empty() {
                    return Stopped::Empty;
                }
            }
            let now = *now.get_or_insert_with(clock::now);
            while let Some(delivery) = self.batch.front() {
                if self.out.len() >= WRITE_SIZE {
                    return Stopped::OutputFull;
                }
                if self.sendable.is_spent() {
                    return Stopped::HeldBack;
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

    /// Fetches this member's part from each shared subscription.
    fn deliver_shared(&mut self) -> Stopped {
        let now = clock::now();
        let session = self.opened.handle.id;
        let mut more = false;
        for place in 0..self.opened.shares.len() {
            let share = self.opened.shares[place].clone();
            for _ in 0..share.portion(session) {
                if let Some(stopped) = self.has_no_room_for_shared() {
                    if stopped != Stopped::HeldBack {
                        self.pass_shares_on();
                    }
                    return stopped;
                }
                let Some(message) = share.fetch() else { break };
                self.deliver_from(&share, message, now);
            }
            match self.has_no_room_for_shared() {
                None => more |= share.rest(session),
                Some(Stopped::HeldBack) => return Stopped::HeldBack,
                Some(_) => share.pass_on(session),
            }
        }
        if more { Stopped::OutputFull } else { Stopped::Empty }
    }

    /// A member with many messages unacknowledged leaves the shared ones to others.
    fn has_no_room_for_shared(&self) -> Option<Stopped> {
        let outgoing = &self.opened.session.outgoing;
        if self.out.len() >= WRITE_SIZE {
            return Some(Stopped::OutputFull);
        }
        if self.sendable.is_spent() {
            return Some(Stopped::HeldBack);
        }
        let busy = outgoing.in_flight() >= usize::from(self.broker.limits.shared_inflight);
        (busy || !outgoing.is_open()).then_some(Stopped::WindowClosed)
    }

    fn deliver_from(&mut self, share: &Share, message: Message, now: Instant) {
        let Some(subscription) = self.opened.session.subscriptions.get(&share.filter) else {
            return;
        };
        let delivery = Delivery {
            qos: message.qos().min(subscription.options.maximum_qos),
            retain: message.retain() && subscription.options.retain_as_published,
            subscription_identifiers: subscription.identifier.map(|it| [it].into()),
            shared: Some(share.id),
            message,
        };
        let message = &delivery.message;
        match delivery.qos {
            // Sent once, it is nobody's any more.
            Qos::AtMostOnce if message.stored() > 0 => {
                if let Some(settled) = share.settled(message) {
                    self.owed().changes.push(settled);
                }
            }
            Qos::AtMostOnce => {}
            _ => {
                if let Some(moved) = share.fetched(message, &self.opened.handle) {
                    self.owed().changes.push(moved);
                }
            }
        }
        self.deliver_one(delivery, now);
    }

    /// Lets other members have what this one cannot take now.
    pub(super) fn pass_shares_on(&self) {
        for share in &self.opened.shares {
            share.pass_on(self.opened.handle.id);
        }
    }

    /// Sends again what an earlier connection left in flight, in its order, with DUP `[MQTT-3.3.1-1]`.
    /// None: that was all.
    fn redeliver(&mut self) -> Option<Stopped> {
        let now = clock::now();
        loop {
            if self.out.len() >= WRITE_SIZE {
                return Some(Stopped::OutputFull);
            }
            if self.sendable.is_spent() {
                return Some(Stopped::HeldBack);
            }
            let in_flight = &mut self.opened.session.outgoing;
            match in_flight.poll_redelivery() {
                None => return in_flight.has_redeliveries().then_some(Stopped::WindowClosed),
                Some(Redelivery::Publish(id, delivery)) => {
                    let delivery = delivery.clone();
                    self.redeliver_one(id, delivery, now);
                }
                Some(Redelivery::Release(packet_id)) => {
                    // An acknowledgement without properties always fits.
                    let _ = self.send_release(packet_id, ReasonCode::Success);
                }
            }
        }
    }

    fn redeliver_one(&mut self, id: PacketId, mut delivery: Delivery, now: Instant) {
        if !self.may_receive(&delivery) {
            self.broker.metrics.messages_withheld.add(1);
            return self.abandon(id);
        }
        let seen = match delivery.shared {
            // It is in flight as it was published, since another member might have got it.
            Some(_) => self.pass_deliver_steps(delivery.message),
            None => Some(delivery.message),
        };
        if let Some(message) = seen {
            delivery.message = message;
            let packet = outgoing(&delivery, Some(id), Dup::Again, now);
            if fits(&packet, &self.terms) {
                self.traffic.packets_sent += 1;
                self.traffic.messages_sent += 1;
                self.traffic.payload_bytes_sent += packet.payload.len() as u32;
                let before = self.out.len();
                packet.encode(self.terms.version, &mut self.out);
                return self.sendable.spend(1, self.out.len() - before);
            }
        }
        self.abandon(id);
    }

    /// The message in flight under `id` cannot be sent to the client.
    fn abandon(&mut self, id: PacketId) {
        let Ok(Some(delivery)) = self.opened.session.outgoing.abandon(id) else { return };
        if delivery.qos < Qos::ExactlyOnce {
            return self.settle_delivery(&delivery);
        }
        self.release(id, &delivery);
        // As above.
        let _ = self.send_release(id, ReasonCode::Success);
    }

    #[inline(always)]
    fn deliver_one(&mut self, mut delivery: Delivery, now: Instant) {
        if delivery.message.expires_at().is_some_and(|expiry| expiry <= now) {
            return self.settle_delivery(&delivery);
        }
        if !self.may_receive(&delivery) {
            self.broker.metrics.messages_withheld.add(1);
            return self.settle_delivery(&delivery);
        }
        // What another member may get stays in flight as it was published.
        let mut published = None;
        if self.publisher.pipeline().may_ask(Hook::Deliver, &self.client) {
            published = delivery.shared.map(|_| delivery.message.clone());
            let before = delivery.message.clone();
            match self.pass_deliver_steps(delivery.message) {
                // It may be another one, which the store has not seen.
                Some(message) => {
                    message.set_stored(before.stored());
                    message.set_onward_after(before.onward_after());
                    delivery.message = message;
                }
                None => {
                    delivery.message = before;
                    self.broker.metrics.messages_dropped_by_hooks.add(1);
                    return self.settle_delivery(&delivery);
                }
            }
        }
        let id = (delivery.qos > Qos::AtMostOnce).then_some(PacketId::MIN);
        let dup = match self.opened.session.perhaps_sent {
            false => Dup::First,
            true => self.dup_after_restart(&delivery),
        };
        let mut packet = outgoing(&delivery, id, dup, now);
        if !fits(&packet, &self.terms) {
            return self.settle_delivery(&delivery);
        }
        // What is behind a message that waits goes behind it: in the order in which it was published, and
        // is sent again.
        let waits = delivery.message.onward_after() > CommitSequence::NONE
            || delivery.qos == Qos::ExactlyOnce && self.has_stored(&delivery)
            || delivery.message.qos() > Qos::AtMostOnce && self.defers();
        if waits {
            return self.deliver_later(delivery, published, dup, now);
        }
        if let Some(aliases) = &mut self.aliases {
            packet = with_alias(packet, aliases, &self.terms);
        }
        packet.packet_id = id.map(|_| self.opened.session.outgoing.next_id());
        let payload = packet.payload.len();
        let before = self.out.len();
        packet.encode(self.terms.version, &mut self.out);
        self.sendable.spend(1, self.out.len() - before);
        self.traffic.packets_sent += 1;
        self.traffic.messages_sent += 1;
        self.traffic.payload_bytes_sent += payload as u32;
        if id.is_some() {
            self.put_in_flight(delivery, published);
        }
    }

    fn pass_deliver_steps(&mut self, message: Message) -> Option<Message> {
        let pipeline = self.publisher.pipeline().clone();
        let cache = self.delivery_steps.get_or_insert_default();
        let generations = (pipeline.generation(), self.client.steps.generation());
        if (cache.generation, cache.own_generation) != generations {
            (cache.generation, cache.own_generation) = generations;
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
pub(super) fn fits(packet: &OutgoingPublish<'_>, terms: &Terms) -> bool {
    terms.maximum_packet_size == u32::MAX
        || packet.encoded_length(terms.version) <= terms.maximum_packet_size as usize
}

/// The packet with an alias for its topic, where that fits.
fn with_alias<'a>(
    packet: OutgoingPublish<'a>,
    aliases: &mut OutgoingAliases,
    terms: &Terms,
) -> OutgoingPublish<'a> {
    // The longest form is that which tells the client of the alias.
    let longest = OutgoingPublish { topic_alias: Some(NonZeroU16::MIN), ..packet };
    if !fits(&longest, terms) {
        return packet;
    }
    match aliases.assign(packet.topic.as_str()) {
        None => packet,
        Some(OutgoingAlias { alias, known }) => {
            OutgoingPublish { topic_alias: Some(alias), omit_topic: known, ..packet }
        }
    }
}

/// Whether a packet is sent for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dup {
    First,
    Again,
}

#[inline]
pub(super) fn outgoing(
    delivery: &Delivery,
    packet_id: Option<PacketId>,
    dup: Dup,
    now: Instant,
) -> OutgoingPublish<'_> {
    let message = &delivery.message;
    OutgoingPublish {
        topic: message.topic(),
        payload: message.payload(),
        dup: dup == Dup::Again,
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
