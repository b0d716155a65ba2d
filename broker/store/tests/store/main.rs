//! What the store promises, for every engine, and what becomes of it when disks and processes fail.

#![allow(clippy::unwrap_used)]

mod clocks;
mod copies;
mod crash;
mod damage;
mod expiry;
mod faults;
mod figures;
mod golden;
mod kill;
mod model;
mod picture;
mod random;
mod redb_engine;
mod scenes;
mod simulated;
mod suite;
mod tools;
mod trimming;
