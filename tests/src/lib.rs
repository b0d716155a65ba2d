//! Black-box tests of the real binary.

pub mod admin;
pub mod broker;
pub mod postgres;
pub mod wait;
