//! Breakers of steps and budgets of tenants.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hookmq_hooks::{
    BreakerOptions, Breakers, FailureKind, Hook, Observer, PublishOutcome, Step, StepFailure,
    TenantRates,
};

use super::{
    Noticing, Scripted, client, client_of, emit, fail, parts, pass, passes, pipeline, publish,
};

#[test]
fn a_step_that_fails_again_and_again_is_left_alone_for_that_tenant() {
    let active = Scripted::new("1", |message| match message.topic().as_str() {
        "bad" => fail(message),
        _ => pass(message),
    });
    let pipeline = pipeline(Hook::Publish, parts(&active, None));
    let seen = Noticing::default();
    for _ in 0..10 {
        let outcome = publish(&pipeline, &client(), "bad", &seen);
        assert!(matches!(outcome, PublishOutcome::Dropped(_)), "by its failure policy");
    }
    assert_eq!((active.asked(), seen.opened.load(Relaxed)), (3, 1));
    assert_eq!(active.refreshed.load(Relaxed), 1);
    assert_eq!(seen.failures.load(Relaxed), 10);
    assert!(!passes(&publish(&pipeline, &client(), "good", &seen)));
    let other = client_of("other", "a", TenantRates::default());
    assert!(passes(&publish(&pipeline, &other, "good", &seen)));
    let meter = &pipeline.steps(Hook::Publish)[0].active.meter;
    assert_eq!(meter.failures(FailureKind::Error), 3);
    assert_eq!(meter.failures(FailureKind::BreakerOpen), 8);
}

#[test]
fn a_tenant_over_its_budget_is_held_back_and_no_other() {
    let active = Scripted::new("1", pass);
    let pipeline = pipeline(Hook::Publish, parts(&active, None));
    let rates = TenantRates { calls: NonZeroU32::new(2), ..TenantRates::default() };
    let (frugal, seen) = (client_of("acme", "a", rates), Noticing::default());
    let passed = (0..5).filter(|_| passes(&publish(&pipeline, &frugal, "t", &seen))).count();
    // The second may end in between.
    assert!((2..=4).contains(&passed), "{passed}");
    assert!(passes(&publish(&pipeline, &client(), "t", &seen)));
    assert!(frugal.budget.throttled() > 0);
    assert_eq!(seen.opened.load(Relaxed), 0, "the step is not to blame");
}

#[test]
fn a_call_over_the_budget_is_not_the_one_that_an_open_breaker_lets_through() {
    let active = Scripted::new("1", |message| match message.topic().as_str() {
        "bad" => fail(message),
        _ => pass(message),
    });
    let breaker = BreakerOptions { failures: 3, backoff: Duration::ZERO, ..Default::default() };
    let mut parts = parts(&active, None);
    parts.active.breakers = Arc::new(Breakers::new(breaker));
    let pipeline = pipeline(Hook::Publish, parts);
    let seen = Noticing::default();
    for _ in 0..3 {
        publish(&pipeline, &client(), "bad", &seen);
    }
    assert_eq!(seen.opened.load(Relaxed), 1);
    let rates = TenantRates { emitted: None, calls: NonZeroU32::new(1), busy_ms: None };
    let spent = client_of("acme", "a", rates);
    // The second that is used up begins in an hour.
    assert!(spent.budget.admits_call(Instant::now() + Duration::from_secs(3600)));
    assert!(!passes(&publish(&pipeline, &spent, "good", &seen)));
    assert!(passes(&publish(&pipeline, &client(), "good", &Closing)));
}

/// Does not mind that a breaker closes.
struct Closing;

impl Observer for Closing {
    fn step_failed(&self, _: &Step, _: &StepFailure) {}
}

#[test]
fn messages_beyond_the_budget_are_not_made_and_the_step_has_failed() {
    let active = Scripted::new("1", emit);
    let pipeline = pipeline(Hook::Publish, parts(&active, None));
    let rates = TenantRates { emitted: NonZeroU32::new(2), ..TenantRates::default() };
    let (frugal, seen) = (client_of("acme", "a", rates), Noticing::default());
    let outcome = publish(&pipeline, &frugal, "t", &seen);
    assert!(matches!(outcome, PublishOutcome::Dropped(_)));
    assert_eq!(seen.failures.load(Relaxed), 1);
}
