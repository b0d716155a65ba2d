//! What the broker has room for, in one of its lives.

use hookmq_tests::broker::OPEN_LISTENER;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// None of them is a reason to lose or refuse a message.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of the store's log between two checkpoints.
    checkpoint_bytes: u32,
    /// Changes that wait for the disk, and their bytes: publishers wait beyond.
    queued_changes: u32,
    queued_bytes: u32,
    inflight: Inflight,
}

/// Messages towards one client.
#[derive(Debug, Clone, Copy)]
struct Inflight {
    maximum: u16,
    /// Of shared subscriptions.
    shared: u16,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            checkpoint_bytes: 16 << 20,
            queued_changes: 1 << 16,
            queued_bytes: 64 << 20,
            inflight: Inflight { maximum: 1024, shared: 100 },
        }
    }
}

impl Inflight {
    fn choose(rng: &mut StdRng) -> Self {
        match rng.random_ratio(1, 2) {
            true => Self { maximum: rng.random_range(1..=20), shared: rng.random_range(1..=20) },
            false => Bounds::default().inflight,
        }
    }
}

impl Bounds {
    pub fn wide(rng: &mut StdRng) -> Self {
        Self { inflight: Inflight::choose(rng), ..Self::default() }
    }

    pub fn narrow(rng: &mut StdRng) -> Self {
        let inflight = Inflight::choose(rng);
        let mut one_of = |values: &[u32]| *values.choose(rng).expect("there are some");
        let checkpoint_bytes = one_of(&[4 << 10, 64 << 10, 1 << 20]);
        let queued_changes = one_of(&[2, 50, 1 << 16]);
        let queued_bytes = one_of(&[1 << 10, 64 << 20]);
        Self { checkpoint_bytes, queued_changes, queued_bytes, inflight }
    }

    /// The whole configuration.
    pub fn yaml(&self) -> String {
        let Self { checkpoint_bytes, queued_changes, queued_bytes, inflight } = self;
        let Inflight { maximum, shared } = inflight;
        format!(
            "data_dir: data
listeners: [{{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}]
store:
  checkpoint_bytes: {checkpoint_bytes}
  queued_changes: {queued_changes}
  queued_bytes: {queued_bytes}
limits:
  maximum_inflight: {maximum}
  shared_inflight: {shared}
pipeline:
  connect: [{{builtin: anonymous}}]
  authorize: [{{builtin: open}}]
"
        )
    }
}
