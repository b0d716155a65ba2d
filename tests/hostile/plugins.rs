//! Hostile plugins.

mod crafted;
mod files;
mod hooks;
mod imports;
mod network;
mod siege;
mod uploads;
