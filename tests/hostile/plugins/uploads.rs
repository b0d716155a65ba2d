//! Artefacts that are uploaded to harm the broker: refused, while the version before goes on.

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::publish;
use wasm_encoder::{
    BlockType, EntityType, HeapType, ImportSection, InstructionSink, MemArg, Module, TypeSection,
};

use super::crafted::{BAD_THING, configured, heavy};
use super::siege::{MIB, NOWHERE, Siege, artefact, asker_manifest, with_manifest};

const MANIFEST: &str = r#"{"name": "hostile", "version": "6.6.6", "hooks": ["connect", "authorize", "publish", "deliver"]}"#;

/// Uploads `artefact` as the plugin `hostile` and is refused with `words`.
#[track_caller]
fn refused(siege: &Siege, artefact: &[u8], words: &str) {
    let (status, message) = siege.beside_others(|| siege.upload("hostile", artefact));
    assert_eq!(status, 422, "{message}");
    assert!(message.contains(words), "expected {words:?} in {message:?}");
    the_version_before_answers(siege);
}

#[track_caller]
fn the_version_before_answers(siege: &Siege) {
    let mut client = siege.client("client");
    client.subscribe("publish/x", Qos::AtMostOnce);
    let failed = siege.failures("publish", "hostile");
    client.publish(publish("publish/x", b"good", Qos::AtMostOnce));
    client.expect_message("publish/x", b"good");
    client.publish(publish("publish/x", b"fail", Qos::AtMostOnce));
    client.expect_nothing();
    assert_eq!(siege.failures("publish", "hostile"), failed + 1, "it is the one that can fail");
}

/// P02, P03
#[test]
fn what_does_not_end_its_configuration_is_refused() {
    let siege = Siege::new(ProtocolVersion::V5);
    type BadThing = fn(&mut InstructionSink<'_>);
    let table: [(BadThing, &str); 6] = [
        (
            |code| {
                code.loop_(BlockType::Empty).br(0).end();
            },
            "ran for longer than 100 ms",
        ),
        (
            |code| {
                code.unreachable();
            },
            "unreachable",
        ),
        (
            |code| {
                code.call(BAD_THING);
            },
            "stack",
        ),
        (
            |code| {
                code.i32_const(60_000).memory_grow(0).drop();
            },
            "bytes of memory",
        ),
        (
            |code| {
                code.ref_null(HeapType::FUNC).i32_const(1 << 30).table_grow(0).drop();
            },
            "table elements",
        ),
        (
            // Beyond the memory that it has.
            |code| {
                let place = MemArg { offset: 0, align: 0, memory_index: 0 };
                code.i32_const(-4).i32_const(1).i32_store(place);
            },
            "out of bounds",
        ),
    ];
    for (bad_thing, words) in table {
        refused(&siege, &configured(MANIFEST, bad_thing), words);
    }
    let harmless = configured(MANIFEST, |_| {});
    assert_eq!(siege.upload("hostile", &harmless), (200, String::new()));
}

/// P03
#[test]
fn a_plugin_that_takes_too_long_to_compile_is_refused() {
    let siege =
        Siege::within(ProtocolVersion::V5, "compile: {time_ms: 10000, memory_bytes: 1073741824}");
    let before = siege.broker.resident_bytes();
    let bomb = heavy(MANIFEST, 14, 1 << 20);
    refused(&siege, &bomb, "takes more than 10 s or 1024 MiB to compile");
    let grown = siege.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 128 * MIB, "{grown} bytes");
}

/// P03
#[test]
fn a_plugin_that_takes_too_much_memory_to_compile_is_refused() {
    let siege = Siege::within(ProtocolVersion::V5, "compile: {memory_bytes: 536870912}");
    let before = siege.broker.resident_bytes();
    let bomb = heavy(MANIFEST, 2, 1 << 20);
    refused(&siege, &bomb, "takes more than 30 s or 512 MiB to compile");
    let grown = siege.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 128 * MIB, "{grown} bytes");
}

