//! What one seed brings.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_store::{UnixMillis, WallClock, simulate_clock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use crate::client::{Client, Keep, Plan, Role};
use crate::defects::Defect;
use crate::disk::Failing;
use crate::history::{Event, History};
use crate::judge;
use crate::network::Weather;
use crate::world::World;

pub struct Outcome {
    pub violations: Vec<String>,
    pub events: Vec<Event>,
}

thread_local! {
    static BEGAN: RefCell<Option<Instant>> = const { RefCell::new(None) };
}

/// When every simulation begins.
const BEGINNING: UnixMillis = UnixMillis(1_700_000_000_000);

/// After this time everything that is due has come.
const PATIENCE: Duration = Duration::from_secs(120);

fn clock() -> WallClock {
    let now = Instant::now();
    let began = BEGAN.with(|it| *it.borrow()).unwrap_or(now);
    WallClock { instant: now.into_std(), unix: BEGINNING.after(now - began) }
}

pub fn run(seed: u64, defect: Option<Defect>) -> Outcome {
    simulate_clock(clock);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_park(hookmq::connection::rest)
        .build()
        .expect("a runtime");
    hookmq::connection::rest();
    LocalSet::new().block_on(&runtime, async {
        BEGAN.with(|it| *it.borrow_mut() = Some(Instant::now()));
        let history = History::new();
        let mut violations = play(seed, defect, history.clone()).await;
        let events = history.events();
        violations.extend(judge::judge(&events));
        Outcome { violations, events }
    })
}

/// Gives what was seen to be wrong on the way.
async fn play(seed: u64, defect: Option<Defect>, history: History) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let weather = Weather {
        latency: [1, 20, 300][random.random_range(0..3)],
        piece: [7, 200, 1 << 16][random.random_range(0..3)],
        capacity: [200, 2000, 1 << 16][random.random_range(0..3)],
    };
    let world = Rc::new(World::new(history, weather, defect, random.random()));
    world.disk.set_latency([0, 5, 100][random.random_range(0..3)]);
    world.start();
    let mut roles = vec![Role::Witness, Role::Member, Role::Member];
    roles.resize(roles.len() + random.random_range(2..6), Role::Ordinary);
    let clients = roles.into_iter().enumerate().map(|(number, role)| {
        let plan = Plan::any(&mut random, role);
        Client::new(number, plan, world.clone(), random.random())
    });
    let clients: Vec<_> = clients.collect();
    let living: Vec<_> = clients.iter().map(|it| spawn_local(it.clone().live())).collect();
    trouble(&world, &mut random).await;
    for client in living {
        client.await.expect("clients do not panic");
    }
    settle(&world, &clients).await;
    world.offences.take()
}

/// What a seed has fail, one after the other.
async fn trouble(world: &World, random: &mut StdRng) {
    for _ in 0..random.random_range(0..6) {
        sleep(Duration::from_millis(random.random_range(0..5000))).await;
        match random.random_range(0..10) {
            0..3 => {
                world.crash().await;
                sleep(Duration::from_millis(random.random_range(0..4000))).await;
                world.start();
            }
            3 => {
                world.stop().await;
                sleep(Duration::from_millis(random.random_range(0..4000))).await;
                world.start();
            }
            4..7 => {
                let (after, is_written) = (random.random_range(0..10), random.random());
                world.disk.fail(Some(Failing { after, is_written }));
                world.failure(Duration::from_secs(5)).await;
                sleep(Duration::from_millis(random.random_range(0..500))).await;
                world.crash().await;
                world.disk.fail(None);
                world.start();
            }
            7 => {
                let usual = [0, 5, 100][random.random_range(0..3)];
                world.disk.set_latency(4000);
                sleep(Duration::from_millis(random.random_range(0..8000))).await;
                world.disk.set_latency(usual);
            }
            _ => {
                for _ in 0..random.random_range(1..4) {
                    if let Some(link) = world.some_link() {
                        link.cut();
                    }
                }
            }
        }
    }
}

/// Nothing fails any more: whoever has a session comes back, something is published on every topic, and
/// what is due comes. Then somebody looks at what is retained.
async fn settle(world: &Rc<World>, clients: &[Rc<Client>]) {
    world.calm_down();
    for client in clients {
        client.settle().await;
    }
    let probe = visitor(world, clients.len());
    probe.settle().await;
    for topic in ["t/0", "t/1", "t/2", "s/0", "s/1"] {
        probe.publish(topic, Qos::ExactlyOnce, false, 0);
    }
    probe.settle().await;
    sleep(PATIENCE).await;
    let reader = visitor(world, clients.len() + 1);
    reader.settle().await;
    reader.subscribe("r/#", Qos::AtLeastOnce);
    sleep(Duration::from_secs(20)).await;
    for client in clients.iter().chain([&probe, &reader]).filter(|it| !it.is_settled()) {
        let offence =
            format!("client {} is not served, or not answered: {}", client.number, client.told());
        world.offences.borrow_mut().push(offence);
    }
}

fn visitor(world: &Rc<World>, number: usize) -> Rc<Client> {
    let plan = Plan {
        version: ProtocolVersion::V5,
        keep: Keep::Nothing,
        role: Role::Ordinary,
        receive_maximum: 100,
        will: None,
        is_slow: false,
        operations: 0,
    };
    Client::new(number, plan, world.clone(), number as u64)
}
