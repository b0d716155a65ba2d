//! The path of a message from its publisher into mailboxes: authorize, publish hooks, retain, route.

mod abroad;
mod along;
mod posting;
mod stored;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hookmq_codec::{ReasonCode, TopicName};
use hookmq_core::{CommitSequence, Message, NewMessage};
use hookmq_hooks::{
    Access, Action, Client, Decision, Effect, Emitted, Hook, Pipeline, PublishOutcome, StepSet,
};

use self::abroad::GrantsUsed;
use self::along::Along;
use self::posting::Turn;
use super::Broker;
use super::abroad::is_abroad;
use super::sys::is_sys;
use super::tenant::{Recipients, Target, Tenant};
use super::topic_cache::{Forget, TopicCache};

/// A client as a publisher, with what it has found out about its topics.
///
/// Messages are posted to mailboxes at once; [`Publisher::flush`] wakes each touched subscriber once.
pub struct Publisher {
    routes: TopicCache<Route>,
    desk: Desk,
    /// None before the first, which is the rule.
    grants_used: Option<Box<GrantsUsed>>,
}

/// All that a publisher has but its memory of topics, which is borrowed beside it.
struct Desk {
    broker: Arc<Broker>,
    tenant: Arc<Tenant>,
    client: Arc<Client>,
    session: u64,
    pipeline: Arc<Pipeline>,
    /// Of the steps of the tenant's own that are remembered for topics.
    steps_generation: u64,
    /// None before the first message.
    turn: Option<Box<Turn>>,
    /// What is to be stored in one commit with the next message.
    along: Option<Box<Along>>,
    /// Only while messages are emitted that stand for one that is published once: what is to be durable
    /// before anybody is sent them.
    behind: Option<Box<CommitSequence>>,
}

/// The message that is published when a client is lost.
#[derive(Debug)]
pub struct Will {
    pub message: Message,
    pub delay: Duration,
    /// Seconds that the message lives once it is published.
    pub expiry_interval: Option<u32>,
    pub client: Arc<Client>,
    pub judged: Judged,
}

/// When it was found out that the client may publish its will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// When it connected, and again when the will is due.
    Again,
    /// When it connected. The broker has been started since, and does not know all of the client.
    Before,
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
    pub fn settled(reason_code: ReasonCode) -> Self {
        Self { reason_code, commit: CommitSequence::NONE, disconnect: false }
    }
}

/// What is known about one topic until the pipeline, the permissions or the topic tree change.
#[derive(Debug, Default)]
struct Route {
    access_generation: u64,
    /// By QoS and retain flag, where it is known.
    verdicts: [Option<Verdict>; 6],
    steps: Option<StepSet>,
    tree_generation: u64,
    /// None before they are first looked up.
    recipients: Option<Arc<Recipients>>,
}

impl Forget for Route {
    fn forget(&mut self) {
        self.access_generation = 0;
        self.verdicts = Default::default();
        self.steps = None;
        self.tree_generation = 0;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allowed,
    /// The permissions allow it, and a grant led to another tenant when it was last looked at.
    Abroad,
    Denied(Effect),
    /// No message may have the topic.
    Invalid,
}

impl Publisher {
    pub fn new(
        broker: Arc<Broker>,
        tenant: Arc<Tenant>,
        client: Arc<Client>,
        session: u64,
    ) -> Self {
        let pipeline = broker.pipeline.load();
        let steps_generation = tenant.steps.generation();
        let desk = Desk {
            steps_generation,
            broker,
            tenant,
            client,
            session,
            pipeline,
            turn: None,
            along: None,
            behind: None,
        };
        Self { routes: TopicCache::default(), desk, grants_used: None }
    }

    /// Takes a message of the client through the pipeline.
    #[inline]
    pub fn publish(&mut self, parts: NewMessage<'_>) -> Reply {
        self.refresh();
        let desk = &mut self.desk;
        let route = self.routes.entry(parts.topic.as_str());
        let verdict = desk.authorize(route, &parts);
        if verdict != Verdict::Allowed {
            return self.not_at_home(verdict, parts);
        }
        let steps = route
            .steps
            .get_or_insert_with(|| desk.pipeline.select(Hook::Publish, &desk.client, parts.topic));
        if steps.is_empty() {
            return desk.post(route, parts.topic, parts.retain, || Message::new(parts));
        }
        let (once, message) = (desk.is_once(parts.qos), Message::new(parts));
        let published = desk.pipeline.publish(steps, &desk.client, message, &*desk.broker);
        let reply = self.settle(published.outcome);
        self.follow(reply, once, published.emitted)
    }

    /// Wakes every subscriber that was touched since the last flush.
    #[inline]
    pub fn flush(&mut self) {
        let desk = &mut self.desk;
        let Some(turn) = &mut desk.turn else { return };
        let overflowed = turn.end();
        if overflowed > 0 {
            desk.broker.metrics.messages_overflowed.add(overflowed);
        }
    }

    /// The pipeline in force.
    #[inline]
    pub fn pipeline(&mut self) -> &Arc<Pipeline> {
        self.refresh();
        &self.desk.pipeline
    }

    /// Goes on as the same client with what is established about it now.
    pub fn renew_client(&mut self, client: Arc<Client>) {
        self.desk.client = client;
        self.routes.clear();
    }

    /// Gives back the memory that only a busy publisher needs.
    pub fn shrink(&mut self) {
        self.routes.clear();
        self.desk.turn = None;
    }

