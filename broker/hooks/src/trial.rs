//! A candidate beside the version in force: in shadow, or in force for a share of clients.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use parking_lot::Mutex;
use serde_json::Value;

use crate::answer::described;
use crate::{Answer, Breakers, Meter, Program, StepFailure};

/// A program at a step, with its account.
#[derive(Clone)]
pub struct Version {
    pub program: Arc<dyn Program>,
    pub meter: Arc<Meter>,
    pub breakers: Arc<Breakers>,
}

impl From<Arc<dyn Program>> for Version {
    fn from(program: Arc<dyn Program>) -> Self {
        Self { program, meter: Arc::default(), breakers: Arc::default() }
    }
}

/// What a candidate may do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// It is asked beside the version in force, and what it answers is compared and forgotten.
    Shadow,
    /// It decides for the clients that it is chosen for.
    Canary {
        /// Clients out of 10,000, by tenant and client id: a client is chosen for good.
        #[serde(default)]
        share: u32,
        /// All clients of these tenants.
        #[serde(default)]
        tenants: BTreeSet<String>,
    },
}

/// All clients, as a share.
pub const EVERYBODY: u32 = 10_000;

impl Stage {
    /// Whether the candidate decides for this client. In connect steps the client id is the claim, and
    /// the tenant may not be known yet.
    pub fn chooses(&self, tenant: Option<&str>, client_id: &str) -> bool {
        match self {
            Self::Shadow => false,
            Self::Canary { share, tenants } => {
                let mut hasher = DefaultHasher::new();
                client_id.hash(&mut hasher);
                hasher.finish() % u64::from(EVERYBODY) < u64::from(*share)
                    || tenant.is_some_and(|tenant| tenants.contains(tenant))
            }
        }
    }
}

/// A candidate at a step.
pub struct Trial {
    pub version: Version,
    pub stage: Stage,
    pub differences: Arc<Differences>,
}

/// How the answers of a version in shadow differ from those in force.
#[derive(Debug, Default)]
pub struct Differences {
    compared: AtomicU64,
    differing: AtomicU64,
    samples: Mutex<VecDeque<Difference>>,
}

/// One question that two versions answer differently.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Difference {
    /// Milliseconds since 1970.
    pub at: u64,
    pub tenant: String,
    pub client_id: String,
    /// The topic or the filter; empty for connect.
    pub topic: String,
    /// As [`Answer::describe`].
    pub active: Value,
    pub candidate: Value,
}

/// Differences that are kept; new ones take the place of the oldest.
const SAMPLES: usize = 32;

impl Differences {
    /// Takes account of one question and both answers.
    pub fn compare<T: Answer>(
        &self,
        active: &Result<T, StepFailure>,
        candidate: &Result<T, StepFailure>,
        whose: impl FnOnce() -> (String, String, String),
    ) {
        self.compared.fetch_add(1, Relaxed);
        let same = match (active, candidate) {
            (Ok(active), Ok(candidate)) => active == candidate,
            (Err(active), Err(candidate)) => active.kind == candidate.kind,
            _ => false,
        };
        if same {
            return;
        }
        self.differing.fetch_add(1, Relaxed);
        let (tenant, client_id, topic) = whose();
        let (active, candidate) = (described(active), described(candidate));
        let difference = Difference { at: now(), tenant, client_id, topic, active, candidate };
        let mut samples = self.samples.lock();
        if samples.len() >= SAMPLES {
            samples.pop_front();
        }
        samples.push_back(difference);
    }

    /// Questions that both were asked.
    pub fn compared(&self) -> u64 {
        self.compared.load(Relaxed)
    }

    pub fn differing(&self) -> u64 {
        self.differing.load(Relaxed)
    }

    /// The latest differences, oldest first.
    pub fn samples(&self) -> Vec<Difference> {
        self.samples.lock().iter().cloned().collect()
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeliverVerdict, FailureKind};

    #[test]
    fn a_share_of_clients_is_chosen_for_good_and_grows_with_the_share() {
        let chosen = |share| {
            let stage = Stage::Canary { share, tenants: BTreeSet::new() };
            (0..10_000)
                .map(|number| format!("client-{number}"))
                .filter(|client_id| stage.chooses(Some("acme"), client_id))
                .collect::<BTreeSet<_>>()
        };
        let (tenth, half) = (chosen(1_000), chosen(5_000));
        assert!((800..1_200).contains(&tenth.len()), "{}", tenth.len());
        assert!(tenth.is_subset(&half));
        assert_eq!((chosen(0).len(), chosen(EVERYBODY).len()), (0, 10_000));
    }

    #[test]
    fn a_tenant_is_chosen_as_a_whole() {
        let stage = Stage::Canary { share: 0, tenants: ["acme".into()].into() };
        assert!(stage.chooses(Some("acme"), "a"));
        assert!(!stage.chooses(Some("other"), "a") && !stage.chooses(None, "a"));
    }

    #[test]
    fn differences_are_counted_and_some_are_kept() {
        let differences = Differences::default();
        let whose = || ("acme".to_owned(), "a".to_owned(), "t".to_owned());
        let failure = |kind| Err(StepFailure::new(kind, "x"));
        differences.compare(&Ok(DeliverVerdict::Pass), &Ok(DeliverVerdict::Pass), whose);
        differences.compare::<DeliverVerdict>(
            &failure(FailureKind::Error),
            &failure(FailureKind::Error),
            whose,
        );
        assert_eq!((differences.compared(), differences.differing()), (2, 0));
        for _ in 0..SAMPLES + 3 {
            differences.compare(&Ok(DeliverVerdict::Pass), &Ok(DeliverVerdict::Drop), whose);
        }
        differences.compare(&Ok(DeliverVerdict::Pass), &failure(FailureKind::Timeout), whose);
        assert_eq!(differences.differing() as usize, SAMPLES + 4);
        let samples = differences.samples();
        assert_eq!(
            (samples.len(), samples[0].candidate["verdict"].as_str().unwrap()),
            (SAMPLES, "drop")
        );
        assert_eq!(samples[SAMPLES - 1].candidate["failed"], "timeout");
    }
}
