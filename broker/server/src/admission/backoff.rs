//! Failed authentications: who has failed too often waits before any step is asked again.
//!
//! See [decision 0051](../../../../docs/decisions/0051-who-fails-waits-but-not-those-who-are-known.md).

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use hashlink::LruCache;
use parking_lot::Mutex;

use super::addresses::network;

/// When, and for how long, those who fail are held back.
#[derive(Debug, Clone)]
pub struct BackoffOptions {
    /// Failures of one address within the window. None: it is never held back.
    pub per_address: Option<NonZeroU32>,
    /// Failures under one username within the window, whatever their addresses. None: never.
    pub per_username: Option<NonZeroU32>,
    pub window: Duration,
    /// Doubles with each failure that follows, up to `longest`.
    pub first: Duration,
    pub longest: Duration,
    /// Addresses, and usernames, and pairs of both that have succeeded, that are remembered. Whoever was
    /// seen longest ago is forgotten for another.
    pub remembered: usize,
}

/// Who says that he is who, from where.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    address: IpAddr,
    /// Of the listener and the username, or where there is none, the client id.
    name: u64,
}

/// By which name somebody comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimedName<'a> {
    Username(&'a str),
    /// Of whoever names no user.
    ClientId(&'a str),
}

/// What failures are remembered.
pub(crate) struct Backoff {
    options: BackoffOptions,
    /// Names are kept as hashes, so that their lengths cost nothing, under a key that nobody knows.
    hasher: RandomState,
    known: Mutex<Known>,
}

struct Known {
    addresses: LruCache<IpAddr, Failures>,
    names: LruCache<u64, Failures>,
    /// Who has authenticated from where, and how often that has failed since.
    proven: LruCache<(IpAddr, u64), u32>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// Of the last one.
    at: Instant,
    /// Zero while there were too few.
    hold: Duration,
}

impl Default for BackoffOptions {
    fn default() -> Self {
        Self {
            per_address: NonZeroU32::new(100),
            per_username: NonZeroU32::new(20),
            window: Duration::from_secs(60),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            remembered: 16_384,
        }
    }
}

impl Backoff {
    pub(super) fn new(options: BackoffOptions) -> Self {
        let remembered = options.remembered;
        let known = Mutex::new(Known {
            addresses: LruCache::new(remembered),
            names: LruCache::new(remembered),
            proven: LruCache::new(remembered),
        });
        Self { options, hasher: RandomState::new(), known }
    }

    pub(crate) fn claim(&self, address: IpAddr, listener: &str, name: ClaimedName<'_>) -> Claim {
        Claim { address: network(address), name: self.hasher.hash_one((listener, name)) }
    }

    /// Whether the claim may be examined now. Who has authenticated under the name at the address before is
    /// not held back, whoever else fails there; for a name that others have failed under, only addresses
    /// are that have failed themselves.
    pub(crate) fn may_try(&self, claim: Claim, now: Instant) -> bool {
        let mut known = self.known.lock();
        if known.proven.get(&(claim.address, claim.name)).is_some() {
            return true;
        }
        let window = self.options.window;
        let Some(of_address) = known.addresses.get(&claim.address).copied() else { return true };
        if of_address.is_forgiven(window, now) {
            return true;
        }
        let is_held = |of: Option<&Failures>| of.is_some_and(|it| now < it.at + it.hold);
        !is_held(Some(&of_address)) && !is_held(known.names.get(&claim.name))
    }

    /// The steps have refused the claim.
    pub(crate) fn failed(&self, claim: Claim, now: Instant) {
        let BackoffOptions { per_address, per_username, .. } = self.options;
        let mut known = self.known.lock();
        self.count(&mut known.addresses, claim.address, per_address, now);
        self.count(&mut known.names, claim.name, per_username, now);
        let pair = (claim.address, claim.name);
        if let Some(failures) = known.proven.get_mut(&pair) {
            *failures += 1;
            let most = per_username.or(per_address);
            if most.is_some_and(|most| *failures >= most.get()) {
                // It may be a neighbour who guesses.
                known.proven.remove(&pair);
            }
        }
    }

    /// The steps have accepted the claim: nothing is held against the address and the name any more.
    pub(crate) fn succeeded(&self, claim: Claim) {
        let mut known = self.known.lock();
        known.addresses.remove(&claim.address);
        known.names.remove(&claim.name);
        known.proven.insert((claim.address, claim.name), 0);
    }

    fn count<K: std::hash::Hash + Eq>(
        &self,
        of: &mut LruCache<K, Failures>,
        key: K,
        most: Option<NonZeroU32>,
        now: Instant,
    ) {
        let options = &self.options;
        let none = Failures { count: 0, at: now, hold: Duration::ZERO };
        let before = of.get(&key).filter(|it| !it.is_forgiven(options.window, now));
        let before = before.copied().unwrap_or(none);
        if now < before.at + before.hold {
            // It was let through before it was held back, with others: that counts once.
            return;
        }
        let count = before.count.saturating_add(1);
        let hold = match most {
            Some(most) if count >= most.get() => {
                (before.hold * 2).clamp(options.first.min(options.longest), options.longest)
            }
            _ => Duration::ZERO,
        };
        of.insert(key, Failures { count, at: now, hold });
    }
}

impl Failures {
    /// Whether a whole window has passed in peace.
    fn is_forgiven(&self, window: Duration, now: Instant) -> bool {
        now >= self.at + self.hold + window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff(remembered: usize) -> Backoff {
        Backoff::new(BackoffOptions {
            per_address: NonZeroU32::new(4),
            per_username: NonZeroU32::new(2),
            window: 60 * SECOND,
            first: SECOND,
            longest: 4 * SECOND,
            remembered,
        })
    }

    fn claim(backoff: &Backoff, address: &str, username: &str) -> Claim {
        backoff.claim(address.parse().unwrap(), "tls", ClaimedName::Username(username))
    }

    #[test]
    fn an_address_waits_twice_as_long_each_time_up_to_a_bound() {
        let backoff = backoff(100);
        let mut now = Instant::now();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let mut tries = names.map(|name| claim(&backoff, "192.0.2.1", name)).into_iter();
        for claim in tries.by_ref().take(4) {
            assert!(backoff.may_try(claim, now));
            backoff.failed(claim, now);
        }
        for hold in [SECOND, 2 * SECOND, 4 * SECOND, 4 * SECOND] {
            let claim = tries.next().unwrap();
            assert!(!backoff.may_try(claim, now + hold - Duration::from_millis(1)));
            now += hold;
            assert!(backoff.may_try(claim, now));
            backoff.failed(claim, now);
        }
        let neighbour = claim(&backoff, "192.0.2.2", "a");
        assert!(backoff.may_try(neighbour, now));
        assert!(backoff.may_try(claim(&backoff, "192.0.2.1", "x"), now + 64 * SECOND));
    }

    #[test]
    fn an_ipv6_network_of_64_bits_waits_as_one() {
        let backoff = backoff(100);
        let now = Instant::now();
        for number in 0..4 {
            backoff
                .failed(claim(&backoff, &format!("2001:db8::{number}"), &number.to_string()), now);
        }
        assert!(!backoff.may_try(claim(&backoff, "2001:db8::ffff", "x"), now));
        assert!(backoff.may_try(claim(&backoff, "2001:db8:0:1::1", "x"), now));
    }

    #[test]
    fn a_name_waits_wherever_its_failures_come_from_but_strangers_do_not_lock_it_out() {
        let backoff = backoff(100);
        let now = Instant::now();
        let [one, another] = ["192.0.2.1", "192.0.2.2"].map(|it| claim(&backoff, it, "pump"));
        backoff.failed(one, now);
        backoff.failed(another, now);
        assert!(!backoff.may_try(one, now) && !backoff.may_try(another, now));
        assert!(backoff.may_try(claim(&backoff, "192.0.2.1", "valve"), now));
        // Whoever comes from elsewhere and has not failed there.
        assert!(backoff.may_try(claim(&backoff, "198.51.100.1", "pump"), now));
    }

    #[test]
    fn who_is_known_at_an_address_is_not_held_back_for_others_there() {
        let backoff = backoff(100);
        let now = Instant::now();
        backoff.succeeded(claim(&backoff, "192.0.2.1", "pump"));
        for number in 0..50 {
            backoff.failed(claim(&backoff, "192.0.2.1", &number.to_string()), now);
        }
        let pump = claim(&backoff, "192.0.2.1", "pump");
        assert!(!backoff.may_try(claim(&backoff, "192.0.2.1", "valve"), now));
        assert!(backoff.may_try(pump, now));
        backoff.failed(pump, now);
        assert!(backoff.may_try(pump, now));
        backoff.failed(pump, now);
        assert!(!backoff.may_try(pump, now));
        assert!(backoff.may_try(claim(&backoff, "198.51.100.1", "pump"), now));
    }

    #[test]
    fn a_success_clears_the_address_and_the_name() {
        let backoff = backoff(100);
        let now = Instant::now();
        let pump = claim(&backoff, "192.0.2.1", "pump");
        (0..2).for_each(|_| backoff.failed(pump, now));
        backoff.failed(claim(&backoff, "192.0.2.1", "valve"), now);
        assert!(!backoff.may_try(pump, now));
        backoff.succeeded(claim(&backoff, "198.51.100.1", "pump"));
        assert!(backoff.may_try(pump, now));
    }

    #[test]
    fn failures_that_come_together_count_as_one_where_the_address_is_held_back() {
        let backoff = backoff(100);
        let now = Instant::now();
        for number in 0..100 {
            backoff.failed(claim(&backoff, "192.0.2.1", &number.to_string()), now);
        }
        assert!(backoff.may_try(claim(&backoff, "192.0.2.1", "x"), now + SECOND));
    }

    #[test]
    fn no_more_is_remembered_than_is_configured() {
        let backoff = backoff(64);
        let now = Instant::now();
        for number in 0..10_000u32 {
            let address = IpAddr::V4(number.into());
            let name = "x".repeat(number as usize);
            backoff.failed(backoff.claim(address, "tls", ClaimedName::Username(&name)), now);
            let other = IpAddr::V4((!number).into());
            backoff.succeeded(backoff.claim(other, "tls", ClaimedName::ClientId(&name)));
        }
        let known = backoff.known.lock();
        assert!(known.addresses.len() <= 64 && known.names.len() <= 64);
        assert_eq!(known.proven.len(), 64);
    }
}
