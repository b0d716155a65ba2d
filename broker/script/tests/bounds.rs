//! A walk over every function that a rule may call: each is called with the largest and the oddest
//! values of its parameters' types, and must end soon without taking much memory.

#![allow(clippy::unwrap_used)]
// An allocator that counts is an unsafe trait's implementation.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hookmq_codec::{ProtocolVersion, Qos, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{CertificateFacts, Client, ConnectionFacts, Program};
use hookmq_script::{RuleEngine, RuleLimits};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(HELD.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        PEAK.fetch_max(HELD.fetch_add(size, Relaxed) + size, Relaxed);
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Beyond what its arguments hold: the JSON of the longest text, parsed, copied and encoded.
const MOST_BYTES: usize = 24 << 20;

/// Far above what any takes; a function that never ends is what it finds.
const MOST_TIME: Duration = Duration::from_secs(5);

/// How each function is bounded, by its name.
const BOUNDS: [(&str, &str); 12] = [
    (
        "gives a value of fixed size",
        "! != == - + abs min max round floor ceil sqrt clamp to_int to_float \
      len is_empty contains starts_with ends_with consists_of index_of last_index_of matches is_object \
      parse_int parse_float be_uint le_uint be_int le_int be_float le_float crc32 sha256 hmac_sha256 \
      vouched has_role parse_time time_parts assert assert_eq now test_wait test_time test_metric",
    ),
    (
        "gives a part of what it is given, not more",
        "trim trim_start trim_end strip_prefix strip_suffix \
      sub_string slice level pop keys values from_hex from_base64 to_bytes to_text vouched_by test_message \
      test_access",
    ),
    (
        "measures what it would give, and refuses first",
        "replace repeat pad_start pad_end to_hex to_base64 \
      push text_+ regex_replace",
    ),
    ("stops at the limit while it collects", "split join"),
    ("gives at most three times what it is given", "to_upper to_lower"),
    ("prints numbers and values within the limits of a value", "to_string to_fixed format_time"),
    ("bounded by the size and depth of JSON", "parse_json to_json"),
    (
        "bounded by pattern, text and matches",
        "regex_matches regex_find regex_find_all regex_count \
      regex_captures",
    ),
    (
        "bounded by the host, and by the number of calls",
        "kv_get kv_set kv_delete kv_increase rate \
      metric_count metric_set",
    ),
    ("bounded in number and size for the whole call", "emit log"),
    ("removes", "remove"),
    (
        "makes a verdict or a test's object of its arguments",
        "abstain accept allow consume deny \
      deny_silently disconnect drop next pass run_authorize run_connect run_deliver run_publish \
      test_certificate test_client test_connect",
    ),
];

/// What every object offers: a view, a copy of a part, or a change within the document's limits.
const ACCESSORS: [&str; 4] = ["get ", "set ", "index get", "index set"];

/// Expressions of each type, at its limits.
const EXTREMES: [(&str, &[&str]); 20] = [
    ("int", &["0", "-1", "3", "9223372036854775807", "(-9223372036854775807 - 1)"]),
    ("float", &["0.5", "1.0e308", "-1.0e308"]),
    ("bool", &["true"]),
    ("char", &["'ß'"]),
    ("string", &["\"\"", "\"a\"", "S"]),
    ("array", &["A"]),
    ("map", &["M"]),
    ("any", &["S", "A", "M", "J", "7"]),
    ("range", &["(0..9223372036854775807)"]),
    ("range=", &["(0..=9223372036854775807)"]),
    ("bytes", &["B"]),
    ("json", &["J"]),
    ("message", &["message"]),
    ("client", &["client"]),
    ("access", &["test_access(\"publish\", \"a\")"]),
    ("attributes", &["client.attributes"]),
    ("certificate", &["client.certificate"]),
    ("distinguished_name", &["client.certificate.subject"]),
    ("connecting_client", &["test_connect(#{})"]),
    ("verdict", &["pass()"]),
];

/// What the names in [`EXTREMES`] stand for; only those that a call uses.
const VALUES: [(&str, &str); 5] = [
    ("S", "let S = test_message(\"a\", \"aÿ\".repeat(81920)).text;"),
    ("B", "let B = message.bytes;"),
    ("J", "let J = message.json;"),
    ("A", "let A = []; for i in 0..1024 { A.push(`${i}`.pad_start(250, \"x\")); }"),
    ("M", "let M = #{}; for i in 0..1024 { M[`${i}`] = \"x\".repeat(250); }"),
];

/// P10
#[test]
fn every_function_ends_soon_and_stays_small() {
    let limits = RuleLimits { operations: 1_000_000, ..RuleLimits::default() };
    let engine = RuleEngine::new(limits, || 0);
    let (client, message) = (client(), message());
    let mut worst = BTreeMap::new();
    for signature in engine.signatures() {
        let calls = calls(&signature);
        assert!(!calls.is_empty(), "{signature}: say what the largest values of its types are");
        for call in calls {
            let values = VALUES.iter().filter(|(name, _)| uses(&call, name));
            let values: String = values.map(|(_, value)| *value).collect();
            let source = format!(
                "fn publish(client, message) {{ {values} if message.size > 0 {{ {call}; }} pass() }}"
            );
            // A combination that cannot be compiled, such as a bad pattern, has been refused at load.
            let Ok(rule) = engine.load("rule.rhai", &source) else { continue };
            let idle = peak(|| drop(rule.publish(&client, &empty())));
            let start = Instant::now();
            let taken = peak(|| drop(rule.publish(&client, &message)));
            assert!(start.elapsed() < MOST_TIME, "{call} took {:?}", start.elapsed());
            let taken = taken.saturating_sub(idle);
            assert!(taken < MOST_BYTES, "{call} took {taken} bytes");
            let entry = worst.entry(signature.clone()).or_insert((0, String::new()));
            if taken >= entry.0 {
                *entry = (taken, call);
            }
        }
    }
    for (signature, (bytes, call)) in &worst {
        println!(
            "{signature}: {}; at most {bytes} bytes, {call}",
            bound(signature).unwrap_or("a field")
        );
    }
}

#[test]
fn every_function_has_a_bound_and_no_other_is_there() {
    let signatures = RuleEngine::new(RuleLimits::default(), || 0).signatures();
    let mut known = BTreeSet::new();
    for (_, names) in BOUNDS {
        for name in names.split_whitespace().filter(|name| *name != "text_+") {
            assert!(known.insert(name), "{name} has two bounds");
            let exists = signatures.iter().any(|it| it.split('(').next() == Some(name));
            assert!(exists, "there is no function {name}");
        }
    }
    for signature in &signatures {
        let is_field = ACCESSORS.iter().any(|prefix| signature.starts_with(prefix));
        assert!(is_field || bound(signature).is_some(), "{signature} has no bound");
        assert!(!signature.contains('?'), "{signature} has a type without a name");
    }
}

#[test]
fn what_a_rule_must_not_have_is_not_there() {
    let signatures = RuleEngine::new(RuleLimits::default(), || 0).signatures();
    for name in [
        "sleep",
        "eval",
        "import",
        "export",
        "print",
        "debug",
        "open",
        "read",
        "write",
        "env",
        "exit",
        "timestamp",
        "random",
        "rand",
        "spawn",
        "blob",
        "insert",
        "append",
        "pad",
        "truncate",
        "sort",
        "map",
        "filter",
        "reduce",
        "get",
        "set",
    ] {
        let found = signatures.iter().find(|it| it.split('(').next() == Some(name));
        assert_eq!(found, None);
    }
}

fn bound(signature: &str) -> Option<&'static str> {
    let name = signature.split('(').next().unwrap();
    let name = if signature.starts_with("+(string") { "text_+" } else { name };
    let has = |names: &str| names.split_whitespace().any(|it| it == name);
    BOUNDS.iter().find(|(_, names)| has(names)).map(|(bound, _)| *bound)
}

