//! No key set, PEM file, password hash or SCRAM secret does harm.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq_access::fuzzing::keys(bytes));
