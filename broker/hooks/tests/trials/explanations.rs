//! What is recorded, logged and explained of questions.

use std::time::Duration;

use hookmq_codec::Qos;
use hookmq_hooks::{
    Access, Action, ConnectAttempt, Decision, Explain, Hook, Pipeline, Question, Stage, note,
};

use super::{
    Noticing, Scripted, client, drop_it, emit, message, parts, pass, pipeline, pipeline_that,
    publish,
};

#[test]
fn questions_are_recorded_with_their_answers() {
    let active = Scripted::new("1", drop_it);
    let pipeline = pipeline(Hook::Publish, parts(&active, None));
    publish(&pipeline, &client(), "t", &Noticing::default());
    let recorded = pipeline.steps(Hook::Publish)[0].recorder.recorded();
    let [only] = &recorded[..] else { panic!("one question") };
    assert_eq!((only.question.topic(), only.question.whose()), ("t", ("acme", "u", "a")));
    assert_eq!(only.answer["verdict"], "drop");
}

#[test]
fn a_step_explains_real_answers_in_the_log_without_payloads_and_not_too_often() {
    let active = Scripted::new("1", |message| {
        note("line", || "rule.rhai:3".into());
        emit(message)
    });
    let pipeline = pipeline_that(Explain::Log, Hook::Publish, parts(&active, None));
    let seen = Noticing::default();
    for _ in 0..50 {
        publish(&pipeline, &client(), "t", &seen);
    }
    explain(&pipeline, &Question::Publish(client(), message("t")));
    let logged = seen.logged.lock().unwrap();
    // More than one second may have begun.
    assert!((10..50).contains(&logged.len()), "{}", logged.len());
    for (text, _) in &*logged {
        assert!(text.starts_with("acme a t ") && text.contains("rule.rhai:3"), "{text}");
        assert!(text.contains(r#""payload":{"bytes":3}"#) && !text.contains("new"), "{text}");
    }
    assert_eq!(logged[0].1, 0);
    assert_eq!(active.asked(), 51);
}

#[test]
fn explaining_a_connect_compares_nothing() {
    let (active, candidate) = (Scripted::new("1", pass), Scripted::new("2", pass));
    let parts = parts(&active, Some((&candidate, Stage::Shadow)));
    let pipeline = pipeline(Hook::Connect, parts);
    let attempt = ConnectAttempt {
        connection: client().connection.clone(),
        certificate: None,
        client_id: "c".into(),
        username: None,
        password: None,
        authentication: None,
        waited: Default::default(),
        identity: Default::default(),
    };
    explain(&pipeline, &Question::connect(&attempt));
    let trial = pipeline.steps(Hook::Connect)[0].trial.as_ref().unwrap();
    assert_eq!(trial.differences.compared(), 0);
}

fn explain(pipeline: &Pipeline, question: &Question) -> hookmq_hooks::Explanation {
    let mut explaining = Box::pin(pipeline.explain(question));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match explaining.as_mut().poll(&mut context) {
        std::task::Poll::Ready(explanation) => explanation,
        std::task::Poll::Pending => panic!("the programs are ready at once"),
    }
}

#[test]
fn an_explanation_shows_each_step_and_leaves_no_trace() {
    let active = Scripted::new("1", emit);
    let pipeline = pipeline(Hook::Publish, parts(&active, None));
    let explained = explain(&pipeline, &Question::Publish(client(), message("t")));
    assert_eq!(explained.outcome["message"]["payload"], "new");
    assert_eq!(explained.outcome["emitted"].as_array().unwrap().len(), 3);
    let [trace] = &explained.steps[..] else { panic!("one step") };
    assert_eq!((trace.position, &*trace.program.version), (1, "1"));
    assert_eq!(trace.answer.as_ref().unwrap()["patch"]["payload"], "new");
    let step = &pipeline.steps(Hook::Publish)[0];
    assert_eq!((step.active.meter.calls(), step.recorder.recorded().len()), (0, 0));
}

#[test]
fn an_explanation_names_what_a_step_relied_on_and_why_one_was_not_asked() {
    let active = Scripted::new("1", pass);
    let pipeline = pipeline(Hook::Authorize, parts(&active, None));
    let access = Access {
        action: Action::Publish,
        topic: "t",
        qos: Qos::AtMostOnce,
        retain: false,
        share_name: None,
    };
    let explained = explain(&pipeline, &Question::Authorize(client(), (&access).into()));
    assert_eq!(explained.outcome["allowed_up_to_qos"], 2);
    assert_eq!(explained.steps[0].notes[0].text, "42");
    let (decision, _) = pipeline.authorize(&client(), &access, &Noticing::default());
    assert_eq!(decision, Decision::Allowed { maximum_qos: Qos::ExactlyOnce });
    let publish = explain(&pipeline, &Question::Publish(client(), message("t")));
    assert!(publish.steps.is_empty());
    assert!(explained.steps[0].microseconds < Duration::from_secs(60).as_micros() as u64);
}
