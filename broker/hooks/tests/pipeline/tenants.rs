//! Steps that tenants have made, at the places that the operator gives them.

use hookmq_hooks::{StepParts, TENANT_RULES, TenantAccount, TenantSteps, TenantStepsCell};
use parking_lot::Mutex;

use super::*;

/// The step that holds the place; it would answer, if anybody asked it.
fn place() -> (StepSpec, Scripted) {
    let program = Scripted {
        authorize: Some(Box::new(|| panic!("the place itself is asked"))),
        publish: Some(Box::new(|| panic!("the place itself is asked"))),
        ..Scripted::default()
    };
    (spec(TENANT_RULES), program)
}

/// Notes its name, and gives the message this topic.
fn moving(
    asked: &Arc<Mutex<Vec<String>>>,
    name: &str,
    topic: Option<&str>,
    also: impl Fn() + Send + Sync + 'static,
) -> Scripted {
    let (asked, name, topic) = (asked.clone(), name.to_owned(), topic.map(str::to_owned));
    let publish = move || {
        asked.lock().push(name.clone());
        also();
        let patch = MessagePatch { topic: topic.clone(), ..MessagePatch::default() };
        let verdict = match topic {
            Some(_) => PublishVerdict::Replace(patch),
            None => PublishVerdict::Pass,
        };
        Ok(PublishAnswer { verdict, emitted: vec![] })
    };
    Scripted { publish: Some(Box::new(publish)), ..Scripted::default() }
}

fn own(hook: Hook, name: &str, program: Scripted) -> (Hook, StepSpec, StepParts) {
    let program: Arc<dyn Program> = Arc::new(program);
    let account = Some(Arc::new(TenantAccount::default()));
    let name = ProgramName { kind: ProgramKind::Rule, name: name.into() };
    (hook, StepSpec { program: name, ..spec("") }, StepParts { account, ..program.into() })
}

fn client_of(cell: &Arc<TenantStepsCell>) -> Arc<Client> {
    Arc::new(Client { steps: cell.clone(), ..Client::clone(&client()) })
}

fn publish(pipeline: &Pipeline, client: &Arc<Client>, topic: &str) {
    let message = message(topic);
    let steps = pipeline.select(Hook::Publish, client, message.topic());
    pipeline.publish(&steps, client, message, &Counting::default());
}

#[test]
fn they_are_asked_at_their_place_and_by_their_own_tenant_alone() {
    let asked = Arc::default();
    let note = |name| moving(&asked, name, None, || ());
    let steps = vec![(spec("before"), note("before")), place(), (spec("behind"), note("behind"))];
    let pipeline = assemble(Hook::Publish, steps);
    let (has_some, has_none) = (Arc::<TenantStepsCell>::default(), Arc::default());
    let rules = ["1", "2"].map(|name| own(Hook::Publish, name, note(name)));
    has_some.store(TenantSteps::assemble(rules).unwrap());
    publish(&pipeline, &client_of(&has_none), "t");
    assert_eq!(std::mem::take(&mut *asked.lock()), ["before", "behind"]);
    publish(&pipeline, &client_of(&has_some), "t");
    assert_eq!(std::mem::take(&mut *asked.lock()), ["before", "1", "2", "behind"]);
    let only_a_place = assemble(Hook::Publish, vec![place()]);
    assert!(!only_a_place.may_ask(Hook::Publish, &client_of(&has_none)));
    assert!(only_a_place.may_ask(Hook::Publish, &client_of(&has_some)));
    assert!(pipeline.may_ask(Hook::Publish, &client_of(&has_none)));
}

