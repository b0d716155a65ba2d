//! Bans by address: what a network is, and which of several bans counts.

use std::time::Duration;

use super::*;

fn ban(id: i64, expires_at: Option<SystemTime>) -> Ban {
    Ban { id, reason: "".into(), expires_at }
}

fn bans(rows: &[(&str, Option<SystemTime>)]) -> Bans {
    let mut bans = Bans::default();
    for (id, (network, expires_at)) in (1..).zip(rows) {
        bans.insert(None, Subject::read("address", network).unwrap(), ban(id, *expires_at));
    }
    bans
}

#[track_caller]
fn expect(bans: &Bans, address: &str, id: Option<i64>) {
    let found = bans.of_address(address.parse().unwrap(), SystemTime::now());
    assert_eq!(found.map(|ban| ban.id), id, "{address}");
}

#[test]
fn a_network_is_all_its_addresses_in_either_notation() {
    let bans = bans(&[
        ("192.0.2.0/24", None),
        ("198.51.100.7", None),
        ("2001:db8:1::/48", None),
        ("::ffff:203.0.113.0/120", None),
    ]);
    expect(&bans, "192.0.2.255", Some(1));
    expect(&bans, "::ffff:192.0.2.1", Some(1));
    expect(&bans, "192.0.3.0", None);
    expect(&bans, "198.51.100.7", Some(2));
    expect(&bans, "198.51.100.6", None);
    expect(&bans, "2001:db8:1:ffff::1", Some(3));
    expect(&bans, "2001:db8:2::1", None);
    expect(&bans, "203.0.113.9", Some(4));
}

#[test]
fn a_prefix_of_no_bits_is_its_own_family_alone() {
    expect(&bans(&[("0.0.0.0/0", None)]), "192.0.2.1", Some(1));
    expect(&bans(&[("0.0.0.0/0", None)]), "2001:db8::1", None);
    expect(&bans(&[("::/0", None)]), "2001:db8::1", Some(1));
    expect(&bans(&[("::/0", None)]), "192.0.2.1", None);
}

#[test]
fn what_is_no_network_is_not_understood() {
    for text in ["", "x", "192.0.2.1/33", "::1/129", "192.0.2.1/", "192.0.2", "192.0.2.1/-1"] {
        assert_eq!(Subject::read("address", text), None, "{text}");
    }
    assert_eq!(Subject::read("device", "a"), None);
}

#[test]
fn of_several_bans_the_longest_counts_and_one_that_is_over_does_not() {
    let now = SystemTime::now();
    let (past, soon) = (now - Duration::from_secs(1), now + Duration::from_secs(60));
    expect(&bans(&[("192.0.2.1", Some(past))]), "192.0.2.1", None);
    expect(&bans(&[("192.0.2.1", Some(past)), ("192.0.2.1", Some(soon))]), "192.0.2.1", Some(2));
    expect(&bans(&[("192.0.2.1", None), ("192.0.2.1", Some(soon))]), "192.0.2.1", Some(1));
    expect(&bans(&[("192.0.2.1", Some(past)), ("192.0.2.0/24", None)]), "192.0.2.1", Some(2));
}
