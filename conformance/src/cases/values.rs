//! Values are read as they were written.

use hilcat::{Column, ColumnType, ErrorKind, Result, Schema, Value};
use serde_json::json;

use super::{Case, case_list};
use crate::context::{TestContext, all_rows, key, pair, sorted};
use crate::records::Raw;

pub(crate) const CASES: &[Case] = case_list![Stores:
    bools_are_exact,
    integers_are_exact,
    unsigned_integers_are_exact,
    a_negative_zero_is_exact_or_becomes_zero,
    doubles_are_exact,
    reals_are_exact,
    infinities_and_nan_are_exact_or_refused,
    decimals_are_exact,
    texts_are_exact,
    text_with_nul_is_exact_or_refused,
    bytes_are_exact,
    a_megabyte_is_exact,
    json_values_are_exact,
    dates_are_exact,
    times_are_exact,
    timestamps_are_exact,
    uuids_are_exact,
    a_record_of_every_type_is_exact,
    times_are_cut_to_microseconds,
];

/// Stores values of a type, and checks that every method that reads returns them.
fn values_of(context: &TestContext, name: &str, ty: ColumnType, values: &[Value]) -> Result<()> {
    let name = format!("{}{name}", context.scope);
    let schema = context.pairs(ColumnType::BigInt, ty).renamed(&name).table(&name);
    let scope = context.raw(schema)?;
    let values: Vec<Value> = values.iter().cloned().chain([Value::Null]).collect();
    let records: Vec<Raw> =
        values.into_iter().zip(0_i64..).map(|(value, id)| pair(id, value)).collect();
    let (one_by_one, together) = records.split_at(records.len() / 2);
    one_by_one.iter().try_for_each(|record| scope.set(record))?;
    scope.set_many(together)?;
    let ids = || (0..records.len() as i64).map(key);
    for (id, record) in ids().zip(&records) {
        assert_eq!(scope.fetch(id)?.as_ref(), Some(record), "{ty}");
    }
    let expected: Vec<_> = records.iter().cloned().map(Some).collect();
    assert_eq!(scope.fetch_many(ids())?, expected, "{ty}");
    assert_eq!(all_rows(&scope)?, sorted(records.clone()), "{ty}");
    for (record, expected) in records.iter().zip(&expected) {
        assert_eq!(scope.update(record)?, *expected, "{ty}");
    }
    assert_eq!(scope.pop(key(0))?, expected[0], "{ty}");
    assert_eq!(scope.pop_many(ids())?[1..], expected[1..], "{ty}");
    Ok(())
}

fn bools_are_exact(context: TestContext) -> Result<()> {
    values_of(&context, "", ColumnType::Bool, &[true.into(), false.into()])
}

fn integers_are_exact(context: TestContext) -> Result<()> {
    let ints = |ints: &[i64]| ints.iter().map(|&v| Value::Int(v)).collect::<Vec<_>>();
    let wide = ints(&[0, 1, -1, i64::MIN, i64::MAX, i64::MIN + 1, 1 << 53, (1 << 53) + 1]);
    values_of(&context, "b", ColumnType::BigInt, &wide)?;
    values_of(&context, "i", ColumnType::Int, &ints(&[0, 1, i32::MIN.into(), i32::MAX.into()]))?;
    values_of(
        &context,
        "s",
        ColumnType::SmallInt,
        &ints(&[0, -1, i16::MIN.into(), i16::MAX.into()]),
    )
}

fn unsigned_integers_are_exact(context: TestContext) -> Result<()> {
    let limit = i64::MAX as u64;
    let values = [0, 1, limit, limit + 1, limit + 2, u64::MAX - 1, u64::MAX];
    values_of(&context, "", ColumnType::UBigInt, &values.map(Value::UInt))
}

/// A negative zero equals zero, so a backend may return zero.
fn a_negative_zero_is_exact_or_becomes_zero(context: TestContext) -> Result<()> {
    let able = context.cache.capabilities().negative_zero;
    let scope = context.raw(context.pairs(ColumnType::BigInt, ColumnType::Double))?;
    scope.set(&pair(1, Value::Float(-0.0)))?;
    let stored = scope.fetch(key(1))?;
    let Some(Value::Float(zero)) = stored.as_ref().map(|row| &row.0[1]) else {
        panic!("{stored:?}")
    };
    assert_eq!(*zero, 0.0);
    assert_eq!(zero.is_sign_negative(), able);
    Ok(())
}

