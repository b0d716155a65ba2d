use hookmq_access::*;
use hookmq_codec::Qos;
use hookmq_hooks::*;
use std::collections::BTreeMap;
use std::time::Instant;
#[test]
fn time() {
    let ps: Vec<_> = (0..100)
        .map(|i| Permission {
            id: i,
            action: Action::Publish,
            filter: FilterPattern::new(&format!("devices/{{username}}/s{i}/+/value")).unwrap(),
            terms: Terms::Allow { maximum_qos: Qos::ExactlyOnce, retain: true },
            priority: 0,
            on_denial: Effect::Refuse,
            only_client_id: None,
        })
        .collect();
    let set = PermissionSet::new(ps);
    let a = BTreeMap::new();
    let h = Holder { tenant: "acme", username: "pump", client_id: None, attributes: &a };
    let t = Instant::now();
    for _ in 0..1000 {
        std::hint::black_box(set.bind(&h));
    }
    println!("bind {:?}", t.elapsed() / 1000);
    let b = set.bind(&h);
    for topic in ["devices/pump/s99/x/value", "devices/pump/none/x/value", "a/b"] {
        let acc = Access { action: Action::Publish, topic, qos: Qos::AtMostOnce, retain: false };
        let t = Instant::now();
        for _ in 0..10000 {
            std::hint::black_box(b.decide(std::hint::black_box(&acc)));
        }
        println!("{topic} {:?}", t.elapsed() / 10000);
    }
}
