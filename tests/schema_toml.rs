//! Property: every valid schema reads back from its TOML text unchanged.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::time::Duration;

use hilcat::{Column, ColumnType, Migrate, Schema, Schemas, Shape, Value};
use proptest::prelude::*;

fn value(ty: ColumnType) -> BoxedStrategy<Value> {
    match ty {
        ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ColumnType::SmallInt => any::<i16>().prop_map(Value::from).boxed(),
        ColumnType::Int => any::<i32>().prop_map(Value::from).boxed(),
        ColumnType::BigInt => any::<i64>().prop_map(Value::from).boxed(),
        ColumnType::UBigInt => any::<u64>().prop_map(Value::from).boxed(),
        ColumnType::Real => any::<f32>().prop_map(Value::from).boxed(),
        ColumnType::Double => any::<f64>().prop_map(Value::from).boxed(),
        ColumnType::Decimal { .. } => {
            (-9999..9999).prop_map(|n| Value::Decimal(format!("{n}.25"))).boxed()
        }
        ColumnType::Text => any::<String>().prop_map(Value::Text).boxed(),
        ColumnType::Varchar(_) => "[a-z']{0,5}".prop_map(Value::Text).boxed(),
        ColumnType::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
        ColumnType::Json => any::<(String, i64)>()
            .prop_map(|pair| Value::from(serde_json::json!([{"a": pair}, null, 0.5])))
            .boxed(),
        ColumnType::Date => (-719_162..2_932_896).prop_map(Value::Date).boxed(),
        ColumnType::Time => (0..86_400_000_000_i64).prop_map(Value::Time).boxed(),
        ColumnType::Timestamp => (-62_135_596_800_000_000..253_402_300_800_000_000_i64)
            .prop_map(Value::Timestamp)
            .boxed(),
        ColumnType::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
        _ => unreachable!("`column_type` makes no other type"),
    }
}

fn column_type() -> impl Strategy<Value = ColumnType> {
    use ColumnType::*;
    let decimal = Decimal { precision: 12, scale: 2 };
    proptest::sample::select(vec![
        Bool,
        SmallInt,
        Int,
        BigInt,
        UBigInt,
        Real,
        Double,
        decimal,
        Text,
        Varchar(9),
        Bytes,
        Json,
        Date,
        Time,
        Timestamp,
        Uuid,
    ])
}

fn column() -> impl Strategy<Value = Column> {
    let parts = (any::<bool>(), proptest::option::of(".{1,5}"), any::<bool>());
    (".{1,5}", column_type(), parts).prop_flat_map(|(name, ty, (nullable, was, with))| {
        let default = if with { value(ty).prop_map(Some).boxed() } else { Just(None).boxed() };
        default.prop_map(move |default| {
            let mut column = Column::new(name.clone(), ty).nullable(nullable);
            (column.default, column.was) = (default, was.clone());
            column
        })
    })
}

fn schema() -> impl Strategy<Value = Schema> {
    use proptest::sample::select;
    let shapes = select(vec![Shape::Record, Shape::Single, Shape::Tuple, Shape::Json]);
    let migrates = select(vec![Migrate::Safe, Migrate::Recreate, Migrate::Manual]);
    let ttl = proptest::option::of((1..u64::MAX).prop_map(Duration::from_millis));
    let columns = proptest::collection::vec((column(), 0..3_u8), 1..6);
    let rest = (shapes, migrates, ttl, any::<proptest::sample::Index>());
    (".{1,5}", ".{1,5}", columns, rest).prop_map(|(name, table, columns, rest)| {
        let (shape, migrate, ttl, turn) = rest;
        let mut schema = Schema::new(name).table(table).shape(shape).migrate(migrate);
        if let Some(ttl) = ttl {
            schema = schema.ttl(ttl);
        }
        let (first, others): (Vec<_>, Vec<_>) =
            columns.into_iter().partition(|(_, kind)| *kind == 0);
        for (column, _) in first {
            schema = schema.unique(column.nullable(false).key_only());
        }
        let inner = schema.columns().len();
        for (column, kind) in others {
            schema = match kind {
                1 => schema.unique(column.nullable(false)),
                _ => schema.column(column),
            };
        }
        // The order of the key is independent of that of the columns.
        let mut key = schema.key_positions().to_vec();
        if key.len() > inner {
            let others = key.len() - inner;
            key[inner..].rotate_left(turn.index(others));
        }
        schema.key(key)
    })
}

proptest! {
    #[test]
    fn a_valid_schema_reads_back_unchanged(schema in schema()) {
        prop_assume!(schema.validate().is_ok());
        let text = schema.to_toml();
        let read = Schemas::from_str(&text);
        let read = read.map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(read.get(schema.name()), Some(&schema), "{}", text);
    }
}
