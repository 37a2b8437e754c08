//! Keys as text: what key-value stores find records by, and how names that allow few characters
//! have any text.

use std::borrow::Cow;

use crate::{Error, Key, Result, Schema, Value, text};

/// What stands between the parts of a key of several columns.
const SEPARATOR: char = ',';

/// The text of a key. One of a single text column is that text; another value is as
/// [`Value::to_text`] has it, with nothing in it that depends on how wide the type is. Several
/// are joined by commas, with `,` and `%` in them as `%2C` and `%25`.
///
/// Two keys of one scope have one text only where they are equal.
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

/// Reads what [`to_text`] writes.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column, where it is not
/// the text of a key of the schema.
pub fn from_text(text: &str, schema: &Schema) -> Result<Key> {
    let count = schema.key.len();
    let parts: Vec<Cow<str>> = match count {
        1 => vec![text.into()],
        _ => text
            .split(SEPARATOR)
            .map(|part| unescape(part).ok_or_else(broken))
            .collect::<Result<_>>()?,
    };
    if parts.len() != count {
        return Err(broken());
    }
    let columns = schema.key_columns().zip(parts);
    let values = columns.map(|(column, part)| {
        let value = text::to_value(&part, column.ty).and_then(|value| {
            column.check(&value)?;
            Ok(value)
        });
        value.map_err(|error| {
            Error::invalid_data(format!("a stored key does not fit: {}", error.message()))
                .with_column(&column.name)
        })
    });
    Ok(Key::new(values.collect::<Result<Vec<_>>>()?))
}

fn broken() -> Error {
    Error::invalid_data("a stored key is not one of this scope")
}

/// The text of one value. Numbers that are equal have one text: of a decimal the zeros at the end
/// are cut, which differ where its column was widened; the two zeros of floats are one.
fn part(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Decimal(digits) if digits.contains('.') => {
            digits.trim_end_matches('0').trim_end_matches('.').into()
        }
        Value::Float(v) if *v == 0.0 => "0.0".into(),
        value => text::from_value(value),
    }
}

/// Writes every character that is not plain as its UTF-8 bytes in hexadecimal, each after a `%`.
/// `%` itself is not to be plain.
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

/// Reads what [`escape`] writes; none where it cannot have written it.
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

    /// Stored in files and servers: it must not change from one release to the next.
    #[test]
    fn keys_are_readable_and_come_back() {
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
            // A decimal that is read has the digits that its text has.
            assert_eq!(to_text(&back), text);
        }
    }

    #[test]
    fn what_is_no_key_is_reported() {
        let pair = schema(&[ColumnType::Text, ColumnType::Int]);
        for text in ["", "a", "a,1,2", "a%2,1", "a%2c,1", "%FF,1"] {
            assert!(from_text(text, &pair).is_err(), "{text}");
        }
        assert_eq!(from_text("a,x", &pair).unwrap_err().column(), Some("k1"));
    }

    #[test]
    fn an_escape_is_read_back_exactly() {
        let plain = |c: char| c.is_ascii_alphanumeric();
        for text in ["", "a", "a b", "\u{e9}", "%41", "\u{1f600}/"] {
            let escaped = escape(text, plain);
            assert!(escaped.chars().all(|c| c == '%' || plain(c)), "{escaped}");
            assert_eq!(unescape(&escaped).unwrap(), text);
        }
        assert_eq!(escape("a/\u{e9}", plain), "a%2F%C3%A9");
    }
}
