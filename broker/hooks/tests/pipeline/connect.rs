//! Who a client is, as the connect steps together say.

use hookmq_codec::ReasonCode;
use hookmq_hooks::{
    ConnectVerdict, Control, FailureKind, Hook, Identity, IdentityPatch, StepSpec, Voucher,
};

use super::{Answers, Counting, Scripted, assemble, attempt, failure, spec};

/// Futures of these programs are ready at once.
fn connect(steps: Vec<(Control, Answers<ConnectVerdict>)>) -> Result<Identity, ReasonCode> {
    let steps = steps.into_iter().map(|(control, answer)| {
        let program = Scripted { connect: Some(answer), ..Scripted::default() };
        (StepSpec { control, ..spec("step") }, program)
    });
    let pipeline = assemble(Hook::Connect, steps.collect());
    let mut attempt = attempt();
    let observer = Counting::default();
    let mut future = Box::pin(pipeline.connect(&mut attempt, &observer));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(result) = future.as_mut().poll(&mut context) else {
        panic!("the programs are ready at once");
    };
    drop(future);
    result.map(|_| attempt.identity).map_err(|refusal| refusal.reason_code)
}

fn named(username: &str) -> IdentityPatch {
    IdentityPatch { username: Some(username.into()), ..IdentityPatch::default() }
}

fn next(username: &'static str) -> Answers<ConnectVerdict> {
    Box::new(move || Ok(ConnectVerdict::Next(named(username))))
}

fn accept(username: &'static str) -> Answers<ConnectVerdict> {
    Box::new(move || Ok(ConnectVerdict::Accept(named(username))))
}

fn deny() -> Answers<ConnectVerdict> {
    let reason_code = ReasonCode::Banned;
    Box::new(move || Ok(ConnectVerdict::Deny { reason_code, reason: "no".into() }))
}

fn broken() -> Answers<ConnectVerdict> {
    Box::new(|| failure(FailureKind::Unavailable))
}

#[test]
fn control_words_have_the_meaning_that_pam_gives_them() {
    use Control::{Optional, Required, Sufficient};
    type Case =
        (&'static str, Vec<(Control, Answers<ConnectVerdict>)>, Result<&'static str, ReasonCode>);
    let table: Vec<Case> = vec![
        ("nobody asked", vec![], Err(ReasonCode::NotAuthorized)),
        ("nobody vouched", vec![(Required, next("a"))], Err(ReasonCode::NotAuthorized)),
        ("mapped, then accepted", vec![(Required, next("a")), (Required, accept("b"))], Ok("b")),
        ("accepted, then looked up", vec![(Required, accept("a")), (Required, next("b"))], Ok("b")),
        (
            "both required",
            vec![(Required, accept("a")), (Required, deny())],
            Err(ReasonCode::Banned),
        ),
        ("sufficient ends it", vec![(Sufficient, accept("a")), (Required, deny())], Ok("a")),
        ("sufficient may refuse", vec![(Sufficient, deny()), (Required, accept("b"))], Ok("b")),
        ("sufficient may fail", vec![(Sufficient, broken()), (Required, accept("b"))], Ok("b")),
        ("optional does not admit", vec![(Optional, accept("a"))], Err(ReasonCode::NotAuthorized)),
        ("optional does not refuse", vec![(Optional, deny()), (Required, accept("b"))], Ok("b")),
        (
            "a failure refuses",
            vec![(Required, accept("a")), (Required, broken())],
            Err(ReasonCode::ServerUnavailable),
        ),
    ];
    for (case, steps, expected) in table {
        let username = connect(steps).map(|identity| identity.username.unwrap().to_string());
        assert_eq!(username, expected.map(str::to_owned), "{case}");
    }
}

#[test]
fn an_attribute_remembers_the_step_or_whom_the_step_relies_upon() {
    let with = |name: &'static str, vouched_by: Option<Voucher>| -> Answers<ConnectVerdict> {
        Box::new(move || {
            let attributes = [(name.into(), "north".to_owned())].into();
            let vouched_by = vouched_by.clone();
            Ok(ConnectVerdict::Accept(IdentityPatch { attributes, vouched_by, ..named("a") }))
        })
    };
    let steps = [with("own", None), with("shown", Some(Voucher::Tls))];
    let identity = connect(steps.map(|step| (Control::Required, step)).into()).unwrap();
    let voucher = |name: &str| identity.attributes[name].vouched_by.clone();
    assert_eq!(voucher("own"), Voucher::Step("step".into()));
    assert_eq!(voucher("shown"), Voucher::Tls);
}

#[test]
fn a_step_that_names_nobody_has_failed() {
    let nameless = |change: fn(&mut IdentityPatch)| -> Answers<ConnectVerdict> {
        Box::new(move || {
            let mut patch = named("a");
            change(&mut patch);
            Ok(ConnectVerdict::Accept(patch))
        })
    };
    let changes: [fn(&mut IdentityPatch); 4] = [
        |patch| patch.tenant = Some("".into()),
        |patch| patch.username = Some("".into()),
        |patch| patch.client_id = Some("".into()),
        |patch| patch.tenant = Some("a\0b".into()),
    ];
    for change in changes {
        let alone = connect(vec![(Control::Required, nameless(change))]);
        assert_eq!(alone, Err(ReasonCode::UnspecifiedError));
        let other = connect(vec![
            (Control::Sufficient, nameless(change)),
            (Control::Required, accept("b")),
        ]);
        let identity = other.unwrap();
        assert_eq!((identity.tenant, identity.client_id), (None, None));
        assert_eq!(identity.username.as_deref(), Some("b"));
    }
}
