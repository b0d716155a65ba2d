//! What the broker's threads share, on the locks of a model that tries every order of their steps. Under
//! the model's settings the broker's own crate would be built anew with all that it is made of.

#![cfg(feature = "interleavings")]

#[path = "../../src/broker/interleavings.rs"]
pub mod broker;
pub mod clock;
