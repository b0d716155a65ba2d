//! More filters than a client should have: at once, and all together.

use std::num::NonZeroU32;

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos, ReasonCode, SubscriptionOptions};
use hookmq_tests::client::{at, publish};
use hookmq_tests::scene::{Scene, in_both_versions_within};

use crate::{Bystanders, MIB};

/// As many filters as wanted, up to 4096, that all match `l/l/l/l/l/l/l/l/l/l/l/l`.
fn overlapping_filters(count: usize) -> Vec<String> {
    let level = |number: usize, place: usize| if number >> place & 1 == 1 { "+" } else { "l" };
    (0..count)
        .map(|number| (0..12).map(|place| level(number, place)).collect::<Vec<_>>().join("/"))
        .collect()
}

fn with_options(filters: &[String]) -> Vec<(&str, SubscriptionOptions)> {
    filters.iter().map(|filter| (&**filter, at(Qos::AtMostOnce))).collect()
}

#[test]
fn many_filters_that_overlap_bring_one_copy_with_all_their_identifiers() {
    let scene = Scene::new(ProtocolVersion::V5, "filters_per_client: 4000");
    let mut bystanders = Bystanders::new(&scene);
    let mut client = scene.client("greedy");
    let filters = overlapping_filters(4001);
    let before = scene.broker.resident_bytes();
    for (filter, identifier) in filters.iter().zip(1..) {
        let granted = client.subscribe_with(&[(filter, at(Qos::AtMostOnce))], Some(identifier));
        let expected =
            if identifier > 4000 { ReasonCode::QuotaExceeded } else { ReasonCode::Success };
        assert_eq!(granted, [expected], "{identifier}");
    }
    let grown = scene.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "4000 filters cost {grown} bytes");
    let topic = ["l"; 12].join("/");
    let mut publisher = scene.client("publisher");
    for payload in [b"1", b"2"] {
        publisher.publish(publish(&topic, payload, Qos::AtMostOnce));
        let received = client.expect_message(&topic, payload);
        let mut identifiers = received.publish().properties.subscription_identifiers;
        identifiers.sort_unstable();
        assert!(identifiers.into_iter().map(NonZeroU32::get).eq(1..=4000));
    }
    client.expect_nothing();
    bystanders.exchange();
    // A place that is left is given again.
    client.unsubscribe(&[&filters[0]]);
    let granted = client.subscribe_with(&with_options(&filters[4000..]), None);
    assert_eq!(granted, [ReasonCode::Success]);
}

#[test]
fn one_subscribe_or_unsubscribe_holds_so_many_filters_and_no_more() {
    in_both_versions_within("filters_per_subscribe: 10", |scene| {
        let mut bystanders = Bystanders::new(scene);
        let filters = overlapping_filters(11);
        let mut client = scene.client("modest");
        let granted = client.subscribe_with(&with_options(&filters[..10]), None);
        assert_eq!(granted, [ReasonCode::Success; 10]);
        let ten: Vec<_> = filters[..10].iter().map(String::as_str).collect();
        client.unsubscribe(&ten);
        for first_byte in [0x82, 0xA2] {
            let mut client = scene.session("offender");
            client.send_raw(&request_of(first_byte, &filters, scene.version));
            client.expect_disconnected(ReasonCode::QuotaExceeded);
        }
        // None of the eleven was subscribed to.
        let mut offender = scene.session("offender");
        bystanders.publisher.publish(publish(&["l"; 12].join("/"), b"x", Qos::AtLeastOnce));
        offender.expect_nothing();
        bystanders.exchange();
    });
}

#[test]
fn a_subscribe_as_large_as_a_packet_may_be_costs_nothing_that_stays() {
    in_both_versions_within("filters_per_client: 100", |scene| {
        let mut bystanders = Bystanders::new(scene);
        bystanders.exchange();
        let before = scene.broker.resident_bytes();
        let filters = vec!["t".to_owned(); 200_000];
        for first_byte in [0x82, 0xA2] {
            let request = request_of(first_byte, &filters, scene.version);
            for _ in 0..100 {
                let mut client = scene.client("offender");
                client.try_send_raw(&request);
                client.expect_disconnected(ReasonCode::QuotaExceeded);
            }
        }
        bystanders.exchange();
        // Each worker's allocator keeps what a few packets took for the next ones.
        let grown = scene.broker.resident_bytes().saturating_sub(before);
        assert!(grown < 100 * MIB, "200 MB in 200 packets cost {grown} bytes");
    });
}

/// SUBSCRIBE or UNSUBSCRIBE.
fn request_of(first_byte: u8, filters: &[String], version: ProtocolVersion) -> Vec<u8> {
    let options: &[u8] = if first_byte == 0x82 { &[0] } else { &[] };
    let mut body = b"\0\x01".to_vec();
    body.extend(version.is_v5().then_some(0));
    for filter in filters {
        body.extend(crate::wire::sized(filter.as_bytes()));
        body.extend(options);
    }
    crate::wire::packet(first_byte, &body)
}

#[test]
fn who_subscribes_again_and_again_and_takes_nothing_is_owed_no_more_for_it() {
    in_both_versions_within("maximum_inflight: 1\nqueue_messages: 100", |scene| {
        let mut bystanders = Bystanders::new(scene);
        for number in 0..1000 {
            let topic = format!("r/{number}");
            let message = publish(&topic, b"x", Qos::AtLeastOnce);
            bystanders.publisher.publish(Publish { retain: true, ..message });
        }
        let mut client = scene.client("greedy");
        let before = scene.broker.resident_bytes();
        for _ in 0..2000 {
            client.subscribe("r/#", Qos::AtLeastOnce);
        }
        let grown = scene.broker.resident_bytes().saturating_sub(before);
        assert!(grown < 16 * MIB, "2,000,000 retained messages cost {grown} bytes");
        // It gets them when it takes them.
        for _ in 0..2500 {
            let received = client.receive_where(|it| matches!(it, Packet::Publish(_)));
            client.acknowledge(&received);
        }
        bystanders.exchange();
    });
}
