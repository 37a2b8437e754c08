//! A cache that is only read changes nothing.

use hilcat::{Cache, Column, ColumnType, ErrorKind, Migrate, Result, Schema, Scope};

use super::{Case, case_list};
use crate::context::{TestContext, all_keys, all_rows, key, pair, row};
use crate::records::{Raw, declared_as};

pub(crate) const CASES: &[Case] = case_list![Stores:
    a_scope_that_is_only_read_is_not_made,
    a_write_to_what_is_only_read_is_refused,
    newer_columns_read_as_their_defaults_and_are_not_added,
    what_is_only_read_is_never_made_anew,
];

fn scope_of(cache: &Cache, schema: Schema) -> Result<Scope<Raw>> {
    declared_as(schema, || cache.scope::<Raw>())
}

fn numbers(context: &TestContext) -> Schema {
    context.pairs(ColumnType::BigInt, ColumnType::Int)
}

fn a_scope_that_is_only_read_is_not_made(context: TestContext) -> Result<()> {
    let cache = context.cache.read_only();
    assert!(Cache::capabilities(&cache).read_only);
    let reader = scope_of(&cache, numbers(&context))?;
    assert_eq!((reader.len()?, reader.exists(key(1))?, reader.fetch(key(1))?), (0, false, None));
    assert_eq!(reader.fetch_many([key(1), key(2)])?, [None, None]);
    assert!(all_keys(&reader)?.is_empty() && all_rows(&reader)?.is_empty());
    assert!(!context.cache.scopes()?.contains(&context.scope));
    // Once another cache makes it, it is there.
    context.raw(numbers(&context))?.set(&pair(1, 7))?;
    assert_eq!((reader.len()?, reader.fetch(key(1))?), (1, Some(pair(1, 7))));
    assert_eq!(all_rows(&reader)?, [pair(1, 7)]);
    Ok(())
}

fn a_write_to_what_is_only_read_is_refused(context: TestContext) -> Result<()> {
    let writer = context.raw(numbers(&context))?;
    writer.set(&pair(1, 7))?;
    let cache = context.cache.read_only();
    let reader = scope_of(&cache, numbers(&context))?;
    let refused = [
        reader.set(&pair(1, 8)).unwrap_err(),
        reader.update(&pair(1, 8)).unwrap_err(),
        reader.set_many(&[pair(2, 8), pair(3, 8)]).unwrap_err(),
        reader.pop(key(1)).unwrap_err(),
        reader.pop_many([key(1)]).unwrap_err(),
        reader.clear().unwrap_err(),
        reader.get(key(2), || pair(2, 8)).unwrap_err(),
        cache.migrate(&numbers(&context)).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
        assert!(!error.is_retryable(), "{error}");
    }
    assert_eq!(reader.get(key(1), || panic!("it is there"))?, pair(1, 7));
    assert_eq!(all_rows(&writer)?, [pair(1, 7)]);
    Ok(())
}

fn newer_columns_read_as_their_defaults_and_are_not_added(context: TestContext) -> Result<()> {
    let writer = context.raw(numbers(&context))?;
    writer.set(&pair(1, 7))?;
    let newer = context
        .pairs(ColumnType::BigInt, ColumnType::BigInt)
        .column(Column::new("w", ColumnType::Text).nullable(true))
        .column(Column::new("x", ColumnType::Text).default_value("as it was"));
    let before = context.cache.plan(&newer)?;
    let upgraded = row([1.into(), 7.into(), hilcat::Value::Null, "as it was".into()]);
    for _ in 0..2 {
        let reader = scope_of(&context.cache.read_only(), newer.clone())?;
        assert_eq!(reader.fetch(key(1))?, Some(upgraded.clone()));
        assert_eq!(reader.fetch_many([key(2), key(1)])?, [None, Some(upgraded.clone())]);
        assert_eq!(all_rows(&reader)?, std::slice::from_ref(&upgraded));
        assert_eq!((all_keys(&reader)?, reader.len()?), (vec![key(1)], 1));
        assert_eq!(context.cache.plan(&newer)?, before);
    }
    writer.set(&pair(2, 8))?;
    assert_eq!(writer.len()?, 2);
    Ok(())
}

fn what_is_only_read_is_never_made_anew(context: TestContext) -> Result<()> {
    let writer = context.raw(numbers(&context))?;
    writer.set(&pair(1, 7))?;
    let other = context.pairs(ColumnType::BigInt, ColumnType::Date).migrate(Migrate::Recreate);
    let error = scope_of(&context.cache.read_only(), other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
    assert_eq!(all_rows(&writer)?, [pair(1, 7)]);
    Ok(())
}
