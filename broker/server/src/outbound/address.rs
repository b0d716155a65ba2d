//! Which addresses the requests of plugins may go to.
//!
//! A name's owner chooses its addresses, so a name alone must not lead into the operator's own
//! network, to the broker's machine, or to a cloud's metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hookmq_wasm::Host;

use crate::config::Network;

/// Whether a request to the granted `host` may go to `address`. One that was granted literally may;
/// `localhost` and names below it are this machine and nothing else (RFC 6761 section 6.3); other
/// names lead to public addresses and to `networks`.
pub(super) fn may_reach(host: &Host, address: IpAddr, networks: &[Network]) -> bool {
    match host {
        Host::Address(granted) => *granted == address,
        Host::Name(_) if is_this_machine(host) => address.to_canonical().is_loopback(),
        Host::Name(_) => {
            is_public(address) || networks.iter().any(|network| network.contains(address))
        }
    }
}

/// By its name.
pub(super) fn is_this_machine(host: &Host) -> bool {
    matches!(host, Host::Name(name) if name == "localhost" || name.ends_with(".localhost"))
}

/// By the registries of special-purpose addresses (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network, private, loopback, link-local.
        [0 | 10 | 127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] => true,
        // Shared by a provider's customers, benchmarks, protocol assignments, the relays of 6to4.
        [100, 64..=127, ..] | [198, 18..=19, ..] | [192, 0, 0, _] | [192, 88, 99, _] => true,
        // Documentation.
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => true,
        _ => false,
    };
    !special
}

/// Of global unicast, what neither is for documentation nor leads to an IPv4 address inside.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => {
            false
        }
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(host: &str, address: &str) -> bool {
        let networks = ["10.1.0.0/16".parse().unwrap()];
        may_reach(&host.parse().unwrap(), address.parse().unwrap(), &networks)
    }

    #[test]
    fn a_name_leads_to_public_addresses() {
        for address in ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "172.32.0.1"]
        {
            assert!(reaches("example.com", address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!reaches("example.com", address), "{address}");
        }
    }

    #[test]
    fn what_the_operator_names_is_reached() {
        assert!(reaches("auth.corp.example", "10.1.2.3"));
        assert!(reaches("auth.corp.example", "::ffff:10.1.2.3"));
        assert!(!reaches("auth.corp.example", "10.2.0.1"));
        assert!(reaches("127.0.0.1", "127.0.0.1"));
        assert!(!reaches("127.0.0.1", "127.0.0.2"));
        assert!(reaches("[fd00::1]", "fd00::1"));
        for localhost in ["localhost", "auth.localhost"] {
            assert!(reaches(localhost, "127.0.0.1") && reaches(localhost, "::1"));
            assert!(!reaches(localhost, "93.184.216.34"), "not this machine");
        }
        assert!(!reaches("notlocalhost", "127.0.0.1"));
    }
}
