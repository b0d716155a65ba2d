//! The known name that a misspelt one was probably meant to be.

/// Characters of the longest name that is compared: what is longer is no slip.
const LONGEST: usize = 32;

/// The known name with the fewest changes, if these are few; or one that the name abbreviates.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = plain(name);
    if plain.is_empty() || plain.len() > LONGEST {
        return None;
    }
    let allowed = (plain.len() / 3).max(1);
    let near = known.into_iter().filter(|known| *known != name && known.len() <= LONGEST);
    let near = near.filter_map(|known| {
        let other = self::plain(known);
        let changes = changes(&plain, &other);
        let fits = changes <= allowed && changes < other.len();
        let abbreviates = plain.len() >= 3 && other.len() >= 3;
        let abbreviates =
            abbreviates && (other.starts_with(&plain[..]) || plain.starts_with(&other[..]));
        match (fits, abbreviates) {
            (true, _) => Some((changes, known)),
            (false, true) => Some((LONGEST + changes, known)),
            (false, false) => None,
        }
    });
    near.min().map(|(_, known)| known)
}

/// Without what differs between ways of writing names.
fn plain(name: &str) -> Vec<char> {
    name.chars().filter(|it| *it != '_').flat_map(char::to_lowercase).take(LONGEST + 1).collect()
}

/// How many letters must be put in, taken out, replaced, or swapped with the next.
fn changes(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let swapped: usize = before_last[j - 2];
                least = least.min(swapped + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognized_and_another_name_is_not() {
        let known = ["publish", "starts_with", "drop", "username", "log", "len", "user_properties"];
        let table = [
            ("pubilsh", Some("publish")),
            ("startsWith", Some("starts_with")),
            ("start_with", Some("starts_with")),
            ("dropp", Some("drop")),
            ("usernam", Some("username")),
            ("lgo", Some("log")),
            ("xyz", None),
            ("x", None),
            ("", None),
            ("publish_everything_to_everybody_at_once", None),
        ];
        for (name, expected) in table {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(nearest("user", ["username", "size"]), Some("username"));
    }
}
