//! No body of a request to the admin API does harm.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq::fuzzing::admin(bytes));
