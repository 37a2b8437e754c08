//! Keys are exact: two keys are equal only if all their values are.

use hilcat::{Column, ColumnType, ErrorKind, Result, Schema, Scope, Value};

use super::{Case, case_list};
use crate::context::{TestContext, all_keys, all_rows, key, key_of, pair, row, sorted};
use crate::records::{Raw, RawKey};

pub(crate) const CASES: &[Case] = case_list![Stores:
    a_key_with_nul_is_exact_or_refused,
    long_keys_that_differ_at_one_end_are_different,
    long_random_keys_that_differ_at_one_end_are_different,
    a_key_of_ten_kilobytes_is_exact_or_refused,
    integer_keys_are_exact,
    ubigint_keys_are_exact,
    bool_keys_are_exact,
    bytes_keys_are_exact,
    decimal_keys_are_exact,
    float_keys_are_exact,
    a_float_key_that_is_not_a_number_is_exact_or_refused,
    date_time_and_timestamp_keys_are_exact,
    uuid_keys_are_exact,
    varchar_keys_are_exact,
    columns_of_a_key_are_separate,
    a_key_can_have_another_order_than_the_columns,
    a_key_can_have_eight_columns,
];

fn a_key_with_nul_is_exact_or_refused(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    scope.set(&pair("a", "1"))?;
    let ids = ["\0", "a\0", "a\0b", "\0a"];
    if context.cache.capabilities().nul_in_text {
        scope.set_many(ids.iter().map(|&id| pair(id, "x")))?;
        assert_eq!(all_keys(&scope)?, sorted(ids.iter().copied().chain(["a"]).map(key)));
        for id in ids {
            assert_eq!(scope.fetch(key(id))?, Some(pair(id, "x")), "{id:?}");
        }
        return Ok(());
    }
    for id in ids {
        for error in [
            scope.set(&pair(id, "x")).unwrap_err(),
            scope.set_many([pair("b", "x"), pair(id, "x")]).unwrap_err(),
            scope.update(&pair(id, "x")).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{id:?}: {error}");
        }
        // A key that cannot be stored is missing: a refusal and a miss are both correct.
        match scope.fetch(key(id)) {
            Ok(found) => assert_eq!(found, None),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
        }
    }
    assert_eq!(all_rows(&scope)?, [pair("a", "1")]);
    Ok(())
}

fn long_keys_that_differ_at_one_end_are_different(context: TestContext) -> Result<()> {
    differ_at_one_end(&context.texts()?, &"k".repeat(2_699))
}

/// Random text cannot be compressed.
fn long_random_keys_that_differ_at_one_end_are_different(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    for length in [2_047, 2_699, 9_999] {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'0' + (state >> 32) as u8 % 75)
        });
        differ_at_one_end(&scope, &noise.take(length).collect::<String>())?;
        scope.clear()?;
    }
    Ok(())
}

fn differ_at_one_end(scope: &Scope<Raw>, long: &str) -> Result<()> {
    let ids = [format!("{long}1"), format!("{long}2"), format!("1{long}"), long.to_owned()];
    let records: Vec<Raw> = ids.iter().map(|id| pair(id.as_str(), &id[..1])).collect();
    for record in &records {
        scope.set(record)?;
    }
    for (id, record) in ids.iter().zip(&records) {
        assert_eq!(scope.fetch(key(id.as_str()))?.as_ref(), Some(record));
    }
    assert_eq!(all_keys(scope)?, sorted(ids.iter().map(|id| key(id.as_str()))));
    assert_eq!(scope.pop(key(ids[0].as_str()))?.as_ref(), Some(&records[0]));
    assert_eq!(scope.len()?, 3);
    Ok(())
}

/// The key is longer than any engine can index: it is stored exactly, or refused with nothing changed.
fn a_key_of_ten_kilobytes_is_exact_or_refused(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let ids = [format!("{}1", "\u{e9}".repeat(5_000)), format!("{}2", "\u{e9}".repeat(5_000))];
    let set = scope.set(&pair(ids[0].as_str(), "1"));
    let Err(error) = set else {
        scope.set(&pair(ids[1].as_str(), "2"))?;
        assert_eq!(scope.fetch(key(ids[0].as_str()))?, Some(pair(ids[0].as_str(), "1")));
        assert_eq!(scope.fetch(key(ids[1].as_str()))?, Some(pair(ids[1].as_str(), "2")));
        assert_eq!(scope.len()?, 2);
        return Ok(());
    };
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(scope.len()?, 0);
    Ok(())
}

