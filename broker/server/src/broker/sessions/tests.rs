//! Who has a session while its connection does not let go of it.

use hookmq_hooks::{Blueprint, Hook, Pipeline, Program, StepSpec};
use hookmq_store::{Change, HeldStore, Room, Store};

use super::*;

struct Scene {
    broker: Arc<Broker>,
    tenant: Arc<Tenant>,
    client: Arc<Client>,
    store: Arc<HeldStore>,
}

/// A connection that has taken the place of another, and waits for its session.
struct Claim {
    control: Arc<Control>,
    handle: Arc<SessionHandle>,
    reply: oneshot::Receiver<Left>,
}

fn scene() -> Scene {
    let no_steps = |_: Hook, _: usize, _: &StepSpec| -> Arc<dyn Program> { unreachable!() };
    let pipeline = Pipeline::assemble(1, &Blueprint::default(), no_steps);
    let store = Arc::new(HeldStore::default());
    let broker = Broker::new(
        pipeline.unwrap(),
        Default::default(),
        Default::default(),
        Default::default(),
        store.clone(),
        None,
        Default::default(),
    );
    let tenant = broker.tenant(&"t".into());
    let (budget, steps) = (tenant.budget.clone(), tenant.steps.clone());
    let client = Client::named("t".into(), "c".into(), "u".into(), budget, steps);
    Scene { broker, tenant, client: Arc::new(client), store }
}

impl Scene {
    fn place(&self) -> Place {
        self.broker.admit_to_tenant(&self.tenant, &self.client).unwrap()
    }

    async fn open(&self) -> Result<OpenedSession, ReasonCode> {
        let place = self.place();
        let opened = self.broker.open_session(&self.tenant, &self.client, false, place).await;
        opened.map(|(opened, _)| opened)
    }

    /// A connection with a session that lasts and that the store knows.
    async fn begin(&self) -> OpenedSession {
        let mut opened = self.open().await.unwrap();
        opened.session.expiry_interval = 3600;
        opened.handle.set_durable(true);
        opened.handle.set_stored();
        opened
    }

    fn claim(&self) -> Claim {
        let control = Arc::new(Control::new(self.client.clone(), self.place()));
        let found = self.broker.find_session(&self.tenant, &self.client, &control);
        let Ok(Found::InUse(handle, reply)) = found else { panic!("somebody has it") };
        Claim { control, handle, reply }
    }

    /// As a claim ends that has waited in vain.
    fn give_up(&self, claim: Claim) {
        let Claim { control, handle, reply } = claim;
        drop(reply);
        self.broker.give_up(&self.tenant, &handle, &control);
    }

    fn leave(&self, opened: OpenedSession) {
        self.broker.leave_session(&self.tenant, opened, VecDeque::new(), None);
    }

    fn ends(&self) -> usize {
        let changes = self.store.commits();
        let ended = |it: &&Change| matches!(it, Change::SessionEnded { .. });
        changes.iter().flatten().filter(ended).count()
    }
}

#[tokio::test]
async fn a_session_that_is_let_go_of_too_late_waits_for_its_client() {
    let scene = scene();
    let slow = scene.begin().await;
    let handle = slow.handle.clone();
    scene.give_up(scene.claim());
    assert_eq!(scene.open().await.err(), Some(ReasonCode::ServerBusy));
    assert_eq!(scene.ends(), 0, "it still has what it holds of shared subscriptions");
    scene.leave(slow);
    let resumed = scene.open().await.unwrap();
    assert!(resumed.present && Arc::ptr_eq(&resumed.handle, &handle));
    assert_eq!(scene.ends(), 0);
}

#[tokio::test]
async fn so_does_one_for_which_several_have_waited() {
    for slow_is_last in [true, false] {
        let scene = scene();
        let slow = scene.begin().await;
        let (first, second) = (scene.claim(), scene.claim());
        match slow_is_last {
            true => {
                scene.give_up(first);
                scene.give_up(second);
                scene.leave(slow);
            }
            false => {
                drop(first.reply);
                scene.leave(slow);
                scene.broker.give_up(&scene.tenant, &first.handle, &first.control);
                drop(first.control);
                scene.give_up(second);
            }
        }
        assert!(scene.open().await.unwrap().present, "{slow_is_last}");
        assert_eq!(scene.ends(), 0);
    }
}

#[tokio::test]
async fn one_that_was_handed_on_stays_with_whoever_has_it_now() {
    let scene = scene();
    let slow = scene.begin().await;
    let (first, second) = (scene.claim(), scene.claim());
    scene.leave(slow);
    scene.give_up(second);
    assert_eq!(scene.open().await.err(), Some(ReasonCode::ServerBusy));
    assert_eq!(scene.ends(), 0, "the first has it");
    let Claim { control, handle, reply } = first;
    let Left { session, .. } = reply.await.unwrap();
    let opened = OpenedSession { handle, control, session, present: true, shares: Vec::new() };
    scene.leave(opened);
    assert!(scene.open().await.unwrap().present);
    assert_eq!(scene.ends(), 0);
}

#[tokio::test]
async fn a_session_whose_connection_has_gone_without_leaving_it_ends() {
    let scene = scene();
    drop(scene.begin().await);
    let claim = scene.claim();
    assert!(receive(claim.reply).await.is_none(), "nobody is there to answer");
    scene.broker.give_up(&scene.tenant, &claim.handle, &claim.control);
    let (place, clean_start) = (scene.place(), false);
    let opened = scene.broker.open_session(&scene.tenant, &scene.client, clean_start, place).await;
    let (opened, forgotten) = opened.unwrap();
    assert!(!opened.present);
    assert_eq!(scene.ends(), 1);
    assert!(forgotten > scene.store.durable(), "whoever is told so waits until it has ended");
}

#[tokio::test]
async fn a_session_that_cannot_be_read_goes_on() {
    let scene = scene();
    let mut opened = scene.begin().await;
    opened.session.recovered = Some(Recovered::Away);
    scene.leave(opened);
    scene.store.set_room(Room::Failed);
    for _ in 0..3 {
        assert_eq!(scene.open().await.err(), Some(ReasonCode::ServerUnavailable));
    }
    assert_eq!(scene.ends(), 0);
}
