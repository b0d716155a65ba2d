//! What one decision about permissions costs, once they are loaded: processor time.
//!
//! The broker asks once for each topic of a connection and remembers the answer: `decide` is the cost of a
//! topic that is new, or of all topics after a change, and `remembered` that of all others.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use hookmq::broker::topic_cache::TopicCache;
use hookmq_access::{
    BoundPermissions, FilterPattern, Holder, Permission, PermissionSet, ShareNames, Terms,
};
use hookmq_bench::CpuTime;
use hookmq_codec::Qos;
use hookmq_hooks::{Access, Action, Attribute, Effect};

/// As in the broker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Filters as people write them; `{n}` is the number of the row.
const FILTERS: [&str; 4] = [
    "sites/{n}/devices/{username}/#",
    "sites/+/lines/{n}/state",
    "devices/{username}/{n}",
    "alarms/{n}/#",
];

/// A device with so many permissions to publish and to subscribe each.
fn permissions(count: usize) -> BoundPermissions {
    let row = |number: usize, action| Permission {
        id: number as i64,
        action,
        filter: FilterPattern::new(
            &FILTERS[number % FILTERS.len()].replace("{n}", &number.to_string()),
        )
        .expect("a filter"),
        terms: Terms::Allow { maximum_qos: Qos::ExactlyOnce, retain: true },
        share_names: ShareNames::Any,
        priority: 0,
        on_denial: Effect::Refuse,
        only_client_id: None,
    };
    let rows = (0..count).flat_map(|n| [row(n, Action::Publish), row(n, Action::Subscribe)]);
    let attributes: BTreeMap<_, Attribute> = BTreeMap::new();
    let (tenant, username) = ("acme", "press-7");
    PermissionSet::new(rows).bind(&Holder {
        tenant,
        username,
        client_id: None,
        attributes: &attributes,
    })
}

fn decisions(criterion: &mut Criterion<CpuTime>) {
    for count in [1, 10, 100, 1000] {
        let permissions = permissions(count);
        let mut group = criterion.benchmark_group(format!("decide/{count}"));
        let mut measure = |name: &str, action, topic: &str| {
            let access =
                Access { action, topic, qos: Qos::AtLeastOnce, retain: false, share_name: None };
            group.bench_function(name, |it| it.iter(|| permissions.decide(black_box(&access))));
        };
        measure("publish_allowed", Action::Publish, "sites/0/devices/press-7/telemetry");
        measure("publish_denied", Action::Publish, "sites/north/devices/press-8/telemetry");
        measure("subscribe_allowed", Action::Subscribe, "sites/0/devices/press-7/+/state");
        measure("subscribe_denied", Action::Subscribe, "sites/+/devices/#");
    }
}

/// What a connection does for the topics that it has used before.
fn remembering(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("remembered");
    for count in [1, 10, 64] {
        let topics: Vec<_> =
            (0..count).map(|number| format!("sites/{number}/devices/press-7/telemetry")).collect();
        let mut cache = TopicCache::<Option<u64>>::default();
        topics.iter().for_each(|topic| *cache.entry(topic) = Some(1));
        let mut next = topics.iter().cycle();
        group.bench_function(format!("{count}_topics"), |it| {
            it.iter(|| next.next().and_then(|topic| *cache.entry(black_box(topic))));
        });
    }
}

/// Placeholders are filled once for each connection.
fn binding(criterion: &mut Criterion<CpuTime>) {
    criterion.bench_function("bind/100", |it| it.iter(|| black_box(permissions(50))));
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = decisions, remembering, binding
}
criterion_main!(benches);