#[test]
fn a_tenant_without_steps_for_a_hook_is_as_one_that_never_had_any() {
    let asked = Arc::default();
    let cell = Arc::<TenantStepsCell>::default();
    let client = client_of(&cell);
    let [publish, authorize] =
        [Hook::Publish, Hook::Authorize].map(|hook| assemble(hook, vec![place()]));
    let has =
        || (publish.may_ask(Hook::Publish, &client), authorize.may_ask(Hook::Authorize, &client));
    let rule = own(Hook::Publish, "rule", moving(&asked, "rule", None, || ()));
    cell.store(TenantSteps::assemble([rule]).unwrap());
    assert_eq!(has(), (true, false));
    let generation = cell.generation();
    cell.store(TenantSteps::default());
    assert_eq!((has(), cell.generation()), ((false, false), generation + 1));
}

#[test]
fn a_message_that_moves_stays_on_the_steps_that_it_has_begun_on() {
    for names in [&["new"][..], &[]] {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let cell = Arc::<TenantStepsCell>::default();
        let later =
            names.iter().map(|name| own(Hook::Publish, name, moving(&asked, name, None, || ())));
        // While the first is asked, a change takes both away.
        let later = Mutex::new(Some(TenantSteps::assemble(later).unwrap()));
        let changed = cell.clone();
        let change = move || changed.store(later.lock().take().unwrap());
        let first = own(Hook::Publish, "first", moving(&asked, "first", Some("u"), change));
        let second = own(Hook::Publish, "second", moving(&asked, "second", None, || ()));
        cell.store(TenantSteps::assemble([first, second]).unwrap());
        let before = cell.generation();
        let pipeline = assemble(Hook::Publish, vec![place()]);
        publish(&pipeline, &client_of(&cell), "t");
        assert_eq!(std::mem::take(&mut *asked.lock()), ["first", "second"]);
        assert_eq!(cell.generation(), before + 1);
        publish(&pipeline, &client_of(&cell), "t");
        assert_eq!(*asked.lock(), names);
    }
}

#[test]
fn what_a_tenant_allows_is_no_opinion_and_what_it_denies_counts() {
    let answers = |verdict: AuthorizeVerdict| Scripted {
        authorize: Some(Box::new(move || Ok(verdict.clone()))),
        ..Scripted::default()
    };
    let denial = hookmq_hooks::Denial { effect: Effect::Refuse, reason: "no".into() };
    let deny = AuthorizeVerdict::Deny(denial.clone());
    let cases = [
        (AuthorizeVerdict::Allow, None, false),
        (AuthorizeVerdict::AllowUpTo(Qos::AtMostOnce), None, false),
        (AuthorizeVerdict::AllowUpTo(Qos::AtMostOnce), Some(AuthorizeVerdict::Allow), true),
        (AuthorizeVerdict::Abstain, Some(AuthorizeVerdict::Allow), true),
        (deny, Some(AuthorizeVerdict::Allow), false),
    ];
    for (of_tenant, of_operator, allowed) in cases {
        let cell = Arc::<TenantStepsCell>::default();
        let rule = own(Hook::Authorize, "guard", answers(of_tenant.clone()));
        cell.store(TenantSteps::assemble([rule]).unwrap());
        let operators = of_operator.clone().map(|verdict| (spec("operator"), answers(verdict)));
        let steps = [place()].into_iter().chain(operators).collect();
        let pipeline = assemble(Hook::Authorize, steps);
        let access = Access {
            action: Action::Publish,
            topic: "t",
            qos: Qos::AtMostOnce,
            retain: false,
            share_name: None,
        };
        let (decision, _) = pipeline.authorize(&client_of(&cell), &access, &Counting::default());
        let is_allowed = decision == Decision::Allowed { maximum_qos: Qos::ExactlyOnce };
        assert_eq!(is_allowed, allowed, "{of_tenant:?} {of_operator:?} {decision:?}");
    }
}

#[test]
fn no_tenant_has_a_step_in_connect() {
    let program = Scripted {
        connect: Some(Box::new(|| Ok(ConnectVerdict::Next(Default::default())))),
        ..Scripted::default()
    };
    assert!(TenantSteps::assemble([own(Hook::Connect, "r", program)]).is_err());
}