/// Stores, finds, lists and removes each of the keys of a type.
fn keys_of(context: &TestContext, name: &str, ty: ColumnType, ids: &[Value]) -> Result<()> {
    let name = format!("{}{name}", context.scope);
    let schema = context.pairs(ty, ColumnType::BigInt).renamed(&name).table(&name);
    let scope = context.raw(schema)?;
    let records: Vec<Raw> = ids.iter().zip(0_i64..).map(|(id, n)| pair(id.clone(), n)).collect();
    let (first, rest) = records.split_at(ids.len() / 2);
    first.iter().try_for_each(|record| scope.set(record))?;
    scope.set_many(rest)?;
    for (id, record) in ids.iter().zip(&records) {
        assert_eq!(scope.fetch(key(id.clone()))?.as_ref(), Some(record), "{ty}");
        assert!(scope.exists(key(id.clone()))?, "{ty}: {id:?}");
    }
    assert_eq!(all_keys(&scope)?, sorted(ids.iter().cloned().map(key)), "{ty}");
    let expected: Vec<_> = records.iter().cloned().map(Some).collect();
    assert_eq!(scope.fetch_many(ids.iter().cloned().map(key))?, expected, "{ty}");
    assert_eq!(scope.pop(key(ids[0].clone()))?.as_ref(), Some(&records[0]), "{ty}");
    assert_eq!(all_rows(&scope)?, sorted(records[1..].to_vec()), "{ty}");
    assert_eq!(scope.pop_many(ids.iter().cloned().map(key))?[1..], expected[1..], "{ty}");
    assert_eq!(scope.len()?, 0, "{ty}");
    Ok(())
}

fn integer_keys_are_exact(context: TestContext) -> Result<()> {
    let ids = |ids: &[i64]| ids.iter().map(|&id| Value::Int(id)).collect::<Vec<_>>();
    let wide = ids(&[0, 1, -1, 7, i64::MAX, i64::MIN, i64::MAX - 1, 1 << 53, (1 << 53) + 1]);
    keys_of(&context, "b", ColumnType::BigInt, &wide)?;
    keys_of(&context, "i", ColumnType::Int, &ids(&[0, -1, i32::MAX.into(), i32::MIN.into()]))?;
    keys_of(&context, "s", ColumnType::SmallInt, &ids(&[0, -1, i16::MAX.into(), i16::MIN.into()]))
}

fn ubigint_keys_are_exact(context: TestContext) -> Result<()> {
    let limit = i64::MAX as u64;
    let ids = [0, 1, limit - 1, limit, limit + 1, limit + 2, u64::MAX - 1, u64::MAX];
    keys_of(&context, "", ColumnType::UBigInt, &ids.map(Value::UInt))
}

fn bool_keys_are_exact(context: TestContext) -> Result<()> {
    keys_of(&context, "", ColumnType::Bool, &[false.into(), true.into()])
}

fn bytes_keys_are_exact(context: TestContext) -> Result<()> {
    let ids: [&[u8]; 9] =
        [b"", b"\0", b"\0\0", b"a", b"A", b"a ", b"\xff\xfe", b"\xc3\xa9", &[b'k'; 2_700]];
    keys_of(&context, "", ColumnType::Bytes, &ids.map(Value::from))
}

fn decimal_keys_are_exact(context: TestContext) -> Result<()> {
    let ids = ["0.00", "-0.01", "0.01", "9999999999.99", "-9999999999.99", "7.00", "70.00"];
    let ty = ColumnType::Decimal { precision: 12, scale: 2 };
    keys_of(&context, "", ty, &ids.map(|id| Value::Decimal(id.into())))?;
    // One number is one key, however it is written.
    let schema = context.pairs(ty, ColumnType::Text);
    let name = format!("{}s", schema.name());
    let scope = context.raw(schema.renamed(&name).table(&name))?;
    scope.set(&pair(Value::Decimal("7".into()), "seven"))?;
    let found = scope.fetch(key(Value::Decimal("+07.0".into())))?;
    assert_eq!(found, Some(pair(Value::Decimal("7.00".into()), "seven")));
    Ok(())
}

