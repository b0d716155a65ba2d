//! A configuration with a mistake: the operator is told where, and nothing listens.

use std::net::TcpListener;

use hookmq_tests::broker::{directory, hookmq};

/// The port belongs to the test: a broker that tried to listen would complain about that.
fn configuration(port: u16, listener: &str, rule: &str) -> String {
    format!(
        "data_dir: data
listeners:
  - name: plain
    bind: tcp://127.0.0.1:{port}
{listener}
pipeline:
  connect:
    - builtin: anonymous
  authorize:
    - builtin: open
  publish:
    - rule: {rule}
"
    )
}

#[test]
fn a_mistake_is_named_with_file_line_and_key_and_no_port_is_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let private = "    allow_public_plaintext: false";
    for (listener, rule, expected) in [
        ("    certificat: x", "sound", ["hookmq.yaml:5:", "listeners[0].certificat"]),
        (
            "    allow_public_plaintext: 7",
            "sound",
            ["hookmq.yaml:5:", "listeners[0].allow_public_plaintext"],
        ),
        (private, "missing", ["hookmq.yaml:12:", "pipeline.publish[0].rule"]),
        (private, "broken", ["hookmq.yaml:12:", "pipeline.publish[0]"]),
        (private, "failing", ["hookmq.yaml:12:", "the sky is green"]),
    ] {
        let directory = directory();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("rules")).expect("make a folder");
        for (name, source) in [
            ("sound", ""),
            ("broken", "oops("),
            ("failing", "fn test_sky() { assert(false, \"the sky is green\"); }"),
        ] {
            let source = format!("fn publish(client, message) {{}}\n{source}\n");
            std::fs::write(path(&format!("rules/{name}.rhai")), source).expect("write a rule");
        }
        let file = path("hookmq.yaml");
        std::fs::write(&file, configuration(port, listener, rule)).expect("write a configuration");
        for command in ["check", "run"] {
            let output =
                hookmq().args([command, "--config"]).arg(&file).output().expect("run hookmq");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command} {rule}: {said}");
            for part in expected {
                assert!(said.contains(part), "{command} {rule}: {said} lacks {part}");
            }
            assert!(!said.contains("listening") && !said.contains("bind the listener"), "{said}");
        }
    }
}
