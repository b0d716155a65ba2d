//! Why an artefact does not become a plugin, in words for the operator who uploads it.

use crate::{Capabilities, MANIFEST_SECTION, ManifestError};

/// Why a plugin is refused.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the artefact has {size} bytes; at most {limit} are accepted")]
    TooLarge { size: usize, limit: usize },
    #[error("the artefact is not a WebAssembly module or component: {0}")]
    NotWasm(String),
    #[error("the artefact has no manifest: the custom section `{MANIFEST_SECTION}` is missing")]
    NoManifest,
    #[error("the artefact has {0} manifests; it must hold one plugin")]
    ManyManifests(usize),
    #[error("manifest: {0}")]
    Manifest(#[from] ManifestError),
    #[error("the artefact is the plugin {found:?}, not {expected:?}")]
    OtherPlugin { expected: String, found: String },
    #[error("the artefact imports `{import}`, which this broker does not offer")]
    UnknownImport { import: String },
    #[error("the artefact is made for {found}; this broker supports hookmq:plugin@1.0.0")]
    WrongVersion { found: String },
    #[error(
        "the artefact does not export hookmq:plugin/hooks@1.0.0, so it is no plugin of the world \
         hookmq:plugin/plugin@1.0.0"
    )]
    NoHooks,
    #[error("the module says nothing of its component type: {0}")]
    NoComponent(String),
    #[error(
        "the artefact imports `{import}` without asking for the capability `{capability}` in its \
         manifest"
    )]
    NotAsked { import: String, capability: &'static str },
    #[error("the plugin asks for what it is not granted: {}", missing.join(", "))]
    NotGranted { plugin: String, asked: Box<Capabilities>, missing: Vec<String> },
    #[error("the configuration has {size} bytes as JSON; at most {limit} are accepted")]
    ConfigTooLarge { size: usize, limit: usize },
    #[error("compilation: {0}")]
    Compile(String),
    #[error("the plugin takes more than {seconds} s or {mebibytes} MiB to compile")]
    TooMuchToCompile { seconds: f32, mebibytes: u64 },
    #[error("the plugin has more than {limit} bytes when it is compiled")]
    CompiledTooLarge { limit: u64 },
    #[error("the plugin does not fit the contract: {0}")]
    Contract(String),
    #[error("the plugin does not start: {0}")]
    Start(String),
    #[error("the plugin refuses its configuration: {0}")]
    Configuration(String),
}

/// Why there is no plugin host.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine does not start: {0}")]
pub struct HostError(pub String);
