//! What stands in the place of a program that does not load: it fails wherever that was asked.

use std::sync::Arc;

use hookmq_codec::TopicFilter;
use hookmq_core::Message;
use hookmq_hooks::{
    Access, AuthorizeVerdict, Client, DeliverVerdict, FailureKind, HookSet, Program,
    ProgramIdentity, PublishAnswer, StepFailure,
};

use super::archive::Kept;

/// A program that was accepted once and does not load any more, or not yet.
pub(super) struct Broken {
    identity: ProgramIdentity,
    hooks: HookSet,
    topics: Vec<TopicFilter>,
    pub(super) reason: String,
}

impl Broken {
    pub(super) fn new(name: String, kept: &Kept, reason: String) -> Self {
        let pushed = kept.pushed();
        let topics = pushed.topics.iter().filter_map(|it| TopicFilter::new(&**it).ok());
        let (authorize, publish, deliver) = (pushed.authorize, pushed.publish, pushed.deliver);
        Self {
            identity: ProgramIdentity {
                kind: kept.kind(),
                name,
                version: String::new(),
                sha256: kept.sha256().to_owned(),
            },
            hooks: HookSet { connect: false, authorize, publish, deliver },
            topics: topics.collect(),
            reason,
        }
    }

    fn failure(&self) -> StepFailure {
        StepFailure::new(FailureKind::Error, format!("it does not load: {}", self.reason))
    }
}

impl Program for Broken {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        self.hooks
    }

    fn topics(&self) -> &[TopicFilter] {
        &self.topics
    }

    fn authorize(&self, _: &Arc<Client>, _: &Access<'_>) -> Result<AuthorizeVerdict, StepFailure> {
        Err(self.failure())
    }

    fn publish(&self, _: &Arc<Client>, _: &Message) -> Result<PublishAnswer, StepFailure> {
        Err(self.failure())
    }

    fn deliver(&self, _: &Arc<Client>, _: &Message) -> Result<DeliverVerdict, StepFailure> {
        Err(self.failure())
    }
}
