//! What publishers and connections share. The crate of interleavings has its own module instead of
//! this one.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

pub(super) use atomic_waker::AtomicWaker;
pub(super) use parking_lot::Mutex;
pub(super) use tokio::sync::oneshot;
pub(super) use tokio::time::timeout;
