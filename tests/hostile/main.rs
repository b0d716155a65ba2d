//! Plugins and rules that misbehave, and what they cannot do to the broker, to its clients and to other
//! tenants.

mod plugins;
mod rules;
mod tenants;
