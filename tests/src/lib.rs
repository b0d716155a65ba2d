//! Black-box tests of the real binary.

pub mod postgres;
