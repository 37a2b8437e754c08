//! Many threads at once.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, Column, ColumnType, Result, Scope, Value};

use super::{Case, case_list};
use crate::context::{TestContext, all_rows, join, key, pair, row, sorted};
use crate::records::Raw;

pub(crate) const CASES: &[Case] = case_list![Stores:
    a_record_is_never_half_of_one,
    sets_of_different_columns_lose_nothing,
    an_update_is_one_step,
    no_update_fails_because_of_others,
    a_record_is_popped_by_one,
    batches_in_opposite_orders,
    handles_go_into_threads,
    sixteen_threads_of_mixed_work,
    each_who_fetches_gets_what_was_asked,
];

/// Runs the same work in several threads that start together.
fn in_threads(count: i64, work: impl Fn(i64) -> Result<()> + Sync) -> Result<()> {
    let start = Barrier::new(count as usize);
    thread::scope(|threads| {
        let run = |n: i64| {
            let (start, work) = (&start, &work);
            threads.spawn(move || {
                start.wait();
                work(n)
            })
        };
        let threads: Vec<_> = (0..count).map(run).collect();
        threads.into_iter().try_for_each(join)
    })
}

/// A scope of four columns, which the cases keep equal or each to itself.
fn of_four(context: &TestContext) -> Result<Scope<Raw>> {
    let schema = context.schema().unique(Column::new("id", ColumnType::Text));
    let column = |schema: hilcat::Schema, name| {
        schema.column(Column::new(name, ColumnType::BigInt).nullable(true))
    };
    context.raw(["a", "b", "c", "d"].into_iter().fold(schema, column))
}

fn four(id: &str, value: i64) -> Raw {
    row([id.into(), value.into(), value.into(), value.into(), value.into()])
}

fn a_record_is_never_half_of_one(context: TestContext) -> Result<()> {
    let scope = of_four(&context)?;
    scope.set(&four("k", -1))?;
    let whole = |record: &Raw| record.0[1..].iter().all(|value| *value == record.0[1]);
    in_threads(6, |thread| {
        for n in 0..40 {
            match thread {
                0 | 1 => assert!(scope.fetch(key("k"))?.is_some_and(|record| whole(&record))),
                2 => assert!(scope.iter()?.all(|record| record.is_ok_and(|record| whole(&record)))),
                3 => scope.set_many([four("other", n), four("k", n)])?,
                _ => scope.set(&four("k", thread * 1_000 + n))?,
            }
        }
        Ok(())
    })?;
    let last = scope.fetch(key("k"))?.unwrap();
    assert!(whole(&last) && [four("k", 39), four("k", 4_039), four("k", 5_039)].contains(&last));
    Ok(())
}

fn sets_of_different_columns_lose_nothing(context: TestContext) -> Result<()> {
    let scope = of_four(&context)?;
    in_threads(4, |thread| {
        for n in 0..50_i64 {
            let mut some = row([const { Value::Absent }; 5]);
            some.0[0] = "k".into();
            some.0[thread as usize + 1] = n.into();
            let own = |record: Raw| record.0[thread as usize + 1].clone();
            match scope.update(&some)?.map(own) {
                Some(before) if n > 0 => assert_eq!(before, Value::Int(n - 1)),
                before => assert!(before.is_none_or(|value| value.is_null())),
            }
        }
        Ok(())
    })?;
    assert_eq!(scope.fetch(key("k"))?, Some(four("k", 49)));
    Ok(())
}

/// Every value that was written is replaced once, but for the one that stands at the end.
fn an_update_is_one_step(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    let replaced = std::sync::Mutex::new(Vec::new());
    in_threads(8, |thread| {
        for n in 0..25 {
            let old = scope.update(&pair(1, thread * 100 + n))?;
            replaced.lock().unwrap().extend(old);
        }
        Ok(())
    })?;
    let mut seen = replaced.into_inner().unwrap();
    seen.extend(scope.fetch(key(1))?);
    let written = (0..8).flat_map(|thread| (0..25).map(move |n| pair(1, thread * 100 + n)));
    assert_eq!(sorted(seen), sorted(written));
    Ok(())
}

/// For a second, sixteen threads replace and remove one record, as a whole and in part. None of them
/// gives up before its deadline, and every value was found by one other call or is stored.
fn no_update_fails_because_of_others(context: TestContext) -> Result<()> {
    let scope = of_four(&context)?;
    let (written, found) = (std::sync::Mutex::new(Vec::new()), std::sync::Mutex::new(Vec::new()));
    let end = Instant::now() + Duration::from_secs(1);
    in_threads(16, |thread| {
        for n in (thread * 1_000_000..).take_while(|_| Instant::now() < end) {
            let old = match n % 5 {
                0 => scope.pop(key("k"))?,
                odd => {
                    written.lock().unwrap().push(Value::Int(n));
                    let mut record = four("k", n);
                    if odd < 3 {
                        record.0[2..].fill(Value::Absent);
                    }
                    scope.update(&record)?
                }
            };
            found.lock().unwrap().extend(old.map(|record| record.0[1].clone()));
        }
        Ok(())
    })?;
    let mut found = found.into_inner().unwrap();
    found.extend(scope.fetch(key("k"))?.map(|record| record.0[1].clone()));
    assert_eq!(sorted(found), sorted(written.into_inner().unwrap()));
    Ok(())
}

