//! Identities and permissions: what a certificate says, who a principal is, what it may do.
//!
//! [`certificate_facts`] reads a verified certificate. [`Directory`] looks principals up in a
//! [`Database`] and keeps what connected clients hold current. [`PermissionSet`] orders permissions
//! and decides. [`Bans`] say who is kept out, each [`Quota`] what a tenant may use,
//! and [`TenantGrants`] who reaches into other tenants. [`ScramSecret`]
//! and [`PasswordHash`] are what is kept of a password. [`CertificateProgram`], [`DatabaseProgram`],
//! [`JwtProgram`], [`PasswordProgram`], [`ScramProgram`], [`AnonymousProgram`] and [`OpenProgram`] are
//! the builtin steps.

mod bans;
mod braces;
mod certificate;
mod client_id;
mod database;
mod directory;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod name;
mod password;
mod permissions;
mod program;
mod quota;
mod scram;
mod settings;
mod tenant_grants;
mod token;

/// The step's name, which vouches for what it gives.
const DATABASE: &str = "database";

pub use bans::{Ban, Bans, MAX_BANS};
pub use certificate::{
    CertificateError, CertificateSettings, CrlFacts, MAX_CERTIFICATE_LENGTH, MAX_NAME_LENGTH,
    Mapping, MappingSource, Mappings, TemplateError, UsernameConflict, VouchedBy,
    certificate_facts, crl_facts, may_sign_certificates, proxied_certificate,
};
pub use client_id::NamedClientIdRule;
pub use database::{
    BanRecord, Database, ForeignQueries, ForeignUser, MAX_COMPARED, MAX_GRANTS_INTO_TENANT,
    MAX_TENANT_BANS, MAX_USERS, NewBan, NewTenantGrant, Prospect, ProspectError, QueryError,
    QuotaChange, TenantChange, TenantGrantRecord, TenantRecord, TokenRecord, Whom,
};
pub use directory::{
    Answer, Concerned, Directory, DirectoryError, MAX_PERMISSIONS, NotAdmitted, Principal,
    PrincipalKey, Readiness,
};
pub use password::{LONGEST_PASSWORD, PasswordHash, PasswordHashError};
pub use permissions::{
    BoundPermissions, Comparison, DenialReason, Difference, FilterPattern, Holder, Leave,
    NotApplied, PatternError, Permission, PermissionSet, ReceiveAsked, Ruling, ShareNames, Terms,
    compare,
};
pub use program::{
    AnonymousProgram, AnonymousSettings, CertificateProgram, DatabaseProgram, JwtProgram,
    OpenProgram, PasswordProgram, PasswordSettings, ScramProgram, ScramSettings,
};
pub use quota::{MAX_TENANTS, Quota, Tenancy};
pub use scram::{MINIMUM_ITERATIONS, PasswordError, ScramSecret};
pub use settings::{DatabaseSettings, DatabaseUrl, UrlError};
pub use tenant_grants::{MAX_GRANTED_FILTERS, MAX_TENANT_GRANTS, TenantGrant, TenantGrants, Wish};
pub use token::{
    Algorithm, FetchKeySet, JwtSettings, KeyError, KeySetUrl, KeySetUrlError, KeySettings,
    MAX_KEY_SET_BYTES, PermissionsFrom, SettingsProblem, TokenFrom,
};