    #[inline]
    fn refresh(&mut self) {
        let desk = &mut self.desk;
        let (cell, steps) = (&desk.broker.pipeline, desk.tenant.steps.generation());
        if cell.generation() != desk.pipeline.generation() || steps != desk.steps_generation {
            desk.pipeline = cell.load();
            desk.steps_generation = steps;
            self.routes.clear();
        }
    }

    /// Sends messages that hooks have made through the publish hooks, up to the hop limit. They are
    /// durable with the commit that it gives.
    fn emit(&mut self, emitted: Vec<Emitted>) -> CommitSequence {
        let mut commit = CommitSequence::NONE;
        if emitted.is_empty() {
            return commit;
        }
        let broker = self.desk.broker.clone();
        let (hops, messages) = (broker.limits.emitted_hops, broker.limits.emitted_messages);
        let mut queue: VecDeque<(u8, Emitted)> = emitted.into_iter().map(|it| (1, it)).collect();
        let mut made = 0;
        while let Some((hop, Emitted { message, step })) = queue.pop_front() {
            let desk = &self.desk;
            if hop > hops || made >= messages {
                broker.report_stopped_emission(&desk.client, message.topic(), &step);
                continue;
            }
            made += 1;
            let steps = desk.pipeline.select(Hook::Publish, &desk.client, message.topic());
            let published = desk.pipeline.publish(&steps, &desk.client, message, &*broker);
            commit = commit.max(self.settle(published.outcome).commit);
            queue.extend(published.emitted.into_iter().map(|it| (hop + 1, it)));
        }
        broker.metrics.messages_emitted.add(made as u64);
        commit
    }

    /// Routes what the publish steps have passed.
    fn settle(&mut self, outcome: PublishOutcome) -> Reply {
        match outcome {
            PublishOutcome::Pass(message) if !self.desk.takes_from_hooks(message.topic()) => {
                self.desk.broker.metrics.messages_dropped_by_hooks.add(1);
                Reply::settled(ReasonCode::ImplementationSpecificError)
            }
            PublishOutcome::Pass(message) => {
                let route = self.routes.entry(message.topic().as_str());
                let topic = message.topic();
                message.set_onward_after(
                    self.desk.behind.as_deref().map_or(CommitSequence::NONE, |it| *it),
                );
                self.desk.post(route, topic, message.retain(), || message.clone())
            }
            PublishOutcome::Consumed => Reply::settled(ReasonCode::Success),
            PublishOutcome::Dropped(reason_code) => {
                self.desk.broker.metrics.messages_dropped_by_hooks.add(1);
                Reply::settled(reason_code)
            }
        }
    }
}

impl Desk {
    #[inline]
    fn authorize(&self, route: &mut Route, parts: &NewMessage<'_>) -> Verdict {
        let generation = self.broker.access_generation();
        if route.access_generation != generation {
            route.access_generation = generation;
            route.verdicts = Default::default();
        }
        let place = place(parts);
        if let Some(known) = route.verdicts[place] {
            return known;
        }
        let (verdict, cacheable) = self.decide(parts);
        route.verdicts[place] = cacheable.then_some(verdict);
        verdict
    }

    #[cold]
    fn decide(&self, parts: &NewMessage<'_>) -> (Verdict, bool) {
        if !self.broker.limits.allows_topic(parts.topic) {
            return (Verdict::Invalid, true);
        }
        if is_sys(parts.topic.as_str()) {
            return (Verdict::Denied(Effect::Refuse), true);
        }
        let access = Access {
            action: Action::Publish,
            topic: parts.topic.as_str(),
            qos: parts.qos,
            retain: parts.retain,
            share_name: None,
        };
        let (decision, cacheable) = self.pipeline.authorize(&self.client, &access, &*self.broker);
        let verdict = match decision {
            Decision::Allowed { maximum_qos } if access.qos <= maximum_qos => {
                return self.find_passage(&access, cacheable);
            }
            Decision::Allowed { .. } => Verdict::Denied(Effect::Refuse),
            Decision::Denied(denial) => {
                self.broker.report_denial(&self.client, &access, &denial);
                Verdict::Denied(denial.effect)
            }
        };
        (verdict, cacheable)
    }

    /// Hooks make topics, too.
    fn takes_from_hooks(&self, topic: TopicName<'_>) -> bool {
        let name = topic.as_str();
        self.broker.limits.allows_topic(topic) && !is_sys(name) && !is_abroad(name)
    }

    #[cold]
    fn denied(&self, verdict: Verdict) -> Reply {
        self.broker.metrics.publishes_denied.add(1);
        let (reason_code, disconnect) = match verdict {
            Verdict::Denied(Effect::Refuse) => (ReasonCode::NotAuthorized, false),
            Verdict::Denied(Effect::Disconnect) => (ReasonCode::NotAuthorized, true),
            Verdict::Invalid => (ReasonCode::TopicNameInvalid, true),
            Verdict::Allowed | Verdict::Abroad => (ReasonCode::Success, false),
            Verdict::Denied(Effect::AcknowledgeAndDrop) => (ReasonCode::Success, false),
        };
        Reply { disconnect, ..Reply::settled(reason_code) }
    }
}

/// Where the verdict on such a message is remembered.
fn place(parts: &NewMessage<'_>) -> usize {
    parts.qos as usize * 2 + usize::from(parts.retain)
}
