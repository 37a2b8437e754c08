//! The mapping of a scope's index: a field for each column, of the type that people would search
//! it by and that takes every value of the column.
//!
//! What a document says is in its source, which comes back as it was sent. The fields are for
//! those who search: where one cannot hold a value exactly, it is left out of the index or near.

use serde_json::{Map, Value as Json, json};

use super::target::{LEASE, UNTIL, VACANT};
use crate::{Column, ColumnType};

/// The characters of a text that are indexed whole, so that none is longer than a term can be.
const INDEXED: u32 = 8_191;

/// The field of a column.
///
/// All integers of up to 64 bits are one type, and so are all floats and all texts: a column that
/// is widened keeps its field.
pub(super) fn property(ty: ColumnType) -> Json {
    match ty {
        ColumnType::Bool => json!({"type": "boolean"}),
        ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
            json!({"type": "long", "coerce": false})
        }
        // What is no number is in the source alone.
        ColumnType::Real | ColumnType::Double => {
            json!({"type": "double", "coerce": false, "ignore_malformed": true})
        }
        // Exact as a word, and near as a number to reckon with.
        ColumnType::UBigInt | ColumnType::Decimal { .. } => {
            let number = json!({"type": "double", "ignore_malformed": true});
            json!({"type": "keyword", "fields": {"number": number}})
        }
        ColumnType::Text | ColumnType::Varchar(_) => {
            json!({"type": "keyword", "ignore_above": INDEXED})
        }
        ColumnType::Bytes => json!({"type": "binary"}),
        // Any JSON under any name, not looked into.
        ColumnType::Json => json!({"type": "object", "enabled": false}),
        ColumnType::Date => json!({"type": "date", "format": "strict_date"}),
        ColumnType::Timestamp => {
            json!({"type": "date", "format": "strict_date_optional_time_nanos"})
        }
        ColumnType::Time | ColumnType::Uuid => json!({"type": "keyword"}),
    }
}

/// The fields of columns.
pub(super) fn properties<'a>(
    columns: impl IntoIterator<Item = (&'a str, &'a Column)>,
) -> Map<String, Json> {
    columns.into_iter().map(|(field, column)| (field.to_owned(), property(column.ty))).collect()
}

/// The fields of leases.
pub(super) fn lease_properties() -> Map<String, Json> {
    let fields = [
        (LEASE, json!({"type": "keyword", "index": false, "doc_values": false})),
        (UNTIL, json!({"type": "date", "format": "epoch_millis"})),
        (VACANT, json!({"type": "boolean"})),
    ];
    fields.into_iter().map(|(name, property)| (name.to_owned(), property)).collect()
}

/// What another program's field is read as: what dynamic mappings make of JSON, mostly.
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
        // Objects have no type, and of the rest it is not known what they look like.
        _ => ColumnType::Json,
    }
}

/// Whether another program's field can be read as a column: each of its values is looked at then.
pub(super) fn can_be(property: &Json, column: &Column) -> bool {
    use ColumnType::{
        BigInt, Bool, Bytes, Date, Decimal, Double, Int, Json, Real, SmallInt, Text, Time,
        Timestamp, UBigInt, Uuid, Varchar,
    };
    match (column_type(property), column.ty) {
        (_, Json) | (BigInt, SmallInt | Int | BigInt | UBigInt | Real | Double) => true,
        (UBigInt, UBigInt) | (Double, Real | Double) | (Bool, Bool) | (Bytes, Bytes) => true,
        (Text, Text | Varchar(_) | Decimal { .. } | Date | Time | Timestamp | Uuid | Bytes) => true,
        // An exact number is a keyword, with hilcat.
        (Text, UBigInt) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_widened_keeps_its_field() {
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
    fn a_field_of_another_program_is_read_as_what_it_holds() {
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
