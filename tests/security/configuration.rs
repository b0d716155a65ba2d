//! Configurations that are broken in odd ways: the broker does not start with any of them, says what is
//! wrong, and is never more open than what was meant.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use hookmq_tests::broker::{directory, hookmq};
use hookmq_tests::certificates::Authority;
use hookmq_tests::wait::wait_until;

/// What each case breaks in one place.
const SOUND: &str = r#"data_dir: data
listeners:
  - name: plain
    bind: tcp://127.0.0.1:0
  - name: devices
    bind: tls://127.0.0.1:0
    tls:
      certificate: server.crt
      key: server.key
      client_certificates: required
      trust_anchors: [{name: devices, file: ca.crt}]
database:
  url: "sqlite:./hookmq.db"
admin:
  bind: 127.0.0.1:0
  token_file: admin.token
limits:
  connections: 100
pipeline:
  connect:
    - {builtin: certificate, listeners: [devices], config: {mappings: [{trust_anchor: devices, tenant: acme, username: "{cn}"}]}}
    - {builtin: password, listeners: [plain], config: {tenant: acme}}
    - {builtin: database}
  authorize:
    - {rule: allow}
    - {builtin: database}
"#;

/// What stands in the text, what stands there instead, and what the broker says.
const EDITS: &[(&str, &str, &str)] = &[
    // Access lists that are empty, absent or of another kind.
    (
        "  authorize:\n    - {rule: allow}\n    - {builtin: database}\n",
        "  authorize: []\n",
        "authorize",
    ),
    ("  authorize:\n    - {rule: allow}\n    - {builtin: database}\n", "", "authorize"),
    (
        "  authorize:\n    - {rule: allow}\n    - {builtin: database}\n",
        "  authorize:\n",
        "authorize",
    ),
    (
        "  authorize:\n    - {rule: allow}\n",
        "  authorize:\n    - {builtin: none}\n",
        "authorize[0]",
    ),
    ("  authorize:\n    - {rule: allow}\n", "  authorize:\n    - {}\n", "authorize[0]"),
    ("  authorize:\n    - {rule: allow}\n", "  authorize: allow\n#", "authorize"),
    ("{rule: allow}", "{rule: allow, builtin: open}", "authorize[0]"),
    ("{rule: allow}", "{rule: Allow}", "authorize[0]"),
    ("{rule: allow}", "{rule: ../allow}", "authorize[0]"),
    ("{rule: allow}", "{rule: \"\"}", "authorize[0]"),
    ("{rule: allow}", "{rule: broken}", "authorize[0]"),
    ("{rule: allow}", "{rule: absent}", "authorize[0]"),
    ("{rule: allow}", "{rule: huge}", "authorize[0]"),
    ("{rule: allow}", "{rule: failing}", "authorize[0]"),
    ("{rule: allow}", "{plugin: allow}", "authorize[0]"),
    ("{rule: allow}", "{plugin: garbage}", "authorize[0]"),
    ("{rule: allow}", "{rule: allow, topics: [\"a/#/b\"]}", "authorize[0].topics"),
    ("{rule: allow}", "{rule: allow, listeners: [plane]}", "authorize[0].listeners"),
    ("{rule: allow}", "{rule: allow, listener: [plain]}", "authorize[0].listener"),
    ("{rule: allow}", "{rule: allow, control: sufficient}", "authorize[0]"),
    ("{rule: allow}", "{rule: allow, on_failure: pass}", "authorize[0]"),
    ("pipeline:", "Pipeline:", "Pipeline"),
    // Connect chains that would leave a door open, or let nobody be anybody.
    ("{builtin: password,", "{builtin: passwords,", "connect[1]"),
    ("{tenant: acme}", "{tennant: acme}", "connect[1]"),
    ("config: {tenant: acme}", "config: acme", "connect[1]"),
    ("listeners: [plain], config", "control: requisite, config", "connect[1].control"),
    ("{trust_anchor: devices, tenant", "{trust_anchor: device, tenant", "connect[0]"),
    ("\"{cn}\"", "\"{cm}\"", "connect[0]"),
    ("\"{cn}\"", "\"{cn\"", "connect[0]"),
    (
        "mappings: [{trust_anchor: devices, tenant: acme, username: \"{cn}\"}]",
        "mappings: []",
        "connect[0]",
    ),
    // Listeners that are more open than they look.
    ("tcp://127.0.0.1:0", "tcp://0.0.0.0:0", "allow_public_plaintext"),
    ("tcp://127.0.0.1:0", "\"tcp://[::]:0\"", "allow_public_plaintext"),
    ("tcp://127.0.0.1:0", "tcp://127.0.0.1", "listeners[0].bind"),
    ("tcp://127.0.0.1:0", "tcp://127.0.0.1:65536", "listeners[0].bind"),
    ("tcp://127.0.0.1:0", "http://127.0.0.1:0", "listeners[0].bind"),
    ("tcp://127.0.0.1:0", "tls://127.0.0.1:0", "listeners[0]"),
    ("bind: tls://127.0.0.1:0", "bind: tcp://127.0.0.1:0", "listeners[1]"),
    ("name: devices\n", "name: plain\n", "listeners[1].name"),
    ("  bind: 127.0.0.1:0\n", "  bind: 0.0.0.0:0\n", "admin"),
    ("client_certificates: required", "client_certificates: mandatory", "client_certificates"),
    ("client_certificates: required", "client_certificates: [required]", "client_certificates"),
    ("      trust_anchors: [{name: devices, file: ca.crt}]\n", "", "trust_anchors"),
    ("{name: devices, file: ca.crt}", "{name: devices, file: absent.crt}", "trust_anchors[0]"),
    ("{name: devices, file: ca.crt}", "{name: devices, file: empty}", "trust_anchors[0]"),
    ("{name: devices, file: ca.crt}", "{name: devices, file: garbage.wasm}", "trust_anchors[0]"),
    (
        "{name: devices, file: ca.crt}",
        "{name: devices, file: ca.crt, crl: {file: absent.crl}}",
        "trust_anchors[0]",
    ),
    ("key: server.key", "key: open.key", "tls.key"),
    ("key: server.key", "key: linked.key", "tls.key"),
    ("key: server.key", "key: other.key", "tls"),
    ("key: server.key", "key: server.crt", "tls.key"),
    ("certificate: server.crt", "certificate: cut.crt", "tls.certificate"),
    ("certificate: server.crt", "certificate: .", "tls.certificate"),
    // Numbers, types and texts.
    ("connections: 100", "connections: 0", "limits.connections"),
    ("connections: 100", "connections: -1", "limits.connections"),
    ("connections: 100", "connections: 1e9", "limits.connections"),
    ("connections: 100", "connections: \"100\"", "limits.connections"),
    ("connections: 100", "connections: 99999999999999999999999", "limits.connections"),
    ("connections: 100", "connection: 100", "limits.connection"),
    ("  connections: 100", "  connections: 100\n  connections: 200", "duplicate"),
    ("limits:\n", "limits:\n\t", "hookmq.yaml:"),
    ("sqlite:./hookmq.db", "mysql://localhost/x", "database.url"),
    ("sqlite:./hookmq.db", "${HOOKMQ_NO_SUCH_VARIABLE}", "database.url"),
    ("token_file: admin.token", "token_file: empty", "token_file"),
    ("token_file: admin.token", "token_file: open.key", "token_file"),
];

