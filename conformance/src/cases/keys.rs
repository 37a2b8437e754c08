//! Keys are exact.

use hilcat::{Column, ColumnType, ErrorKind, Result, Scope, Value};

use super::{Case, case_list};
use crate::context::{TestContext, all_keys, all_rows, key, key_of, pair, row, sorted};
use crate::records::{Raw, RawKey};

pub(crate) const CASES: &[Case] = case_list![Stores:
    hostile_keys_one_by_one,
    hostile_keys_together,
    hostile_keys_in_pairs,
    a_key_with_the_character_nul,
    long_keys_that_differ_at_one_end,
    keys_of_noise,
    a_key_of_ten_kilobytes,
    integer_keys,
    ubigint_keys,
    bool_keys,
    bytes_keys,
    decimal_keys,
    float_keys,
    a_float_key_that_is_no_number,
    date_time_and_timestamp_keys,
    uuid_keys,
    varchar_keys,
    parts_of_a_key_do_not_run_together,
    the_order_of_the_key_is_not_that_of_the_columns,
    a_key_of_eight_columns,
];

/// Keys that some engine or some encoding takes for another, or for something else.
pub(crate) const HOSTILE: &[&str] = &[
    "a",
    "A",
    "a ",
    " a",
    "a\t",
    "\u{e9}",
    "e\u{301}",
    "E\u{301}",
    "\u{c9}",
    "\u{df}",
    "ss",
    "\u{131}",
    "i",
    "I",
    "\u{fb01}",
    "fi",
    "\u{212b}",
    "\u{c5}",
    "",
    " ",
    "  ",
    ".",
    "..",
    "/",
    "//",
    "a/b",
    "a//b",
    "/a",
    "a/",
    "../a",
    "%2F",
    "%2f",
    "%",
    "%%",
    "%00",
    "%s",
    "{x}",
    "{",
    "}",
    "{}",
    "*",
    "?",
    "[a]",
    "[^a]",
    "'",
    "''",
    "\"",
    "\"\"",
    "`",
    "\\",
    "\\\\",
    "\\n",
    "\\'",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\u{b}",
    "\u{7f}",
    "\u{1}",
    "\u{1b}[0m",
    "\u{a0}",
    "\u{200b}",
    "\u{feff}a",
    "\u{202e}a",
    "\u{1f600}",
    "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "\u{10ffff}",
    "\u{fffd}",
    "\u{ffff}",
    "007",
    "7",
    "7.0",
    "07",
    "+7",
    "-7",
    "7e0",
    "0x7",
    "1e400",
    "NaN",
    "nan",
    "NULL",
    "null",
    "Null",
    "None",
    "nil",
    "true",
    "TRUE",
    "t",
    "1",
    "0",
    "-0",
    "a:b",
    ":a",
    "a;b",
    "a,b",
    "(a,b)",
    "a|b",
    "a-b",
    "a_b",
    "_",
    "-",
    "--",
    "-- x",
    "a=b",
    "a&b",
    "#",
    "a#b",
    "$1",
    "$",
    "?1",
    ":id",
    "@id",
    "~",
    "!",
    "^",
    "<a>",
    "&amp;",
    "con",
    "NUL",
    "a.json",
    "a\u{2028}b",
    "id",
    "_id",
    "key",
    "x'00'",
    "; drop table x; --",
];

fn value_of(at: usize) -> String {
    format!("value {at}")
}

fn hostile_keys_one_by_one(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    for (at, &id) in HOSTILE.iter().enumerate() {
        scope.set(&pair(id, value_of(at)))?;
        assert_eq!(scope.fetch(key(id))?, Some(pair(id, value_of(at))), "{id:?}");
        assert!(scope.exists(key(id))?, "{id:?}");
        assert_eq!(all_keys(&scope)?, [key(id)]);
        assert_eq!(scope.update(&pair(id, "new"))?, Some(pair(id, value_of(at))), "{id:?}");
        assert_eq!(scope.pop(key(id))?, Some(pair(id, "new")), "{id:?}");
        assert!(!scope.exists(key(id))?, "{id:?}");
        assert_eq!(scope.len()?, 0, "{id:?}");
    }
    Ok(())
}

