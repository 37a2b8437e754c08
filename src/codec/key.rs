//! Text forms of keys, for key-value stores and for names with a limited character set.

use std::borrow::Cow;

use crate::{Error, Key, Result, Schema, Value, text};

/// Separates the parts of a key with several columns.
const SEPARATOR: char = ',';

/// Returns the text of a key. A key of one text column is that text; other values are written as by
/// [`Value::to_text`], independently of the width of their type. The parts of a key with several
/// columns are joined by commas, after `,` and `%` in them have been escaped as `%2C` and `%25`.
///
/// Two keys of one scope have the same text only if they are equal.
pub fn to_text(key: &Key) -> Cow<'_, str> {
    match key.values() {
        [value] => part(value),
        values => {
            let plain = |c| c != SEPARATOR && c != '%';
            let parts: Vec<_> =
                values.iter().map(|value| escape(&part(value), plain).into_owned()).collect();
            parts.join(",").into()
        }
    }
}

/// Parses the result of [`to_text`].
///
/// # Errors
///
/// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column, if the text is not
/// a key of the schema.
pub fn from_text(text: &str, schema: &Schema) -> Result<Key> {
    let count = schema.key.len();
    let parts: Vec<Cow<str>> = match count {
        1 => vec![text.into()],
        _ => text
            .split(SEPARATOR)
            .map(|part| unescape(part).ok_or_else(not_a_key))
            .collect::<Result<_>>()?,
    };
    if parts.len() != count {
        return Err(not_a_key());
    }
    let columns = schema.key_columns().zip(parts);
    let values = columns.map(|(column, part)| {
        let value = text::to_value(&part, column.ty).and_then(|value| {
            column.check(&value)?;
            Ok(value)
        });
        value.map_err(|error| {
            Error::invalid_data(format!(
                "a stored key does not fit its column: {}",
                error.message()
            ))
            .with_column(&column.name)
        })
    });
    Ok(Key::new(values.collect::<Result<Vec<_>>>()?))
}

fn not_a_key() -> Error {
    Error::invalid_data("a stored key is not a key of this scope")
}

/// Returns the text of one value. Equal numbers have the same text: trailing zeros of decimals are
/// removed, since they depend on the scale of the column, and the two zeros of floats are written
/// alike.
fn part(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Decimal(digits) if digits.contains('.') => {
            digits.trim_end_matches('0').trim_end_matches('.').into()
        }
        Value::Float(v) if *v == 0.0 => "0.0".into(),
        value => text::from_value(value),
    }
}

/// Percent-encodes all characters except plain ones. `plain` must exclude `%`.
pub(crate) fn escape(text: &str, plain: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&plain) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match plain(c) {
            true => escaped.push(c),
            false => {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    escaped.push_str(&format!("%{byte:02X}"));
                }
            }
        }
    }
    escaped.into()
}

/// Decodes the result of [`escape`]; `None` if it cannot be one.
pub(crate) fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let (high, low) = (upper_hex(*after.first()?)?, upper_hex(*after.get(1)?)?);
        bytes.push(high << 4 | low);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn upper_hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, ColumnType};

    fn schema(types: &[ColumnType]) -> Schema {
        let columns = types.iter().enumerate();
        columns.fold(Schema::new("a"), |schema, (at, ty)| {
            schema.unique(Column::new(format!("k{at}"), *ty))
        })
    }

    /// Released format: existing records must be found under these keys.
    #[test]
    fn keys_are_readable_and_reversible() {
        let decimal = ColumnType::Decimal { precision: 8, scale: 3 };
        let cases: [(&[ColumnType], Key, &str); 8] = [
            (&[ColumnType::Text], Key::single("a,b/%c".into()), "a,b/%c"),
            (&[ColumnType::Text], Key::single("".into()), ""),
            (&[ColumnType::BigInt], Key::single(Value::Int(-7)), "-7"),
            (&[ColumnType::Double], Key::single(Value::Float(f64::INFINITY)), "Infinity"),
            (&[ColumnType::Bytes], Key::single(Value::Bytes(vec![0, 255])), "AP8="),
            (
                &[ColumnType::Text, ColumnType::Text],
                Key::new(["JFK".into(), "LAX".into()]),
                "JFK,LAX",
            ),
            (
                &[ColumnType::Text, ColumnType::Text],
                Key::new(["a,".into(), "%".into()]),
                "a%2C,%25",
            ),
            (
                &[ColumnType::Date, decimal],
                Key::new([Value::Date(0), Value::Decimal("7.500".into())]),
                "1970-01-01,7.5",
            ),
        ];
        for (types, key, text) in cases {
            assert_eq!(to_text(&key), text);
            let back = from_text(text, &schema(types)).unwrap();
            // The decimal has the digits of the text.
            assert_eq!(to_text(&back), text);
        }
    }

    #[test]
    fn invalid_keys_are_reported() {
        let pair = schema(&[ColumnType::Text, ColumnType::Int]);
        for text in ["", "a", "a,1,2", "a%2,1", "a%2c,1", "%FF,1"] {
            assert!(from_text(text, &pair).is_err(), "{text}");
        }
        assert_eq!(from_text("a,x", &pair).unwrap_err().column(), Some("k1"));
    }

    #[test]
    fn escapes_are_reversible() {
        let plain = |c: char| c.is_ascii_alphanumeric();
        for text in ["", "a", "a b", "\u{e9}", "%41", "\u{1f600}/"] {
            let escaped = escape(text, plain);
            assert!(escaped.chars().all(|c| c == '%' || plain(c)), "{escaped}");
            assert_eq!(unescape(&escaped).unwrap(), text);
        }
        assert_eq!(escape("a/\u{e9}", plain), "a%2F%C3%A9");
    }
}