/// Whole files in place of the sound one, and what the broker says.
fn files() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let half = SOUND.len() / 2;
    let bomb = (0..64).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        text + &format!("a{}: &a{} [*a{n}, *a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)
    });
    vec![
        ("empty", b"".to_vec(), "listeners"),
        ("blank", b"\n\n---\n".to_vec(), "listeners"),
        ("cut in a key", SOUND.as_bytes()[..half].to_vec(), "hookmq.yaml"),
        (
            "cut before the pipeline",
            SOUND.split("pipeline:").next().unwrap_or("").into(),
            "pipeline",
        ),
        ("two documents", format!("{SOUND}---\n{SOUND}").into(), "hookmq.yaml"),
        ("not UTF-8", [SOUND.as_bytes(), b"# \xff\xfe\n"].concat(), "hookmq.yaml"),
        ("NUL", [SOUND.as_bytes(), b"x\0y: 1\n"].concat(), "hookmq.yaml"),
        ("a list", b"- listeners\n".to_vec(), "hookmq.yaml"),
        ("JSON that is cut", b"{\"listeners\": [".to_vec(), "hookmq.yaml"),
        ("aliases without end", bomb.into(), "hookmq.yaml"),
        ("deep", format!("x: {}", "[".repeat(1_000)).into(), "hookmq.yaml"),
        ("huge", format!("# {}\n{SOUND}", "x".repeat(64 << 20)).into(), "hookmq.yaml"),
    ]
}

