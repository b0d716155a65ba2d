//! System calls, out of the lines of `strace`.

use std::borrow::Cow;
use std::collections::HashMap;

use hookmq_tests::trace::bytes;

/// One call, as far as it is known: what has begun and not ended has no result.
#[derive(Debug)]
pub struct Call<'a> {
    pub name: &'a str,
    pub arguments: Vec<&'a str>,
    /// Below 0 where it failed.
    pub result: Option<i64>,
    pub text: &'a str,
}

/// What a line tells.
#[derive(Debug)]
pub enum Line {
    /// A call has begun, and its line goes on later.
    Begun(Place, String),
    /// A call that had begun before has ended: the whole of it.
    Ended(Place, String),
    /// A call was begun and ended in one line.
    Whole(String),
    Other,
}

/// A call that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place(String);

/// Puts lines together that were torn because another thread came between.
#[derive(Debug, Default)]
pub struct Lines {
    under_way: HashMap<Place, String>,
}

const UNFINISHED: &str = "<unfinished ...>";

impl Lines {
    pub fn read(&mut self, line: &str) -> Line {
        let Some((thread, call)) = line.split_once(' ') else { return Line::Other };
        let (place, call) = (Place(thread.to_owned()), call.trim_start());
        if let Some(rest) = call.strip_prefix("<... ") {
            let rest = rest.split_once(" resumed>").map_or("", |(_, rest)| rest);
            // What was killed within a call has no result.
            let ended = self.under_way.remove(&place).filter(|_| !rest.contains(UNFINISHED));
            return ended.map_or(Line::Other, |begun| Line::Ended(place, begun + rest));
        }
        match call.strip_suffix(UNFINISHED) {
            _ if !call.starts_with(|it: char| it.is_ascii_alphabetic()) => Line::Other,
            None => Line::Whole(call.to_owned()),
            Some(begun) => {
                let begun = begun.trim_end_matches(' ').to_owned();
                self.under_way.insert(place.clone(), begun.clone());
                Line::Begun(place, begun)
            }
        }
    }
}

impl<'a> Call<'a> {
    /// None where it is no call.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (name, rest) = text.split_once('(')?;
        let (arguments, behind) = split(rest);
        let result = behind.trim_start().strip_prefix('=').and_then(|it| number(it.trim_start()));
        Some(Self { name, arguments, result, text })
    }

    pub fn argument(&self, number: usize) -> &'a str {
        let Some(argument) = self.arguments.get(number) else {
            panic!("too short: {}", self.brief())
        };
        argument
    }

    pub fn number(&self, argument: usize) -> u64 {
        let parsed = number(self.argument(argument)).and_then(|it| u64::try_from(it).ok());
        parsed.unwrap_or_else(|| panic!("no number: {}", self.brief()))
    }

    /// What the argument, which is a string or a vector of them, stands for.
    pub fn data(&self, argument: usize) -> Vec<u8> {
        let text = self.argument(argument);
        assert!(!text.ends_with("\"...") && !text.contains("\"..., "), "cut off: {}", self.brief());
        match text.starts_with('[') {
            false => bytes(text),
            true => text.split("iov_base=").skip(1).flat_map(bytes).collect(),
        }
    }

    /// What a file descriptor stands for, where it has a name; `AT_FDCWD` has one as well.
    pub fn file(&self, argument: usize) -> Option<&'a str> {
        let (_, name) = self.argument(argument).split_once('<')?;
        name.strip_suffix('>')
    }

    /// The absolute path that the `name`d argument stands for, from the `directory` in another.
    pub fn path(&self, directory: Option<usize>, name: usize) -> String {
        let path = String::from_utf8_lossy(&bytes(self.argument(name))).into_owned();
        match directory.and_then(|it| self.file(it)) {
            Some(directory) if !path.starts_with('/') => format!("{directory}/{path}"),
            _ => path,
        }
    }

    pub fn brief(&self) -> Cow<'a, str> {
        brief(self.text)
    }
}

/// Its beginning and end, without most of the data.
fn brief(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 100;
    match text.is_ascii() && text.len() > 2 * SHOWN {
        true => Cow::Owned(format!("{} ... {}", &text[..SHOWN], &text[text.len() - SHOWN..])),
        false => Cow::Borrowed(text),
    }
}

/// The arguments, and what is behind the bracket that closes them.
fn split(text: &str) -> (Vec<&str>, &str) {
    let (mut arguments, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0, false);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b')' if depth == 0 => {
                arguments.push(text[start..at].trim());
                return (arguments, &text[at + 1..]);
            }
            // Flags may be shifted, as in `1<<3`.
            b')' | b']' | b'}' | b'>' => depth = (depth - 1).max(0),
            b',' if depth == 0 => {
                arguments.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    arguments.push(text[start.min(text.len())..].trim());
    (arguments, "")
}

/// The number at the beginning, in the notation of C.
fn number(text: &str) -> Option<i64> {
    let end = text.find(|it: char| !it.is_ascii_alphanumeric() && it != '-').unwrap_or(text.len());
    let digits = &text[..end];
    match digits.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_whole_or_in_two_parts() {
        let whole = r#"pwrite64(9</d/s-1>, "a\"),b\0", 5, 0x10) = 5"#;
        let call = Call::parse(whole).unwrap();
        assert_eq!((call.name, call.file(0), call.result), ("pwrite64", Some("/d/s-1"), Some(5)));
        assert_eq!((call.data(1), call.number(3)), (b"a\"),b\0".to_vec(), 16));
        let mut lines = Lines::default();
        let begun = lines.read(r#"7 recvfrom(5<socket:[1]>,  <unfinished ...>"#);
        assert!(matches!(begun, Line::Begun(..)), "{begun:?}");
        assert!(matches!(lines.read("8 close(3</x>) = 0"), Line::Whole(_)));
        let ended = lines.read(r#"7 <... recvfrom resumed>"xyz", 100, 0, NULL, NULL) = 3"#);
        let Line::Ended(_, text) = ended else { panic!("{ended:?}") };
        let call = Call::parse(&text).unwrap();
        assert_eq!(
            (call.file(0), call.data(1), call.result),
            (Some("socket:[1]"), b"xyz".to_vec(), Some(3))
        );
    }

    #[test]
    fn a_call_that_was_killed_has_no_result() {
        let mut lines = Lines::default();
        lines.read(r#"7 fsync(5</d/s> <unfinished ...>"#);
        let killed = lines.read("7 <... fsync resumed> <unfinished ...>) = ?");
        assert!(matches!(killed, Line::Other), "{killed:?}");
        let call = Call::parse("fsync(5</d/s>) = ?").unwrap();
        assert_eq!((call.file(0), call.result), (Some("/d/s"), None));
        let failed =
            Call::parse("unlink(\"/d/s\") = -1 ENOENT (No such file or directory)").unwrap();
        assert_eq!((failed.path(None, 0), failed.result), ("/d/s".into(), Some(-1)));
    }

    #[test]
    fn vectors_are_one_after_the_other() {
        let text = r#"writev(5<socket:[1]>, [{iov_base="ab", iov_len=2}, {iov_base="c]", iov_len=2}], 2) = 4"#;
        assert_eq!(Call::parse(text).unwrap().data(1), b"abc]");
    }

    #[test]
    #[should_panic = "cut off"]
    fn data_that_is_cut_off_is_no_data() {
        Call::parse(r#"pwrite64(9</d/s>, "ab"..., 4096, 0) = 4096"#).unwrap().data(1);
    }
}
