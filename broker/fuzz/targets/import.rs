//! What is imported becomes SQL that means what it shows.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq::fuzzing::import(bytes));
