use hookmq_bench::{Bench, THRESHOLD, plugin, rule, sandboxed_rule};
use serde_json::json;
use std::hint::black_box;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let what = std::env::args().nth(1).unwrap();
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let looks = json!({"operations": [{"op": "remove", "field": "absent"}]});
    let programs = match &*what {
        "none" => vec![],
        "rule" => vec![rule("threshold_alarm.rhai", THRESHOLD)],
        "tiny" => vec![rule(
            "t.rhai",
            "fn publish(client, message) { if message.size > 1000 { drop() } else { pass() } }",
        )],
        "sandboxed" => vec![sandboxed_rule("threshold_alarm.rhai", THRESHOLD)],
        "plugin" => vec![plugin("json-transform", looks)],
        "counter" => vec![plugin("fixtures/counter", json!(null))],
        _ => panic!(),
    };
    let bench = Bench::new(programs);
    let mut publish = bench.publish();
    for _ in 0..1000 {
        black_box(publish());
    }
    let start = std::time::Instant::now();
    let cpu = cpu();
    for _ in 0..n {
        black_box(publish());
    }
    println!(
        "{what}: {:.1} ns wall, {:.1} ns cpu",
        start.elapsed().as_nanos() as f64 / n as f64,
        (self::cpu() - cpu) as f64 / n as f64
    );
}
fn cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}
