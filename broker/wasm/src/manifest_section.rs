//! Puts a manifest into an artefact whose compiler does not write custom sections.
//!
//! Modules and components are framed alike, so this needs no parser; xtask compiles this file, too,
//! which must not wait for a WebAssembly engine to be built.

/// The custom section that holds the manifest.
pub const MANIFEST_SECTION: &str = "hookmq-manifest";

/// Magic, version and layer.
const PREAMBLE_LENGTH: usize = 8;
/// Where in it a component differs from a module.
const LAYER: usize = 6;
const COMPONENT_LAYER: u8 = 1;
const CUSTOM_SECTION: u8 = 0;
/// In a component. A module cannot hold another, so that is as deep as it goes.
const MODULE_SECTION: u8 = 1;

/// The artefact, a module or a component, with `manifest` in place of the manifests that it had. One that a
/// module brought along into a component goes, too.
///
/// Neither is checked further: what loads the artefact does that. None where the bytes are not framed
/// as WebAssembly.
pub fn with_manifest(artefact: &[u8], manifest: &[u8]) -> Option<Vec<u8>> {
    let mut written = without_manifest(artefact)?;
    let mut section = Vec::new();
    push_prefixed(&mut section, MANIFEST_SECTION.as_bytes())?;
    section.extend_from_slice(manifest);
    written.push(CUSTOM_SECTION);
    push_prefixed(&mut written, &section)?;
    Some(written)
}

fn without_manifest(artefact: &[u8]) -> Option<Vec<u8>> {
    let (preamble, mut rest) = artefact.split_at_checked(PREAMBLE_LENGTH)?;
    if !preamble.starts_with(b"\0asm") {
        return None;
    }
    let is_component = preamble[LAYER] == COMPONENT_LAYER;
    let mut written = Vec::with_capacity(artefact.len());
    written.extend_from_slice(preamble);
    while let Some((&id, framed)) = rest.split_first() {
        let (section, after) = split_prefixed(framed)?;
        if is_component && id == MODULE_SECTION {
            // A component there would make the stack as deep as somebody likes.
            if section.get(LAYER) == Some(&COMPONENT_LAYER) {
                return None;
            }
            written.push(id);
            push_prefixed(&mut written, &without_manifest(section)?)?;
        } else if id != CUSTOM_SECTION || !is_manifest(section) {
            written.extend_from_slice(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    Some(written)
}

fn is_manifest(section: &[u8]) -> bool {
    split_prefixed(section).is_some_and(|(name, _)| name == MANIFEST_SECTION.as_bytes())
}

/// What stands behind a length, as long as that says, and the rest.
fn split_prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes[index + 1..].split_at_checked(length.try_into().ok()?);
        }
    }
    None
}

/// The bytes behind their length, in LEB128; none where that does not fit 32 bits.
fn push_prefixed(to: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    let mut left = u32::try_from(bytes.len()).ok()?;
    while left >= 0x80 {
        to.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    to.push(left as u8);
    to.extend_from_slice(bytes);
    Some(())
}
