//! The rights of a connected client, judged again: what it may not have any more stops.

use std::sync::Arc;

use hookmq_access::Directory;
use hookmq_codec::{OutgoingPublish, Qos, ReasonCode, SubscriptionOptions, TopicFilter, TopicName};
use hookmq_core::{Delivery, Subscription, TopicTree};
use hookmq_hooks::{Access, Action, Client, Decision, Denial, Effect};
use hookmq_store::Change;
use serde_json::json;
use tracing::{debug, info};

use super::Stream;
use super::delivery::fits;
use super::driver::Driver;
use super::ending::Ending;
use super::receive::ReceiveCheck;
use crate::broker::rights::{OnRevocation, REVOKED};

/// What judging all subscriptions has come to.
#[derive(Default)]
struct Judgement {
    lost: Vec<TopicFilter>,
    lowered: Vec<(TopicFilter, Qos)>,
    /// A permission that denies wants the client gone.
    disconnects: bool,
    /// A step could not say.
    failed: bool,
}

impl<S: Stream> Driver<S> {
    /// Judges the client and each of its subscriptions, where its rights may have changed or it comes
    /// back to a session. What was queued for a subscription that is lost is not sent, nor sent again.
    ///
    /// Where a step fails, nothing is taken away and the connection ends: nobody can say what the
    /// client may be sent, until it comes back.
    pub(super) fn judge_again(&mut self) -> Result<(), Ending> {
        if let Some(client) = Directory::renewed(&self.client) {
            let (tenant, client_id) = (&*client.tenant, &client.client_id);
            debug!(tenant, ?client_id, roles = ?client.roles, "the client's principal has changed");
            self.go_on_as(Arc::new(client));
        }
        self.receive = ReceiveCheck::where_asked(&self.broker, &self.client);
        if let Some(ban) = self.broker.ban_of(&self.client) {
            let (tenant, client_id) = (&*self.client.tenant, &self.client.client_id);
            info!(tenant, ?client_id, ban = ban.id, reason = ?ban.reason, "client banned");
            self.broker.metrics.connects_banned.add(1);
            // "Banned" is for CONNACK alone (section 2.4).
            let reason = "the client is banned";
            return Err(Ending::Refused(ReasonCode::AdministrativeAction, reason));
        }
        if self.tenant.meter.is_disabled() {
            return Err(Ending::Refused(ReasonCode::NotAuthorized, "the tenant is disabled"));
        }
        if let Some(reason) = self.broker.dismissed(&self.client) {
            let (tenant, client_id) = (&*self.client.tenant, &self.client.client_id);
            info!(tenant, ?client_id, reason, "client dismissed");
            let reason = "the client is not admitted any more";
            return Err(Ending::Refused(ReasonCode::NotAuthorized, reason));
        }
        let judgement = self.judge_subscriptions();
        for (filter, qos) in judgement.lowered {
            self.lower(filter, qos);
        }
        let revoked = !judgement.lost.is_empty();
        let on_revocation = self.broker.rights.on_revocation;
        if revoked {
            self.revoke(&judgement.lost);
        }
        if judgement.failed {
            let reason = "what the client may receive cannot be told now";
            return Err(Ending::Refused(ReasonCode::ServerBusy, reason));
        }
        if revoked && (judgement.disconnects || on_revocation == OnRevocation::Disconnect) {
            let reason = "a subscription is not permitted any more";
            return Err(Ending::Refused(ReasonCode::NotAuthorized, reason));
        }
        for filter in &judgement.lost {
            self.tell_revoked(filter);
        }
        self.return_abroad();
        Ok(())
    }

    /// Puts what is established about the client now in the place of what was before.
    pub(super) fn go_on_as(&mut self, client: Arc<Client>) {
        self.publisher.renew_client(client.clone());
        self.opened.control.renew_client(client.clone());
        if let Some(will) = &mut self.will {
            will.client = client.clone();
        }
        self.delivery_steps = None;
        self.client = client;
    }

    /// Tells whoever asks what the client is subscribed to.
    #[cold]
    pub(super) fn tell_subscriptions(&self) {
        let Some(inquiry) = self.opened.control.inquiry() else { return };
        let held = self.opened.session.subscriptions.iter();
        let held = held.map(|(filter, it)| (filter.clone(), it.options.maximum_qos));
        // Whoever has asked may have left.
        let _ = inquiry.send(held.collect());
    }