fn hostile_keys_together(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let records: Vec<Raw> =
        HOSTILE.iter().enumerate().map(|(at, &id)| pair(id, value_of(at))).collect();
    scope.set_many(&records)?;
    assert_eq!(scope.len()?, HOSTILE.len() as u64);
    assert_eq!(all_keys(&scope)?, sorted(HOSTILE.iter().map(|&id| key(id))));
    assert_eq!(all_rows(&scope)?, sorted(records.clone()));
    for (&id, record) in HOSTILE.iter().zip(&records) {
        assert_eq!(scope.fetch(key(id))?.as_ref(), Some(record), "{id:?}");
    }
    let reversed: Vec<RawKey> = HOSTILE.iter().rev().map(|&id| key(id)).collect();
    let expected: Vec<Option<Raw>> = records.iter().rev().cloned().map(Some).collect();
    assert_eq!(scope.fetch_many(&reversed)?, expected);
    let odd = || HOSTILE.iter().skip(1).step_by(2).map(|&id| key(id));
    let popped: Vec<_> = records.iter().skip(1).step_by(2).cloned().map(Some).collect();
    assert_eq!(scope.pop_many(odd())?, popped);
    assert_eq!(all_rows(&scope)?, sorted(records.iter().step_by(2).cloned()));
    Ok(())
}

fn hostile_keys_in_pairs(context: TestContext) -> Result<()> {
    let schema = context
        .schema()
        .unique(Column::new("id1", ColumnType::Text))
        .unique(Column::new("id2", ColumnType::Text))
        .column(Column::new("v", ColumnType::Int));
    let scope = context.raw(schema)?;
    let parts: Vec<&str> = HOSTILE.iter().step_by(9).copied().chain(["", "a", "a "]).collect();
    let mut records = Vec::new();
    for first in &parts {
        for second in &parts {
            records.push(row([(*first).into(), (*second).into(), (records.len() as i64).into()]));
        }
    }
    records.sort_by_key(|record| format!("{:?}", &record.0[..2]));
    records.dedup_by_key(|record| format!("{:?}", &record.0[..2]));
    scope.set_many(&records)?;
    assert_eq!(all_rows(&scope)?, sorted(records.clone()));
    for record in &records {
        let id = key_of([record.0[0].clone(), record.0[1].clone()]);
        assert_eq!(scope.fetch(&id)?.as_ref(), Some(record));
    }
    Ok(())
}

fn a_key_with_the_character_nul(context: TestContext) -> Result<()> {
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
        // A key that cannot be stored is not there; either answer is an honest one.
        match scope.fetch(key(id)) {
            Ok(found) => assert_eq!(found, None),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
        }
    }
    assert_eq!(all_rows(&scope)?, [pair("a", "1")]);
    Ok(())
}

fn long_keys_that_differ_at_one_end(context: TestContext) -> Result<()> {
    differ_at_one_end(&context.texts()?, &"k".repeat(2_699))
}