/// A folder with all that [`SOUND`] names, and with what the cases name.
fn folder() -> tempfile::TempDir {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let write = |name: &str, bytes: &[u8], mode: u32| {
        std::fs::write(path(name), bytes).expect("write a file");
        std::fs::set_permissions(path(name), PermissionsExt::from_mode(mode))
            .expect("set its mode");
    };
    let authority = Authority::new("devices");
    authority.save(&path("ca.crt"));
    authority.issue_server(&path("server"));
    authority.issue_server(&path("other"));
    let read = |name: &str| std::fs::read(path(name)).expect("read a file");
    write("cut.crt", &read("server.crt")[..100], 0o644);
    write("open.key", &read("server.key"), 0o644);
    write("empty", b"", 0o600);
    symlink("open.key", path("linked.key")).expect("make a link");
    for folder in ["rules", "plugins"] {
        std::fs::create_dir(path(folder)).expect("make a folder");
    }
    write("rules/allow.rhai", b"fn authorize(client, request) { abstain() }\n", 0o644);
    write("rules/broken.rhai", b"fn authorize(client, request) { allow(\n", 0o644);
    write(
        "rules/failing.rhai",
        b"fn authorize(client, request) {}\nfn test_x() { assert(false, \"no\"); }\n",
        0o644,
    );
    write("rules/huge.rhai", "// x\n".repeat(4 << 20).as_bytes(), 0o644);
    write("plugins/garbage.wasm", b"\0asm\x01\0\0\0 no plugin", 0o644);
    directory
}

/// How `hookmq command` ends with the file, and what it says.
fn outcome(command: &str, file: &Path) -> (Option<i32>, String) {
    let said = file.with_extension("log");
    let log = std::fs::File::create(&said).expect("make a log");
    let mut child = hookmq()
        .args([command, "--config"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("run hookmq");
    let read =
        || String::from_utf8_lossy(&std::fs::read(&said).expect("read the log")).into_owned();
    let code =
        wait_until("hookmq ends, or listens", || match child.try_wait().expect("its status") {
            Some(status) => Some(status.code()),
            None if read().contains("listening") => {
                child.kill().expect("end it");
                Some(None)
            }
            None => None,
        });
    child.wait().expect("its status");
    (code, read())
}

/// Both commands refuse `text`, and say `expected`.
fn refused(file: &Path, case: &str, text: &[u8], expected: &str) -> Vec<String> {
    std::fs::write(file, text).expect("write a configuration");
    let mut wrong = Vec::new();
    for command in ["check", "run"] {
        let (code, said) = outcome(command, file);
        let short: String = said.chars().take(600).collect();
        if code != Some(2) || !said.contains(expected) || said.contains("panicked") {
            wrong.push(format!("{command} with {case}: {code:?}, expected {expected}: {short}"));
        }
    }
    wrong
}

#[test]
fn no_broken_configuration_starts_the_broker() {
    let folder = folder();
    let file = folder.path().join("hookmq.yaml");
    std::fs::write(&file, SOUND).expect("write a configuration");
    let (code, said) = outcome("check", &file);
    assert_eq!(code, Some(0), "the sound one: {said}");
    let mut wrong = Vec::new();
    for (old, new, expected) in EDITS {
        assert!(SOUND.contains(old), "nothing to replace: {old}");
        let text = SOUND.replacen(old, new, 1);
        wrong.extend(refused(&file, &format!("{old:?} -> {new:?}"), text.as_bytes(), expected));
    }
    for (case, text, expected) in files() {
        wrong.extend(refused(&file, case, &text, expected));
    }
    assert!(wrong.is_empty(), "{} of the outcomes:\n{}", wrong.len(), wrong.join("\n"));
}
