//! Hostile rules.