fn a_record_is_popped_by_one(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many((0..200).map(|n| pair(n, n)))?;
    let popped = std::sync::Mutex::new(Vec::new());
    in_threads(8, |thread| {
        let order = (0..200).map(|n| (n + thread * 25) % 200);
        let mine = match thread % 2 {
            0 => order.map(|n| scope.pop(key(n))).collect::<Result<Vec<_>>>()?,
            _ => scope.pop_many(order.map(key))?,
        };
        popped.lock().unwrap().extend(mine.into_iter().flatten());
        Ok(())
    })?;
    assert_eq!(sorted(popped.into_inner().unwrap()), sorted((0..200).map(|n| pair(n, n))));
    assert_eq!(scope.len()?, 0);
    Ok(())
}

/// Engines that lock rows deadlock here, unless the batches are sorted.
fn batches_in_opposite_orders(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    in_threads(6, |thread| {
        for round in 0..10 {
            let ids = (0..60_i64).map(|n| if thread % 2 == 0 { n } else { 59 - n });
            match thread {
                0 | 1 => drop(scope.pop_many(ids.map(key))?),
                _ => scope.set_many(ids.map(|n| pair(n, thread * 100 + round)))?,
            }
        }
        Ok(())
    })?;
    scope.set_many((0..60).map(|n| pair(n, n)))?;
    assert_eq!(all_rows(&scope)?, sorted((0..60).map(|n| pair(n, n))));
    Ok(())
}

fn handles_go_into_threads(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    let run = |n: i64| {
        let (cache, scope): (Cache, Scope<Raw>) = (context.cache.clone(), scope.clone());
        let schema = context.pairs(ColumnType::BigInt, ColumnType::BigInt);
        thread::spawn(move || -> Result<()> {
            scope.set(&pair(n, n))?;
            let opened_here = cache.dynamic_with(schema)?;
            assert!(opened_here.exists(n)?);
            Ok(())
        })
    };
    let threads: Vec<_> = (0..8).map(run).collect();
    threads.into_iter().try_for_each(|thread| thread.join().unwrap())?;
    assert_eq!(all_rows(&scope)?, sorted((0..8).map(|n| pair(n, n))));
    Ok(())
}

/// Each thread has records of its own, and sees them as if it were alone.
fn sixteen_threads_of_mixed_work(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    in_threads(16, |thread| {
        let id = |n: i64| thread * 1_000 + n;
        for round in 0..6 {
            let records: Vec<Raw> = (0..10).map(|n| pair(id(n), round * n)).collect();
            scope.set_many(&records)?;
            assert_eq!(scope.fetch(key(id(3)))?, Some(pair(id(3), round * 3)));
            scope.set(&pair(id(3), -round))?;
            assert_eq!(scope.update(&pair(id(3), 7))?, Some(pair(id(3), -round)));
            assert_eq!(scope.pop(key(id(4)))?, Some(pair(id(4), round * 4)));
            assert_eq!(scope.get(key(id(4)), || pair(id(4), 44))?, pair(id(4), 44));
            let found = scope.fetch_many([id(4), id(99), id(3)].map(key))?;
            assert_eq!(found, [Some(pair(id(4), 44)), None, Some(pair(id(3), 7))]);
            let mine = scope.keys()?.filter(|found| {
                let key = found.as_ref().map(|key| key.0.values().to_vec());
                matches!(key.as_deref(), Ok([Value::Int(found)]) if found / 1_000 == thread)
            });
            assert_eq!(mine.count(), 10);
            assert!(scope.len()? >= 10);
        }
        let popped = scope.pop_many((0..10).map(|n| key(id(n))))?;
        assert!(popped.iter().all(Option::is_some));
        Ok(())
    })?;
    assert_eq!(scope.len()?, 0);
    Ok(())
}

/// Fetches that meet may go as one statement: nobody gets another's record, or one of before.
fn each_who_fetches_gets_what_was_asked(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    scope.set(&pair("shared", "of all"))?;
    in_threads(16, |thread| {
        let id = format!("of {thread}");
        for round in 0..20 {
            let record = pair(id.as_str(), format!("{thread} in {round}"));
            scope.set(&record)?;
            assert_eq!(scope.fetch(key(id.as_str()))?, Some(record));
            assert_eq!(scope.fetch(key("shared"))?, Some(pair("shared", "of all")));
            assert_eq!(scope.fetch(key(format!("{id}, which is not there")))?, None);
        }
        Ok(())
    })
}
