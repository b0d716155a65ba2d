//! How deep brackets nest in a YAML text. The parser takes time that grows with the square of it, and tells
//! only in the end that it was too deep.

use super::error::Position;

/// Deeper than anything in a configuration, and where the parser gives up.
pub(super) const DEEPEST: usize = 128;

/// Where a bracket stands below more than [`DEEPEST`] others that are open. Those in texts and comments are
/// counted as well: there they come in pairs, or are few.
pub(super) fn too_deep(text: &str) -> Option<Position> {
    let mut open = 0_usize;
    for (line, text) in (1..).zip(text.lines()) {
        for (column, character) in (1..).zip(text.chars()) {
            match character {
                '[' | '{' => open += 1,
                ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > DEEPEST {
                return Some(Position { line, column });
            }
        }
    }
    None
}
