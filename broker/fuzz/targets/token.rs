//! No token is believed that is not signed, and what claims name has one meaning.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq_access::fuzzing::token(bytes));
