//! Plugins that break the contract where the broker reads their memory, or writes to it.

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_tests::client::publish;
use wasm_encoder::{BlockType, InstructionSink};

use super::crafted::{ECHOED_FROM, Place, echoing, misplaced};
use super::siege::{MIB, Siege, artefact};

const MANIFEST: &str =
    r#"{"name": "hostile", "version": "6.6.6", "hooks": ["publish"], "fields": ["payload"]}"#;

/// The plugin is asked on `publish/#` alone.
const CONFIGURATION: &str = r#"
data_dir: data
listeners: [{name: main, bind: "tcp://127.0.0.1:0"}]
admin: {bind: "127.0.0.1:0"}
steps: {breaker_failures: 1000000, breaker_failing_ms: 1000000}
plugins: {time_ms: 100, grants: {hostile: {log: true, emit: [granted/#]}}}
pipeline:
  connect: [{builtin: anonymous}]
  authorize: [{builtin: open}]
  publish: [{plugin: hostile, topics: [publish/#]}]
"#;

fn siege() -> Siege {
    Siege::of(ProtocolVersion::V5, CONFIGURATION, &[("hostile", &artefact("hostile"))])
}

fn endless(code: &mut InstructionSink<'_>) {
    code.loop_(BlockType::Empty).br(0).end();
}

fn trap(code: &mut InstructionSink<'_>) {
    code.unreachable();
}

fn all_memory(code: &mut InstructionSink<'_>) {
    code.i32_const(60_000).memory_grow(0).drop();
}

/// P02, P03, P05: what a compiler puts around the hooks is under the same limits as they are.
#[test]
fn what_surrounds_the_hooks_ends_as_they_do() {
    let siege = siege();
    for bad_thing in [endless, trap, all_memory] {
        for place in [Place::Start, Place::Realloc, Place::PostReturn] {
            let artefact = misplaced(MANIFEST, place, bad_thing);
            let (status, message) = siege.beside_others(|| siege.upload("hostile", &artefact));
            // Who is configured needs memory for it, and has started before.
            let refused = place != Place::PostReturn;
            assert_eq!(status, if refused { 422 } else { 200 }, "{place:?}: {message}");
            if refused {
                continue;
            }
            let before = siege.failures("publish", "hostile");
            let mut offender = siege.client("offender");
            let answer = siege
                .beside_others(|| offender.publish(publish("publish/x", b"x", Qos::AtLeastOnce)));
            assert!(answer.is_failure(), "{place:?}");
            assert_eq!(siege.failures("publish", "hostile"), before + 1, "{place:?}");
        }
    }
}

/// Each byte says something different at each place of an answer: a verdict that there is not, a text that
/// lies elsewhere, a list that is longer than all memory.
#[test]
fn an_answer_of_any_bytes_is_an_answer_or_a_failure() {
    const ANSWERS: usize = 2000;
    let siege = siege();
    assert_eq!(siege.upload("hostile", &echoing(MANIFEST)).0, 200);
    let mut offender = siege.client("offender");
    let (mut random, mut passed) = (7_u32, 0);
    let before = siege.broker.resident_bytes();
    siege.beside_others(|| {
        for _ in 0..ANSWERS {
            let mut byte = || {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Most are such as may lead on.
                match (random >> 16) % 8 {
                    0 => (random >> 24) as u8,
                    1 => 0xFF,
                    2 => 1,
                    3 => (random >> 24) as u8 % 4,
                    _ => 0,
                }
            };
            let answer: Vec<u8> = (0..128).map(|_| byte()).collect();
            let payload = [vec![b'x'; ECHOED_FROM], answer, vec![b'x'; 8192]].concat();
            let told = offender.publish(publish("publish/x", &payload, Qos::AtLeastOnce));
            passed += usize::from(!told.is_failure());
        }
    });
    let failed = siege.failures("publish", "hostile") as usize;
    println!("{passed} of {ANSWERS} were answers, {failed} failures");
    assert!(passed > 0 && failed > 0 && passed + failed <= ANSWERS);
    let grown = siege.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 32 * MIB, "{grown} bytes");
}
