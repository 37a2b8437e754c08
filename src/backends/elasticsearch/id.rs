//! The ids of documents: made from the key, one for each.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::names::push_escaped;
use crate::{Error, Key, Result, Value, text};

/// The bytes that an id can have.
const LONGEST: usize = 512;
/// How much of a key that is longer its id begins with.
const KEPT: usize = 160;

/// The id of the document that hilcat has for a key: the texts of its values with commas between
/// them. A comma inside, `%` and control characters are escaped. The id of a long key ends with
/// its digest; the key itself is in the document, as every key is.
pub(super) fn of_key(key: &Key) -> String {
    let mut id = String::new();
    for (at, value) in key.values().iter().enumerate() {
        id.push_str(if at == 0 { "" } else { "," });
        push_value(&mut id, value);
    }
    match id.as_str() {
        // No escape is of one character.
        "" => "%".to_owned(),
        // In a path these are no names.
        "." | ".." => id.replacen('.', "%2e", 1),
        _ if id.len() > LONGEST => shorten(&id),
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

/// The text of a value, the same for values that are equal as keys and whatever width or scale
/// its type is given later.
fn spelled(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Float(0.0) => "0.0".into(),
        Value::Decimal(digits) if digits.contains('.') => {
            digits.trim_end_matches('0').trim_end_matches('.').into()
        }
        value => text::from_value(value),
    }
}

/// A digest is set off by a `%` that no escape has.
fn shorten(id: &str) -> String {
    let kept = id.floor_char_boundary(KEPT);
    let mut short = format!("{}%sha256:", &id[..kept]);
    for byte in Sha256::digest(id) {
        // To a string it cannot fail.
        let _ = write!(short, "{byte:02x}");
    }
    short
}

/// The id of the document that another program has for a key: its text.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where no id is so.
pub(super) fn plain(key: &Key) -> Result<String> {
    match key.values() {
        [value] => match text::from_value(value) {
            id if (1..=LONGEST).contains(&id.len()) && id != "." && id != ".." => {
                Ok(id.into_owned())
            }
            _ => Err(Error::unsupported(format!(
                "the index is another program's, whose ids are its keys: of 1 to {LONGEST} bytes, and neither `.` nor `..`"
            ))),
        },
        _ => Err(Error::unsupported(
            "the index is another program's, whose ids are its keys: of one value each",
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
    fn an_id_is_the_key() {
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
    fn a_long_key_has_a_digest() {
        let longest = "k".repeat(LONGEST);
        assert_eq!(id([longest.as_str().into()]), longest);
        let (one, two) = (format!("{longest}1"), format!("{longest}2"));
        let (one, two) = (id([one.into()]), id([two.into()]));
        assert_ne!(one, two);
        assert!(one.starts_with("kkk") && one.len() <= LONGEST, "{one}");
        assert!(one[KEPT..].starts_with("%sha256:"), "{one}");
        assert!(id(["\u{1f600}".repeat(900).into()]).len() <= LONGEST);
    }

    #[test]
    fn another_programs_id_is_the_text_alone() {
        let plain = |text: &str| plain(&Key::single(text.into()));
        assert_eq!(plain("a,b%").unwrap(), "a,b%");
        for wrong in ["", ".", "..", &"k".repeat(513)] {
            assert!(plain(wrong).is_err(), "{wrong}");
        }
    }
}
