//! The rules that ship load: their syntax, names and own tests are in order.

use std::fs;
use std::path::PathBuf;

use hookmq_script::{RuleEngine, RuleLimits};

#[test]
fn every_shipped_rule_loads_and_passes_its_own_tests() {
    let engine = RuleEngine::new(RuleLimits::default(), || 0);
    let folder = package().join("../../rules");
    let mut loaded = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rhai") {
            continue;
        }
        let file = path.file_name().unwrap().to_str().unwrap();
        let source = fs::read_to_string(&path).unwrap();
        let rule = engine.load(file, &source).unwrap_or_else(|error| panic!("{error}"));
        assert!(!rule.doc().is_empty(), "{file} says what it does");
        assert!(source.contains("fn test_"), "{file} has tests");
        loaded.push(file.trim_end_matches(".rhai").to_owned());
    }
    loaded.sort();
    assert_eq!(
        loaded,
        [
            "certificate_identity",
            "fan_out",
            "presence",
            "quarantine",
            "rate_limit",
            "redact_by_role",
            "threshold_alarm",
            "topic_rewrite",
            "unit_conversion"
        ]
    );
    let page = page();
    for name in loaded {
        assert!(page.contains(&format!("| `{name}` |")), "docs/rules.md shows how to try {name}");
    }
}

#[test]
fn every_function_is_in_the_reference() {
    let page = page();
    for signature in RuleEngine::new(RuleLimits::default(), || 0).signatures() {
        let name = signature.split('(').next().unwrap();
        let name = name.trim_start_matches("get ").trim_start_matches("set ");
        if name.starts_with("index ") || !name.starts_with(char::is_alphabetic) {
            continue;
        }
        // Named alone, called, or as what stands behind a value's point.
        let forms =
            [format!("`{name}`"), format!("`{name}("), format!(".{name}"), format!(" {name}(")];
        assert!(forms.iter().any(|form| page.contains(form)), "docs/rules.md lacks {signature}");
    }
}

fn page() -> String {
    let page = package().join("../../docs/rules.md");
    fs::read_to_string(page).unwrap()
}

/// Where the package lies now; the test may have been built elsewhere.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the test").into()
}
