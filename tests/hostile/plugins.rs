//! Hostile plugins.

mod admin;
mod answers;
pub mod crafted;
mod files;
mod hooks;
mod imports;
mod loops;
mod network;
mod offenders;
pub mod siege;
mod swaps;
mod uploads;
