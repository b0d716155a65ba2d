//! The path of a message from its publisher into mailboxes: authorize, publish hooks, retain, route.

use std::sync::Arc;
use std::time::Duration;

use hookmq_codec::{Qos, ReasonCode, TopicName};
use hookmq_core::{CommitSequence, Delivery, Message, NewMessage};
use hookmq_hooks::{
    Access, Action, Client, Decision, Effect, Emitted, Hook, Pipeline, PublishOutcome, StepSet,
};
use hookmq_store::Change;

use super::Broker;
use super::mailbox::Posted;
use super::session_handle::SessionHandle;
use super::tenant::{Target, Tenant};
use super::topic_cache::TopicCache;

/// A client as a publisher, with what it has found out about its topics.
///
/// Messages are posted to mailboxes at once; [`Publisher::flush`] wakes each touched subscriber once.
pub struct Publisher {
    broker: Arc<Broker>,
    tenant: Arc<Tenant>,
    client: Arc<Client>,
    session: u64,
    pipeline: Arc<Pipeline>,
    routes: TopicCache<Route>,
    touched: Vec<Arc<SessionHandle>>,
    counts: Counts,
}

/// The message that is published when a client is lost.
#[derive(Debug)]
pub struct Will {
    pub message: Message,
    pub delay: Duration,
    /// Seconds that the message lives once it is published.
    pub expiry_interval: Option<u32>,
    pub client: Arc<Client>,
}

/// What the publisher is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub reason_code: ReasonCode,
    /// The acknowledgement must not leave before this commit is durable.
    pub commit: CommitSequence,
    /// The client is to be disconnected with the code instead of an acknowledgement.
    pub disconnect: bool,
}

impl Reply {
    /// Accepted, and durable with `commit`.
    pub fn done(commit: CommitSequence) -> Self {
        Self { reason_code: ReasonCode::Success, commit, disconnect: false }
    }

    /// Settled without anything to be stored.
    fn settled(reason_code: ReasonCode) -> Self {
        Self { reason_code, commit: CommitSequence::NONE, disconnect: false }
    }
}

