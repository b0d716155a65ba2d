//! The HookMQ broker: listeners, the connection driver, the admin API and configuration.

pub mod admin;
pub mod admission;
pub mod audit;
pub mod broker;
pub mod cli;
mod clock;
pub mod commands;
pub mod config;
pub mod connection;
pub mod credential;
pub mod demo;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod listener;
mod outbound;
pub mod programs;
pub mod server;
pub mod tls;
