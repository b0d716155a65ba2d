//! What each address has: open connections, and a rate of new ones.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Bound;
use super::bucket::Bucket;
use crate::broker::limits::Limits;

/// The addresses that have connections, or had some a moment ago.
pub(super) struct Addresses {
    connections: Option<NonZeroU32>,
    rate: Option<NonZeroU32>,
    /// Addresses that may be known at a time; beyond it, an unknown one is refused.
    capacity: usize,
    known: Mutex<Known>,
}

struct Known {
    by_address: HashMap<IpAddr, Address>,
    /// Those who rest are forgotten when there are so many.
    forget_at: usize,
    /// When that was done last.
    forgot: Instant,
}

struct Address {
    connections: u32,
    rate: Bucket,
}

/// One connection of one address.
pub(super) struct AddressPlace {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

/// Addresses without a connection that are remembered, beside those with one.
const RECENT: usize = 1 << 16;

/// Below this, nobody is forgotten before he is gone.
const FEW: usize = 1024;

impl Addresses {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            connections: limits.connections_per_address,
            rate: limits.connection_rate_per_address,
            capacity: limits.connections.saturating_add(RECENT),
            known: Mutex::new(Known {
                by_address: HashMap::new(),
                forget_at: FEW,
                forgot: Instant::now(),
            }),
        }
    }

    /// A place for one more connection of `address`; none is needed where nothing is bounded.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        now: Instant,
    ) -> Result<Option<AddressPlace>, Bound> {
        if self.connections.is_none() && self.rate.is_none() {
            return Ok(None);
        }
        let address = network(address);
        let mut known = self.known.lock();
        known.forget(now, self.capacity);
        if known.by_address.len() >= self.capacity && !known.by_address.contains_key(&address) {
            return Err(Bound::ConnectionRatePerAddress);
        }
        let unknown = || Address { connections: 0, rate: Bucket::full(now) };
        let entry = known.by_address.entry(address).or_insert_with(unknown);
        if self.connections.is_some_and(|most| entry.connections >= most.get()) {
            return Err(Bound::ConnectionsPerAddress);
        }
        if self.rate.is_some_and(|rate| !entry.rate.take(rate, now)) {
            return Err(Bound::ConnectionRatePerAddress);
        }
        entry.connections += 1;
        Ok(Some(AddressPlace { addresses: self.clone(), address }))
    }
}

impl Known {
    /// Forgets those without connections whose rate is at rest: as often as they double, and at the
    /// capacity once a second, in which every rate lets one more come.
    fn forget(&mut self, now: Instant, capacity: usize) {
        let is_due = match self.by_address.len() >= capacity {
            true => now >= self.forgot + Duration::from_secs(1),
            false => self.by_address.len() >= self.forget_at,
        };
        if is_due {
            self.forgot = now;
            self.by_address
                .retain(|_, address| address.connections > 0 || !address.rate.is_full(now));
            self.by_address.shrink_to(FEW);
            self.forget_at = (2 * self.by_address.len()).max(FEW);
        }
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut known = self.addresses.known.lock();
        let Some(address) = known.by_address.get_mut(&self.address) else { return };
        address.connections -= 1;
        if address.connections == 0 && self.addresses.rate.is_none() {
            known.by_address.remove(&self.address);
        }
    }
}

/// What counts as one address: of IPv6 the network of 64 bits, as its owner has all of it.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(connections: u32, rate: u32) -> Arc<Addresses> {
        Arc::new(Addresses::new(&Limits {
            connections: 10,
            connections_per_address: NonZeroU32::new(connections),
            connection_rate_per_address: NonZeroU32::new(rate),
            ..Limits::default()
        }))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_connections_and_gets_a_place_back() {
        let addresses = addresses(2, 0);
        let now = Instant::now();
        let enter = |address: &str| addresses.enter(ip(address), now).map(|place| place.unwrap());
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").err(), Some(Bound::ConnectionsPerAddress));
        let _other = enter("192.0.2.2").unwrap();
        drop(first);
        let _third = enter("192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").err(), Some(Bound::ConnectionsPerAddress));
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address() {
        let addresses = addresses(1, 0);
        let now = Instant::now();
        let _one = addresses.enter(ip("2001:db8:0:1::1"), now).unwrap();
        let same = addresses.enter(ip("2001:db8:0:1:ffff::2"), now);
        assert_eq!(same.err(), Some(Bound::ConnectionsPerAddress));
        assert!(addresses.enter(ip("2001:db8:0:2::1"), now).is_ok());
    }

    #[test]
    fn each_address_has_its_own_rate() {
        let addresses = addresses(0, 2);
        let now = Instant::now();
        let enter = |address: &str, now| addresses.enter(ip(address), now).map(drop);
        assert_eq!(enter("192.0.2.1", now), Ok(()));
        assert_eq!(enter("192.0.2.1", now), Ok(()));
        assert_eq!(enter("192.0.2.1", now), Err(Bound::ConnectionRatePerAddress));
        assert_eq!(enter("192.0.2.2", now), Ok(()));
        assert_eq!(enter("192.0.2.1", now + Duration::from_millis(500)), Ok(()));
    }

    #[test]
    fn addresses_at_rest_are_forgotten_and_the_others_are_bounded() {
        let addresses = addresses(0, 1);
        let start = Instant::now();
        let many = |network: u32| (0..RECENT as u32).map(move |number| (network << 24) + number);
        for address in many(10) {
            addresses.enter(IpAddr::V4(address.into()), start).unwrap();
        }
        assert_eq!(addresses.known.lock().by_address.len(), RECENT);
        let refused = many(11)
            .filter(|address| addresses.enter(IpAddr::V4((*address).into()), start).is_err())
            .count();
        assert_eq!(addresses.known.lock().by_address.len(), addresses.capacity);
        assert_eq!(refused, RECENT - 10);
        let later = start + Duration::from_secs(3600);
        addresses.enter(ip("192.0.2.1"), later).unwrap();
        assert_eq!(addresses.known.lock().by_address.len(), 1);
    }

    #[test]
    fn without_a_rate_an_address_is_forgotten_with_its_last_connection() {
        let addresses = addresses(5, 0);
        let now = Instant::now();
        let places = [1, 2].map(|_| addresses.enter(ip("192.0.2.1"), now).unwrap());
        assert_eq!(addresses.known.lock().by_address.len(), 1);
        drop(places);
        assert_eq!(addresses.known.lock().by_address.len(), 0);
    }
}