fn doubles_are_exact(context: TestContext) -> Result<()> {
    let values = [
        0.0,
        1.0,
        -1.5,
        0.1 + 0.2,
        0.3,
        1.0 / 3.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        f64::EPSILON,
        1e15,
        1e16,
        9_007_199_254_740_993.0,
        123_456_789.123_456_78,
        1e300,
        -1e-300,
    ];
    values_of(&context, "", ColumnType::Double, &values.map(Value::Float))
}

fn reals_are_exact(context: TestContext) -> Result<()> {
    let values =
        [0.0, 0.1_f32, 1.0 / 3.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, 16_777_217.0];
    values_of(&context, "", ColumnType::Real, &values.map(Value::from))
}

/// The value is stored exactly, or refused with nothing changed.
fn infinities_and_nan_are_exact_or_refused(context: TestContext) -> Result<()> {
    let scope = context.raw(context.pairs(ColumnType::BigInt, ColumnType::Double))?;
    let able = context.cache.capabilities().nan;
    let mut stored = vec![pair(0, 0.5)];
    scope.set(&stored[0])?;
    for (id, value) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().enumerate() {
        let record = pair(id as i64 + 1, value);
        match scope.set(&record) {
            Ok(()) => stored.push(record),
            Err(error) => {
                assert!(!(able && value.is_nan()), "{error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                let over = scope.update(&pair(0, value)).unwrap_err();
                assert_eq!(over.kind(), ErrorKind::Unsupported, "{over}");
                let many = scope.set_many([pair(90, 1.0), record]).unwrap_err();
                assert_eq!(many.kind(), ErrorKind::Unsupported, "{many}");
            }
        }
    }
    assert_eq!(all_rows(&scope)?, sorted(stored));
    Ok(())
}

fn decimals_are_exact(context: TestContext) -> Result<()> {
    let texts =
        |texts: &[&str]| texts.iter().map(|&v| Value::Decimal(v.into())).collect::<Vec<_>>();
    let money = ColumnType::Decimal { precision: 10, scale: 2 };
    let values =
        texts(&["0.00", "0.10", "-0.01", "12.50", "99999999.99", "-99999999.99", "1000000.00"]);
    values_of(&context, "m", money, &values)?;
    let wide = ColumnType::Decimal { precision: 38, scale: 9 };
    let values = texts(&["12345678901234567890123456789.123456789", "-0.000000001", "0.100000000"]);
    values_of(&context, "w", wide, &values)?;
    let whole = ColumnType::Decimal { precision: 30, scale: 0 };
    values_of(&context, "i", whole, &texts(&["0", "-7", "123456789012345678901234567890"]))
}

fn texts_are_exact(context: TestContext) -> Result<()> {
    let values: Vec<Value> = super::hostile_keys::HOSTILE.iter().map(|&text| text.into()).collect();
    values_of(&context, "", ColumnType::Text, &values)?;
    let short = ["", "a", "a ", "\u{e9}\u{1f600}", "007", "7.0", "NULL", "1e5"].map(Value::from);
    values_of(&context, "v", ColumnType::Varchar(4), &short)
}

fn text_with_nul_is_exact_or_refused(context: TestContext) -> Result<()> {
    if context.cache.capabilities().nul_in_text {
        let values = ["\0", "a\0b", "a\0", "\0\0"].map(Value::from);
        return values_of(&context, "", ColumnType::Text, &values);
    }
    let scope = context.texts()?;
    scope.set(&pair("a", "1"))?;
    for error in [
        scope.set(&pair("a", "x\0y")).unwrap_err(),
        scope.update(&pair("b", "\0")).unwrap_err(),
        scope.set_many([pair("c", "fine"), pair("a", "\0")]).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(all_rows(&scope)?, [pair("a", "1")]);
    Ok(())
}

fn bytes_are_exact(context: TestContext) -> Result<()> {
    let all: Vec<u8> = (0..=255).collect();
    let values: [&[u8]; 7] = [b"", b"\0", b"\0\0a\0", b"\xff\xfe\xfd", b"text", b"\\x00", &all];
    values_of(&context, "", ColumnType::Bytes, &values.map(Value::from))
}

fn a_megabyte_is_exact(context: TestContext) -> Result<()> {
    let text: String = "0123456789abcde\u{e9}\n".chars().cycle().take(1_000_000).collect();
    values_of(&context, "t", ColumnType::Text, &[text.into()])?;
    let bytes: Vec<u8> =
        (0..1_048_577_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    values_of(&context, "b", ColumnType::Bytes, &[bytes.into()])
}

fn json_values_are_exact(context: TestContext) -> Result<()> {
    let values = [
        json!({}),
        json!([]),
        json!(""),
        json!("text"),
        json!(0),
        json!(-7),
        json!(1.5),
        json!(true),
        json!(false),
        json!({"a": null, "b": [null, {"c": [1, 2, {"d": "e"}]}], "": 0}),
        json!({"\u{e9}": "\u{1f600}", "e\u{301}": "\n\t\"\\/", "a b": "'"}),
        json!([i64::MIN, i64::MAX, u64::MAX, 0.1, 1e-7, 123456789.125]),
        json!({"id": {"nested": {"nested": {"nested": [[[[]]]]}}}}),
        json!("null"),
    ];
    values_of(&context, "n", ColumnType::Json, &values.map(Value::from))?;
    // In a column that is not nullable, the JSON value null is stored as a value.
    let schema = context
        .schema()
        .unique(Column::new("id", ColumnType::Int))
        .column(Column::new("v", ColumnType::Json));
    let scope = context.raw(schema)?;
    scope.set(&pair(1, json!(null)))?;
    assert_eq!(scope.fetch(key(1))?, Some(pair(1, json!(null))));
    assert_eq!(scope.set(&pair(2, Value::Null)).unwrap_err().column(), Some("v"));
    Ok(())
}

fn dates_are_exact(context: TestContext) -> Result<()> {
    let values = [0, -1, 1, -719_162, 2_932_896, 11_016, -25_509].map(Value::Date);
    values_of(&context, "", ColumnType::Date, &values)
}

fn times_are_exact(context: TestContext) -> Result<()> {
    let values = [0, 1, 999_999, 1_000_000, 43_200_000_000, 86_399_999_999, 18_900_123_000];
    values_of(&context, "", ColumnType::Time, &values.map(Value::Time))
}

fn timestamps_are_exact(context: TestContext) -> Result<()> {
    let values = [
        0,
        1,
        -1,
        999_999,
        -999_999,
        1_000_000,
        1_359_609_300_123_456,
        -2_208_988_800_000_001,
        -62_135_596_800_000_000,
        253_402_300_799_999_999,
    ];
    values_of(&context, "", ColumnType::Timestamp, &values.map(Value::Timestamp))
}

fn uuids_are_exact(context: TestContext) -> Result<()> {
    let values = [[0; 16], [255; 16], *b"0123456789abcdef"].map(Value::Uuid);
    values_of(&context, "", ColumnType::Uuid, &values)
}

/// A column of each type, with a value.
pub(crate) fn every_type() -> Vec<(Column, Value)> {
    let decimal = ColumnType::Decimal { precision: 10, scale: 2 };
    let types = [
        (ColumnType::Bool, true.into()),
        (ColumnType::SmallInt, Value::Int(-32_768)),
        (ColumnType::Int, Value::Int(-2_147_483_648)),
        (ColumnType::BigInt, Value::Int(i64::MIN)),
        (ColumnType::UBigInt, Value::UInt(u64::MAX)),
        (ColumnType::Real, 0.1_f32.into()),
        (ColumnType::Double, (0.1 + 0.2).into()),
        (decimal, Value::Decimal("-12.50".into())),
        (ColumnType::Text, "it's \"text\" with a \\ and \u{1f600}".into()),
        (ColumnType::Varchar(20), "007".into()),
        (ColumnType::Bytes, vec![0_u8, 255, 39].into()),
        (ColumnType::Json, json!({"a": [1, null, "it's"]}).into()),
        (ColumnType::Date, Value::Date(-719_162)),
        (ColumnType::Time, Value::Time(86_399_999_999)),
        (ColumnType::Timestamp, Value::Timestamp(-1)),
        (ColumnType::Uuid, Value::Uuid(*b"0123456789abcdef")),
    ];
    let column = |(at, (ty, value)): (usize, (ColumnType, Value))| {
        (Column::new(format!("c{at}"), ty).nullable(true), value)
    };
    types.into_iter().enumerate().map(column).collect()
}

/// A schema of a text key and a column of each type.
pub(crate) fn wide(schema: Schema) -> Schema {
    let columns = every_type().into_iter().map(|(column, _)| column);
    columns.fold(schema.unique(Column::new("id", ColumnType::Text)), Schema::column)
}

/// A record of [`wide`] that has a value in every column.
pub(crate) fn full(id: &str) -> Raw {
    Raw([id.into()].into_iter().chain(every_type().into_iter().map(|(_, value)| value)).collect())
}

/// A record of [`wide`] that is NULL in every column.
pub(crate) fn empty(id: &str) -> Raw {
    Raw([id.into()].into_iter().chain(every_type().iter().map(|_| Value::Null)).collect())
}

fn a_record_of_every_type_is_exact(context: TestContext) -> Result<()> {
    let scope = context.raw(wide(context.schema()))?;
    scope.set(&full("full"))?;
    scope.set_many([empty("empty"), full("other")])?;
    assert_eq!(scope.fetch(key("full"))?, Some(full("full")));
    assert_eq!(scope.fetch(key("empty"))?, Some(empty("empty")));
    assert_eq!(all_rows(&scope)?, sorted([full("full"), empty("empty"), full("other")]));
    // Partial sets of one column keep the others.
    for at in 1..full("").0.len() {
        let mut some = Raw(vec![Value::Absent; full("").0.len()]);
        some.0[0] = "empty".into();
        some.0[at] = full("").0[at].clone();
        scope.set(&some)?;
    }
    assert_eq!(scope.update(&empty("empty"))?, Some(full("empty")));
    assert_eq!(scope.pop(key("empty"))?, Some(empty("empty")));
    Ok(())
}

/// `get` and `update` return times as they are stored: rounded down to whole microseconds.
fn times_are_cut_to_microseconds(context: TestContext) -> Result<()> {
    typed_times_are_cut(&context)?;
    let schema = context
        .schema()
        .unique(Column::new("id", ColumnType::Text).key_only())
        .column(Column::new("v", ColumnType::Timestamp))
        .shape(hilcat::Shape::Single);
    let scope = context.dynamic(schema)?;
    let (fine, cut) = (json!("1969-12-31T23:59:59.9999999Z"), json!("1969-12-31T23:59:59.999999Z"));
    assert_eq!(scope.get("a", || fine.clone())?, cut);
    assert_eq!(scope.fetch("a")?, Some(cut.clone()));
    assert_eq!(scope.update("a", fine)?, Some(cut.clone()));
    assert_eq!(scope.pop("a")?, Some(cut));
    Ok(())
}

fn typed_times_are_cut(context: &TestContext) -> Result<()> {
    use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta, Utc};
    use hilcat::ColumnValue as _;

    let before: DateTime<Utc> = "1969-12-31T23:59:59.999999Z".parse().unwrap();
    let fine = before + TimeDelta::nanoseconds(999);
    assert_eq!(fine.to_value(), before.to_value());
    let naive: NaiveDateTime = fine.naive_utc();
    assert_eq!(naive.to_value(), before.to_value());
    let time = NaiveTime::from_hms_nano_opt(5, 15, 0, 123_456_999).unwrap();
    assert_eq!(time.to_value(), Value::Time(18_900_123_456));

    let scope = context.cache.map::<String, DateTime<Utc>>(&format!("{}map", context.scope))?;
    assert_eq!(scope.get("a", || fine)?, before);
    assert_eq!(scope.fetch("a")?, Some(before));
    scope.set("a", &fine)?;
    assert_eq!(scope.update("a", &fine)?, Some(before));
    assert_eq!(scope.pop("a")?, Some(before));
    Ok(())
}
