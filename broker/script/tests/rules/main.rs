//! Rules through the public API: what each hook sees and answers, what is refused, what is bounded.

#![allow(clippy::unwrap_used)]

mod functions;
mod hooks;
mod language;
mod limits;
mod loading;
mod messages;
mod mistakes;
mod shipped;
mod support;
