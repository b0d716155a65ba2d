//! What an uploaded file is: read before anything of it is compiled.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use crate::{Capabilities, LoadError, MANIFEST_SECTION, Manifest};

const HOOKS: &str = "hookmq:plugin/hooks@1.0.0";
const PACKAGE: &str = "hookmq:plugin/";
const VERSION: &str = "1.0.0";

/// A checked artefact, as a component.
pub(crate) struct Artefact<'a> {
    pub(crate) manifest: Manifest,
    pub(crate) component: Cow<'a, [u8]>,
    /// Of the uploaded bytes, lower-case hex.
    pub(crate) sha256: String,
}

impl<'a> Artefact<'a> {
    /// Reads manifest and imports; makes a component of a core module.
    pub(crate) fn read(bytes: &'a [u8], limit: usize) -> Result<Self, LoadError> {
        if bytes.len() > limit {
            return Err(LoadError::TooLarge { size: bytes.len(), limit });
        }
        let manifest = checked(bytes)?;
        let component = component(bytes)?;
        if !has_hooks(&Outline::of(&component)?.exports)? {
            return Err(LoadError::NoHooks);
        }
        Ok(Self { manifest, component, sha256: hex::encode(Sha256::digest(bytes)) })
    }
}

/// The manifest of an artefact that imports nothing but what there is, and what it asks for. No more of
/// it is looked at than that.
pub(crate) fn checked(bytes: &[u8]) -> Result<Manifest, LoadError> {
    let outline = Outline::of(bytes)?;
    let manifest = outline.manifest()?;
    outline.check_imports(&manifest.capabilities)?;
    if outline.encoding == Encoding::Component && !has_hooks(&outline.exports)? {
        return Err(LoadError::NoHooks);
    }
    Ok(manifest)
}

/// What is compiled of an artefact.
pub(crate) fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    match Parser::is_core_wasm(bytes) {
        true => Ok(Cow::Owned(to_component(bytes)?)),
        false => Ok(Cow::Borrowed(bytes)),
    }
}

/// The parts of an artefact that decide whether it is worth compiling.
pub(crate) struct Outline<'a> {
    encoding: Encoding,
    manifests: Vec<&'a [u8]>,
    /// The artefact's own: those of modules inside a component are the component's affair.
    imports: Vec<Import<'a>>,
    exports: Vec<&'a str>,
}

struct Import<'a> {
    /// An interface, such as `hookmq:plugin/log@1.0.0`, or a core module's name.
    interface: &'a str,
    /// The function, where a core module imports it.
    item: Option<&'a str>,
}

impl<'a> Outline<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let mut outline = Self {
            encoding: Encoding::Module,
            manifests: Vec::new(),
            imports: Vec::new(),
            exports: Vec::new(),
        };
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            outline.add(payload.map_err(not_wasm)?, &mut depth).map_err(not_wasm)?;
        }
        Ok(outline)
    }

    pub(crate) fn manifest(&self) -> Result<Manifest, LoadError> {
        match self.manifests[..] {
            [manifest] => Ok(Manifest::parse(manifest)?),
            [] => Err(LoadError::NoManifest),
            ref many => Err(LoadError::ManyManifests(many.len())),
        }
    }

    fn add(&mut self, payload: Payload<'a>, depth: &mut usize) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, .. } if *depth == 0 => self.encoding = encoding,
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => *depth += 1,
            Payload::End(_) => *depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                self.manifests.push(section.data());
            }
            Payload::ImportSection(imports) if *depth == 0 => {
                for import in imports.into_imports() {
                    let import = import?;
                    let (interface, item) = (import.module, Some(import.name));
                    self.imports.push(Import { interface, item });
                }
            }
            Payload::ComponentImportSection(imports) if *depth == 0 => {
                for import in imports {
                    self.imports.push(Import { interface: import?.name.name, item: None });
                }
            }
            Payload::ComponentExportSection(exports) if *depth == 0 => {
                for export in exports {
                    self.exports.push(export?.name.name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Every import is one that the broker offers and that the manifest asks for.
    fn check_imports(&self, asked: &Capabilities) -> Result<(), LoadError> {
        for import in &self.imports {
            let Some((name, version)) =
                import.interface.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@'))
            else {
                return Err(import.unknown());
            };
            if version != VERSION {
                let found = format!("hookmq:plugin@{version}");
                return Err(LoadError::WrongVersion { found });
            }
            let (capability, is_asked) = match name {
                "types" | "explain" => continue,
                "log" => ("log", asked.log),
                "clock" => ("clock", asked.clock),
                "metric" => ("metric", asked.metric),
                "kv" => ("kv", asked.kv),
                "emit" => ("emit", !asked.emit.is_empty()),
                "http" => ("http", !asked.http.is_empty()),
                "secret" => ("secrets", !asked.secrets.is_empty()),
                _ => return Err(import.unknown()),
            };
            if !is_asked {
                return Err(LoadError::NotAsked { import: import.name(), capability });
            }
        }
        Ok(())
    }
}

impl Import<'_> {
    fn name(&self) -> String {
        match self.item {
            Some(item) => format!("{}.{item}", self.interface),
            None => self.interface.to_owned(),
        }
    }

    fn unknown(&self) -> LoadError {
        LoadError::UnknownImport { import: self.name() }
    }
}

/// Whether a component exports the hooks of the supported version.
fn has_hooks(exports: &[&str]) -> Result<bool, LoadError> {
    for export in exports {
        if let Some((_, version)) =
            export.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@'))
            && version != VERSION
        {
            return Err(LoadError::WrongVersion { found: format!("hookmq:plugin@{version}") });
        }
    }
    Ok(exports.contains(&HOOKS))
}

/// Wraps a core module by the component type that stands in its custom sections.
fn to_component(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    let encode =
        || wit_component::ComponentEncoder::default().validate(true).module(module)?.encode();
    // The encoder is meant for trusted tools' output; this is an upload.
    match catch_unwind(AssertUnwindSafe(encode)) {
        Ok(Ok(component)) => Ok(component),
        Ok(Err(error)) => Err(LoadError::NoComponent(format!("{error:#}"))),
        Err(_) => Err(LoadError::NoComponent("its component type is malformed".into())),
    }
}

fn not_wasm(error: wasmparser::BinaryReaderError) -> LoadError {
    // Some of the parser's messages dump bytes over several lines.
    let message = error.to_string();
    LoadError::NotWasm(message.split(": bad magic number").next().unwrap_or(&message).to_owned())
}
