//! The mapping of a scope's index: each column has a field with the type that suits searches and
//! accepts every value of the column.
//!
//! Records are read from the source, which is returned unchanged. The fields serve searches only: a
//! value that its field cannot represent exactly is indexed approximately or not at all.

use serde_json::{Map, Value as Json, json};

use super::target::{LEASE, UNTIL, VACANT};
use crate::{Column, ColumnType};

/// The maximum number of characters of an indexed text, which keeps it below the maximum length of
/// a term.
const MAX_INDEXED: u32 = 8_191;

/// Returns the field of a column.
///
/// All integers of up to 64 bits have the same type, and so do all floats and all texts: a widened
/// column keeps its field.
pub(super) fn property(ty: ColumnType) -> Json {
    match ty {
        ColumnType::Bool => json!({"type": "boolean"}),
        ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
            json!({"type": "long", "coerce": false})
        }
        // NaN and infinities are not indexed.
        ColumnType::Real | ColumnType::Double => {
            json!({"type": "double", "coerce": false, "ignore_malformed": true})
        }
        // Exact as a keyword, approximate as a number.
        ColumnType::UBigInt | ColumnType::Decimal { .. } => {
            let number = json!({"type": "double", "ignore_malformed": true});
            json!({"type": "keyword", "fields": {"number": number}})
        }
        ColumnType::Text | ColumnType::Varchar(_) => {
            json!({"type": "keyword", "ignore_above": MAX_INDEXED})
        }
        ColumnType::Bytes => json!({"type": "binary"}),
        // JSON of any shape, not indexed.
        ColumnType::Json => json!({"type": "object", "enabled": false}),
        ColumnType::Date => json!({"type": "date", "format": "strict_date"}),
        ColumnType::Timestamp => {
            json!({"type": "date", "format": "strict_date_optional_time_nanos"})
        }
        ColumnType::Time | ColumnType::Uuid => json!({"type": "keyword"}),
    }
}

/// Returns the fields of columns.
pub(super) fn properties<'a>(
    columns: impl IntoIterator<Item = (&'a str, &'a Column)>,
) -> Map<String, Json> {
    columns.into_iter().map(|(field, column)| (field.to_owned(), property(column.ty))).collect()
}

/// Returns the fields of leases.
pub(super) fn lease_properties() -> Map<String, Json> {
    let fields = [
        (LEASE, json!({"type": "keyword", "index": false, "doc_values": false})),
        (UNTIL, json!({"type": "date", "format": "epoch_millis"})),
        (VACANT, json!({"type": "boolean"})),
    ];
    fields.into_iter().map(|(name, property)| (name.to_owned(), property)).collect()
}

/// Returns the column type for another program's field, mostly as dynamic mappings create it.
pub(super) fn column_type(property: &Json) -> ColumnType {
    match property["type"].as_str() {
        Some("long" | "integer" | "short" | "byte") => ColumnType::BigInt,
        Some("unsigned_long") => ColumnType::UBigInt,
        Some("double" | "float" | "half_float" | "scaled_float") => ColumnType::Double,
        Some("boolean") => ColumnType::Bool,
        Some("binary") => ColumnType::Bytes,
        Some(
            "text" | "keyword" | "constant_keyword" | "wildcard" | "match_only_text" | "date"
            | "date_nanos" | "ip" | "version",
        ) => ColumnType::Text,
        // Objects have no type; the values of other types are not known.
        _ => ColumnType::Json,
    }
}

/// Whether another program's field can be read as a column. Its values are checked when they are
/// read.
pub(super) fn can_be(property: &Json, column: &Column) -> bool {
    use ColumnType::{
        BigInt, Bool, Bytes, Date, Decimal, Double, Int, Json, Real, SmallInt, Text, Time,
        Timestamp, UBigInt, Uuid, Varchar,
    };
    match (column_type(property), column.ty) {
        (_, Json) | (BigInt, SmallInt | Int | BigInt | UBigInt | Real | Double) => true,
        (UBigInt, UBigInt) | (Double, Real | Double) | (Bool, Bool) | (Bytes, Bytes) => true,
        (Text, Text | Varchar(_) | Decimal { .. } | Date | Time | Timestamp | Uuid | Bytes) => true,
        // hilcat maps exact numbers to keywords.
        (Text, UBigInt) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widened_columns_keep_their_field() {
        use ColumnType::{BigInt, Decimal, Double, Int, Real, SmallInt, Text, Varchar};
        let decimal = |precision, scale| Decimal { precision, scale };
        for (from, to) in [
            (SmallInt, Int),
            (Int, BigInt),
            (Real, Double),
            (Varchar(5), Varchar(9)),
            (Varchar(5), Text),
            (decimal(5, 1), decimal(8, 3)),
        ] {
            assert!(to.widens(from));
            assert_eq!(property(from), property(to));
        }
    }

    #[test]
    fn fields_of_other_programs_have_a_column_type() {
        let column = |ty| Column::new("a", ty);
        let text = json!({"type": "text", "fields": {"keyword": {"type": "keyword"}}});
        assert_eq!(column_type(&text), ColumnType::Text);
        assert_eq!(column_type(&json!({"properties": {}})), ColumnType::Json);
        assert!(can_be(&text, &column(ColumnType::Timestamp)));
        assert!(can_be(&json!({"type": "long"}), &column(ColumnType::Double)));
        assert!(!can_be(&text, &column(ColumnType::Int)));
        assert!(!can_be(&json!({"type": "double"}), &column(ColumnType::BigInt)));
    }
}
