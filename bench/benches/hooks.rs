//! What one message costs in the publish hook: calls of rules and plugins, and steps that want none of it.
//!
//! Each figure is processor time of one message through the whole chain of the named steps; `no_steps` is
//! what there is to subtract. Build the plugins first: `cargo xtask plugins`.

use std::cell::OnceCell;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use hookmq_bench::{Bench, CpuTime, THRESHOLD, plugin, rule, sandboxed_rule};
use hookmq_hooks::Program;
use serde_json::json;

/// As in the broker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn calls(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("publish");
    let mut measure = |name: &str, programs: &dyn Fn() -> Vec<Arc<dyn Program>>| {
        // To compile a plugin takes seconds, and criterion comes many times.
        let prepared = OnceCell::new();
        group.bench_function(name, |bencher| {
            let bench = prepared.get_or_init(|| Bench::new(programs()));
            let mut publish = bench.publish();
            bencher.iter(|| black_box(publish()))
        });
    };
    measure("no_steps", &|| vec![]);
    measure("rule", &|| vec![rule("threshold_alarm.rhai", THRESHOLD)]);
    measure("sandboxed_rule", &|| vec![sandboxed_rule("threshold_alarm.rhai", THRESHOLD)]);
    // A payload that it looks at and leaves as it is.
    let looks = json!({"operations": [{"op": "remove", "field": "absent"}]});
    measure("plugin", &|| vec![plugin("json-transform", looks.clone())]);
    let changes = json!({"operations": [{"op": "set", "field": "site", "value": "plant-8"}]});
    measure("plugin_changing", &|| vec![plugin("json-transform", changes.clone())]);
    measure("plugin_counting", &|| vec![plugin("fixtures/counter", json!(null))]);
}

/// Steps that want other topics.
fn others(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("topics");
    let other = |number: usize| {
        let source = THRESHOLD.replace("devices/", &format!("elsewhere/{number}/"));
        let source = source.split("// Tests").next().expect("a first part").to_owned();
        rule(&format!("other_{number}.rhai"), &source)
    };
    let mut measure = |name: &str, programs: Vec<Arc<dyn Program>>| {
        let bench = Bench::new(programs);
        let mut known = bench.publish();
        group.bench_function(format!("{name}/known"), |it| it.iter(|| black_box(known())));
        let mut new = bench.select_and_publish();
        group.bench_function(format!("{name}/new"), |it| it.iter(|| black_box(new())));
    };
    measure("no_steps", vec![]);
    measure("one_that_does_not_match", vec![other(0)]);
    measure("one_that_matches", vec![rule("threshold_alarm.rhai", THRESHOLD)]);
    let mut hundred: Vec<_> = (1..100).map(other).collect();
    hundred.insert(50, rule("threshold_alarm.rhai", THRESHOLD));
    measure("one_of_100_matches", hundred);
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = calls, others
}
criterion_main!(benches);
