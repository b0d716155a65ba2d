//! From a component to machine code: in this process, or in a child that may fail without harm.

mod cache;
mod child;

use std::hash::{Hash, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Config, Engine, WasmBacktraceDetails};

use self::cache::Cache;
use self::child::MAX_COMPILED_BYTES;
pub use self::child::{Processors, compile_in_child};
use crate::{LoadError, artefact};

const MAX_WASM_STACK: usize = 512 << 10;

/// Where components are compiled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Compilation {
    /// Here, for as long as it takes: for artefacts that are trusted so far.
    #[default]
    InProcess,
    Child(ChildCompilation),
}

/// A child process per compilation, and a directory for what it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildCompilation {
    /// Called with the arguments `compile-plugin --cpu-s N --memory-bytes N`, and perhaps
    /// `--one-processor`, it must call [`compile_in_child`] and nothing before it.
    pub program: PathBuf,
    pub limits: CompileLimits,
    /// Used where it exists, belongs to this user, and others may not write to it.
    pub cache: PathBuf,
}

/// What one compilation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// On the wall and, in whole seconds, of processors.
    pub time: Duration,
    /// Address space.
    pub memory_bytes: u64,
    /// Of all files in the cache; the oldest go.
    pub cache_bytes: u64,
}

/// What one compilation for a stranger may take, where [`CompileLimits`] do not allow less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApartLimits {
    pub time: Duration,
    pub memory_bytes: u64,
    /// Of what comes of it.
    pub compiled_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(30), memory_bytes: 2 << 30, cache_bytes: 256 << 20 }
    }
}

/// Compiles one component at a time.
pub(crate) struct Compiler {
    compilation: Compilation,
    turn: Mutex<()>,
}

impl Compiler {
    pub(crate) fn new(compilation: Compilation) -> Self {
        Self { compilation, turn: Mutex::default() }
    }

    pub(crate) fn compile(
        &self,
        engine: &Engine,
        component: &[u8],
    ) -> Result<Component, LoadError> {
        let _turn = self.turn.lock();
        let Compilation::Child(options) = &self.compilation else {
            return in_process(|| Component::new(engine, component));
        };
        let cache = Cache { directory: &options.cache, bytes: options.limits.cache_bytes };
        let key = key(engine, component);
        if let Some(compiled) = cache.find(&key)
            && let Ok(component) = load(engine, &compiled)
        {
            return Ok(component);
        }
        let compiled = child::compile(options, component, MAX_COMPILED_BYTES, Processors::All)?;
        let component = load(engine, &compiled).map_err(failed)?;
        if let Err(error) = cache.keep(&key, &compiled) {
            tracing::warn!(directory = ?options.cache, %error, "compiled plugins are not kept");
        }
        Ok(component)
    }

    /// Compiles what a stranger has written, as far as that is to be had within `limits`, and keeps
    /// nothing of it. What makes a component of a core module has no more than that either. The time
    /// that it takes when its turn has come is added to `busy`, whatever comes of it.
    pub(crate) fn compile_apart(
        &self,
        engine: &Engine,
        artefact: &[u8],
        limits: ApartLimits,
        busy: &mut Duration,
    ) -> Result<(Component, Vec<u8>), LoadError> {
        let _turn = self.turn.lock();
        let start = Instant::now();
        let compiled = self.code_apart(engine, artefact, limits);
        *busy += start.elapsed();
        let compiled = compiled?;
        Ok((load(engine, &compiled).map_err(failed)?, compiled))
    }

    fn code_apart(
        &self,
        engine: &Engine,
        artefact: &[u8],
        limits: ApartLimits,
    ) -> Result<Vec<u8>, LoadError> {
        match &self.compilation {
            Compilation::Child(ours) => {
                let ApartLimits { time, memory_bytes, compiled_bytes } = limits;
                let limits = CompileLimits {
                    time: time.min(ours.limits.time),
                    memory_bytes: memory_bytes.min(ours.limits.memory_bytes),
                    ..ours.limits
                };
                let options = ChildCompilation { limits, ..ours.clone() };
                let most = compiled_bytes.min(MAX_COMPILED_BYTES);
                child::compile(&options, artefact, most, Processors::One)
            }
            Compilation::InProcess => {
                let component = artefact::component(artefact)?;
                in_process(|| engine.precompile_component(&component))
            }
        }
    }
}

/// What was compiled and kept before, and fits this engine.
pub(crate) fn find_kept(engine: &Engine, shelf: &Path, name: &str) -> Option<Component> {
    let compiled = Cache { directory: shelf, bytes: u64::MAX }.find(name)?;
    load(engine, &compiled).ok()
}

/// Keeps what was compiled under `name`, whole or not at all.
pub(crate) fn keep(shelf: &Path, name: &str, compiled: &[u8]) -> io::Result<()> {
    Cache { directory: shelf, bytes: u64::MAX }.keep(name, compiled)
}

/// What that takes on the disk.
pub(crate) fn kept_bytes(compiled: &[u8]) -> u64 {
    (cache::DIGEST_BYTES + compiled.len()) as u64
}

/// What a compiled component must have in common with the engine that runs it.
pub(crate) fn engine_config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(MAX_WASM_STACK)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_memory64(false)
        // What ties components inside one to each other copies between memories: without this, wasmtime
        // panics at such an artefact. The allocator refuses more than one all the same.
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false);
    config
}

#[allow(unsafe_code)]
fn load(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what this program's own compiler made, in a child process just now, or
    // earlier and kept where nobody else may write.
    unsafe { Component::deserialize(engine, compiled) }
}

/// Of the component, and of all that the compiler's output depends on beside it.
fn key(engine: &Engine, component: &[u8]) -> String {
    let mut surroundings = Fingerprint(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut surroundings);
    let surroundings = hex::encode(&surroundings.0.finalize()[..8]);
    format!("{}-{surroundings}", hex::encode(Sha256::digest(component)))
}

/// A hash that is the same in every process.
struct Fingerprint(Sha256);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

/// Compiles what others have written, at which the compiler may panic.
fn in_process<T>(compile: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, LoadError> {
    match catch_unwind(AssertUnwindSafe(compile)) {
        Ok(compiled) => compiled.map_err(failed),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let text = text.unwrap_or("it does not say why");
            Err(LoadError::Compile(format!("the compiler panicked: {text}")))
        }
    }
}

fn failed(error: wasmtime::Error) -> LoadError {
    LoadError::Compile(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_panics_is_an_error() {
        let error = in_process(|| -> wasmtime::Result<()> { panic!("at {}", "odd input") });
        let told = error.map_err(|error| error.to_string());
        assert!(told.is_err_and(|told| told.contains("the compiler panicked: at odd input")));
    }
}
