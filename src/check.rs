//! Checks that derived code evaluates at compile time.

use crate::ColumnType;
use crate::spelling::column_type::{same_kind, what_fits};

/// Panics if a column type does not hold the kind of value of the field's Rust type, whose default
/// column type is `natural`.
#[track_caller]
pub const fn check_type(given: ColumnType, natural: ColumnType) {
    if !same_kind(natural, given) {
        panic!("{}", what_fits(natural));
    }
}

/// Panics if a key can be NULL or JSON, which [`Schema::validate`](crate::Schema::validate) would
/// reject at run time.
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

/// Panics if the column type that the macro inferred from the written type, for Diesel's table, is
/// not that of the field.
#[track_caller]
pub const fn check_written(taken: (ColumnType, bool), is: (ColumnType, bool)) {
    if tag(taken.0) != tag(is.0) {
        panic!(
            "the column type cannot be inferred from the name of this type: set it for `diesel` with `type = \"...\"`"
        );
    }
    if taken.1 != is.1 {
        panic!(
            "`diesel` infers whether a column can be NULL from the type as written: write `Option<..>`"
        );
    }
}

/// Returns a number for each type, ignoring its parameters. `varchar` counts as `text`.
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
