//! MySQL and MariaDB: long keys.
//!
//! An index of InnoDB holds 3,072 bytes, which is 768 characters of `utf8mb4`. A key column of text
//! or bytes is therefore a `VARCHAR` or `VARBINARY` of a share of that. Shorter keys are stored
//! verbatim.

use diesel::mysql::Mysql;

use crate::ColumnType;
use crate::backends::sql::dialect::keys::{DIGITS, LongKeyColumn, LongKeys, Width};

/// The bytes of an index that the text and bytes columns of a key share. The rest is for the other
/// columns, which have at most 32 bytes each.
const SHARED: usize = 2560;

/// The maximum number of text and bytes columns of a key, such that each has room for a digest.
pub(super) const MAX_SIZED: usize = SHARED / 4 / DIGITS;

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

/// Returns the type of a column of surrogates.
pub(super) fn surrogate_type(long: &LongKeyColumn<'_>) -> String {
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
    fn a_key_shorter_than_its_column_is_stored_verbatim() {
        let schema = schema(&[ColumnType::Text]);
        let stored = |text: &str| stored_row::<Mysql>(&schema, vec![text.into()]);
        let (short, long) = ("\u{e9}".repeat(639), "\u{e9}".repeat(640));
        assert_eq!(stored(&short), [short.as_str().into(), Value::Null]);
        let row = stored(&long);
        assert_eq!(row[1], long.as_str().into());
        let Value::Text(surrogate) = &row[0] else { panic!("{row:?}") };
        assert_eq!(surrogate.chars().count(), 640);
        assert!(surrogate.starts_with(&"\u{e9}".repeat(576)) && surrogate.is_char_boundary(1152));
        // A key that equals a surrogate has another surrogate.
        assert_ne!(stored(surrogate)[0], row[0]);
        let key = Key::single(long.as_str().into());
        assert_eq!(stored_key::<Mysql>(&schema, &key).values(), &row[..1]);
        assert!(matches!(stored_key::<Mysql>(&schema, &Key::single("a".into())), Cow::Borrowed(_)));
    }

    #[test]
    fn key_columns_share_the_index() {
        let types = [ColumnType::Varchar(100), ColumnType::Int, ColumnType::Bytes];
        let schema = schema(&types);
        let long: Vec<_> = long_columns::<Mysql>(&schema)
            .map(|long| (long.position, long.full_key.clone(), surrogate_type(&long)))
            .collect();
        assert_eq!(long, [(2, "hilcat_whole_3".to_owned(), "varbinary(1280)".to_owned())]);
    }
}
