//! What waits for the store, and what is stored before what: the real driver on an in-memory stream,
//! with a store whose disk is the test's.

#![allow(clippy::unwrap_used)]

mod delivering;
mod emitting;
mod late;
mod orders;
mod peer;
mod publishing;
mod restart;
mod rooms;
mod sessions;
mod shares;
mod subscribing;
mod sweeping;
mod wills;
mod world;
