//! Secrets that the operator keeps for the plugin. Needs `secrets` in the manifest that the operator
//! grants.

/// None where the manifest does not name it, or the operator has set none.
pub fn get(name: &str) -> Option<Vec<u8>> {
    crate::host::secret::get(name)
}

/// As [`get`]; none, too, where it is not UTF-8.
pub fn text(name: &str) -> Option<String> {
    String::from_utf8(get(name)?).ok()
}
