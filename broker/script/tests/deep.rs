//! Sources that nest or chain as far as a file's size lets them: the parser runs outside of any sandbox, so
//! each must be refused or loaded, on the stack that a thread of the broker has.

#![allow(clippy::unwrap_used)]

use hookmq_script::{RuleEngine, RuleLimits};

/// The stack of a thread that the broker loads rules on.
const STACK: usize = 2 << 20;

/// Bytes of a file, a little less than it may have.
const SIZE: usize = 60_000;

/// What is repeated before and behind the one expression in the middle.
const AROUND: [(&str, &str); 60] = [
    ("(", ")"),
    ("[", "]"),
    ("#{a:", "}"),
    ("{", "}"),
    ("if true {", "}"),
    ("if 1 {} else if ", "{}"),
    ("if true {} else ", "{}"),
    ("while true {", "}"),
    ("loop {", "}"),
    ("do {", "} while true"),
    ("for x in ", "{}"),
    ("for x in [1] {", "}"),
    ("try {", "} catch {}"),
    ("try {} catch (e) {", "}"),
    ("switch ", "{}"),
    ("switch x { 1 => ", "}"),
    ("switch x { _ if ", "=> 1 }"),
    ("!", ""),
    ("-", ""),
    ("+", ""),
    ("- !", ""),
    ("return ", ""),
    ("throw ", ""),
    ("break ", ""),
    ("let x = ", ""),
    ("const x = ", ""),
    ("x = ", ""),
    ("x += ", ""),
    ("x[0] = ", ""),
    ("x.y = ", ""),
    ("", " + 1"),
    ("", " - x"),
    ("1 + (", ")"),
    ("1 ** ", ""),
    ("", " ** 2"),
    ("", " && x"),
    ("", " || x"),
    ("x ?? ", ""),
    ("", " ?? x"),
    ("", ".a"),
    ("", "?.a"),
    ("", ".a()"),
    ("", "[0]"),
    ("", "?[0]"),
    ("", "[0][x[0]]"),
    ("x[", "]"),
    ("x.y[", "]"),
    ("f(", ")"),
    ("x.f(", ")"),
    ("a::", ""),
    ("`${", "}`"),
    ("`a${", "}b`"),
    ("|x| ", ""),
    ("|| {", "}"),
    ("/*", "*/"),
    ("x in ", ""),
    ("x !in ", ""),
    ("1..", ""),
    ("Fn(", ")"),
    ("f.call(", ")"),
];

fn sources() -> Vec<String> {
    let mut sources = Vec::new();
    for (before, behind) in AROUND {
        let times = SIZE / (before.len() + behind.len());
        for times in [times, times / 10, 40, 20] {
            let (before, behind) = (before.repeat(times), behind.repeat(times));
            for body in [format!("{before}x{behind}"), before.clone(), behind.clone()] {
                sources.push(format!("fn publish(client, message) {{ let x = 1; {body} }}"));
                sources
                    .push(format!("const X = {body};\nfn publish(client, message) {{ pass() }}"));
            }
        }
    }
    sources
}

/// P10: neither the stack nor the time of the broker is used up.
#[test]
fn what_nests_or_chains_without_end_is_refused_or_loaded() {
    let thread = std::thread::Builder::new().stack_size(STACK);
    let parsing = thread.spawn(|| {
        let engine = RuleEngine::new(RuleLimits::default(), || 0);
        for source in sources() {
            // A stack that overflows ends the process: this says where.
            eprintln!("{source:.80}");
            let loaded = engine.load("rule.rhai", &source).is_ok();
            let outlined = engine.outline("rule.rhai", &source).is_ok();
            assert!(outlined || !loaded, "{source:.200}");
        }
    });
    parsing.unwrap().join().unwrap();
}
