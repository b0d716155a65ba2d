//! SUBSCRIBE and UNSUBSCRIBE: authorize each filter, change the topic tree, answer, send retained.

use std::collections::{HashSet, VecDeque};

use hookmq_codec::{
    AckProperties, Packet, Qos, ReasonCode, RetainHandling, SubAck, Subscribe, SubscriptionOptions,
    TopicFilter, Unsubscribe,
};
use hookmq_core::{Delivery, Subscription};
use hookmq_hooks::{Decision, Effect};
use hookmq_store::{Change, MessageId, NewRecord, QueueKey, QueuedCopy};

use super::Stream;
use super::driver::{Driver, EXPLAINED};
use super::ending::Ending;
use super::rights::subscribe_access;
use crate::broker::abroad::is_abroad;
use crate::broker::meter::Bound;

/// Subscriptions whose retained messages are to be sent.
#[derive(Debug, Default)]
pub struct RetainedDue {
    filters: VecDeque<TopicFilter>,
    /// The topic that those of the first one have come to.
    after: Option<Box<str>>,
}

/// Retained messages that are looked up at a time: others want to retain some, too.
const RETAINED_PAGE: usize = 1000;

/// What one filter of a SUBSCRIBE came to.
enum Answer {
    Granted(Qos),
    Refused(ReasonCode),
    Disconnect,
}

impl<S: Stream> Driver<S> {
    pub(super) fn handle_subscribe(&mut self, subscribe: Subscribe<'_>) -> Result<(), Ending> {
        let identifier = subscribe.properties.subscription_identifier;
        if identifier.is_some() && !self.broker.protocol.subscription_identifiers {
            let reason = "subscription identifiers are not available";
            return Err(Ending::Refused(ReasonCode::SubscriptionIdentifiersNotSupported, reason));
        }
        let mut reason_codes = Vec::with_capacity(subscribe.filters.len());
        let mut changes = Vec::new();
        let mut retained = Vec::new();
        for (filter, options) in subscribe.filters {
            let qos = match self.judge(&filter, options) {
                Answer::Granted(qos) => qos,
                Answer::Refused(reason_code) => {
                    reason_codes.push(reason_code);
                    continue;
                }
                Answer::Disconnect => return Err(Ending::Told(ReasonCode::NotAuthorized)),
            };
            let options = SubscriptionOptions { maximum_qos: qos, ..options };
            let subscription = Subscription { options, identifier };
            if self.subscribe(&filter, subscription) {
                retained.push(filter.clone());
            }
            if self.opened.handle.is_durable() {
                let (session, filter) = (self.opened.handle.key.clone(), filter.clone());
                changes.push(Change::Subscribed { session, filter, subscription });
            }
            self.opened.session.subscriptions.insert(filter, subscription);
            reason_codes.push(match qos {
                Qos::AtMostOnce => ReasonCode::Success,
                Qos::AtLeastOnce => ReasonCode::GrantedQos1,
                Qos::ExactlyOnce => ReasonCode::GrantedQos2,
            });
        }
        let refused = reason_codes.iter().find(|code| code.is_failure());
        // What it says of a refusal is left out where the codes alone are long enough [MQTT-3.9.2-2].
        let has_room = self.terms.maximum_packet_size as usize >= EXPLAINED + reason_codes.len();
        let properties = match refused.filter(|_| has_room) {
            Some(code) => self.explained(*code),
            None => AckProperties::default(),
        };
        let packet_id = subscribe.packet_id;
        self.answer(&Packet::SubAck(SubAck { packet_id, reason_codes, properties }), changes)?;
        for filter in retained {
            self.owe_retained(filter);
        }
        Ok(())
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        unsubscribe: Unsubscribe<'_>,
    ) -> Result<(), Ending> {
        let (reason_codes, changes) = self.end_subscriptions(unsubscribe.filters);
        let properties = AckProperties::default();
        let packet_id = unsubscribe.packet_id;
        self.answer(&Packet::UnsubAck(SubAck { packet_id, reason_codes, properties }), changes)
    }

