//! What a certificate says is clean text, or it is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq_access::fuzzing::certificate(bytes));
