//! Whether a step is asked about something, and which of its versions decides.

use hookmq_codec::{TopicFilter, TopicName, filter_intersects};

use super::Step;
use crate::{Access, Action, Client, Program, Stage, Version};

/// How one client's access or message is put to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) place: u16,
    /// Which of the tenant's own steps at that place.
    pub(crate) own: Option<u16>,
    decides: Decides,
    /// The candidate is asked as well, and compared.
    pub(super) shadow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decides {
    Active,
    Candidate,
    /// Only the candidate in shadow wants the topic.
    Nobody,
}

impl Due {
    /// As the tenant's own step, at the `place` that the operator gives it.
    pub(crate) fn within(self, place: u16) -> Self {
        Self { place, own: Some(self.place), ..self }
    }

    /// Its place in the order of all.
    pub(crate) fn rank(&self) -> (u16, Option<u16>) {
        (self.place, self.own)
    }
}

impl Step {
    /// How the client's question is put to the step, where a version of it wants it.
    pub(crate) fn due(
        &self,
        place: u16,
        (tenant, client_id): (Option<&str>, &str),
        wants: impl Fn(&dyn Program) -> bool,
    ) -> Option<Due> {
        let asked = |version: &Version| {
            version.program.hooks().contains(self.hook) && wants(&*version.program)
        };
        let candidate = self.trial.as_ref().filter(|trial| asked(&trial.version));
        let chosen = self.trial.as_ref().is_some_and(|it| it.stage.chooses(tenant, client_id));
        let decides = match (chosen, candidate) {
            (true, Some(_)) => Decides::Candidate,
            (true, None) => Decides::Nobody,
            (false, _) if asked(&self.active) => Decides::Active,
            (false, _) => Decides::Nobody,
        };
        let shadow = candidate.is_some_and(|trial| trial.stage == Stage::Shadow);
        (decides != Decides::Nobody || shadow).then_some(Due { place, own: None, decides, shadow })
    }

    /// As [`Self::due`], of an access.
    pub(crate) fn due_for_access(
        &self,
        place: u16,
        client: &Client,
        access: &Access<'_>,
    ) -> Option<Due> {
        let step = Some(self).filter(|step| step.wants_access(client, access))?;
        let whose = (Some(&*client.tenant), &*client.client_id);
        step.due(place, whose, |program| touches(program.topics(), access))
    }

    /// Whether the conditions hold for an access.
    pub(crate) fn wants_access(&self, client: &Client, access: &Access<'_>) -> bool {
        self.wants_client(client) && touches(&self.spec.condition.topics, access)
    }

    /// The version that decides; none where only the candidate in shadow wants the topic.
    pub(super) fn decider(&self, due: Due) -> Option<&Version> {
        match (due.decides, &self.trial) {
            (Decides::Active, _) => Some(&self.active),
            (Decides::Candidate, Some(trial)) => Some(&trial.version),
            (Decides::Candidate | Decides::Nobody, _) => None,
        }
    }
}

/// Whether an access is to what one of the filters speaks of; none of them means all.
fn touches(filters: &[TopicFilter], access: &Access<'_>) -> bool {
    filters.is_empty()
        || filters.iter().any(|filter| match access.action {
            Action::Subscribe => filter_intersects(filter.bare(), access.topic),
            // Literal topics are filters that match themselves alone.
            Action::Publish | Action::Receive => {
                filter.matches(TopicName::from_checked(access.topic))
            }
        })
}

/// Whether the program itself asks for `topic`.
pub(crate) fn wants_topic(program: &dyn Program, topic: TopicName<'_>) -> bool {
    let topics = program.topics();
    topics.is_empty() || topics.iter().any(|filter| filter.matches(topic))
}
