//! Identities and permissions: what a certificate says, who a principal is, what it may do.
//!
//! [`certificate_facts`] reads a verified certificate. [`Directory`] looks principals up in a
//! [`Database`] and keeps what connected clients hold current. [`PermissionSet`] orders permissions
//! and decides. [`Bans`] say who is kept out, and each [`Quota`] what a tenant may use. [`ScramSecret`] and [`PasswordHash`] are what is kept of a
//! password. [`CertificateProgram`], [`DatabaseProgram`], [`PasswordProgram`], [`ScramProgram`],
//! [`AnonymousProgram`] and [`OpenProgram`] are the builtin steps.

mod bans;
mod certificate;
mod database;
mod directory;
mod password;
mod permissions;
mod program;
mod quota;
mod scram;
mod settings;

pub use bans::{Ban, Bans, MAX_BANS};
pub use certificate::{
    CertificateError, CertificateSettings, CrlFacts, MAX_CERTIFICATE_LENGTH, MAX_NAME_LENGTH,
    Mapping, TemplateError, UsernameConflict, VouchedBy, certificate_facts, crl_facts,
    proxied_certificate,
};
pub use database::{
    BanRecord, Database, MAX_TENANT_BANS, NewBan, QueryError, QuotaChange, TenantChange,
    TenantRecord, TokenRecord,
};
pub use directory::{
    Answer, Concerned, Directory, DirectoryError, MAX_PERMISSIONS, NotAdmitted, Principal,
    PrincipalKey, Readiness,
};
pub use password::{LONGEST_PASSWORD, PasswordHash, PasswordHashError};
pub use permissions::{
    BoundPermissions, DenialReason, FilterPattern, Holder, NotApplied, PatternError, Permission,
    PermissionSet, Ruling, Terms,
};
pub use program::{
    AnonymousProgram, AnonymousSettings, CertificateProgram, DatabaseProgram, OpenProgram,
    PasswordProgram, PasswordSettings, ScramProgram, ScramSettings,
};
pub use quota::{MAX_TENANTS, Quota, Tenancy};
pub use scram::{MINIMUM_ITERATIONS, PasswordError, ScramSecret};
pub use settings::{DatabaseSettings, DatabaseUrl, UrlError};
