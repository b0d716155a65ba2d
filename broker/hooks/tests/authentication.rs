//! What the pipeline makes of a client that names an authentication method.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hookmq_codec::{ProtocolVersion, ReasonCode};
use hookmq_hooks::{
    Authentication, Blueprint, BoxFuture, ConnectAttempt, ConnectVerdict, ConnectionFacts, Control,
    Conversation, FailureKind, HookSet, Identity, IdentityPatch, Observer, Pipeline, Program,
    ProgramIdentity, ProgramKind, Secret, Step, StepFailure, StepSpec,
};

use Control::{Optional, Required, Sufficient};

/// What a step does about a client that asks for its method.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    /// Knows no method; the verdict is for everybody.
    Accept,
    Deny,
    /// Knows the method `echo`: the client must answer each challenge with the same bytes.
    Echo,
    /// Takes the exchange and gives one of the other verdicts instead of its end.
    TakeAndAccept,
    TakeAndFail,
}

struct Doing(Does, ProgramIdentity);

impl Program for Doing {
    fn identity(&self) -> &ProgramIdentity {
        &self.1
    }

    fn hooks(&self) -> HookSet {
        HookSet { connect: true, ..HookSet::default() }
    }

    fn knows_method(&self, method: &str) -> bool {
        !matches!(self.0, Does::Accept | Does::Deny) && method == "echo"
    }

    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        Box::pin(async move {
            let named = |username: &str| IdentityPatch {
                username: Some(username.into()),
                ..IdentityPatch::default()
            };
            let deny = |reason_code| ConnectVerdict::Deny { reason_code, reason: "no".into() };
            match self.0 {
                Does::Accept => return Ok(ConnectVerdict::Accept(named("anybody"))),
                Does::Deny => return Ok(deny(ReasonCode::Banned)),
                _ => {}
            }
            let wish = attempt.authentication.as_ref().filter(|it| it.method() == "echo");
            let Some(exchange) = wish.and_then(Authentication::begin) else {
                return Ok(ConnectVerdict::Next(IdentityPatch::default()));
            };
            match self.0 {
                Does::TakeAndAccept => return Ok(ConnectVerdict::Accept(named("taken"))),
                Does::TakeAndFail => {
                    return Err(StepFailure::new(FailureKind::Unavailable, "it broke"));
                }
                _ => {}
            }
            let opening = exchange.opening.expose().to_vec();
            let answer = exchange.challenge(opening.clone()).await;
            Ok(match answer.is_some_and(|answer| answer.expose() == opening) {
                true => ConnectVerdict::Authenticated {
                    patch: named("echo"),
                    data: Secret::new(b"bye".to_vec()),
                },
                false => deny(ReasonCode::NotAuthorized),
            })
        })
    }
}

/// A client that answers every challenge with these bytes, or not at all.
struct Answering(Option<&'static [u8]>);

impl Conversation for Answering {
    fn challenge<'a>(&'a self, _: Secret) -> BoxFuture<'a, Option<Secret>> {
        Box::pin(async { self.0.map(|bytes| Secret::new(bytes.to_vec())) })
    }
}

struct Unobserved;

impl Observer for Unobserved {
    fn step_failed(&self, _: &Step, _: &StepFailure) {}
}

fn method(name: &str, answer: Option<&'static [u8]>) -> Option<Authentication> {
    let opening = Secret::new(b"hello".to_vec());
    Some(Authentication::new(name.into(), opening, Arc::new(Answering(answer))))
}

/// The username and the last word, or the code of the refusal.
fn connect(
    steps: &[(Control, Does)],
    authentication: Option<Authentication>,
) -> Result<(String, Vec<u8>), ReasonCode> {
    let specs = steps.iter().enumerate().map(|(place, (control, _))| StepSpec {
        control: *control,
        ..StepSpec::new(ProgramKind::Builtin, place.to_string())
    });
    let blueprint = Blueprint { connect: specs.collect(), ..Blueprint::default() };
    let mut programs = steps.iter().map(|(_, does)| {
        let name = format!("{does:?}");
        let (version, sha256) = (String::new(), String::new());
        Doing(*does, ProgramIdentity { kind: ProgramKind::Builtin, name, version, sha256 })
    });
    let pipeline = Pipeline::assemble(1, &blueprint, |_, _, _| {
        programs.next().map(|it| Arc::new(it) as Arc<dyn Program>).unwrap()
    })
    .unwrap();
    let mut attempt = ConnectAttempt {
        connection: ConnectionFacts {
            listener: "plain".into(),
            peer: None,
            protocol: ProtocolVersion::V5,
            encrypted: false,
        },
        certificate: None,
        client_id: String::new(),
        username: None,
        password: None,
        authentication,
        waited: Default::default(),
        identity: Identity::default(),
    };
    let mut future = Box::pin(pipeline.connect(&mut attempt, &Unobserved));
    let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(result) = polled else { panic!("these clients answer at once") };
    drop(future);
    let last_word = result.map_err(|refusal| refusal.reason_code)?;
    let username = attempt.identity.username.map(|it| it.to_string()).unwrap_or_default();
    Ok((username, last_word.expose().to_vec()))
}

