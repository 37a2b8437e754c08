//! Names under a namespace: `tenant1__articles`.
//!
//! The names are valid as names of tables, indices and directories on every backend, are readable,
//! and never collide. A prefix keeps its lower-case ASCII letters, digits and single underscores.
//! Each other byte becomes `x-` and two hexadecimal digits. Two underscores end the prefix and
//! occur nowhere else.

/// The start of all names in a namespace. The start of a nested namespace is appended to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Namespace {
    start: String,
}

const SEPARATOR: &str = "__";
const ESCAPE: &str = "x-";

impl Namespace {
    pub(crate) fn new(prefix: &str) -> Self {
        let start = match prefix {
            "" => String::new(),
            prefix => format!("{}{SEPARATOR}", escape_prefix(prefix)),
        };
        Self { start }
    }

    /// Returns a namespace nested in this one.
    pub(crate) fn within(&self, prefix: &str) -> Self {
        let inner = Self::new(prefix);
        match inner.is_empty() {
            true => inner,
            false => Self { start: format!("{}{}", self.start, inner.start) },
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start.is_empty()
    }

    /// Returns the full name in the inner store.
    pub(crate) fn join(&self, name: &str) -> String {
        format!("{}{}", self.start, escape_name(name))
    }

    /// Returns the name within the namespace, or `None` if the full name belongs to another
    /// namespace, nested ones included.
    pub(crate) fn split(&self, name: &str) -> Option<String> {
        let rest = name.strip_prefix(&self.start).filter(|_| !self.is_empty())?;
        // An escaped name never contains two underscores, so these end a nested prefix.
        if rest.contains(SEPARATOR) { None } else { unescape(rest) }
    }
}

fn escape_prefix(prefix: &str) -> String {
    let bytes = prefix.as_bytes();
    let mut out = String::new();
    for (at, &byte) in bytes.iter().enumerate() {
        let inner = at > 0 && at + 1 < bytes.len();
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'_' if inner && !out.ends_with('_') => out.push('_'),
            byte => out.push_str(&format!("{ESCAPE}{byte:02x}")),
        }
    }
    out
}

/// Escapes only what would look like a separator or an escape.
fn escape_name(name: &str) -> String {
    let mut out = String::new();
    let mut before = None;
    for letter in name.chars() {
        match (before, letter) {
            (_, '_') if out.ends_with('_') => out.push_str("x-5f"),
            (Some('x'), '-') => out.push_str("x-2d"),
            _ => out.push(letter),
        }
        before = Some(letter);
    }
    out
}

/// Reverses [`escape_name`]; returns `None` if it cannot have written this name.
fn unescape(name: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = name;
    while let Some((plain, after)) = rest.split_once(ESCAPE) {
        let escaped = match after.get(..2)? {
            "5f" => '_',
            "2d" => '-',
            _ => return None,
        };
        out.push_str(plain);
        out.push(escaped);
        rest = &after[2..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const ODD: &[&str] = &[
        "a", "A", "a_b", "a__b", "a___b", "_a", "__a", "a_", "a__", "_", "__", "x-", "x-5f",
        "xx-2d", "-", "x", "x-2d", "\u{e9}", " a", "a:b", "a.b", "x_-", "ax-", "b__c", "x--",
        "_x-5f", "",
    ];

    #[test]
    fn plain_names_stay_plain() {
        assert_eq!(Namespace::new("tenant1").join("articles"), "tenant1__articles");
        assert_eq!(Namespace::new("acme_corp").join("Web pages"), "acme_corp__Web pages");
        assert_eq!(Namespace::new("A-1").join("a"), "x-41x-2d1__a");
    }

    #[test]
    fn no_two_names_become_one() {
        let mut seen = HashSet::new();
        for prefix in ODD.iter().filter(|prefix| !prefix.is_empty()) {
            let namespace = Namespace::new(prefix);
            for name in ODD {
                let joined = namespace.join(name);
                assert_eq!(namespace.split(&joined).as_deref(), Some(*name), "{joined}");
                assert!(seen.insert(joined.clone()), "{prefix:?} {name:?}: {joined}");
                for other in ODD.iter().filter(|other| other != &prefix) {
                    assert_eq!(Namespace::new(other).split(&joined), None, "{joined} in {other}");
                }
            }
        }
    }

    #[test]
    fn a_nested_namespace_is_separate() {
        let (outer, inner) = (Namespace::new("a"), Namespace::new("a").within("b"));
        let joined = inner.join("c");
        assert_eq!(joined, "a__b__c");
        assert_eq!((outer.split(&joined), inner.split(&joined)), (None, Some("c".to_owned())));
        assert_ne!(outer.join("b__c"), joined);
    }

    #[test]
    fn a_prefix_begins_with_a_letter_or_digit() {
        for prefix in ODD.iter().filter(|prefix| !prefix.is_empty()) {
            let joined = Namespace::new(prefix).join("a");
            assert!(joined.starts_with(|c: char| c.is_ascii_alphanumeric()), "{joined}");
        }
    }
}
