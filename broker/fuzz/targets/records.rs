//! Nothing on a disk brings the store down, and what is read is written as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hookmq_store::fuzzing::records(bytes));