fn float_keys_are_exact(context: TestContext) -> Result<()> {
    let ids = [0.0, 1.0, -1.0, 0.1 + 0.2, 0.3, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e300, 1e15];
    keys_of(&context, "d", ColumnType::Double, &ids.map(Value::Float))?;
    let ids = [0.5, f32::MAX, f32::MIN_POSITIVE, 0.1_f32, -16_777_216.0];
    keys_of(&context, "r", ColumnType::Real, &ids.map(Value::from))?;
    // The two zeros are equal, so they are one key.
    let scope = context.raw(context.pairs(ColumnType::Double, ColumnType::Text))?;
    scope.set(&pair(0.0, "first"))?;
    scope.set(&pair(-0.0, "second"))?;
    assert_eq!(scope.len()?, 1);
    assert_eq!(scope.fetch(key(0.0))?.map(|row| row.0[1].clone()), Some("second".into()));
    assert!(scope.exists(key(-0.0))?);
    Ok(())
}

/// The key is stored exactly, or refused with nothing changed.
fn a_float_key_that_is_not_a_number_is_exact_or_refused(context: TestContext) -> Result<()> {
    let scope = context.raw(context.pairs(ColumnType::Double, ColumnType::Text))?;
    let mut stored = Vec::new();
    for id in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        match scope.set(&pair(id, "x")) {
            Ok(()) => stored.push(pair(id, "x")),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{id}: {error}"),
        }
    }
    let able = context.cache.capabilities().nan;
    assert_eq!(stored.iter().any(|row| matches!(row.0[0], Value::Float(v) if v.is_nan())), able);
    for record in &stored {
        assert_eq!(scope.fetch(key(record.0[0].clone()))?.as_ref(), Some(record));
    }
    assert_eq!(all_rows(&scope)?, sorted(stored));
    Ok(())
}

fn date_time_and_timestamp_keys_are_exact(context: TestContext) -> Result<()> {
    let days = [0, -1, 1, -719_162, 2_932_896, 15_706];
    keys_of(&context, "d", ColumnType::Date, &days.map(Value::Date))?;
    let micros = [0, 1, 999_999, 1_000_000, 86_399_999_999];
    keys_of(&context, "t", ColumnType::Time, &micros.map(Value::Time))?;
    let stamps = [
        0,
        1,
        -1,
        1_000_000,
        -62_135_596_800_000_000,
        253_402_300_799_999_999,
        1_359_609_300_123_456,
    ];
    keys_of(&context, "s", ColumnType::Timestamp, &stamps.map(Value::Timestamp))
}

fn uuid_keys_are_exact(context: TestContext) -> Result<()> {
    let ids = [[0; 16], [255; 16], *b"0123456789abcdef", *b"0123456789abcdeF"];
    keys_of(&context, "", ColumnType::Uuid, &ids.map(Value::Uuid))
}

fn varchar_keys_are_exact(context: TestContext) -> Result<()> {
    let ids = ["", "a", "A", "a ", "\u{e9}\u{e9}\u{e9}", "abc", "007", "7"];
    keys_of(&context, "", ColumnType::Varchar(3), &ids.map(Value::from))
}

/// A schema whose key is two texts.
pub(super) fn two_texts(context: &TestContext) -> Schema {
    context
        .schema()
        .unique(Column::new("id1", ColumnType::Text))
        .unique(Column::new("id2", ColumnType::Text))
        .column(Column::new("v", ColumnType::Int))
}

