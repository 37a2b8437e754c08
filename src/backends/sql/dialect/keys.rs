//! How keys are stored that are longer than an index can hold.
//!
//! In a key column of text or bytes every key stands in clear that is shorter than the column's
//! share of an index. For a longer key a stand-in of exactly that length is there: the beginning
//! of the key, and the SHA-256 of the whole. The whole key stands in a column of its own,
//! `hilcat_whole_<n>` for the n-th column of the key, which is NULL for all others.
//!
//! No key is the stand-in of another one: a key of that very length has a stand-in itself.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::backends::sql::dialect::Dialect;
use crate::{Column, ColumnType, Error, Key, Result, Row, Schema, Value};

/// The digits of a digest, in hexadecimal.
pub(super) const DIGITS: usize = 64;

/// How long a text or bytes can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "PostgreSQL counts bytes"))]
    Chars(usize),
    Bytes(usize),
}

/// An engine whose indexes do not hold every key.
pub(super) trait LongKeys: Dialect {
    /// From which length on a key column of a type has stand-ins, where the key has `sized` columns
    /// of text or bytes; none where every key of the type stands in clear. It depends on their
    /// number alone, so that a column that becomes wider leaves the others as they are.
    fn width(ty: ColumnType, sized: usize) -> Option<Width>;
}

/// The name of the column of the whole key beside the n-th column of the key, from 1.
pub(super) fn whole_name(number: usize) -> String {
    format!("hilcat_whole_{number}")
}

/// Whether a name is that of such a column.
pub(super) fn is_whole_name(name: &str) -> bool {
    let number = name.get(..13).filter(|head| head.eq_ignore_ascii_case("hilcat_whole_"));
    number.is_some() && name[13..].bytes().all(|byte| byte.is_ascii_digit())
}

/// Checks that a schema leaves those names to hilcat.
pub(super) fn check_name<D: Dialect>(name: &str) -> Result<()> {
    match is_whole_name(name) {
        false => Ok(()),
        true => Err(Error::unsupported(format!(
            "{}: the column name `{name}` is kept for the whole of long keys",
            D::NAME
        ))),
    }
}

/// Whether values of a type are as long as they are made.
pub(super) fn is_sized(ty: ColumnType) -> bool {
    matches!(ty, ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Bytes)
}

/// How many columns of text or bytes the key of a schema has.
pub(super) fn sized_columns(schema: &Schema) -> usize {
    schema.key_columns().filter(|column| is_sized(column.ty)).count()
}

/// Whether a key column of a type, one of `sized` of text or bytes, has a column of the whole keys.
pub(super) fn needs_whole<D: LongKeys>(ty: Option<ColumnType>, sized: usize) -> bool {
    ty.is_some_and(|ty| D::width(ty, sized).is_some())
}

/// A key column that has stand-ins.
pub(super) struct Long<'a> {
    /// Its place in the row.
    pub(super) at: usize,
    /// The name of the column of the whole keys.
    pub(super) whole: String,
    pub(super) column: &'a Column,
    pub(super) width: Width,
}

/// The key columns that have stand-ins, in key order.
pub(super) fn long_columns<D: LongKeys>(schema: &Schema) -> impl Iterator<Item = Long<'_>> {
    let sized = if schema.keys_in_clear { 0 } else { sized_columns(schema) };
    let keys = schema.key.iter().enumerate().filter(move |_| sized > 0);
    keys.filter_map(move |(number, &at)| {
        let column = &schema.columns[at];
        let width = D::width(column.ty, sized)?;
        Some(Long { at, whole: whole_name(number + 1), column, width })
    })
}

/// The one of a column, where it has stand-ins.
pub(super) fn long_column<'a, D: LongKeys>(schema: &'a Schema, name: &str) -> Option<Long<'a>> {
    long_columns::<D>(schema).find(|long| long.column.name == name)
}

/// How a column is selected: the whole of a key that is too long for its column stands beside it.
pub(super) fn selected<D: LongKeys>(schema: &Schema, column: &Column) -> String {
    let name = D::quote(&column.name);
    match long_column::<D>(schema, &column.name) {
        None => name,
        Some(long) => format!("COALESCE({}, {name}) AS {name}", D::quote(&long.whole)),
    }
}

/// What stands in the key column for a value that is too long; none where the value itself does.
fn stand_in(value: &Value, width: Width) -> Option<Value> {
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
            // In place of a character that did not fit as a whole.
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

/// A key, or its beginning, as it stands in the key columns.
pub(super) fn stored_key<'a, D: LongKeys>(schema: &Schema, key: &'a Key) -> Cow<'a, Key> {
    let sized = if schema.keys_in_clear { 0 } else { sized_columns(schema) };
    if sized == 0 {
        return Cow::Borrowed(key);
    }
    let stand_in = |(column, value): (&Column, &Value)| {
        D::width(column.ty, sized).and_then(|width| stand_in(value, width))
    };
    let columns = || schema.key_columns().zip(key.values());
    if columns().all(|part| stand_in(part).is_none()) {
        return Cow::Borrowed(key);
    }
    let stored = columns().map(|part| stand_in(part).unwrap_or_else(|| part.1.clone()));
    Cow::Owned(Key::new(stored))
}

/// A row as it stands in the table: its columns, and then the whole keys.
pub(super) fn stored_row<D: LongKeys>(schema: &Schema, mut row: Row) -> Row {
    for long in long_columns::<D>(schema) {
        let whole = match stand_in(&row[long.at], long.width) {
            None => Value::Null,
            Some(stand_in) => std::mem::replace(&mut row[long.at], stand_in),
        };
        row.push(whole);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_is_exactly_as_long_as_its_column() {
        let of = |text: &str, width| match stand_in(&text.into(), width) {
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
            // A stand-in that is given as a key has one of its own.
            assert!(of(&long, width).is_some_and(|own| own != long));
        }
    }

    #[test]
    fn names_of_the_columns_of_whole_keys_are_known() {
        assert!(is_whole_name("HILCAT_whole_3") && !is_whole_name("hilcat_whole_x"));
    }
}
