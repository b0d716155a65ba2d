//! The WebAssembly plugin host: what operators upload, sandboxed.
//!
//! A [`PluginHost`] makes a [`WasmPlugin`] of an artefact, which the pipeline then calls like any
//! other [`hookmq_hooks::Program`]. An artefact is one `.wasm` file, a component or a core module,
//! with a [`Manifest`] in a custom section. Its contract is `plugin-sdk/wit/hookmq-plugin.wit`.
//!
//! A call runs on the thread of its caller, in an instance that serves one tenant and nobody else,
//! within [`Limits`] on time, memory and output. A guest that breaks one costs itself its instance
//! and the step an answer, and nobody else anything.

//!
//! A plugin that sends requests waits for them on threads of its own ([`HttpClient`]).

mod advice;
mod artefact;
mod capabilities;
mod compilation;
mod contract;
mod error;
mod guest_log;
mod host;
mod http;
mod imports;
mod input;
mod instance;
mod manifest;
mod manifest_section;
mod options;
mod origin;
mod output;
mod plugin;
mod pool;
mod workers;

pub use capabilities::{Capabilities, Grants, Wish};
pub use compilation::{
    ApartLimits, ChildCompilation, Compilation, CompileLimits, Processors, compile_in_child,
};
pub use error::{HostError, LoadError};
pub use guest_log::Journal;
pub use host::{MachineCode, PluginHost, Prepared};
pub use http::{HttpClient, HttpError, HttpLimits, HttpRequest, HttpResponse, Method};
pub use manifest::{Fields, Manifest, ManifestError};
pub use manifest_section::{MANIFEST_SECTION, with_manifest};
pub use options::{HostOptions, Limits, PluginSettings};
pub use origin::{Host, Origin, OriginError, Scheme};
pub use plugin::WasmPlugin;
