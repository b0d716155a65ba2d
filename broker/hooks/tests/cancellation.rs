//! Connect chains that are dropped at any point, and programs that panic at any point: the pipeline is as
//! good afterwards as before.

#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use hookmq_codec::ProtocolVersion;
use hookmq_hooks::{
    Blueprint, BoxFuture, ConnectAttempt, ConnectVerdict, ConnectionFacts, FailureKind, Hook,
    HookSet, Identity, IdentityPatch, Observer, Pipeline, Program, ProgramIdentity, ProgramKind,
    Recorder, RecorderOptions, Refusal, Secret, Stage, Step, StepFailure, StepParts, StepSpec,
    Trial, Version, is_rehearsed,
};

const CALLS: usize = 100_000;

/// Calls that have begun and neither ended nor been dropped.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Polls after which a program answers, and what it then does, are told by the client id.
struct Plan {
    pending: u32,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    Accept,
    Fail,
    Panic,
}

struct Planned {
    identity: ProgramIdentity,
    /// Which digits of the client id are this program's plan.
    place: usize,
}

impl Planned {
    fn new(place: usize) -> Arc<Self> {
        let identity = ProgramIdentity {
            kind: ProgramKind::Plugin,
            name: "planned".into(),
            version: String::new(),
            sha256: place.to_string(),
        };
        Arc::new(Self { identity, place })
    }

    fn plan(&self, client_id: &str) -> Plan {
        let digits = client_id.as_bytes();
        let digit = |place: usize| u32::from(digits[place] - b'0');
        let end = match digit(2 * self.place + 1) {
            0 => End::Fail,
            1 => End::Panic,
            _ => End::Accept,
        };
        Plan { pending: digit(2 * self.place) % 4, end }
    }
}

/// Counts a call for as long as it lives.
struct UnderWay;

impl UnderWay {
    fn begin() -> Self {
        UNDER_WAY.fetch_add(1, Relaxed);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Relaxed);
    }
}

impl Program for Planned {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet { connect: true, ..HookSet::default() }
    }

    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        let Plan { mut pending, end } = self.plan(&attempt.client_id);
        let under_way = UnderWay::begin();
        Box::pin(async move {
            poll_fn(|_| match pending.checked_sub(1) {
                None => Poll::Ready(()),
                Some(fewer) => {
                    pending = fewer;
                    Poll::Pending
                }
            })
            .await;
            drop(under_way);
            match end {
                End::Accept => Ok(ConnectVerdict::Accept(IdentityPatch::default())),
                End::Fail => Err(StepFailure::new(FailureKind::Error, "as it was told")),
                // A panic without a message on the terminal.
                End::Panic => resume_unwind(Box::new("as it was told")),
            }
        })
    }
}

struct Silent;

impl Observer for Silent {
    fn step_failed(&self, _: &Step, _: &StepFailure) {}
}

/// Three steps, the second with a candidate in shadow.
fn pipeline() -> Pipeline {
    let spec = StepSpec::new(ProgramKind::Plugin, "planned");
    let blueprint = Blueprint { connect: vec![spec; 3], ..Blueprint::default() };
    let version = |place| Version::from(Planned::new(place) as Arc<dyn Program>);
    Pipeline::assemble(1, &blueprint, |_, place, _| {
        let stage = Stage::Shadow;
        let trial = Trial { version: version(3), stage, differences: Arc::default() };
        let options = RecorderOptions { every: 1, ..RecorderOptions::default() };
        StepParts {
            active: version(place),
            trial: (place == 1).then(|| Arc::new(trial)),
            recorder: Arc::new(Recorder::new(options)),
            account: None,
        }
    })
    .unwrap()
}

fn attempt(client_id: &str) -> ConnectAttempt {
    ConnectAttempt {
        connection: ConnectionFacts {
            listener: "plain".into(),
            peer: None,
            protocol: ProtocolVersion::V5,
            encrypted: false,
        },
        certificate: None,
        client_id: client_id.into(),
        username: None,
        password: None,
        authentication: None,
        waited: Default::default(),
        identity: Identity::default(),
    }
}

/// Polls at most so often and drops what is not ready by then; a panic is caught, as a task's is.
fn connect(pipeline: &Pipeline, client_id: &str, polls: u32) -> Option<Result<Secret, Refusal>> {
    let mut attempt = attempt(client_id);
    let mut chain = Box::pin(pipeline.connect(&mut attempt, &Silent));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        match catch_unwind(AssertUnwindSafe(|| chain.as_mut().poll(&mut context))) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(answer)) => return Some(answer),
            Err(_) => return None,
        }
    }
    None
}

/// P05: the locks that calls take are free, and no call is left over.
#[test]
fn a_hundred_thousand_cancelled_and_panicking_calls_leave_nothing_behind() {
    let pipeline = pipeline();
    let mut random = 1_u32;
    let mut ended = [0_usize; 3];
    for _ in 0..CALLS {
        let mut digit = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'0' + (random >> 16) as u8 % 10)
        };
        let plan: String = (0..8).map(|_| digit()).collect();
        let polls = digit() as u32 - '0' as u32;
        match connect(&pipeline, &plan, polls) {
            None => ended[0] += 1,
            Some(Err(_)) => ended[1] += 1,
            Some(Ok(_)) => ended[2] += 1,
        }
        assert!(!is_rehearsed(), "{plan}, dropped after {polls} polls");
        assert_eq!(UNDER_WAY.load(Relaxed), 0, "{plan}, dropped after {polls} polls");
    }
    assert!(ended.iter().all(|count| *count > CALLS / 50), "each end often: {ended:?}");
    // Another thread takes every lock that a call takes.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in pipeline.steps(Hook::Connect) {
                assert!(!step.recorder.recorded().is_empty());
                assert!(step.active.meter.calls() > 0);
                for version in step.versions() {
                    assert!(version.breakers.open().len() <= 1);
                }
            }
            let trial = pipeline.steps(Hook::Connect)[1].trial.as_ref().unwrap();
            assert!(!trial.differences.samples().is_empty());
            assert!(matches!(connect(&pipeline, "09090909", 1), Some(Ok(_))));
        });
    });
}
