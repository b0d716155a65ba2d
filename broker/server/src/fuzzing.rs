//! Doors for the fuzz targets. What they try stands beside what they try it on.

pub use crate::admin::fuzzing::admin;
pub use crate::commands::import_fuzzing::import;
pub use crate::config::fuzzing::configuration;
pub use crate::listener::fuzzing::{proxy, upgrade, websocket};
