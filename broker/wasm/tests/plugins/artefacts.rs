//! Artefacts that no compiler would write.

use wasm_encoder::{
    CustomSection, EntityType, FuncType, ImportSection, Module, RawSection, TypeSection,
};
use wasmparser::{Parser, Payload};

use hookmq_wasm::MANIFEST_SECTION;

const MANIFEST: &str = r#"{"name":"made-up","version":"1.0.0","hooks":["publish"]}"#;

/// A core module with a manifest that imports one function.
pub fn importing(module: &str, function: &str) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().func_type(&FuncType::new([], []));
    let mut imports = ImportSection::new();
    imports.import(module, function, EntityType::Function(0));
    let mut wasm = Module::new();
    wasm.section(&types).section(&imports).section(&manifest(MANIFEST));
    wasm.finish()
}

/// A core module with these manifests and nothing else.
pub fn empty(manifests: &[&str]) -> Vec<u8> {
    let mut wasm = Module::new();
    for text in manifests {
        wasm.section(&manifest(text));
    }
    wasm.finish()
}

/// The component of a core module, its manifest kept inside.
pub fn component(module: &[u8]) -> Vec<u8> {
    wit_component::ComponentEncoder::default().module(module).unwrap().encode().unwrap()
}

/// The module with another manifest in place of its own.
pub fn with_manifest(module: &[u8], text: &str) -> Vec<u8> {
    let mut wasm = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.unwrap();
        if matches!(&payload, Payload::CustomSection(custom) if custom.name() == MANIFEST_SECTION) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            wasm.section(&RawSection { id, data: &module[range] });
        }
    }
    wasm.section(&manifest(text));
    wasm.finish()
}

fn manifest(text: &str) -> CustomSection<'_> {
    CustomSection { name: MANIFEST_SECTION.into(), data: text.as_bytes().into() }
}
