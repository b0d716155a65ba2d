//! Clients that connect again and again: who comes too often is kept out for a while.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use hashlink::LruCache;
use hookmq_hooks::Client;
use parking_lot::Mutex;

/// How often a client may connect.
#[derive(Debug, Clone)]
pub struct FlappingOptions {
    /// Connections of one client id of one principal within the window. None: any number.
    pub per_client_id: Option<NonZeroU32>,
    /// Connections of one principal within the window, all client ids together. None: any number.
    pub per_principal: Option<NonZeroU32>,
    pub window: Duration,
    /// How long a client that came too often is kept out.
    pub hold: Duration,
    /// Clients, and principals, that are remembered. Whoever was seen longest ago is forgotten for
    /// another.
    pub remembered: usize,
}

pub(crate) struct Flapping {
    options: FlappingOptions,
    hasher: RandomState,
    known: Mutex<Known>,
}

struct Known {
    clients: LruCache<u64, Visits>,
    principals: LruCache<u64, Visits>,
}

#[derive(Debug, Clone, Copy)]
struct Visits {
    count: u32,
    since: Instant,
    held_until: Option<Instant>,
}

impl Default for FlappingOptions {
    fn default() -> Self {
        Self {
            per_client_id: None,
            per_principal: None,
            window: Duration::from_secs(60),
            hold: Duration::from_secs(60),
            remembered: 16_384,
        }
    }
}

impl Flapping {
    pub(super) fn new(options: FlappingOptions) -> Self {
        let remembered = options.remembered;
        let known = Mutex::new(Known {
            clients: LruCache::new(remembered),
            principals: LruCache::new(remembered),
        });
        Self { options, hasher: RandomState::new(), known }
    }

    /// Counts a client that the connect steps have let in; false where it comes too often. The client id
    /// counts with its principal, so that nobody else can have it kept out.
    pub(crate) fn may_enter(&self, client: &Client, now: Instant) -> bool {
        let FlappingOptions { per_client_id, per_principal, .. } = self.options;
        if per_client_id.is_none() && per_principal.is_none() {
            return true;
        }
        let principal = (&*client.tenant, &*client.username);
        let one = self.hasher.hash_one((principal, &*client.client_id));
        let all = self.hasher.hash_one(principal);
        let mut known = self.known.lock();
        let one = self.visit(&mut known.clients, one, per_client_id, now);
        let all = self.visit(&mut known.principals, all, per_principal, now);
        one && all
    }

    fn visit(
        &self,
        of: &mut LruCache<u64, Visits>,
        key: u64,
        most: Option<NonZeroU32>,
        now: Instant,
    ) -> bool {
        let Some(most) = most else { return true };
        let first = Visits { count: 0, since: now, held_until: None };
        let mut visits = of.get(&key).copied().unwrap_or(first);
        match visits.held_until {
            // What is refused does not prolong it.
            Some(until) if now < until => return false,
            Some(_) => visits = first,
            None if now >= visits.since + self.options.window => visits = first,
            None => {}
        }
        visits.count += 1;
        if visits.count > most.get() {
            visits.held_until = Some(now + self.options.hold);
        }
        of.insert(key, visits);
        visits.held_until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_comes_too_often_is_kept_out_and_comes_again_afterwards() {
        let options = FlappingOptions { hold: 10 * SECOND, ..FlappingOptions::default() };
        let flapping = Flapping::new(options);
        let now = Instant::now();
        let visit = |key, now| {
            flapping.visit(&mut flapping.known.lock().clients, key, NonZeroU32::new(3), now)
        };
        assert!((0..3).all(|_| visit(1, now)));
        assert!(!visit(1, now + SECOND));
        assert!(visit(2, now + SECOND));
        assert!(!visit(1, now + 10 * SECOND));
        assert!(visit(1, now + 11 * SECOND));
    }

    #[test]
    fn who_comes_now_and_then_is_let_in() {
        let flapping = Flapping::new(FlappingOptions::default());
        let mut now = Instant::now();
        for _ in 0..100 {
            let most = NonZeroU32::new(3);
            assert!(flapping.visit(&mut flapping.known.lock().clients, 1, most, now));
            now += 30 * SECOND;
        }
    }

    #[test]
    fn no_more_is_remembered_than_is_configured() {
        let flapping = Flapping::new(FlappingOptions { remembered: 8, ..Default::default() });
        for key in 0..1000 {
            let mut known = flapping.known.lock();
            flapping.visit(&mut known.clients, key, NonZeroU32::new(3), Instant::now());
        }
        assert_eq!(flapping.known.lock().clients.len(), 8);
    }
}