#[test]
fn a_method_that_is_carried_through_lets_in_and_its_last_word_is_handed_on() {
    let echo = Ok(("echo".to_owned(), b"bye".to_vec()));
    assert_eq!(connect(&[(Required, Does::Echo)], method("echo", Some(b"hello"))), echo);
    let behind = [(Sufficient, Does::Deny), (Sufficient, Does::Echo), (Required, Does::Deny)];
    assert_eq!(connect(&behind, method("echo", Some(b"hello"))), echo);
}

#[test]
fn a_method_that_no_step_carries_through_is_refused_whoever_else_accepts() {
    let bad_method = Err(ReasonCode::BadAuthenticationMethod);
    for control in [Required, Sufficient, Optional] {
        let steps = [(control, Does::Accept), (control, Does::Echo)];
        assert_eq!(connect(&steps, method("other", None)), bad_method, "{control:?}");
        assert_eq!(connect(&steps[..1], method("echo", None)), bad_method, "{control:?}");
    }
    assert_eq!(connect(&[], method("echo", None)), bad_method);
    let denied = [(Required, Does::Deny), (Required, Does::Echo)];
    assert_eq!(connect(&denied[..1], method("echo", None)), bad_method, "nobody is asked");
    assert_eq!(connect(&denied, method("echo", None)), Err(ReasonCode::Banned));
    let early = [(Sufficient, Does::Accept), (Required, Does::Echo)];
    assert_eq!(connect(&early, method("echo", Some(b"hello"))), bad_method);
}

#[test]
fn who_takes_the_exchange_and_does_not_end_it_refuses_for_good() {
    for control in [Required, Sufficient, Optional] {
        let then = |does| [(control, does), (Required, Does::Echo), (Required, Does::Accept)];
        let table = [
            (Does::Echo, Some(&b"wrong"[..]), ReasonCode::NotAuthorized),
            (Does::Echo, None, ReasonCode::NotAuthorized),
            (Does::TakeAndAccept, None, ReasonCode::NotAuthorized),
            (Does::TakeAndFail, None, ReasonCode::ServerUnavailable),
        ];
        for (does, answer, expected) in table {
            let refused = connect(&then(does), method("echo", answer));
            assert_eq!(refused, Err(expected), "{control:?} {does:?}");
        }
    }
}

#[test]
fn an_optional_method_still_needs_somebody_who_accepts() {
    let hello = || method("echo", Some(b"hello"));
    let alone = connect(&[(Optional, Does::Echo)], hello());
    assert_eq!(alone, Err(ReasonCode::NotAuthorized));
    let accepted = connect(&[(Optional, Does::Echo), (Required, Does::Accept)], hello());
    assert_eq!(accepted, Ok(("anybody".to_owned(), b"bye".to_vec())));
}

#[test]
fn a_step_for_a_method_passes_who_names_none() {
    let steps = [(Required, Does::Echo), (Required, Does::Accept)];
    assert_eq!(connect(&steps, None), Ok(("anybody".to_owned(), vec![])));
    assert_eq!(connect(&steps[..1], None), Err(ReasonCode::NotAuthorized));
}

#[test]
fn a_required_step_behind_the_method_may_still_refuse() {
    let steps = [(Required, Does::Echo), (Required, Does::Deny)];
    assert_eq!(connect(&steps, method("echo", Some(b"hello"))), Err(ReasonCode::Banned));
}

#[test]
fn authentication_data_is_not_shown() {
    let shown = format!("{:?}", method("echo", None).unwrap());
    assert_eq!(shown, r#"Authentication { method: "echo", .. }"#);
}