/// The function with every combination of its parameters' extremes.
fn calls(signature: &str) -> Vec<String> {
    let (name, types) = signature.strip_suffix(')').unwrap().split_once('(').unwrap();
    let mut combinations = vec![vec![]];
    for kind in types.split(", ").filter(|kind| !kind.is_empty()) {
        let values = EXTREMES.iter().find(|(it, _)| *it == kind).map_or(&[][..], |(_, it)| *it);
        let mut longer = vec![];
        for combination in &combinations {
            longer.extend(values.iter().map(|value| [&combination[..], &[*value]].concat()));
        }
        combinations = longer;
    }
    combinations.iter().map(|arguments| call(name, arguments)).collect()
}

fn call(name: &str, arguments: &[&str]) -> String {
    match (name.split_once(' '), arguments) {
        (Some(("get", field)), [object]) => format!("let o = {object}; o.{field}"),
        (Some(("set", field)), [object, value]) => format!("let o = {object}; o.{field} = {value}"),
        (Some(("index", "get")), [object, place]) => format!("let o = {object}; o[{place}]"),
        (Some(("index", "set")), [object, place, value]) => {
            format!("let o = {object}; o[{place}] = {value}")
        }
        (None, [one]) if !name.starts_with(char::is_alphabetic) => format!("{name}({one})"),
        (None, [left, right]) if !name.starts_with(char::is_alphabetic) => {
            format!("{left} {name} {right}")
        }
        _ => format!("{name}({})", arguments.join(", ")),
    }
}

/// Whether the name stands alone somewhere in the call.
fn uses(call: &str, name: &str) -> bool {
    call.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == name)
}

fn peak(run: impl FnOnce()) -> usize {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    run();
    PEAK.load(Relaxed).saturating_sub(before)
}

fn client() -> Arc<Client> {
    Arc::new(Client {
        tenant: "acme".into(),
        username: "pump-7".into(),
        client_id: "id-7".into(),
        client_id_bound: true,
        roles: Default::default(),
        attributes: Default::default(),
        attachments: Default::default(),
        limits: Default::default(),
        budget: Default::default(),
        steps: Default::default(),
        connection: ConnectionFacts {
            listener: "tls".into(),
            peer: None,
            protocol: ProtocolVersion::V5,
            encrypted: true,
        },
        certificate: Some(Arc::new(CertificateFacts::default())),
    })
}

/// JSON of the largest size, with as many parts as fit.
fn message() -> Message {
    of(format!("[{}1]", "1,".repeat(131_070)).as_bytes())
}

fn empty() -> Message {
    of(b"")
}

fn of(payload: &[u8]) -> Message {
    Message::new(NewMessage {
        topic: TopicName::new("devices/pump-7/telemetry").unwrap(),
        forwarded_properties: &[],
        payload,
        qos: Qos::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher: 1,
    })
}
