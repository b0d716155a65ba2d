//! What the fuzz targets try here: any text in the place of a configuration.

use std::path::Path;

use super::check::check;
use super::error::Source;

/// Reads `bytes` as a configuration in a directory that does not exist.
///
/// # Panics
/// Where it is refused without a reason, or for one that stands nowhere in it.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // As YAML counts them, which ends lines at more than one character.
    let lines = 1 + text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    let file = Path::new("/nonexistent/fuzzed/mq.yaml");
    let Err(error) = check(Source::new(file, text.to_owned())) else { return };
    assert!(!error.0.is_empty(), "it is refused without a reason");
    for problem in error.0 {
        assert!(!problem.message.is_empty());
        let line = problem.position.map_or(1, |position| position.line);
        // Its end is a line of its own.
        assert!((1..=lines + 1).contains(&line), "{problem:?} in {lines} lines");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_the_example_is_read_or_refused() {
        let example = include_str!("../demo/hookmq.yaml");
        for (end, _) in example.char_indices().step_by(40) {
            configuration(&example.as_bytes()[..end]);
        }
        configuration(b"data_dir: \xFF");
    }
}
