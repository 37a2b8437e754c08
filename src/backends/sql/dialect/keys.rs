//! The storage of keys that are too long for an index.
//!
//! A key column of text or bytes stores keys verbatim that are shorter than its share of the index.
//! For a longer key it stores a surrogate of exactly that length: the start of the key followed by
//! the SHA-256 of the full key. The full key is stored in the additional column `hilcat_whole_<n>`,
//! for the n-th column of the key, which is NULL for verbatim keys.
//!
//! Invariant: no stored key equals the surrogate of another key. A key of the length of a surrogate
//! is not stored verbatim, but has a surrogate itself.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::backends::sql::dialect::Dialect;
use crate::{Column, ColumnType, Error, Key, Result, Row, Schema, Value};

/// The number of hexadecimal digits of a digest.
pub(super) const DIGITS: usize = 64;

/// The width of a key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "PostgreSQL counts bytes"))]
    Chars(usize),
    Bytes(usize),
}

/// An engine with a limit of the length of keys in an index.
pub(super) trait LongKeys: Dialect {
    /// Returns the length from which a key column of a type has surrogates, in a key with `sized`
    /// columns of text or bytes, or `None` if all keys of the type are stored verbatim.
    ///
    /// It depends only on the number of these columns, so that widening one column does not change
    /// the others.
    fn width(ty: ColumnType, sized: usize) -> Option<Width>;
}

/// Returns the name of the column for the full keys of the n-th key column, from 1.
pub(super) fn full_key_name(number: usize) -> String {
    format!("hilcat_whole_{number}")
}

/// Returns whether a column with this name is for full keys.
pub(super) fn is_full_key_name(name: &str) -> bool {
    let number = name.get(..13).filter(|head| head.eq_ignore_ascii_case("hilcat_whole_"));
    number.is_some() && name[13..].bytes().all(|byte| byte.is_ascii_digit())
}

/// Checks that a schema does not use such a name.
pub(super) fn check_name<D: Dialect>(name: &str) -> Result<()> {
    match is_full_key_name(name) {
        false => Ok(()),
        true => Err(Error::unsupported(format!(
            "{}: the column name `{name}` is reserved for long keys; rename the column",
            D::NAME
        ))),
    }
}

/// Returns whether values of a type have variable length.
pub(super) fn is_sized(ty: ColumnType) -> bool {
    matches!(ty, ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Bytes)
}

/// Returns the number of key columns of variable length.
pub(super) fn sized_columns(schema: &Schema) -> usize {
    schema.key_columns().filter(|column| is_sized(column.ty)).count()
}

/// Returns whether a key column of a type, in a key with `sized` columns of variable length, has a
/// column for full keys.
pub(super) fn needs_full_key<D: LongKeys>(ty: Option<ColumnType>, sized: usize) -> bool {
    ty.is_some_and(|ty| D::width(ty, sized).is_some())
}

/// A key column with surrogates.
pub(super) struct LongKeyColumn<'a> {
    /// The position in the row.
    pub(super) position: usize,
    /// The name of the column for full keys.
    pub(super) full_key: String,
    pub(super) column: &'a Column,
    pub(super) width: Width,
}

/// Returns the key columns with surrogates, in key order.
pub(super) fn long_columns<D: LongKeys>(
    schema: &Schema,
) -> impl Iterator<Item = LongKeyColumn<'_>> {
    let sized = if schema.verbatim_keys { 0 } else { sized_columns(schema) };
    let keys = schema.key.iter().enumerate().filter(move |_| sized > 0);
    keys.filter_map(move |(number, &at)| {
        let column = &schema.columns[at];
        let width = D::width(column.ty, sized)?;
        Some(LongKeyColumn { position: at, full_key: full_key_name(number + 1), column, width })
    })
}

/// Returns the key column of this name, if it has surrogates.
pub(super) fn long_column<'a, D: LongKeys>(
    schema: &'a Schema,
    name: &str,
) -> Option<LongKeyColumn<'a>> {
    long_columns::<D>(schema).find(|long| long.column.name == name)
}

/// Returns the expression that selects a column: the full key if there is one.
pub(super) fn selected<D: LongKeys>(schema: &Schema, column: &Column) -> String {
    let name = D::quote(&column.name);
    match long_column::<D>(schema, &column.name) {
        None => name,
        Some(long) => format!("COALESCE({}, {name}) AS {name}", D::quote(&long.full_key)),
    }
}

/// Returns the surrogate of a value, or `None` if the value is stored verbatim.
fn surrogate(value: &Value, width: Width) -> Option<Value> {
    match (value, width) {
        (Value::Text(text), Width::Chars(width)) => {
            let long = text.len() >= width && text.chars().count() >= width;
            long.then(|| {
                let head: String = text.chars().take(width - DIGITS).collect();
                Value::Text(head + &digest(text.as_bytes()))
            })
        }
        (Value::Text(text), Width::Bytes(width)) => (text.len() >= width).then(|| {
            let mut head = text[..text.floor_char_boundary(width - DIGITS)].to_owned();
            // Padding in place of a character that does not fit.
            head.extend(std::iter::repeat_n('-', width - DIGITS - head.len()));
            Value::Text(head + &digest(text.as_bytes()))
        }),
        (Value::Bytes(bytes), Width::Bytes(width)) => (bytes.len() >= width).then(|| {
            let head = &bytes[..width - DIGITS];
            Value::Bytes([head, digest(bytes).as_bytes()].concat())
        }),
        _ => None,
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a key, or its first parts, as stored in the key columns.
pub(super) fn stored_key<'a, D: LongKeys>(schema: &Schema, key: &'a Key) -> Cow<'a, Key> {
    let sized = if schema.verbatim_keys { 0 } else { sized_columns(schema) };
    if sized == 0 {
        return Cow::Borrowed(key);
    }
    let surrogate = |(column, value): (&Column, &Value)| {
        D::width(column.ty, sized).and_then(|width| surrogate(value, width))
    };
    let columns = || schema.key_columns().zip(key.values());
    if columns().all(|part| surrogate(part).is_none()) {
        return Cow::Borrowed(key);
    }
    let stored = columns().map(|part| surrogate(part).unwrap_or_else(|| part.1.clone()));
    Cow::Owned(Key::new(stored))
}

/// Returns a row as stored in the table: its columns, followed by the full keys.
pub(super) fn stored_row<D: LongKeys>(schema: &Schema, mut row: Row) -> Row {
    for long in long_columns::<D>(schema) {
        let full_key = match surrogate(&row[long.position], long.width) {
            None => Value::Null,
            Some(surrogate) => std::mem::replace(&mut row[long.position], surrogate),
        };
        row.push(full_key);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surrogate_has_the_width_of_its_column() {
        let of = |text: &str, width| match surrogate(&text.into(), width) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        };
        for (text, head) in
            [("k", "k"), ("\u{e9}", "\u{e9}"), ("\u{20ac}", "-"), ("\u{1f600}", "--")]
        {
            let width = Width::Bytes(102);
            assert_eq!(of(&text.repeat(100 / text.len()), width), None);
            let long = of(&text.repeat(103), width).unwrap_or_default();
            assert_eq!(long.len(), 102);
            assert!(long[..38].ends_with(head), "{long}");
            // A key that equals a surrogate has another surrogate.
            assert!(of(&long, width).is_some_and(|own| own != long));
        }
    }

    #[test]
    fn names_of_columns_for_full_keys_are_recognized() {
        assert!(is_full_key_name("HILCAT_whole_3") && !is_full_key_name("hilcat_whole_x"));
    }
}
