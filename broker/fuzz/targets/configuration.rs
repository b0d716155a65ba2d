//! A configuration is taken, or its problems are told.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq::fuzzing::configuration(bytes));
