//! A WebSocket's request is answered alike wherever reads are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq::fuzzing::upgrade(bytes));
