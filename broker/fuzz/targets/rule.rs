//! Any text is a rule or is refused with its problems, within the limits of rules.

#![no_main]

use std::sync::LazyLock;

use hookmq_script::{RuleEngine, RuleError, RuleLimits};
use libfuzzer_sys::fuzz_target;

/// Without a clock: the number of operations ends each call, and libfuzzer tells what hangs.
static RULES: LazyLock<RuleEngine> = LazyLock::new(|| {
    RuleEngine::new(RuleLimits { operations: 2_000, ..RuleLimits::default() }, || 0)
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let outline = RULES.outline("fuzzed.rhai", text).map(drop);
    // What is not even an outline is a rule only where its topics are computed.
    if outline.is_ok() || text.contains("TOPICS") {
        told(RULES.load("fuzzed.rhai", text).map(drop));
    }
    told(outline);
});

fn told(outcome: Result<(), RuleError>) {
    if let Err(error) = outcome {
        assert!(!error.problems.is_empty(), "it is refused without a reason");
    }
}
