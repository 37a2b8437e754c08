//! From which length on keys have stand-ins.
//!
//! An index of InnoDB holds 3,072 bytes, which is 768 characters of `utf8mb4`. So a key column of
//! text or bytes is a `VARCHAR` or `VARBINARY` of a share of that, in which every key stands in
//! clear that is shorter than it.

use diesel::mysql::Mysql;

use crate::ColumnType;
use crate::backends::sql::dialect::keys::{DIGITS, Long, LongKeys, Width};

/// The bytes of an index that the text and bytes in a key share; the rest is for its other columns,
/// of which none takes more than 32.
const SHARED: usize = 2560;

/// How many columns of text or bytes a key can have, each with room for a digest.
pub(super) const MOST_SIZED: usize = SHARED / 4 / DIGITS;

impl LongKeys for Mysql {
    fn width(ty: ColumnType, sized: usize) -> Option<Width> {
        let share = SHARED / sized.max(1);
        match ty {
            ColumnType::Bytes => Some(Width::Bytes(share)),
            ColumnType::Text => Some(Width::Chars(share / 4)),
            ColumnType::Varchar(length) if length as usize >= share / 4 => {
                Some(Width::Chars(share / 4))
            }
            _ => None,
        }
    }
}

/// How the column of the stand-ins is declared.
pub(super) fn declared(long: &Long<'_>) -> String {
    match long.width {
        Width::Bytes(width) => format!("varbinary({width})"),
        Width::Chars(width) => format!("varchar({width})"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;
    use crate::backends::sql::dialect::keys::{long_columns, stored_key, stored_row};
    use crate::{Column, Key, Schema, Value};
    use std::borrow::Cow;

    fn schema(types: &[ColumnType]) -> Schema {
        let column = |(at, ty): (usize, &ColumnType)| Column::new(format!("k{at}"), *ty);
        types.iter().enumerate().map(column).fold(Schema::new("t"), Schema::unique)
    }

    #[test]
    fn a_key_stands_in_clear_where_it_is_shorter_than_its_column() {
        let schema = schema(&[ColumnType::Text]);
        let stored = |text: &str| stored_row::<Mysql>(&schema, vec![text.into()]);
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
        assert_eq!(stored_key::<Mysql>(&schema, &key).values(), &row[..1]);
        assert!(matches!(stored_key::<Mysql>(&schema, &Key::single("a".into())), Cow::Borrowed(_)));
    }

    #[test]
    fn columns_share_the_index() {
        let types = [ColumnType::Varchar(100), ColumnType::Int, ColumnType::Bytes];
        let schema = schema(&types);
        let long: Vec<_> = long_columns::<Mysql>(&schema)
            .map(|long| (long.at, long.whole.clone(), declared(&long)))
            .collect();
        assert_eq!(long, [(2, "hilcat_whole_3".to_owned(), "varbinary(1280)".to_owned())]);
    }
}
