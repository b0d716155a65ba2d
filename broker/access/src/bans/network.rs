//! Networks by the addresses in them.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Ban;

/// Bans of networks. A look-up costs one step for each length of prefix that occurs.
#[derive(Debug, Default)]
pub(super) struct Networks {
    bans: HashMap<(IpAddr, u8), Ban>,
    /// Lengths of prefixes that occur.
    lengths_v4: BTreeSet<u8>,
    lengths_v6: BTreeSet<u8>,
}

/// Bits of an IPv6 address before the IPv4 address that is mapped into it.
const MAPPED: u8 = 96;

impl Networks {
    pub(super) fn insert(&mut self, first: IpAddr, bits: u8, ban: Ban) {
        match first {
            IpAddr::V4(_) => self.lengths_v4.insert(bits),
            IpAddr::V6(_) => self.lengths_v6.insert(bits),
        };
        let place = self.bans.entry((first, bits));
        place.and_modify(|it| *it = ban.clone().or_longer(Some(it.clone()))).or_insert(ban);
    }

    /// A ban that `counts` of a network that `address` is in.
    pub(super) fn find(&self, address: IpAddr, counts: impl Fn(&Ban) -> bool) -> Option<&Ban> {
        let address = address.to_canonical();
        let lengths = match address {
            IpAddr::V4(_) => &self.lengths_v4,
            IpAddr::V6(_) => &self.lengths_v6,
        };
        let mut around =
            lengths.iter().filter_map(|&bits| self.bans.get(&(mask(address, bits), bits)));
        around.find(|ban| counts(ban))
    }
}

/// `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`: the first address, and the bits of the prefix.
pub(super) fn read(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        None => (text.parse::<IpAddr>().ok()?, None),
        Some((address, bits)) => (address.parse().ok()?, Some(bits.parse::<u8>().ok()?)),
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    if bits > width {
        return None;
    }
    match address.to_canonical() {
        // Clients are compared as IPv4 where they are.
        v4 @ IpAddr::V4(_) if address.is_ipv6() && bits >= MAPPED => {
            Some((mask(v4, bits - MAPPED), bits - MAPPED))
        }
        _ => Some((mask(address, bits), bits)),
    }
}

/// The first address of the network; `bits` is at most the width.
fn mask(address: IpAddr, bits: u8) -> IpAddr {
    let without = |width: u8| u32::from(width.saturating_sub(bits));
    match address {
        IpAddr::V4(it) => {
            let mask = u32::MAX.checked_shl(without(32)).unwrap_or(0);
            Ipv4Addr::from_bits(it.to_bits() & mask).into()
        }
        IpAddr::V6(it) => {
            let mask = u128::MAX.checked_shl(without(128)).unwrap_or(0);
            Ipv6Addr::from_bits(it.to_bits() & mask).into()
        }
    }
}
