//! Commands that speak to a running broker, or work on files without one.

mod acl;
mod api;
mod bench;
mod explain;
mod import;
mod plugin;
mod rule;
mod store;
mod tenant;
mod version;

pub use self::acl::AclCommand;
pub use self::explain::ExplainOptions;
pub use self::import::ImportCommand;
#[cfg(any(test, fuzzing))]
pub(crate) use self::import::fuzzing as import_fuzzing;
pub use self::plugin::PluginCommand;
pub use self::rule::RuleCommand;
pub use self::store::StoreCommand;
pub use self::tenant::TenantCommand;
