//! What derived code has checked when it is compiled.

use crate::ColumnType;
use crate::spelling::column_type::{same_kind, what_fits};

/// Refuses a column type that does not hold the same kind of value as the field's Rust type, whose
/// own column type is `natural`.
#[track_caller]
pub const fn check_type(given: ColumnType, natural: ColumnType) {
    if !same_kind(natural, given) {
        panic!("{}", what_fits(natural));
    }
}

/// Refuses a key that can be NULL or JSON, which [`Schema::validate`](crate::Schema::validate)
/// would refuse later.
#[track_caller]
pub const fn check_key(ty: ColumnType, nullable: bool) {
    if nullable {
        panic!("a unique field cannot be an Option: a key is never NULL");
    }
    if matches!(ty, ColumnType::Json) {
        panic!(
            "a unique field cannot be json: a key is of plain values, such as text, integers or bytes"
        );
    }
}

/// Refuses a field whose type is not the one that its name was taken for, by which Diesel's table
/// has its column.
#[track_caller]
pub const fn check_written(taken: (ColumnType, bool), is: (ColumnType, bool)) {
    if tag(taken.0) != tag(is.0) {
        panic!(
            "the type is not the one that usually has this name: `diesel` needs to be told its column type, by `type = \"...\"`"
        );
    }
    if taken.1 != is.1 {
        panic!(
            "whether a column can be NULL is known to `diesel` by the type as it is written: write `Option<..>`"
        );
    }
}

/// A number for each type, whatever is in its parentheses; a text of any length is text.
const fn tag(ty: ColumnType) -> u8 {
    match ty {
        ColumnType::Bool => 0,
        ColumnType::SmallInt => 1,
        ColumnType::Int => 2,
        ColumnType::BigInt => 3,
        ColumnType::UBigInt => 4,
        ColumnType::Real => 5,
        ColumnType::Double => 6,
        ColumnType::Decimal { .. } => 7,
        ColumnType::Text | ColumnType::Varchar(_) => 8,
        ColumnType::Bytes => 9,
        ColumnType::Json => 10,
        ColumnType::Date => 11,
        ColumnType::Time => 12,
        ColumnType::Timestamp => 13,
        ColumnType::Uuid => 14,
    }
}
