//! Which Argon2 computations have been made, for tests: what a login costs is not told by its time.

use argon2::Params;
use parking_lot::Mutex;

/// Memory in KiB, passes, lanes.
pub(crate) type Cost = (u32, u32, u32);

struct Begun {
    password: Vec<u8>,
    cost: Cost,
}

#[derive(Default)]
struct Ledger {
    begun: Vec<Begun>,
    running: Vec<Vec<u8>>,
    most: usize,
}

static LEDGER: Mutex<Ledger> =
    Mutex::new(Ledger { begun: Vec::new(), running: Vec::new(), most: 0 });

/// Runs until it is dropped.
pub(super) struct Computation(Vec<u8>);

pub(super) fn begin(password: &[u8], params: &Params) -> Computation {
    let cost = (params.m_cost(), params.t_cost(), params.p_cost());
    let mut ledger = LEDGER.lock();
    ledger.begun.push(Begun { password: password.to_vec(), cost });
    ledger.running.push(password.to_vec());
    let alike = ledger.running.iter().filter(|it| **it == password).count();
    ledger.most = ledger.most.max(alike);
    Computation(password.to_vec())
}

impl Drop for Computation {
    fn drop(&mut self) {
        let mut ledger = LEDGER.lock();
        if let Some(place) = ledger.running.iter().position(|it| *it == self.0) {
            ledger.running.swap_remove(place);
        }
    }
}

/// What was computed of this password.
pub(crate) fn of(password: &str) -> Vec<Cost> {
    let ledger = LEDGER.lock();
    let those = ledger.begun.iter().filter(|it| it.password == password.as_bytes());
    those.map(|it| it.cost).collect()
}

/// Most computations of one and the same password at once.
pub(crate) fn most_at_once() -> usize {
    LEDGER.lock().most
}
