//! Nobody finishes an exchange without the password.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq_access::fuzzing::scram(bytes));
