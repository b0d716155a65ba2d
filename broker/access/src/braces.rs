//! Texts with names in braces, taken apart: `{cn}`, `device-{serial}`.

/// The longest text that comes of one with values in place of the names, in bytes.
pub(crate) const LONGEST: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Never empty.
    Text(&'a str),
    /// What stands in braces, whatever it is.
    Name(&'a str),
}

/// A brace is not closed, or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unbalanced;

/// The pieces of `text` in their order; an error is the last one.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, Unbalanced>> {
    let mut rest = text;
    std::iter::from_fn(move || match rest.find(['{', '}']) {
        Some(0) => {
            let inside = std::mem::take(&mut rest).strip_prefix('{');
            let Some((name, behind)) = inside.and_then(|it| it.split_once('}')) else {
                return Some(Err(Unbalanced));
            };
            rest = behind;
            Some(Ok(Piece::Name(name)))
        }
        end => {
            let (text, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind;
            (!text.is_empty()).then_some(Ok(Piece::Text(text)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart_up_to_the_first_brace_that_stands_alone() {
        let (text, name) = (|it| Ok(Piece::Text(it)), |it| Ok(Piece::Name(it)));
        for (whole, expected) in [
            ("", vec![]),
            ("plain", vec![text("plain")]),
            ("{cn}", vec![name("cn")]),
            ("a-{b}{}c", vec![text("a-"), name("b"), name(""), text("c")]),
            ("{a{b}", vec![name("a{b")]),
            ("a}{b}", vec![text("a"), Err(Unbalanced)]),
            ("{a}{b", vec![name("a"), Err(Unbalanced)]),
        ] {
            assert_eq!(pieces(whole).collect::<Vec<_>>(), expected, "{whole}");
        }
    }
}