/// What is known about one topic until the pipeline, the permissions or the topic tree change.
#[derive(Debug, Default)]
struct Route {
    access_generation: u64,
    /// By QoS and retain flag.
    verdicts: [Verdict; 6],
    steps: Option<StepSet>,
    tree_generation: u64,
    targets: Vec<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Verdict {
    #[default]
    Unknown,
    Allowed,
    Denied(Effect),
}

#[derive(Debug, Default)]
struct Counts {
    overflowed: u64,
}

impl Publisher {
    pub fn new(
        broker: Arc<Broker>,
        tenant: Arc<Tenant>,
        client: Arc<Client>,
        session: u64,
    ) -> Self {
        Self {
            pipeline: broker.pipeline.load(),
            broker,
            tenant,
            client,
            session,
            routes: TopicCache::default(),
            touched: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a message of the client through the pipeline.
    #[inline]
    pub fn publish(&mut self, parts: NewMessage<'_>) -> Reply {
        self.refresh();
        match self.authorize(parts.topic, parts.qos, parts.retain) {
            Verdict::Allowed => {}
            Verdict::Denied(effect) => return self.denied(effect),
            Verdict::Unknown => return self.denied(Effect::Refuse),
        }
        let route = self.routes.entry(parts.topic.as_str());
        let steps = route
            .steps
            .get_or_insert_with(|| self.pipeline.select(Hook::Publish, &self.client, parts.topic));
        if steps.is_empty() {
            return self.route(parts.topic, parts.retain, || Message::new(parts));
        }
        let steps = steps.clone();
        self.publish_through(&steps, Message::new(parts))
    }

    /// Wakes every subscriber that was touched since the last flush.
    #[inline]
    pub fn flush(&mut self) {
        for session in self.touched.drain(..) {
            session.mailbox.wake();
        }
        if self.counts.overflowed > 0 {
            self.broker.metrics.messages_overflowed.add(std::mem::take(&mut self.counts.overflowed));
        }
    }

    /// The pipeline in force.
    #[inline]
    pub fn pipeline(&mut self) -> &Arc<Pipeline> {
        self.refresh();
        &self.pipeline
    }

    #[inline]
    pub fn pipeline_has_deliver_steps(&mut self) -> bool {
        !self.pipeline().steps(Hook::Deliver).is_empty()
    }

    /// Gives back the memory that only a busy publisher needs.
    pub fn shrink(&mut self) {
        self.routes.clear();
        self.touched = Vec::new();
    }

    #[inline]
    fn refresh(&mut self) {
        if self.broker.pipeline.generation() != self.pipeline.generation() {
            self.pipeline = self.broker.pipeline.load();
            self.routes.clear();
        }
    }

    #[inline]
    fn authorize(&mut self, topic: TopicName<'_>, qos: Qos, retain: bool) -> Verdict {
        let generation = self.broker.access_generation();
        let route = self.routes.entry(topic.as_str());
        if route.access_generation != generation {
            route.access_generation = generation;
            route.verdicts = Default::default();
        }
        let place = qos as usize * 2 + usize::from(retain);
        match route.verdicts[place] {
            Verdict::Unknown => {
                let access = Access { action: Action::Publish, topic: topic.as_str(), qos, retain };
                let (verdict, cacheable) = decide(&self.pipeline, &self.client, &access, &self.broker);
                if cacheable {
                    route.verdicts[place] = verdict;
                }
                verdict
            }
            known => known,
        }
    }

    #[cold]
    fn denied(&self, effect: Effect) -> Reply {
        self.broker.metrics.publishes_denied.add(1);
        let reason_code = match effect {
            Effect::AcknowledgeAndDrop => ReasonCode::Success,
            Effect::Refuse | Effect::Disconnect => ReasonCode::NotAuthorized,
        };
        let disconnect = effect == Effect::Disconnect;
        Reply { reason_code, commit: CommitSequence::NONE, disconnect }
    }

    fn publish_through(&mut self, steps: &StepSet, message: Message) -> Reply {
        let broker = self.broker.clone();
        let published = self.pipeline.publish(steps, &self.client, message, &*broker);
        let reply = self.settle(published.outcome);
        self.emit(published.emitted);
        reply
    }

    /// Sends messages that hooks have made through the publish hooks, up to the hop limit.
    fn emit(&mut self, emitted: Vec<Emitted>) {
        let broker = self.broker.clone();
        let (hops, messages) = (broker.limits.emitted_hops, broker.limits.emitted_messages);
        let mut queue: Vec<(u8, Emitted)> = emitted.into_iter().map(|it| (1, it)).collect();
        let mut made = 0;
        while let Some((hop, Emitted { message, step })) = queue.pop() {
            if hop > hops || made >= messages {
                broker.report_stopped_emission(&self.client, message.topic(), &step);
                continue;
            }
            made += 1;
            let steps = self.pipeline.select(Hook::Publish, &self.client, message.topic());
            let published = self.pipeline.publish(&steps, &self.client, message, &*broker);
            self.settle(published.outcome);
            queue.extend(published.emitted.into_iter().map(|it| (hop + 1, it)));
        }
        broker.metrics.messages_emitted.add(made as u64);
    }

    fn settle(&mut self, outcome: PublishOutcome) -> Reply {
        let reason_code = match outcome {
            PublishOutcome::Pass(message) => {
                return self.route(message.topic(), message.retain(), || message.clone());
            }
            PublishOutcome::Consumed => ReasonCode::Success,
            PublishOutcome::Dropped(reason_code) => {
                self.broker.metrics.messages_dropped_by_hooks.add(1);
                reason_code
            }
        };
        Reply::settled(reason_code)
    }

    /// Retains the message and posts it to everybody who is due a copy. `make` is called at most once,
    /// and not at all where nobody wants the message.
    #[inline]
    fn route(
        &mut self,
        topic: TopicName<'_>,
        retain: bool,
        make: impl FnOnce() -> Message,
    ) -> Reply {
        let route = self.routes.entry(topic.as_str());
        if route.tree_generation != self.tenant.generation() {
            route.tree_generation = self.tenant.targets(topic, self.session, &mut route.targets);
        }
        if route.targets.is_empty() && !retain {
            return Reply::settled(ReasonCode::NoMatchingSubscribers);
        }
        let message = make();
        let mut changes = Vec::new();
        if retain {
            if self.tenant.retain(&message).is_err() {
                return Reply::settled(ReasonCode::QuotaExceeded);
            }
            let tenant = self.tenant.name.clone();
            changes.push(Change::Retained { tenant, message: message.clone() });
        }
        for target in &route.targets {
            let delivery = Delivery {
                qos: message.qos().min(target.maximum_qos),
                retain: retain && target.retain_as_published,
                subscription_identifiers: target.subscription_identifiers.clone(),
                message: message.clone(),
            };
            match target.session.mailbox.post(delivery) {
                Posted::WakeLater => self.touched.push(target.session.clone()),
                Posted::Queued | Posted::Unwanted => {}
                Posted::Overflow => self.counts.overflowed += 1,
            }
        }
        if message.qos() > Qos::AtMostOnce {
            changes.extend(queued(&message, &route.targets));
        }
        let commit = match changes.is_empty() {
            true => CommitSequence::NONE,
            false => self.broker.store.append(changes),
        };
        Reply::done(commit)
    }
}

/// What must be stored of `message` for the durable sessions among `targets`.
fn queued(message: &Message, targets: &[Target]) -> Option<Change> {
    let sessions: Vec<_> = targets
        .iter()
        .filter(|target| target.session.is_durable() && target.maximum_qos > Qos::AtMostOnce)
        .map(|target| (target.session.key.clone(), message.qos().min(target.maximum_qos)))
        .collect();
    (!sessions.is_empty()).then(|| Change::Queued { message: message.clone(), sessions })
}

#[cold]
fn decide(
    pipeline: &Pipeline,
    client: &Arc<Client>,
    access: &Access<'_>,
    broker: &Broker,
) -> (Verdict, bool) {
    let (decision, cacheable) = pipeline.authorize(client, access, broker);
    let verdict = match decision {
        Decision::Allowed { maximum_qos } if access.qos <= maximum_qos => Verdict::Allowed,
        Decision::Allowed { .. } => Verdict::Denied(Effect::Refuse),
        Decision::Denied(denial) => {
            broker.report_denial(client, access, &denial);
            Verdict::Denied(denial.effect)
        }
    };
    (verdict, cacheable)
}
