//! The ids of documents, made from keys.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::names::push_escaped;
use crate::{Error, Key, Result, Value, text};

/// The maximum length of an id, in bytes.
const MAX_LENGTH: usize = 512;
/// How many bytes of a longer key its id starts with.
const KEPT: usize = 160;

/// Returns the id of the document of a key: the texts of its values, separated by commas. Commas
/// within values, `%` and control characters are escaped. The id of a long key ends with its
/// digest; the document itself contains the whole key.
pub(super) fn of_key(key: &Key) -> String {
    let mut id = String::new();
    for (at, value) in key.values().iter().enumerate() {
        id.push_str(if at == 0 { "" } else { "," });
        push_value(&mut id, value);
    }
    match id.as_str() {
        // No escape has a single character.
        "" => "%".to_owned(),
        // Not allowed as segments of a path.
        "." | ".." => id.replacen('.', "%2e", 1),
        _ if id.len() > MAX_LENGTH => shorten(&id),
        _ => id,
    }
}

fn push_value(id: &mut String, value: &Value) {
    for char in spelled(value).chars() {
        match matches!(char, '%' | ',') || char.is_control() {
            true => push_escaped(id, char),
            false => id.push(char),
        }
    }
}

/// Returns the text of a value. Equal values have the same text, even if the width or scale of
/// their type changes later.
fn spelled(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Float(0.0) => "0.0".into(),
        Value::Decimal(digits) if digits.contains('.') => {
            digits.trim_end_matches('0').trim_end_matches('.').into()
        }
        value => text::from_value(value),
    }
}

/// Shortens an id. The `%` before the digest belongs to no escape.
fn shorten(id: &str) -> String {
    let kept = id.floor_char_boundary(KEPT);
    let mut short = format!("{}%sha256:", &id[..kept]);
    for byte in Sha256::digest(id) {
        // Writing to a string never fails.
        let _ = write!(short, "{byte:02x}");
    }
    short
}

/// Returns the id of another program's document for a key: its text.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if no id has this text.
pub(super) fn plain(key: &Key) -> Result<String> {
    match key.values() {
        [value] => match text::from_value(value) {
            id if (1..=MAX_LENGTH).contains(&id.len()) && id != "." && id != ".." => {
                Ok(id.into_owned())
            }
            _ => Err(Error::unsupported(format!(
                "the key cannot be an id in another program's index: it must have 1 to {MAX_LENGTH} bytes and be neither `.` nor `..`"
            ))),
        },
        _ => Err(Error::unsupported(
            "the key has several columns, but in another program's index it is the id of the document; use a single column",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id<const N: usize>(values: [Value; N]) -> String {
        of_key(&Key::new(values))
    }

    #[test]
    fn ids_are_readable_keys() {
        for (key, expected) in [
            ("a1", "a1"),
            ("a/b \u{e9} {x}", "a/b \u{e9} {x}"),
            ("", "%"),
            ("%", "%25"),
            ("a,b", "a%2cb"),
            (".", "%2e"),
            ("..", "%2e."),
            ("...", "..."),
            ("a\0\n\u{85}", "a%00%0a%c2%85"),
        ] {
            assert_eq!(id([key.into()]), expected);
        }
        assert_eq!(id(["JFK".into(), "LAX".into(), Value::Int(-7)]), "JFK,LAX,-7");
        assert_eq!(id(["".into(), "".into()]), ",");
        assert_eq!(id([Value::Float(-0.0)]), "0.0");
        assert_eq!(id([Value::Decimal("-12.50".into())]), "-12.5");
        assert_eq!(id([Value::Decimal("100.00".into())]), "100");
        assert_eq!(id([Value::Decimal("100".into())]), "100");
    }

    #[test]
    fn ids_of_long_keys_have_a_digest() {
        let longest = "k".repeat(MAX_LENGTH);
        assert_eq!(id([longest.as_str().into()]), longest);
        let (one, two) = (format!("{longest}1"), format!("{longest}2"));
        let (one, two) = (id([one.into()]), id([two.into()]));
        assert_ne!(one, two);
        assert!(one.starts_with("kkk") && one.len() <= MAX_LENGTH, "{one}");
        assert!(one[KEPT..].starts_with("%sha256:"), "{one}");
        assert!(id(["\u{1f600}".repeat(900).into()]).len() <= MAX_LENGTH);
    }

    #[test]
    fn ids_of_other_programs_are_plain_text() {
        let plain = |text: &str| plain(&Key::single(text.into()));
        assert_eq!(plain("a,b%").unwrap(), "a,b%");
        for wrong in ["", ".", "..", &"k".repeat(513)] {
            assert!(plain(wrong).is_err(), "{wrong}");
        }
    }
}
