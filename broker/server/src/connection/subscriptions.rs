//! SUBSCRIBE and UNSUBSCRIBE: authorize each filter, change the topic tree, answer, send retained.

use hookmq_codec::{
    AckProperties, Packet, Qos, ReasonCode, RetainHandling, SubAck, Subscribe, SubscriptionOptions,
    TopicFilter, Unsubscribe,
};
use hookmq_core::{CommitSequence, Delivery, Subscription};
use hookmq_hooks::{Access, Action, Decision, Effect};
use hookmq_store::Change;

use super::Stream;
use super::driver::{Driver, encode};
use super::ending::Ending;

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
                retained.push((filter.clone(), subscription));
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
        let properties = refused.map_or_else(AckProperties::default, |it| self.explained(*it));
        let packet_id = subscribe.packet_id;
        self.answer(&Packet::SubAck(SubAck { packet_id, reason_codes, properties }), changes)?;
        for (filter, subscription) in retained {
            self.queue_retained(&filter, &subscription);
        }
        Ok(())
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        unsubscribe: Unsubscribe<'_>,
    ) -> Result<(), Ending> {
        let mut changes = Vec::new();
        let handle = &self.opened.handle;
        let subscriptions = &mut self.opened.session.subscriptions;
        let mut removed = Vec::new();
        let mut reason_codes = Vec::with_capacity(unsubscribe.filters.len());
        for filter in unsubscribe.filters {
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
        let properties = AckProperties::default();
        let packet_id = unsubscribe.packet_id;
        self.answer(&Packet::UnsubAck(SubAck { packet_id, reason_codes, properties }), changes)
    }

    /// Puts a granted subscription in force; says whether its retained messages are to be sent, which
    /// those of a shared one never are.
    fn subscribe(&mut self, filter: &TopicFilter, subscription: Subscription) -> bool {
        let session = &self.opened.handle;
        if filter.share_name().is_some() {
            let share = self.tenant.join_share(filter, session, subscription.options.maximum_qos);
            if !self.opened.shares.iter().any(|other| other.id == share.id) {
                self.opened.shares.push(share);
            }
            return false;
        }
        let new = self.tenant.subscribe(filter, session.clone(), subscription);
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
        let access = Access {
            action: Action::Subscribe,
            topic: filter.bare(),
            qos: options.maximum_qos,
            retain: false,
        };
        let pipeline = self.broker.pipeline.load();
        match pipeline.authorize(&self.client, &access, &*self.broker).0 {
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
        let commit = match changes.is_empty() {
            true => CommitSequence::NONE,
            false => self.broker.store.append(changes),
        };
        if commit == CommitSequence::NONE && self.deferred.is_empty() {
            return self.send(packet);
        }
        let mut bytes = Vec::new();
        encode(packet, &self.terms, &mut bytes)?;
        self.deferred.push_back((commit, bytes));
        Ok(())
    }

    /// Retained messages go behind what the connection holds already; only their references wait.
    fn queue_retained(&mut self, filter: &TopicFilter, subscription: &Subscription) {
        let identifiers = subscription.identifier.map(|identifier| [identifier].into());
        for message in self.tenant.retained(filter.bare()) {
            self.batch.push_back(Delivery {
                qos: message.qos().min(subscription.options.maximum_qos),
                retain: true,
                subscription_identifiers: identifiers.clone(),
                shared: None,
                message,
            });
        }
    }
}
