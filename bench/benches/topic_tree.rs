//! A million subscriptions: what finding those of a topic costs in processor time, and each in memory.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use hookmq_bench::CpuTime;
use hookmq_bench::counting::{Counting, count_this_thread, counts};
use hookmq_codec::TopicName;
use hookmq_core::TopicTree;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting(MiMalloc);

const SUBSCRIPTIONS: u64 = 1_000_000;
/// Levels that they are spread over.
const SITES: u64 = 1000;

/// As large as what the broker keeps of a subscription.
type Value = [u64; 3];

/// Each with filters of its own, and a topic that fits one of them.
const KINDS: [(&str, Filter, &str); 3] = [
    ("exact", |site, number| format!("sites/{site}/devices/{number}/state"), "devices/500/state"),
    ("single_level", |site, number| format!("sites/{site}/+/{number}/state"), "lines/500/state"),
    ("multi_level", |site, number| format!("sites/{site}/areas/{number}/#"), "areas/500/a/b"),
];

type Filter = fn(u64, u64) -> String;

fn tree(filter: impl Fn(u64) -> String) -> TopicTree<u64, Value> {
    let mut tree = TopicTree::default();
    for number in 0..SUBSCRIPTIONS {
        tree.insert(&filter(number), number, [number; 3]);
    }
    tree
}

/// Each of a million clients has a filter of its own.
fn own_filters(criterion: &mut Criterion<CpuTime>) {
    count_this_thread();
    let mut group = criterion.benchmark_group("match_1_of_1000000");
    for (name, filter, rest) in KINDS {
        let before = counts();
        let tree = tree(|number| filter(number % SITES, number / SITES));
        let bytes = counts().since(before).bytes as f64 / SUBSCRIPTIONS as f64;
        println!("{name}: {bytes:.0} bytes for each subscription");
        let topic = format!("sites/500/{rest}");
        let topic = TopicName::new(&topic).expect("a topic name");
        let mut found = 0;
        tree.for_each_match(topic, |_, _| found += 1);
        assert_eq!(found, 1, "{name}");
        group.bench_function(name, |it| {
            it.iter(|| {
                tree.for_each_match(black_box(topic), |key, value| {
                    black_box((key, value));
                })
            });
        });
        let none = TopicName::new("sites/500/none/of/them").expect("a topic name");
        group.bench_function(format!("{name}_none"), |it| {
            it.iter(|| {
                tree.for_each_match(black_box(none), |key, value| {
                    black_box((key, value));
                })
            });
        });
    }
}

/// Topics of all filters by turns, so that memory is as far away as it gets.
fn scattered_topics(criterion: &mut Criterion<CpuTime>) {
    const STEP: u64 = 7_919;
    let topic = |number: u64| format!("sites/{}/devices/{}/state", number % SITES, number / SITES);
    let tree = tree(topic);
    let topics: Vec<_> = (0..SUBSCRIPTIONS).map(|it| topic(it * STEP % SUBSCRIPTIONS)).collect();
    let mut turns = topics.iter().cycle();
    criterion.bench_function("match_each_of_1000000", |it| {
        it.iter(|| {
            let topic = turns.next().and_then(|it| TopicName::new(it).ok()).expect("a topic name");
            tree.for_each_match(topic, |key, value| {
                black_box((key, value));
            })
        });
    });
}

/// A million clients share a thousand filters; a topic is due to a thousand of them.
fn shared_filters(criterion: &mut Criterion<CpuTime>) {
    let before = counts();
    let tree = tree(|number| format!("sites/{}/alarms", number % SITES));
    let bytes = counts().since(before).bytes as f64 / SUBSCRIPTIONS as f64;
    println!("same filters: {bytes:.0} bytes for each subscription");
    let topic = TopicName::new("sites/500/alarms").expect("a topic name");
    criterion.bench_function("match_1000_of_1000000", |it| {
        it.iter(|| {
            tree.for_each_match(black_box(topic), |key, value| {
                black_box((key, value));
            })
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = own_filters, scattered_topics, shared_filters
}
criterion_main!(benches);
