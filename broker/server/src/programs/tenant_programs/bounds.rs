//! How much tenants may push, and why it is refused.

use std::io;

use hookmq_hooks::Hook;

use super::super::loader::ProgramError;

/// Figures that rules may have.
pub(super) const FIGURES: Figures = Figures { of_tenant: 100, all: 100_000 };

pub(super) struct Figures {
    pub(super) of_tenant: usize,
    pub(super) all: usize,
}

/// Bounds of what tenants push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantRulesOptions {
    /// Of one tenant.
    pub rules_per_tenant: usize,
    /// Bytes of one rule.
    pub rule_bytes: usize,
    /// Of all tenants together.
    pub rules: usize,
    /// Changes that one tenant may try, those that are refused included.
    pub pushes_per_minute: u32,
    /// Bytes that the rules of one tenant may keep between calls.
    pub kept_bytes: usize,
    /// Instances of all tenants' rules together, apart from those of the operator's.
    pub instances: u32,
}

impl Default for TenantRulesOptions {
    fn default() -> Self {
        Self {
            rules_per_tenant: 16,
            rule_bytes: 16 << 10,
            rules: 16_000,
            pushes_per_minute: 30,
            kept_bytes: 256 << 10,
            instances: 256,
        }
    }
}

/// Why a tenant's rule is not put in force, or not found.
#[derive(Debug, thiserror::Error)]
pub enum TenantProgramError {
    #[error("the pipeline has no place for tenants' rules in {0:?}")]
    NoPlace(Hook),
    #[error("a tenant's rule has no `connect`: no tenant says who comes in")]
    Connect,
    #[error("the rule has {size} bytes; {most} are allowed")]
    TooLong { size: usize, most: usize },
    #[error("the tenant has {0} rules, which is as many as it may")]
    TooMany(usize),
    #[error("all tenants together have {0} rules, which is as many as the broker takes")]
    Full(usize),
    #[error("the tenant may try {0} changes of its rules in a minute")]
    TooOften(u32),
    #[error("the tenant has no rule of this name")]
    NoSuchRule,
    #[error("the rule has no text to go back to")]
    NoPrevious,
    #[error("what is kept of the tenant's rules cannot be read: {0}")]
    Unreadable(String),
    #[error("cannot keep the rule: {0}")]
    Archive(io::Error),
    #[error(transparent)]
    Program(#[from] ProgramError),
}