fn columns_of_a_key_are_separate(context: TestContext) -> Result<()> {
    let scope = context.raw(two_texts(&context))?;
    let ids = [
        ("a", "bc"),
        ("ab", "c"),
        ("abc", ""),
        ("", "abc"),
        ("a/b", "c"),
        ("a", "b/c"),
        ("a,b", "c"),
        ("a", "b,c"),
        ("a-b", "c"),
        ("a", "b-c"),
        ("a\u{1f}b", "c"),
        ("a", "b\u{1f}c"),
        ("a\\", "b"),
        ("a", "\\b"),
        ("bc", "a"),
    ];
    for (at, (first, second)) in ids.iter().enumerate() {
        scope.set(&row([(*first).into(), (*second).into(), (at as i64).into()]))?;
    }
    assert_eq!(scope.len()?, ids.len() as u64);
    for (at, (first, second)) in ids.iter().enumerate() {
        let record = row([(*first).into(), (*second).into(), (at as i64).into()]);
        assert_eq!(scope.fetch(key_of([(*first).into(), (*second).into()]))?, Some(record));
    }
    assert_eq!(
        scope.pop(key_of(["a".into(), "bc".into()]))?.map(|row| row.0[2].clone()),
        Some(0.into())
    );
    assert!(scope.exists(key_of(["ab".into(), "c".into()]))?);
    Ok(())
}

fn a_key_can_have_another_order_than_the_columns(context: TestContext) -> Result<()> {
    let schema = context
        .schema()
        .column(Column::new("v", ColumnType::Text).nullable(true))
        .column(Column::new("b", ColumnType::Text))
        .column(Column::new("a", ColumnType::BigInt))
        .key([2, 1]);
    let scope = context.raw(schema)?;
    let record = |a: i64, b: &str, v: Value| row([v, b.into(), a.into()]);
    scope.set(&record(1, "x", "1x".into()))?;
    scope.set_many([record(2, "x", "2x".into()), record(1, "y", "1y".into())])?;
    scope.set(&record(1, "x", Value::Absent))?;
    assert_eq!(scope.fetch(key_of([1.into(), "x".into()]))?, Some(record(1, "x", "1x".into())));
    let ids = [key_of([1.into(), "y".into()]), key_of([2.into(), "x".into()])];
    let found = scope.fetch_many(&ids)?;
    assert_eq!(found, [Some(record(1, "y", "1y".into())), Some(record(2, "x", "2x".into()))]);
    let all = [ids[0].clone(), ids[1].clone(), key_of([1.into(), "x".into()])];
    assert_eq!(all_keys(&scope)?, sorted(all));
    assert_eq!(scope.pop(&ids[0])?, Some(record(1, "y", "1y".into())));
    assert_eq!(scope.len()?, 2);
    Ok(())
}

fn a_key_can_have_eight_columns(context: TestContext) -> Result<()> {
    let types = [
        ColumnType::SmallInt,
        ColumnType::Int,
        ColumnType::BigInt,
        ColumnType::Text,
        ColumnType::UBigInt,
        ColumnType::Date,
        ColumnType::Timestamp,
        ColumnType::Bool,
    ];
    let columns = types.iter().enumerate().map(|(at, ty)| Column::new(format!("k{at}"), *ty));
    let schema = columns.fold(context.schema(), |schema, column| schema.unique(column));
    let scope = context.raw(schema)?;
    let record = |n: i64, last: bool| {
        let text = format!("text {n}");
        let values = [
            n.into(),
            n.into(),
            n.into(),
            text.into(),
            Value::UInt(n as u64),
            Value::Date(n as i32),
            Value::Timestamp(n),
            last.into(),
        ];
        row(values)
    };
    let records: Vec<Raw> = (0..50).map(|n| record(n / 2, n % 2 == 0)).collect();
    scope.set_many(&records)?;
    let ids: Vec<RawKey> =
        records.iter().map(|row| RawKey(hilcat::Key::new(row.0.clone()))).collect();
    let expected: Vec<_> = records.iter().cloned().map(Some).collect();
    assert_eq!(scope.fetch_many(&ids)?, expected);
    assert_eq!(scope.fetch(&ids[7])?.as_ref(), Some(&records[7]));
    assert_eq!(scope.pop(&ids[7])?.as_ref(), Some(&records[7]));
    assert_eq!(all_keys(&scope)?.len(), 49);
    Ok(())
}
