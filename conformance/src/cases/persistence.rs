//! What survives when the cache is closed, and what two caches on one storage share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use hilcat::{Column, ColumnType, Result, Value};

use super::values::{empty, full, wide};
use super::{Case, case_list};
use crate::context::{TestContext, all_keys, all_rows, join, key, pair, row, sorted};
use crate::records::{Raw, with_schema};

pub(crate) const CASES: &[Case] = case_list![Persistent:
    records_of_every_type_survive_reopening,
    unusual_keys_survive_reopening,
    writes_and_removals_survive_reopening,
    two_caches_share_their_records,
    many_caches_can_open_a_scope_at_once,
];

pub(crate) const OF_VOLATILE: &[Case] = case_list![Volatile:
    records_end_with_the_cache,
    two_caches_have_separate_records,
];

fn records_end_with_the_cache(mut context: TestContext) -> Result<()> {
    context.raw(wide(context.schema()))?.set(&full("full"))?;
    context.open_anew()?;
    assert!(context.cache.scopes()?.is_empty());
    assert_eq!(context.raw(wide(context.schema()))?.len()?, 0);
    Ok(())
}

fn two_caches_have_separate_records(context: TestContext) -> Result<()> {
    let here = context.numbers()?;
    let cache = context.another()?;
    let schema = context.pairs(ColumnType::BigInt, ColumnType::BigInt);
    let there = with_schema(schema, || cache.scope::<Raw>())?;
    here.set(&pair(1, 1))?;
    assert_eq!(there.fetch(key(1))?, None);
    assert_eq!(there.len()?, 0);
    Ok(())
}

fn records_of_every_type_survive_reopening(mut context: TestContext) -> Result<()> {
    let records = [full("full"), empty("empty"), full("other")];
    context.raw(wide(context.schema()))?.set_many(&records)?;
    for _ in 0..2 {
        context.reopen()?;
        let scope = context.raw(wide(context.schema()))?;
        assert_eq!(all_rows(&scope)?, sorted(records.clone()));
        assert_eq!(scope.fetch(key("full"))?, Some(full("full")));
        assert!(context.cache.plan(&wide(context.schema()))?.is_empty());
    }
    Ok(())
}

fn unusual_keys_survive_reopening(mut context: TestContext) -> Result<()> {
    let ids = super::hostile_keys::HOSTILE;
    context.texts()?.set_many(ids.iter().map(|&id| pair(id, format!("of {id}"))))?;
    context.reopen()?;
    let scope = context.texts()?;
    assert_eq!(all_keys(&scope)?, sorted(ids.iter().map(|&id| key(id))));
    for &id in ids {
        assert_eq!(scope.fetch(key(id))?, Some(pair(id, format!("of {id}"))), "{id:?}");
    }
    Ok(())
}

fn writes_and_removals_survive_reopening(mut context: TestContext) -> Result<()> {
    let schema = |context: &TestContext| {
        context
            .pairs(ColumnType::BigInt, ColumnType::BigInt)
            .column(Column::new("w", ColumnType::Text).default_value("default"))
    };
    let record = |id: i64, v: i64, w: Value| row([id.into(), v.into(), w]);
    let scope = context.raw(schema(&context))?;
    scope.set_many((0..10).map(|n| record(n, n, Value::Absent)))?;
    scope.pop(key(3))?;
    scope.pop_many([key(4), key(5)])?;
    drop(scope);
    context.reopen()?;
    let scope = context.raw(schema(&context))?;
    assert_eq!(scope.len()?, 7);
    scope.set(&record(0, 100, Value::Absent))?;
    scope.set(&record(3, 300, Value::Absent))?;
    assert_eq!(scope.fetch(key(0))?, Some(record(0, 100, "default".into())));
    assert_eq!(scope.fetch(key(3))?, Some(record(3, 300, "default".into())));
    scope.clear()?;
    drop(scope);
    context.reopen()?;
    assert_eq!(context.raw(schema(&context))?.len()?, 0);
    Ok(())
}

fn two_caches_share_their_records(context: TestContext) -> Result<()> {
    let here = context.numbers()?;
    let cache = context.another()?;
    let schema = context.pairs(ColumnType::BigInt, ColumnType::BigInt);
    let there = with_schema(schema, || cache.scope::<Raw>())?;
    for n in 0..20 {
        here.set(&pair(n, n))?;
        assert_eq!(there.fetch(key(n))?, Some(pair(n, n)));
        assert_eq!(there.update(&pair(n, -n))?, Some(pair(n, n)));
        assert_eq!(here.fetch(key(n))?, Some(pair(n, -n)));
        assert_eq!((here.len()?, there.len()?), (n as u64 + 1, n as u64 + 1));
    }
    assert_eq!(there.pop(key(3))?, Some(pair(3, -3)));
    assert!(!here.exists(key(3))?);
    assert!(cache.scopes()?.contains(&context.scope));
    Ok(())
}

fn many_caches_can_open_a_scope_at_once(context: TestContext) -> Result<()> {
    let ready = std::sync::Barrier::new(8);
    let written = AtomicU32::new(0);
    thread::scope(|threads| -> Result<()> {
        let open = |n: i64| {
            let (context, ready, written) = (&context, &ready, &written);
            threads.spawn(move || -> Result<()> {
                let cache = context.another()?;
                ready.wait();
                let schema = context.pairs(ColumnType::BigInt, ColumnType::BigInt);
                let scope = with_schema(schema, || cache.scope::<Raw>())?;
                scope.set(&pair(n, n))?;
                written.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
        };
        let threads: Vec<_> = (0..8).map(open).collect();
        threads.into_iter().try_for_each(join)
    })?;
    assert_eq!(written.load(Ordering::Relaxed), 8);
    assert_eq!(context.numbers()?.len()?, 8);
    Ok(())
}
