//! What derived code has checked when it is compiled.

use crate::ColumnType;

/// Refuses a column type that does not hold the same kind of value as the field's Rust type, whose
/// own column type is `natural`.
#[track_caller]
pub const fn check_type(given: ColumnType, natural: ColumnType) {
    use ColumnType::{
        BigInt, Bool, Bytes, Date, Decimal, Double, Int, Json, Real, SmallInt, Text, Time,
        Timestamp, UBigInt, Uuid, Varchar,
    };
    match (natural, given) {
        (SmallInt | Int | BigInt, SmallInt | Int | BigInt)
        | (Real | Double, Real | Double)
        | (Text | Varchar(_), Text | Varchar(_))
        | (Decimal { .. }, Decimal { .. })
        | (Bool, Bool)
        | (UBigInt, UBigInt)
        | (Bytes, Bytes)
        | (Json, Json)
        | (Date, Date)
        | (Time, Time)
        | (Timestamp, Timestamp)
        | (Uuid, Uuid) => {}
        (SmallInt | Int | BigInt, _) => {
            panic!("the field is an integer: its column can be `smallint`, `int` or `bigint`")
        }
        (Real | Double, _) => panic!("the field is a float: its column can be `real` or `double`"),
        (Text | Varchar(_), _) => {
            panic!("the field is text: its column can be `text` or `varchar(n)`")
        }
        (Decimal { .. }, _) => panic!("the field is a decimal: its column can be `decimal(p,s)`"),
        (Bool, _) => panic!("the field is a boolean: its column can be `bool`"),
        (UBigInt, _) => {
            panic!("the field is an unsigned integer of 64 bits: its column can be `ubigint`")
        }
        (Bytes, _) => panic!("the field is bytes: its column can be `bytes`"),
        (Json, _) => panic!("the field is JSON: its column can be `json`"),
        (Date, _) => panic!("the field is a date: its column can be `date`"),
        (Time, _) => panic!("the field is a time of day: its column can be `time`"),
        (Timestamp, _) => panic!("the field is a timestamp: its column can be `timestamp`"),
        (Uuid, _) => panic!("the field is a UUID: its column can be `uuid`"),
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
