//! WebSocket frames carry the same bytes wherever reads are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq::fuzzing::websocket(bytes));
