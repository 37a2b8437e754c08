//! Many records at a time.

use hilcat::{Column, ColumnType, ErrorKind, Result, Value};

use super::{Case, case_list};
use crate::context::{TestContext, all_rows, key, pair, row, sorted};
use crate::records::{Raw, RawKey};

pub(crate) const CASES: &[Case] = case_list![Stores:
    an_empty_batch_does_nothing,
    fetch_many_keeps_the_order_asked,
    fetch_many_of_one_key_twice,
    set_many_inserts_and_overwrites,
    of_two_records_with_one_key_the_last_counts,
    a_batch_of_some_columns_keeps_the_others,
    a_batch_with_one_bad_record_changes_nothing,
    pop_many_keeps_the_order_asked,
    pop_many_of_one_key_twice_gives_it_once,
    batches_of_every_size,
    ten_thousand_at_once,
];

fn an_empty_batch_does_nothing(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set(&pair(1, 1))?;
    scope.set_many(Vec::<Raw>::new())?;
    assert_eq!(scope.fetch_many(Vec::<RawKey>::new())?, []);
    assert_eq!(scope.pop_many(Vec::<RawKey>::new())?, []);
    assert_eq!(scope.get_many(Vec::<RawKey>::new(), |_| -> Vec<Raw> { panic!("not asked") })?, []);
    assert_eq!(all_rows(&scope)?, [pair(1, 1)]);
    Ok(())
}

fn fetch_many_keeps_the_order_asked(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many((0..50).map(|n| pair(n, n * n)))?;
    let order = [7, 3, 99, 49, 0, -1, 12, 11];
    let found = scope.fetch_many(order.map(key))?;
    let expected = order.map(|n| (0..50).contains(&n).then(|| pair(n, n * n)));
    assert_eq!(found, expected);
    Ok(())
}

fn fetch_many_of_one_key_twice(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many([pair(1, 10), pair(2, 20)])?;
    let found = scope.fetch_many([2, 1, 9, 2, 2, 9].map(key))?;
    let (one, two) = (Some(pair(1, 10)), Some(pair(2, 20)));
    assert_eq!(found, [two.clone(), one, None, two.clone(), two, None]);
    Ok(())
}

fn set_many_inserts_and_overwrites(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many([pair(1, 1), pair(2, 2), pair(3, 3)])?;
    scope.set_many([pair(4, 40), pair(2, 20)])?;
    assert_eq!(all_rows(&scope)?, sorted([pair(1, 1), pair(2, 20), pair(3, 3), pair(4, 40)]));
    Ok(())
}

fn of_two_records_with_one_key_the_last_counts(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many([pair(1, 1), pair(2, 2), pair(1, 10), pair(3, 3), pair(1, 100)])?;
    assert_eq!(all_rows(&scope)?, sorted([pair(1, 100), pair(2, 2), pair(3, 3)]));
    scope.set_many([pair(1, 7), pair(1, Value::Null)])?;
    assert_eq!(scope.fetch(key(1))?, Some(pair(1, Value::Null)));
    Ok(())
}

fn a_batch_of_some_columns_keeps_the_others(context: TestContext) -> Result<()> {
    let schema = context
        .pairs(ColumnType::BigInt, ColumnType::BigInt)
        .column(Column::new("w", ColumnType::Text).nullable(true).default_value("default"));
    let scope = context.raw(schema)?;
    let record = |id: i64, v: Value, w: Value| row([id.into(), v, w]);
    scope.set(&record(1, 1.into(), "kept".into()))?;
    scope.set_many([
        record(1, 2.into(), Value::Absent),
        record(2, 3.into(), Value::Absent),
        record(3, Value::Absent, "given".into()),
        record(1, Value::Absent, Value::Absent),
        record(2, Value::Absent, Value::Null),
    ])?;
    let expected = [
        record(1, 2.into(), "kept".into()),
        record(2, 3.into(), Value::Null),
        record(3, Value::Null, "given".into()),
    ];
    assert_eq!(all_rows(&scope)?, sorted(expected));
    Ok(())
}

