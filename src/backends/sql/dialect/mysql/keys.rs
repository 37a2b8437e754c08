//! How keys are stored that are longer than an index can hold.
//!
//! An index of InnoDB holds 3,072 bytes, which is 768 characters of `utf8mb4`. So a key column of
//! text or bytes is a `VARCHAR` or `VARBINARY` of a share of that, in which every key stands in
//! clear that is shorter than it. For a longer key a stand-in of exactly that length is there: the
//! beginning of the key, and the SHA-256 of the whole. The whole key stands in a column of its own,
//! `hilcat_whole_<n>` for the n-th column of the key, which is NULL for all others.
//!
//! No key is the stand-in of another one: a key of that very length has a stand-in itself.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::{Column, ColumnType, Key, Row, Schema, Value};

/// The bytes of an index that the text and bytes in a key share; the rest is for its other columns,
/// of which none takes more than 32.
const SHARED: usize = 2560;

/// The digits of a digest, in hexadecimal.
const DIGITS: usize = 64;

/// The name of the column of the whole key beside the n-th column of the key, from 1.
pub(super) fn whole_name(number: usize) -> String {
    format!("hilcat_whole_{number}")
}

/// Whether a name is that of such a column.
pub(super) fn is_whole_name(name: &str) -> bool {
    let number = name.get(..13).filter(|head| head.eq_ignore_ascii_case("hilcat_whole_"));
    number.is_some() && name[13..].bytes().all(|byte| byte.is_ascii_digit())
}

fn is_sized(ty: ColumnType) -> bool {
    matches!(ty, ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Bytes)
}

/// How many bytes each column of text or bytes in the key of a schema has. It depends on their
/// number alone, so that a column that becomes wider leaves the others as they are.
fn share(schema: &Schema) -> usize {
    SHARED / sized_columns(schema).max(1)
}

/// How many columns of text or bytes the key of a schema has.
pub(super) fn sized_columns(schema: &Schema) -> usize {
    schema.key_columns().filter(|column| is_sized(column.ty)).count()
}

/// How many columns of text or bytes a key can have, each with room for a digest.
pub(super) const MOST_SIZED: usize = SHARED / 4 / DIGITS;

/// Whether a key column of a type, one of `sized` of text or bytes, has a column of the whole keys.
pub(super) fn needs_whole(ty: Option<ColumnType>, sized: usize) -> bool {
    ty.is_some_and(|ty| width_in(SHARED / sized.max(1), ty).is_some())
}

/// How many characters (of bytes: bytes) stand in the key column of a type that has stand-ins;
/// none where every key of the type stands in clear.
fn width(schema: &Schema, ty: ColumnType) -> Option<usize> {
    width_in(share(schema), ty)
}

fn width_in(share: usize, ty: ColumnType) -> Option<usize> {
    match ty {
        ColumnType::Bytes => Some(share),
        ColumnType::Text => Some(share / 4),
        ColumnType::Varchar(length) if length as usize >= share / 4 => Some(share / 4),
        _ => None,
    }
}

/// A key column that has stand-ins.
pub(super) struct Long<'a> {
    /// Its place in the row.
    pub(super) at: usize,
    /// The name of the column of the whole keys.
    pub(super) whole: String,
    pub(super) column: &'a Column,
    width: usize,
}

impl Long<'_> {
    /// How the column of the stand-ins is declared.
    pub(super) fn declared(&self) -> String {
        match self.column.ty {
            ColumnType::Bytes => format!("varbinary({})", self.width),
            _ => format!("varchar({})", self.width),
        }
    }
}

/// The key columns that have stand-ins, in key order.
pub(super) fn long_columns(schema: &Schema) -> impl Iterator<Item = Long<'_>> {
    schema.key.iter().enumerate().filter_map(|(number, &at)| {
        let column = &schema.columns[at];
        let width = width(schema, column.ty)?;
        Some(Long { at, whole: whole_name(number + 1), column, width })
    })
}

/// The one of a column, where it has stand-ins.
pub(super) fn long_column<'a>(schema: &'a Schema, name: &str) -> Option<Long<'a>> {
    long_columns(schema).find(|long| long.column.name == name)
}

/// What stands in the key column for a value that is too long; none where the value itself does.
fn stand_in(value: &Value, width: usize) -> Option<Value> {
    match value {
        Value::Text(text) if text.len() >= width && text.chars().count() >= width => {
            let head: String = text.chars().take(width - DIGITS).collect();
            Some(Value::Text(head + &digest(text.as_bytes())))
        }
        Value::Bytes(bytes) if bytes.len() >= width => {
            let head = &bytes[..width - DIGITS];
            Some(Value::Bytes([head, digest(bytes).as_bytes()].concat()))
        }
        _ => None,
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key as it stands in the key columns.
pub(super) fn stored_key<'a>(schema: &Schema, key: &'a Key) -> Cow<'a, Key> {
    let mut columns = schema.key_columns().zip(key.values());
    let stands = |(column, value): (&Column, &Value)| {
        width(schema, column.ty).is_none_or(|width| stand_in(value, width).is_none())
    };
    if columns.all(stands) {
        return Cow::Borrowed(key);
    }
    let stored = schema.key_columns().zip(key.values()).map(|(column, value)| {
        let stand_in = width(schema, column.ty).and_then(|width| stand_in(value, width));
        stand_in.unwrap_or_else(|| value.clone())
    });
    Cow::Owned(Key::new(stored))
}

/// A row as it stands in the table: its columns, and then the whole keys.
pub(super) fn stored_row(schema: &Schema, mut row: Row) -> Row {
    for long in long_columns(schema) {
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
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    fn schema(types: &[ColumnType]) -> Schema {
        let column = |(at, ty): (usize, &ColumnType)| Column::new(format!("k{at}"), *ty);
        types.iter().enumerate().map(column).fold(Schema::new("t"), Schema::unique)
    }

    #[test]
    fn a_key_stands_in_clear_where_it_is_shorter_than_its_column() {
        let schema = schema(&[ColumnType::Text]);
        let stored = |text: &str| stored_row(&schema, vec![text.into()]);
        let (short, long) = ("\u{e9}".repeat(639), "\u{e9}".repeat(640));
        assert_eq!(stored(&short), [short.as_str().into(), Value::Null]);
        let row = stored(&long);
        assert_eq!(row[1], long.as_str().into());
        let Value::Text(stand_in) = &row[0] else { panic!("{row:?}") };
        assert_eq!(stand_in.chars().count(), 640);
        assert!(stand_in.starts_with(&"\u{e9}".repeat(576)) && stand_in.is_char_boundary(1152));
        // A stand-in that is given as a key has one of its own.
        assert_ne!(stored(stand_in)[0], row[0]);
        let key = Key::single(long.as_str().into());
        assert_eq!(stored_key(&schema, &key).values(), &row[..1]);
        assert!(matches!(stored_key(&schema, &Key::single("a".into())), Cow::Borrowed(_)));
    }

    #[test]
    fn columns_share_the_index() {
        let types = [ColumnType::Varchar(100), ColumnType::Int, ColumnType::Bytes];
        let schema = schema(&types);
        let long: Vec<_> = long_columns(&schema)
            .map(|long| (long.at, long.whole.clone(), long.declared()))
            .collect();
        assert_eq!(long, [(2, "hilcat_whole_3".to_owned(), "varbinary(1280)".to_owned())]);
        assert!(is_whole_name("HILCAT_whole_3") && !is_whole_name("hilcat_whole_x"));
    }
}