    fn judge_subscriptions(&self) -> Judgement {
        let mut judgement = Judgement::default();
        let subscriptions = &self.opened.session.subscriptions;
        if subscriptions.is_empty() {
            return judgement;
        }
        let pipeline = self.broker.pipeline.load();
        for (filter, subscription) in subscriptions {
            let granted = subscription.options.maximum_qos;
            let access = subscribe_access(filter, granted);
            let judged = pipeline.judge(&self.client, &access, &*self.broker).0;
            match judged.and_then(|decision| self.judge_abroad(filter, &access, decision)) {
                Ok(Decision::Allowed { maximum_qos }) if granted <= maximum_qos => {}
                Ok(Decision::Allowed { maximum_qos }) => {
                    judgement.lowered.push((filter.clone(), maximum_qos));
                }
                Ok(Decision::Denied(denial)) => {
                    self.broker.report_denial(&self.client, &access, &denial);
                    judgement.disconnects |= denial.effect == Effect::Disconnect;
                    judgement.lost.push(filter.clone());
                }
                Err(Denial { .. }) => judgement.failed = true,
            }
        }
        judgement
    }

    fn lower(&mut self, filter: TopicFilter, maximum_qos: Qos) {
        let Some(held) = self.opened.session.subscriptions.get_mut(&filter) else { return };
        let options = SubscriptionOptions { maximum_qos, ..held.options };
        let subscription = Subscription { options, ..*held };
        *held = subscription;
        self.subscribe(&filter, subscription);
        if self.opened.handle.is_durable() {
            let session = self.opened.handle.key.clone();
            self.store([Change::Subscribed { session, filter, subscription }]);
        }
    }

    /// Ends subscriptions, and takes back what no other subscription brings the client.
    fn revoke(&mut self, lost: &[TopicFilter]) {
        let shares = self.opened.shares.iter().filter(|share| lost.contains(&share.filter));
        let shares: Vec<_> = shares.cloned().collect();
        let (_, changes) = self.end_subscriptions(lost.iter().cloned());
        self.store(changes);
        let mut kept = TopicTree::<usize, ()>::default();
        let own = self.opened.session.subscriptions.keys();
        for (place, filter) in own.filter(|it| it.share_name().is_none()).enumerate() {
            kept.insert(filter.bare(), place, ());
        }
        let is_lost = |delivery: &Delivery| match delivery.shared {
            Some(id) => shares.iter().any(|share| share.id == id),
            None => {
                let mut brought = false;
                kept.for_each_match(delivery.message.topic(), |_, ()| brought = true);
                !brought
            }
        };
        let (mut withheld, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.batch).into_iter().partition(is_lost);
        self.batch = kept.into();
        withheld.extend(self.opened.handle.mailbox.withhold(is_lost));
        let in_flight = self.opened.session.outgoing.withhold(is_lost);
        let number = withheld.len() + in_flight.len();
        for (packet_id, delivery) in in_flight {
            let share = shares.iter().find(|share| Some(share.id) == delivery.shared);
            match share {
                // May be with the client already.
                _ if delivery.qos == Qos::ExactlyOnce => self.release(packet_id, &delivery),
                Some(share) => share.hand_back(&self.opened.handle, vec![delivery.message]),
                None => withheld.push(delivery),
            }
        }
        withheld.iter().for_each(|delivery| self.settle_delivery(delivery));
        self.store([]);
        self.broker.metrics.subscriptions_revoked.add(lost.len() as u64);
        self.broker.metrics.messages_withheld.add(number as u64);
    }

    fn tell_revoked(&mut self, filter: &TopicFilter) {
        let payload = json!({"filter": filter.as_str(), "reason": "not authorized"}).to_string();
        let packet = OutgoingPublish {
            topic: TopicName::from_checked(REVOKED),
            payload: payload.as_bytes(),
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            packet_id: None,
            message_expiry_interval: None,
            topic_alias: None,
            omit_topic: false,
            subscription_identifiers: &[],
            forwarded_properties: &[],
        };
        if fits(&packet, &self.terms) {
            packet.encode(self.terms.version, &mut self.out);
            self.traffic.packets_sent += 1;
            self.traffic.messages_sent += 1;
        }
    }
}

/// A subscription is judged by its filter without `$share/name/`, and by that name.
pub(super) fn subscribe_access(filter: &TopicFilter, qos: Qos) -> Access<'_> {
    let (topic, share_name) = (filter.bare(), filter.share_name());
    Access { action: Action::Subscribe, topic, qos, retain: false, share_name }
}