/// The bad one is refused by the store alone: it lacks a value only because it is a new record.
fn a_batch_with_one_bad_record_changes_nothing(context: TestContext) -> Result<()> {
    let schema = context
        .schema()
        .unique(Column::new("id", ColumnType::BigInt))
        .column(Column::new("v", ColumnType::BigInt));
    let scope = context.raw(schema)?;
    let before: Vec<Raw> = (0..300).map(|n| pair(n, n)).collect();
    scope.set_many(&before)?;
    for at in [0, 250, 499] {
        let mut batch: Vec<Raw> = (100..600).map(|n| pair(n, -n)).collect();
        batch[at] = pair(1_000, Value::Absent);
        let error = scope.set_many(&batch).unwrap_err();
        assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("v")), "{error}");
        assert_eq!(all_rows(&scope)?, sorted(before.clone()));
    }
    // What lacks a value in one record of a batch may have been given by one before it.
    scope.set_many([pair(1_000, 5), pair(1_000, Value::Absent)])?;
    assert_eq!(scope.fetch(key(1_000))?, Some(pair(1_000, 5)));
    let error = scope.set_many([pair(1_001, Value::Absent), pair(1_001, 5)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(!scope.exists(key(1_001))?);
    Ok(())
}

fn pop_many_keeps_the_order_asked(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many((0..20).map(|n| pair(n, n * n)))?;
    let order = [7, 3, 99, 19, 0];
    let popped = scope.pop_many(order.map(key))?;
    assert_eq!(popped, order.map(|n| (0..20).contains(&n).then(|| pair(n, n * n))));
    assert_eq!(scope.len()?, 16);
    assert_eq!(scope.fetch_many(order.map(key))?, order.map(|_| None));
    Ok(())
}

fn pop_many_of_one_key_twice_gives_it_once(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many([pair(1, 10), pair(2, 20)])?;
    let popped = scope.pop_many([2, 1, 2, 1].map(key))?;
    assert_eq!(popped, [Some(pair(2, 20)), Some(pair(1, 10)), None, None]);
    assert_eq!(scope.len()?, 0);
    Ok(())
}

/// Engines take batches in pieces: around the usual sizes of these none is lost.
fn batches_of_every_size(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    for size in
        [1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 99, 100, 101, 127, 128, 129, 255, 256, 257, 999, 1_001]
    {
        let records: Vec<Raw> = (0..size).map(|n| pair(n, size + n)).collect();
        scope.set_many(&records)?;
        assert_eq!(scope.len()?, size as u64, "{size}");
        let expected: Vec<_> = records.into_iter().map(Some).collect();
        let ids = || (0..size).map(key);
        assert_eq!(scope.fetch_many(ids())?, expected, "{size}");
        assert_eq!(scope.pop_many(ids())?, expected, "{size}");
        assert_eq!(scope.len()?, 0, "{size}");
    }
    Ok(())
}

fn ten_thousand_at_once(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let id = |n: usize| format!("key {n}");
    let records: Vec<Raw> = (0..10_000).map(|n| pair(id(n), format!("value {n}"))).collect();
    scope.set_many(&records)?;
    assert_eq!(scope.len()?, 10_000);
    let found = scope.fetch_many((0..10_000).rev().map(|n| key(id(n))))?;
    assert_eq!(found.len(), 10_000);
    assert!(found.iter().rev().zip(&records).all(|(found, record)| found.as_ref() == Some(record)));
    let popped = scope.pop_many((0..10_000).step_by(2).map(|n| key(id(n))))?;
    let even = records.iter().step_by(2);
    assert!(popped.len() == 5_000 && popped.iter().zip(even).all(|(a, b)| a.as_ref() == Some(b)));
    assert_eq!(scope.len()?, 5_000);
    scope.clear()
}