#[test]
fn bad_manifests_are_refused() {
    let siege = Siege::new(ProtocolVersion::V5);
    let asker = artefact("asker");
    let schema = format!(r#""config_schema": {{"x": "{}"}}"#, "x".repeat(64 << 10));
    for (more, words) in [
        (r#""hooks": []"#, "at least one is needed"),
        (r#""hooks": ["publish"], "capabilities": ["root"]"#, "`root` is unknown"),
        (r#""hooks": ["publish"], "limits": {"memory_bytes": -1}"#, "invalid value"),
        (r#""hooks": ["publish"], "http": ["https://*"]"#, "http: \"https://*\""),
        (r#""hooks": ["publish"], "secrets": ["../admin.token"]"#, "secrets: \"../admin.token\""),
        (&*format!(r#""hooks": ["publish"], {schema}"#), "config_schema: it is longer"),
        (r#""hooks": ["publish"], "emit": ["a/#/b"]"#, "emit: \"a/#/b\""),
        (r#""hooks": ["publish"]"#, "without asking for"),
    ] {
        let manifest = format!(r#"{{"name": "hostile", "version": "1.0.0", {more}}}"#);
        refused(&siege, &with_manifest(&asker, &manifest), words);
    }
    refused(&siege, &asker, "has no manifest");
    refused(&siege, &with_manifest(&asker, "\u{0}\u{1}"), "manifest: ");
    let deep = format!(r#"{{"config_schema": {}"#, r#"{"a":"#.repeat(10_000));
    refused(&siege, &with_manifest(&asker, &deep), "recursion limit");
    refused(&siege, &with_manifest(&artefact("hostile"), MANIFEST), "2 manifests");
    refused(&siege, &with_manifest(&asker, &asker_manifest(NOWHERE)), "is the plugin \"asker\"");
}

#[test]
fn more_than_is_granted_is_refused() {
    let siege = Siege::new(ProtocolVersion::V5);
    let asking = |more: &str| {
        format!(r#"{{"name": "hostile", "version": "1.0.0", "hooks": ["publish"], {more}}}"#)
    };
    for (more, missing) in [
        (r#""capabilities": ["log", "kv"]"#, "not granted: kv"),
        (r#""capabilities": ["clock", "metric"]"#, "not granted: clock, metric"),
        (r##""emit": ["#"]"##, "not granted: emit #"),
        (
            r#""emit": ["granted"], "http": ["http://169.254.169.254"]"#,
            "http http://169.254.169.254",
        ),
        (r#""secrets": ["token"]"#, "secret token"),
    ] {
        let artefact = configured(&asking(more), |_| {});
        refused(&siege, &artefact, missing);
    }
}

#[test]
fn unknown_imports_are_named() {
    let siege = Siege::new(ProtocolVersion::V5);
    for (module, function, words) in [
        ("wasi_snapshot_preview1", "fd_write", "`wasi_snapshot_preview1.fd_write`"),
        ("env", "system", "`env.system`"),
        ("hookmq:plugin/files@1.0.0", "read", "`hookmq:plugin/files@1.0.0.read`"),
        ("hookmq:plugin/log@9.0.0", "write", "made for hookmq:plugin@9.0.0"),
        ("hookmq:plugin/http@1.0.0", "send", "without asking for the capability `http`"),
    ] {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut imports = ImportSection::new();
        imports.import(module, function, EntityType::Function(0));
        let mut wasm = Module::new();
        wasm.section(&types).section(&imports);
        refused(&siege, &with_manifest(&wasm.finish(), MANIFEST), words);
    }
}

#[test]
fn truncated_and_damaged_files_are_refused_or_harmless() {
    let siege = Siege::new(ProtocolVersion::V5);
    let whole = artefact("hostile");
    siege.beside_others(|| {
        for eighth in 0..8 {
            let (status, message) = siege.upload("hostile", &whole[..whole.len() * eighth / 8]);
            assert_eq!(status, 422, "{message}");
        }
        for part in 0..16 {
            let mut damaged = whole.clone();
            damaged[8 + part * whole.len() / 17] ^= 0x55;
            let (status, message) = siege.upload("hostile", &damaged);
            assert!(matches!(status, 200 | 422), "{status}: {message}");
        }
        // A new version, however well it works.
        assert_eq!(siege.upload("hostile", &whole).0, 200);
    });
    the_version_before_answers(&siege);
    assert_eq!(siege.attempt_at("hostile", "good"), ReasonCode::Success);
}

#[test]
fn an_artefact_beyond_the_bound_is_refused() {
    let siege = Siege::within(ProtocolVersion::V5, "artefact_bytes: 500000");
    let large = heavy(MANIFEST, 1, 600_000);
    let (status, message) = siege.beside_others(|| siege.upload("hostile", &large));
    assert!(matches!(status, 413 | 422), "{status}: {message}");
    the_version_before_answers(&siege);
}