/// An engine cannot make these smaller before it stores them.
fn keys_of_noise(context: TestContext) -> Result<()> {
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

/// Longer than every engine can have in an index: stored exactly, or refused with nothing changed.
fn a_key_of_ten_kilobytes(context: TestContext) -> Result<()> {
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

/// Keys of a type: each is stored, found, listed and removed as itself.
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

fn integer_keys(context: TestContext) -> Result<()> {
    let ids = |ids: &[i64]| ids.iter().map(|&id| Value::Int(id)).collect::<Vec<_>>();
    let wide = ids(&[0, 1, -1, 7, i64::MAX, i64::MIN, i64::MAX - 1, 1 << 53, (1 << 53) + 1]);
    keys_of(&context, "b", ColumnType::BigInt, &wide)?;
    keys_of(&context, "i", ColumnType::Int, &ids(&[0, -1, i32::MAX.into(), i32::MIN.into()]))?;
    keys_of(&context, "s", ColumnType::SmallInt, &ids(&[0, -1, i16::MAX.into(), i16::MIN.into()]))
}

fn ubigint_keys(context: TestContext) -> Result<()> {
    let limit = i64::MAX as u64;
    let ids = [0, 1, limit - 1, limit, limit + 1, limit + 2, u64::MAX - 1, u64::MAX];
    keys_of(&context, "", ColumnType::UBigInt, &ids.map(Value::UInt))
}

fn bool_keys(context: TestContext) -> Result<()> {
    keys_of(&context, "", ColumnType::Bool, &[false.into(), true.into()])
}

fn bytes_keys(context: TestContext) -> Result<()> {
    let ids: [&[u8]; 9] =
        [b"", b"\0", b"\0\0", b"a", b"A", b"a ", b"\xff\xfe", b"\xc3\xa9", &[b'k'; 2_700]];
    keys_of(&context, "", ColumnType::Bytes, &ids.map(Value::from))
}

fn decimal_keys(context: TestContext) -> Result<()> {
    let ids = ["0.00", "-0.01", "0.01", "9999999999.99", "-9999999999.99", "7.00", "70.00"];
    let ty = ColumnType::Decimal { precision: 12, scale: 2 };
    keys_of(&context, "", ty, &ids.map(|id| Value::Decimal(id.into())))?;
    // The same number is the same key, however it is written.
    let schema = context.pairs(ty, ColumnType::Text);
    let name = format!("{}s", schema.name());
    let scope = context.raw(schema.renamed(&name).table(&name))?;
    scope.set(&pair(Value::Decimal("7".into()), "seven"))?;
    let found = scope.fetch(key(Value::Decimal("+07.0".into())))?;
    assert_eq!(found, Some(pair(Value::Decimal("7.00".into()), "seven")));
    Ok(())
}

fn float_keys(context: TestContext) -> Result<()> {
    let ids = [0.0, 1.0, -1.0, 0.1 + 0.2, 0.3, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e300, 1e15];
    keys_of(&context, "d", ColumnType::Double, &ids.map(Value::Float))?;
    let ids = [0.5, f32::MAX, f32::MIN_POSITIVE, 0.1_f32, -16_777_216.0];
    keys_of(&context, "r", ColumnType::Real, &ids.map(Value::from))?;
    // The two zeros are equal, and so one key.
    let scope = context.raw(context.pairs(ColumnType::Double, ColumnType::Text))?;
    scope.set(&pair(0.0, "first"))?;
    scope.set(&pair(-0.0, "second"))?;
    assert_eq!(scope.len()?, 1);
    assert_eq!(scope.fetch(key(0.0))?.map(|row| row.0[1].clone()), Some("second".into()));
    assert!(scope.exists(key(-0.0))?);
    Ok(())
}

/// Stored exactly, or refused with nothing changed.
fn a_float_key_that_is_no_number(context: TestContext) -> Result<()> {
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

fn date_time_and_timestamp_keys(context: TestContext) -> Result<()> {
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

fn uuid_keys(context: TestContext) -> Result<()> {
    let ids = [[0; 16], [255; 16], *b"0123456789abcdef", *b"0123456789abcdeF"];
    keys_of(&context, "", ColumnType::Uuid, &ids.map(Value::Uuid))
}

fn varchar_keys(context: TestContext) -> Result<()> {
    let ids = ["", "a", "A", "a ", "\u{e9}\u{e9}\u{e9}", "abc", "007", "7"];
    keys_of(&context, "", ColumnType::Varchar(3), &ids.map(Value::from))
}

fn parts_of_a_key_do_not_run_together(context: TestContext) -> Result<()> {
    let schema = context
        .schema()
        .unique(Column::new("id1", ColumnType::Text))
        .unique(Column::new("id2", ColumnType::Text))
        .column(Column::new("v", ColumnType::Int));
    let scope = context.raw(schema)?;
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

fn the_order_of_the_key_is_not_that_of_the_columns(context: TestContext) -> Result<()> {
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

fn a_key_of_eight_columns(context: TestContext) -> Result<()> {
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
