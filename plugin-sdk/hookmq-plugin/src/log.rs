//! The operator's log. Needs the capability `log`.
//!
//! ```
//! # use hookmq_plugin::log;
//! let sensor = "t-7";
//! log::info!("{sensor} is back");
//! log::error!("no answer after {} tries", 3);
//! ```
//!
//! The broker cuts long lines, and counts those beyond a rate instead of writing them. It adds plugin
//! and tenant itself.

use std::fmt;

pub use crate::bindings::log::Level;
#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace,
    __log_warn as warn,
};

/// Writes one line.
pub fn write(level: Level, line: &str) {
    crate::host::log::write(level, line);
}

#[doc(hidden)]
pub fn write_args(level: Level, args: fmt::Arguments<'_>) {
    match args.as_str() {
        Some(line) => write(level, line),
        None => write(level, &args.to_string()),
    }
}

/// Writes a line at level `trace`, with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($args:tt)+) => {
        $crate::log::write_args($crate::log::Level::Trace, ::core::format_args!($($args)+))
    };
}

/// Writes a line at level `debug`, with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($args:tt)+) => {
        $crate::log::write_args($crate::log::Level::Debug, ::core::format_args!($($args)+))
    };
}

/// Writes a line at level `info`, with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($args:tt)+) => {
        $crate::log::write_args($crate::log::Level::Info, ::core::format_args!($($args)+))
    };
}

/// Writes a line at level `warn`, with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($args:tt)+) => {
        $crate::log::write_args($crate::log::Level::Warn, ::core::format_args!($($args)+))
    };
}

/// Writes a line at level `error`, with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($args:tt)+) => {
        $crate::log::write_args($crate::log::Level::Error, ::core::format_args!($($args)+))
    };
}
