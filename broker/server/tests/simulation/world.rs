//! The broker's library on a simulated disk, behind a simulated network, under a simulated clock.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use hookmq::broker::Broker;
use hookmq::broker::limits::Limits;
use hookmq::broker::protocol::ProtocolOptions;
use hookmq::broker::recovery::Remains;
use hookmq::broker::sweep;
use hookmq::broker::timers::Timers;
use hookmq::connection::admit;
use hookmq_access::{AnonymousProgram, AnonymousSettings, OpenProgram};
use hookmq_codec::ProtocolVersion;
use hookmq_hooks::{Blueprint, ConnectionFacts, Hook, Pipeline, Program, ProgramKind, StepSpec};
use hookmq_store::{CheckpointBounds, Recovery, StoreBounds, StoreOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::defects::Defect;
use crate::disk::{Disk, SteppedStore};
use crate::history::{ALL, History, What};
use crate::network::{Link, Weather};

pub struct World {
    pub history: History,
    pub disk: Disk,
    pub defect: Option<Defect>,
    random: RefCell<StdRng>,
    life: RefCell<Option<Life>>,
    links: RefCell<Vec<Arc<Link>>>,
    weather: RefCell<Weather>,
    /// What the broker must never do, and no packet shows.
    pub offences: RefCell<Vec<String>>,
}

/// A broker from its start to its end.
struct Life {
    broker: Arc<Broker>,
    store: Arc<SteppedStore>,
    tasks: JoinSet<()>,
    /// The store has written all, or has failed.
    closed: oneshot::Receiver<()>,
}

/// What a stopping broker gives its clients.
const DRAIN: Duration = Duration::from_secs(5);

/// What no broker on an idle machine takes.
const FOREVER: Duration = Duration::from_secs(120);

impl World {
    pub fn new(history: History, weather: Weather, defect: Option<Defect>, seed: u64) -> Self {
        Self {
            history,
            defect,
            disk: Disk::default(),
            random: RefCell::new(StdRng::seed_from_u64(seed)),
            life: RefCell::default(),
            links: RefCell::default(),
            weather: RefCell::new(weather),
            offences: RefCell::default(),
        }
    }

    /// Starts a broker on what the disk holds.
    pub fn start(&self) {
        let checkpoint = CheckpointBounds { log: 8 << 10, piece: 2 << 10, trim: 16 };
        let bounds = StoreBounds { checkpoint, ..StoreBounds::default() };
        let options = StoreOptions { bounds, ..StoreOptions::new("simulated") };
        let recovery = Recovery::with_engine(Box::new(self.disk.clone()), &options);
        let mut recovery = recovery.expect("what was written can be read");
        let remains = Remains::read(&mut recovery).expect("what was written can be read");
        let (store, steps) = recovery.serve_in_steps();
        let store = Arc::new(SteppedStore::new(store, self.defect));
        let broker = broker(store.clone());
        broker.restore(remains);
        let (ended, closed) = oneshot::channel();
        let mut tasks = JoinSet::new();
        let random = StdRng::seed_from_u64(self.random.borrow_mut().random());
        let writing = store.clone().run(steps, self.disk.clone(), random);
        tasks.spawn(async {
            let _ = writing.await;
            // Whoever does not wait for it has no use for it.
            let _ = ended.send(());
        });
        tasks.spawn(Timers::run(broker.clone()));
        tasks.spawn(sweep::run(broker.clone()));
        self.history.note(ALL, What::Started);
        *self.life.borrow_mut() = Some(Life { broker, store, tasks, closed });
    }

    /// The broker is gone from one moment to the next, and with it what was not written.
    pub async fn crash(&self) {
        let Some(life) = self.life.take() else { return };
        self.history.note(ALL, What::Crashed);
        self.links.borrow().iter().for_each(|link| link.cut());
        self.bury(life).await;
    }

    /// The broker is told to stop, and does.
    pub async fn stop(&self) {
        let Some(mut life) = self.life.take() else { return };
        self.history.note(ALL, What::Stopping);
        life.broker.disconnect_all();
        let _ = timeout(DRAIN, life.broker.admission.all_gone()).await;
        life.store.close();
        if timeout(FOREVER, &mut life.closed).await.is_err() {
            self.offend("the store does not close");
        }
        self.links.borrow().iter().for_each(|link| link.cut());
        self.bury(life).await;
    }

    /// Waits until the disk has failed, or has had the time to.
    pub async fn failure(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && !self.has_failed() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn has_failed(&self) -> bool {
        let life = self.life.borrow();
        life.as_ref().is_some_and(|life| {
            hookmq_store::Store::room(&*life.store) == hookmq_store::Room::Failed
        })
    }

    async fn bury(&self, mut life: Life) {
        life.tasks.abort_all();
        while let Some(ended) = life.tasks.join_next().await {
            if ended.is_err_and(|it| it.is_panic()) {
                self.offend("a task of the broker has panicked");
            }
        }
    }

    fn offend(&self, what: &str) {
        self.offences.borrow_mut().push(what.to_owned());
    }

    /// A connection of `client`; none while there is no broker.
    pub fn connect(&self, client: usize, version: ProtocolVersion) -> Option<Arc<Link>> {
        let mut life = self.life.borrow_mut();
        let life = life.as_mut()?;
        let mut links = self.links.borrow_mut();
        let number = links.len();
        let seed = self.random.borrow_mut().random();
        let link = Link::new(number, version, *self.weather.borrow(), self.history.clone(), seed);
        links.push(link.clone());
        self.history.note(number, What::Opened { client });
        let now = Instant::now().into_std();
        let place = life.broker.admission.enter(now).ok()?;
        let arrival = life.broker.admission.arrive(now).ok()?;
        let facts = ConnectionFacts {
            listener: "simulated".into(),
            peer: None,
            protocol: version,
            encrypted: false,
        };
        let admitted = admit(life.broker.clone(), link.broker_end(), facts, None, arrival);
        life.tasks.spawn(async move {
            let _place = place;
            if let Some(connected) = admitted.await {
                connected.await;
            }
        });
        Some(link)
    }

    /// Some connection, if there is one.
    pub fn some_link(&self) -> Option<Arc<Link>> {
        let links = self.links.borrow();
        let open: Vec<_> = links.iter().filter(|link| !link.is_over()).collect();
        let number = self.random.borrow_mut().random_range(0..open.len().max(1));
        open.get(number).map(|link| (*link).clone())
    }

    /// Nothing fails from here on.
    pub fn calm_down(&self) {
        let mut weather = self.weather.borrow_mut();
        *weather = Weather { latency: 5, capacity: 1 << 16, ..*weather };
        self.links.borrow().iter().for_each(|link| link.calm_down());
        self.disk.fail(None);
        self.disk.set_latency(5);
        self.history.note(ALL, What::Calm);
    }
}

fn broker(store: Arc<SteppedStore>) -> Arc<Broker> {
    let step = |name: &str| StepSpec::new(ProgramKind::Builtin, name);
    let blueprint = Blueprint {
        connect: vec![step("anonymous")],
        authorize: vec![step("open")],
        ..Blueprint::default()
    };
    let pipeline = Pipeline::assemble(1, &blueprint, |hook, _, _| -> Arc<dyn Program> {
        match hook {
            Hook::Connect => Arc::new(AnonymousProgram::new(AnonymousSettings::default())),
            _ => Arc::new(OpenProgram::new()),
        }
    });
    let (limits, protocol) = (Limits::default(), ProtocolOptions::default());
    let pipeline = pipeline.expect("two builtins");
    Broker::new(pipeline, limits, protocol, Default::default(), store, None, Default::default())
}
