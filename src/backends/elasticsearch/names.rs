//! Names of indices and fields that Elasticsearch accepts, unambiguous and readable.
//!
//! Other characters are percent-encoded, as in URIs.

use crate::{Error, Result};

/// The maximum length of an index name, in bytes.
const MAX_INDEX: usize = 255;
/// The maximum length of an alias, which leaves room for the suffix of its indices.
const MAX_ALIAS: usize = MAX_INDEX - 1 - 16;

/// Separates an alias from the suffix of its indices. No alias contains it.
const SEPARATOR: char = '@';

/// Returns the alias of a scope.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if it is too long.
pub(super) fn alias(prefix: &str, table: &str) -> Result<String> {
    let mut name = String::with_capacity(prefix.len() + table.len());
    name.push_str(prefix);
    for char in table.chars() {
        // Allowed in the name of an index, but not at its start.
        let first = name.is_empty() && matches!(char, '-' | '_' | '.');
        match is_plain(char) && !first {
            true => name.push(char),
            false => push_escaped(&mut name, char),
        }
    }
    match name.len() <= MAX_ALIAS {
        true => Ok(name),
        false => Err(Error::unsupported(format!(
            "the name of the index has {} bytes, including its prefix and escapes; the limit is {MAX_ALIAS}",
            name.len()
        ))),
    }
}

/// Returns the table of an alias, if there is one.
pub(super) fn table(prefix: &str, alias: &str) -> Option<String> {
    let escaped = alias.strip_prefix(prefix)?;
    let table = percent_encoding::percent_decode_str(escaped).decode_utf8().ok()?.into_owned();
    let known = !table.is_empty() && self::alias(prefix, &table).is_ok_and(|name| name == alias);
    known.then_some(table)
}

/// Returns the name of an index of a scope.
pub(super) fn index(alias: &str, which: &str) -> String {
    format!("{alias}{SEPARATOR}{which}")
}

/// Checks that a prefix is allowed at the start of index names.
///
/// # Errors
///
/// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if it is not.
pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    let begins = !prefix.starts_with(['-', '_', '.']);
    match begins && prefix.chars().all(is_plain) && prefix.len() <= 100 {
        true => Ok(()),
        false => Err(Error::invalid_config(
            "the prefix of indices is not allowed; use up to 100 lower-case letters and digits, and after the first of them also `-`, `_` and `.`",
        )),
    }
}

/// Returns the default field for a column: a top-level field that is not one of Elasticsearch's
/// metadata fields.
pub(super) fn field(column: &str) -> String {
    let mut name = String::with_capacity(column.len());
    for (at, char) in column.char_indices() {
        // A dot separates objects, an asterisk is a wildcard, and metadata fields start with an
        // underscore.
        let special = matches!(char, '%' | '.' | '*') || at == 0 && char == '_';
        match special || char.is_control() || char.is_whitespace() && char != ' ' {
            true => push_escaped(&mut name, char),
            false => name.push(char),
        }
    }
    // A name must not consist of blanks only.
    if name.trim().is_empty() { name.replace(' ', "%20") } else { name }
}

/// Returns a name for a column's field, other than the default one if that is taken.
pub(super) fn free_field(column: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let usual = field(column);
    let others = (2..).map(|number: u32| format!("{usual}%-{number}"));
    let free = std::iter::once(usual.clone()).chain(others).find(|name| !is_taken(name));
    free.unwrap_or(usual)
}

/// Lower-case letters, digits and letters of scripts without case, which all file systems and
/// versions of Unicode treat alike.
fn is_plain(char: char) -> bool {
    match char.is_ascii() {
        true => matches!(char, 'a'..='z' | '0'..='9' | '-' | '_' | '.'),
        false => {
            let caseless = || char.to_lowercase().eq([char]) && char.to_uppercase().eq([char]);
            char.is_alphabetic() && !char.is_lowercase() && !char.is_uppercase() && caseless()
        }
    }
}

pub(super) fn push_escaped(name: &mut String, char: char) {
    let mut bytes = [0; 4];
    for byte in char.encode_utf8(&mut bytes).bytes() {
        name.push_str(&format!("%{byte:02x}"));
    }
}

/// Percent-encodes a segment of a path.
pub(super) fn in_path(part: &str) -> impl std::fmt::Display + '_ {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const OUTSIDE: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(part, OUTSIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_readable_and_unambiguous() {
        let names = [
            ("flights", "flights"),
            ("Flights", "%46lights"),
            ("a b", "a%20b"),
            ("a%20b", "a%2520b"),
            ("-x", "%2dx"),
            ("..", "%2e."),
            ("a/b:c@1", "a%2fb%3ac%401"),
            ("\u{540d}\u{524d}", "\u{540d}\u{524d}"),
            ("\u{e9}", "%c3%a9"),
            ("\u{1f600}", "%f0%9f%98%80"),
        ];
        for (scope, name) in names {
            assert_eq!(alias("", scope).unwrap(), name);
            assert_eq!(table("", name).as_deref(), Some(scope));
        }
        assert_eq!(alias("app-", "_x").unwrap(), "app-_x");
        assert_eq!(table("app-", "app-_x").as_deref(), Some("_x"));
        assert_eq!(table("", "%46lights@1"), None);
        assert_eq!(table("", "a%zz"), None);
    }

    #[test]
    fn too_long_names_are_errors() {
        assert!(alias("", &"a".repeat(MAX_ALIAS)).is_ok());
        assert!(alias("", &"A".repeat(MAX_ALIAS / 3 + 1)).is_err());
        for wrong in ["-a", "A", "a:", "a@", &"a".repeat(101)] {
            assert!(check_prefix(wrong).is_err(), "{wrong}");
        }
        check_prefix("app-2.x_").unwrap();
    }

    #[test]
    fn fields_are_top_level() {
        for (column, name) in [
            ("name", "name"),
            ("Na me", "Na me"),
            ("_id", "%5fid"),
            ("a.b", "a%2eb"),
            ("%s", "%25s"),
            ("*", "%2a"),
            (" ", "%20"),
            ("\u{a0}", "%c2%a0"),
            ("\u{540d}", "\u{540d}"),
        ] {
            assert_eq!(field(column), name);
        }
        assert_eq!(free_field("a", |name| name != "a%-3"), "a%-3");
    }
}
