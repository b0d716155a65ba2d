//! A shared subscription with a member that takes messages and never acknowledges any.

use std::collections::HashSet;

use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::client::{Client, publish};
use hookmq_tests::scene::{Scene, in_both_versions_within};
use hookmq_tests::wait::wait_until;

const MESSAGES: usize = 3000;

/// What the member has in its socket by now, acknowledged if it is a good one.
fn drain(member: &mut Client, acknowledge: bool, into: &mut HashSet<Vec<u8>>) -> usize {
    let before = into.len();
    member.send(&Packet::PingReq);
    loop {
        let received = member.receive();
        match received.packet() {
            Packet::Publish(publish) => {
                into.insert(publish.payload.to_vec());
                if acknowledge {
                    member.acknowledge(&received);
                }
            }
            Packet::PingResp => return into.len() - before,
            other => panic!("{other:?}"),
        }
    }
}

fn members(scene: &Scene) -> [Client; 3] {
    ["stuck", "good 1", "good 2"].map(|name| scene.session(name))
}

#[test]
fn a_member_that_never_acknowledges_keeps_little_from_the_others_and_nothing_is_lost() {
    in_both_versions_within("shared_inflight: 10", |scene| {
        let mut group = members(scene);
        for member in &mut group {
            member.subscribe("$share/group/t", Qos::AtLeastOnce);
        }
        let [mut stuck, mut good_1, mut good_2] = group;
        let (mut held, mut finished) = (HashSet::new(), HashSet::new());
        let mut publisher = scene.client("publisher");
        for number in 0..MESSAGES {
            publisher.publish(publish("t", number.to_string().as_bytes(), Qos::AtLeastOnce));
            if number % 50 == 0 {
                for member in [&mut good_1, &mut good_2] {
                    drain(member, true, &mut finished);
                }
                drain(&mut stuck, false, &mut held);
            }
        }
        // Two thirds of what is left may wait for this loop to acknowledge.
        while finished.len() + held.len() < MESSAGES {
            for member in [&mut good_1, &mut good_2] {
                drain(member, true, &mut finished);
            }
            drain(&mut stuck, false, &mut held);
        }
        assert!(held.len() <= 10, "the stuck member holds {}", held.len());
        assert!(finished.len() * 100 >= MESSAGES * 99);

        for member in [stuck, good_1, good_2] {
            member.vanish();
        }
        let mut group = members(scene);
        while finished.len() < MESSAGES {
            for member in &mut group {
                drain(member, true, &mut finished);
            }
        }
    });
}

/// What waits in it is the tenant's, as what waits for its sessions.
#[test]
fn what_waits_in_a_shared_subscription_is_bounded_by_the_tenants_quota() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let sections = "quotas: {tenants: {default: {queued_bytes: 2000}}}";
        let scene = Scene::with_sections(version, sections);
        let come = || scene.session("member");
        let mut member = come();
        member.subscribe("$share/group/t", Qos::AtLeastOnce);
        member.disconnect();
        let usage = || scene.broker.admin().get("/api/v1/tenants/default").1["usage"].clone();
        let mut all = 0;
        for round in 1..=2 {
            let mut publisher = scene.client("publisher");
            for number in 0..20 {
                let payload = [number; 200];
                assert!(!publisher.publish(publish("t", &payload, Qos::AtLeastOnce)).is_failure());
            }
            let queued = usage()["queued_bytes"].as_u64().expect("a number");
            assert!((200..=2000).contains(&queued), "round {round}: {queued} bytes");
            let mut member = come();
            let mut arrived = HashSet::new();
            wait_until("all has arrived", || {
                drain(&mut member, true, &mut arrived);
                (usage()["queued_bytes"] == 0).then_some(())
            });
            for _ in 0..2 {
                drain(&mut member, true, &mut arrived);
            }
            // The first are kept, and as many each time: nothing stays counted.
            assert!((1..=10).contains(&arrived.len()), "round {round}: {arrived:?}");
            all += arrived.len() as u64;
            assert_eq!(usage()["quotas_reached"]["queued_bytes"], round * 20 - all);
            member.disconnect();
        }
    }
}
