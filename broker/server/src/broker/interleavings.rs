//! Modules of the broker as they are, and stand-ins for what these need of others. It stands here so that
//! the crate `hookmq-interleavings`, whose module it is, finds them.

pub mod mailbox;
#[allow(dead_code, reason = "not all of it is called")]
pub mod session_handle;
pub mod sessions;
#[allow(dead_code, reason = "not all of it is called")]
pub mod share;

#[path = "../../interleavings/src/oneshot.rs"]
mod oneshot;
#[path = "../../interleavings/src/publisher.rs"]
pub mod publisher;
#[path = "../../interleavings/src/scene.rs"]
mod scene;
#[path = "../../interleavings/src/store.rs"]
mod store;
#[path = "../../interleavings/src/sync.rs"]
mod sync;
#[path = "../../interleavings/src/tenant.rs"]
pub mod tenant;
#[path = "../../interleavings/src/timers.rs"]
pub mod timers;

pub use scene::Broker;
pub use store::ModelStore;
pub use sync::with_patience;

pub mod meter {
    //! As the broker's, without what needs tenants.

    mod queued;

    use std::sync::Arc;

    pub use self::queued::QueuedBytes;

    /// Nothing is bounded.
    #[derive(Debug, Default)]
    pub struct Meter {
        pub queued: Arc<QueuedBytes>,
    }

    #[derive(Debug, Default)]
    pub struct Quota {
        pub sessions: Option<u64>,
    }

    #[derive(Debug, Clone, Copy)]
    pub enum Bound {
        Sessions,
    }

    #[derive(Debug, Default)]
    pub struct Place;

    impl Meter {
        pub fn quota(&self) -> Quota {
            Quota::default()
        }

        pub fn note(&self, bound: Bound) {
            unreachable!("nothing bounds {bound:?}");
        }
    }

    impl QueuedBytes {
        /// With a bound, so that everything is counted.
        pub fn bounded(most: u64) -> Self {
            let account = Self::new(Default::default());
            account.bound(Some(most));
            account
        }

        /// Whether nothing is counted of the bytes that are its bound.
        pub fn is_empty(&self, most: u64) -> bool {
            self.has_room(most as usize)
        }
    }
}

mod memory {
    //! There is always enough of it.

    pub(crate) const FRUGAL: usize = 1 << 40;

    #[derive(Debug, Default)]
    pub(crate) struct Memory;

    impl Memory {
        pub(crate) fn is_short(&self) -> bool {
            false
        }
    }
}

mod metrics {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// As the broker's. Nobody waits for what it says.
    #[derive(Debug, Default)]
    pub(crate) struct Counter(AtomicU64);

    #[derive(Debug, Default)]
    pub(crate) struct Metrics {
        pub(crate) sessions_expired: Counter,
    }

    /// Nothing passes.
    #[derive(Debug, Default)]
    pub struct TenantTraffic(());

    impl Counter {
        pub(crate) fn add(&self, count: u64) {
            self.0.fetch_add(count, Relaxed);
        }

        pub(crate) fn value(&self) -> u64 {
            self.0.load(Relaxed)
        }
    }

    impl TenantTraffic {
        pub fn sum(&self) -> [u64; 4] {
            [0; 4]
        }
    }
}
