//! A permission speaks for what its filter says, and for nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq_access::fuzzing::permissions(bytes));