    /// Ends subscriptions; gives a code for each, and what is to be stored.
    pub(super) fn end_subscriptions(
        &mut self,
        filters: impl IntoIterator<Item = TopicFilter>,
    ) -> (Vec<ReasonCode>, Vec<Change>) {
        let mut changes = Vec::new();
        let handle = &self.opened.handle;
        let subscriptions = &mut self.opened.session.subscriptions;
        let mut removed = Vec::new();
        let mut reason_codes = Vec::new();
        for filter in filters {
            reason_codes.push(match subscriptions.remove(&filter) {
                None => ReasonCode::NoSubscriptionExisted,
                Some(_) => {
                    if handle.is_durable() {
                        let session = handle.key.clone();
                        changes.push(Change::Unsubscribed { session, filter: filter.clone() });
                    }
                    match self.opened.shares.iter().position(|share| share.filter == filter) {
                        Some(place) => {
                            let share = self.opened.shares.swap_remove(place);
                            self.tenant.leave_share(&share, handle);
                        }
                        None => removed.push(filter),
                    }
                    ReasonCode::Success
                }
            });
        }
        self.tenant.unsubscribe(handle.id, &removed);
        self.broker.leave_abroad(handle.id, &removed);
        (reason_codes, changes)
    }

    /// Puts a granted subscription in force; says whether its retained messages are to be sent, which
    /// those of a shared one never are.
    pub(super) fn subscribe(&mut self, filter: &TopicFilter, subscription: Subscription) -> bool {
        let session = &self.opened.handle;
        if filter.share_name().is_some() {
            let share = self.tenant.join_share(filter, session, subscription.options.maximum_qos);
            if !self.opened.shares.iter().any(|other| other.id == share.id) {
                self.opened.shares.push(share);
            }
            return false;
        }
        let new = self.tenant.subscribe(filter, session.clone(), subscription);
        if is_abroad(filter.as_str()) {
            self.go_abroad(filter, subscription);
        }
        match subscription.options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => new,
            RetainHandling::DoNotSend => false,
        }
    }

    fn judge(&self, filter: &TopicFilter, options: SubscriptionOptions) -> Answer {
        let limits = &self.broker.limits;
        let subscriptions = &self.opened.session.subscriptions;
        let protocol = &self.broker.protocol;
        if filter.share_name().is_some() && !protocol.shared_subscriptions {
            return Answer::Refused(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if filter.has_wildcard() && !protocol.wildcard_subscriptions {
            return Answer::Refused(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if filter.bare().split('/').count() > limits.topic_levels {
            return Answer::Refused(ReasonCode::TopicFilterInvalid);
        }
        if subscriptions.len() >= limits.filters_per_client && !subscriptions.contains_key(filter) {
            return Answer::Refused(ReasonCode::QuotaExceeded);
        }
        let quota = self.tenant.meter.quota().subscriptions;
        if quota.is_some_and(|most| self.tenant.subscription_count() as u64 >= most)
            && !subscriptions.contains_key(filter)
        {
            self.tenant.meter.note(Bound::Subscriptions);
            return Answer::Refused(ReasonCode::QuotaExceeded);
        }
        let access = subscribe_access(filter, options.maximum_qos);
        let pipeline = self.broker.pipeline.load();
        let decision = pipeline.authorize(&self.client, &access, &*self.broker).0;
        match self.decide_abroad(filter, &access, decision) {
            Decision::Allowed { maximum_qos } => {
                Answer::Granted(options.maximum_qos.min(maximum_qos).min(protocol.maximum_qos))
            }
            Decision::Denied(denial) => {
                self.broker.report_denial(&self.client, &access, &denial);
                match denial.effect {
                    Effect::Refuse | Effect::AcknowledgeAndDrop => {
                        Answer::Refused(ReasonCode::NotAuthorized)
                    }
                    Effect::Disconnect => Answer::Disconnect,
                }
            }
        }
    }

    /// Sends `packet` once `changes` are durable, behind the answers that wait already.
    fn answer(&mut self, packet: &Packet<'_>, changes: Vec<Change>) -> Result<(), Ending> {
        self.owed().changes.extend(changes);
        if self.owes_nothing() {
            return self.send(packet);
        }
        self.defer(packet)
    }

    /// Whether retained messages are due and may go, which is not before SUBACK has gone.
    pub(super) fn may_send_retained(&self) -> bool {
        self.retained_due.is_some() && !self.defers()
    }

    /// Puts a page of the retained messages of the next subscription that is due some into the batch.
    /// One at a time, so that a client that subscribes again and again and takes nothing is owed no
    /// more than that.
    pub(super) fn queue_retained(&mut self) {
        let Some(mut due) = self.retained_due.take() else { return };
        let after = due.after.take();
        if let Some(filter) = due.filters.pop_front()
            // It may have unsubscribed since.
            && let Some(subscription) = self.opened.session.subscriptions.get(&filter)
        {
            due.after = self.queue_page(&filter, *subscription, after.as_deref());
            if due.after.is_some() {
                due.filters.push_front(filter);
            }
        }
        self.retained_due = Some(due).filter(|due| !due.filters.is_empty());
    }

    /// Says behind which topic the next page begins.
    fn queue_page(
        &mut self,
        filter: &TopicFilter,
        Subscription { options, identifier }: Subscription,
        after: Option<&str>,
    ) -> Option<Box<str>> {
        // What a session is guaranteed is stored before anything can happen.
        let guaranteed = self.opened.handle.is_durable() && options.maximum_qos > Qos::AtMostOnce;
        let most = if guaranteed { usize::MAX } else { RETAINED_PAGE };
        let identifiers = identifier.map(|identifier| [identifier].into());
        let (messages, next) = self.retained(filter, after, most);
        for message in messages {
            let delivery = Delivery {
                qos: message.qos().min(options.maximum_qos),
                retain: true,
                subscription_identifiers: identifiers.clone(),
                shared: None,
                message,
            };
            if self.has_stored(&delivery) {
                let queued = self.queued(&delivery);
                let session = self.opened.handle.key.clone();
                let taken = Change::Taken { session, id: MessageId(delivery.message.stored()) };
                self.owed().changes.extend([queued, taken]);
            }
            self.batch.push_back(delivery);
        }
        next
    }

    /// A retained message, in the store's queue of this session from now on.
    fn queued(&self, delivery: &Delivery) -> Change {
        Change::Queued {
            record: NewRecord::of(delivery.message.clone()),
            copies: vec![QueuedCopy {
                queue: QueueKey::Session(self.opened.handle.key.clone()),
                qos: delivery.qos,
                retain: delivery.retain,
                subscription_identifiers: delivery.subscription_identifiers.clone(),
            }],
        }
    }

    /// As [`Self::queue_retained`], for a client that is gone: what its queue has room for.
    pub(super) fn queue_retained_for_later(&mut self) {
        while self.retained_due.is_some() && self.batch.len() < self.broker.limits.queue.messages {
            self.queue_retained();
        }
    }

    /// Remembers that the retained messages of `filter` are due. Twice as many as there may be
    /// subscriptions are remembered before those that are over or named again are left out.
    fn owe_retained(&mut self, filter: TopicFilter) {
        let due = self.retained_due.get_or_insert_default();
        due.filters.push_back(filter);
        if due.filters.len() > 2 * self.broker.limits.filters_per_client {
            let subscriptions = &self.opened.session.subscriptions;
            let mut seen = HashSet::new();
            due.filters.retain(|it| subscriptions.contains_key(it) && seen.insert(it.clone()));
            // The first may be named again further behind.
            due.after = None;
        }
    }
}
