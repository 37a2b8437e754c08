//! `get` computes once.

use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use hilcat::{Error, ErrorKind, Result};

use super::{Case, case_list};
use crate::context::{TestContext, all_rows, join, key, pair, sorted, within};
use crate::records::Raw;

pub(crate) const CASES: &[Case] = case_list![Stores:
    a_hit_computes_nothing,
    a_miss_computes_and_stores,
    many_threads_compute_once,
    a_panic_lets_the_next_one_compute,
    a_panic_lets_one_who_waits_compute,
    a_failed_computation_stores_nothing,
    a_computation_can_ask_for_another_key,
    a_computation_cannot_ask_for_itself,
    a_computed_record_has_the_key_asked_for,
    get_many_computes_what_is_missing_in_one_call,
    get_many_refuses_what_was_not_asked_for,
    get_many_and_get_compute_once,
];

const LIMIT: Duration = Duration::from_secs(20);

fn a_hit_computes_nothing(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    scope.set(&pair("a", "stored"))?;
    let got = scope.get(key("a"), || panic!("it is stored"))?;
    assert_eq!(got, pair("a", "stored"));
    let got = scope.try_get(key("a"), || -> Result<Raw, Error> { panic!("it is stored") })?;
    assert_eq!(got, pair("a", "stored"));
    Ok(())
}

fn a_miss_computes_and_stores(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    assert_eq!(scope.get(key("a"), || pair("a", "1"))?, pair("a", "1"));
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "1")));
    assert_eq!(scope.get(key("a"), || pair("a", "2"))?, pair("a", "1"));
    scope.pop(key("a"))?;
    assert_eq!(scope.get(key("a"), || pair("a", "3"))?, pair("a", "3"));
    Ok(())
}

fn many_threads_compute_once(context: TestContext) -> Result<()> {
    const KEYS: usize = 20;
    const THREADS: usize = 16;
    let scope = context.numbers()?;
    let computed: Vec<AtomicU32> = (0..KEYS).map(|_| AtomicU32::new(0)).collect();
    let start = Barrier::new(THREADS);
    let ask = |thread: usize| -> Result<()> {
        start.wait();
        for step in 0..KEYS {
            let at = (step + thread) % KEYS;
            let id = at as i64;
            let got = scope.get(key(id), || {
                let before = computed[at].fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(2));
                pair(id, i64::from(before))
            })?;
            assert_eq!(got, pair(id, 0));
        }
        Ok(())
    };
    thread::scope(|threads| {
        let ask = &ask;
        let threads: Vec<_> = (0..THREADS).map(|n| threads.spawn(move || ask(n))).collect();
        threads.into_iter().try_for_each(join)
    })?;
    assert!(computed.iter().all(|count| count.load(Ordering::SeqCst) == 1), "{computed:?}");
    Ok(())
}

/// Runs what panics on purpose.
fn panics(work: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
}

fn a_panic_lets_the_next_one_compute(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    panics(|| drop(scope.get(key("a"), || std::panic::resume_unwind(Box::new("on purpose")))));
    assert!(!scope.exists(key("a"))?);
    assert_eq!(scope.get(key("a"), || pair("a", "1"))?, pair("a", "1"));
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "1")));
    Ok(())
}

fn a_panic_lets_one_who_waits_compute(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let waiter = scope.clone();
    let (computing, started) = mpsc::channel();
    thread::scope(|threads| {
        let first = threads.spawn(|| {
            panics(|| {
                let compute = || {
                    computing.send(()).unwrap();
                    thread::sleep(Duration::from_millis(30));
                    std::panic::resume_unwind(Box::new("on purpose"))
                };
                drop(scope.get(key("a"), compute));
            });
        });
        started.recv().unwrap();
        let got = within(LIMIT, move || waiter.get(key("a"), || pair("a", "second")));
        first.join().unwrap();
        assert_eq!(got?, pair("a", "second"));
        Ok(())
    })
}

fn a_failed_computation_stores_nothing(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let failed = scope.try_get(key("a"), || Err::<Raw, _>("the source is down")).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Compute);
    assert_eq!(failed.source().map(ToString::to_string).as_deref(), Some("the source is down"));
    let own = Error::new(ErrorKind::Timeout, "too slow");
    let failed = scope.try_get(key("a"), || Err::<Raw, _>(own)).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Timeout);
    assert_eq!((scope.exists(key("a"))?, scope.len()?), (false, 0));
    let got = scope.try_get(key("a"), || Ok::<_, Error>(pair("a", "1")))?;
    assert_eq!(got, pair("a", "1"));
    Ok(())
}

fn a_computation_can_ask_for_another_key(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    let other = {
        let schema = context.pairs(hilcat::ColumnType::BigInt, hilcat::ColumnType::BigInt);
        let name = format!("{}o", schema.name());
        context.raw(schema.renamed(&name).table(&name))?
    };
    let worker = scope.clone();
    let got = within(LIMIT, move || {
        worker.try_get(key(3), || -> Result<Raw> {
            let two = worker.try_get(key(2), || -> Result<Raw> {
                assert_eq!(other.get(key(3), || pair(3, 30))?, pair(3, 30));
                worker.get(key(1), || pair(1, 10))?;
                Ok(pair(2, 20))
            })?;
            assert_eq!(two, pair(2, 20));
            Ok(pair(3, 30))
        })
    })?;
    assert_eq!(got, pair(3, 30));
    assert_eq!(all_rows(&scope)?, [pair(1, 10), pair(2, 20), pair(3, 30)]);
    Ok(())
}

fn a_computation_cannot_ask_for_itself(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let worker = scope.clone();
    let error = within(LIMIT, move || {
        worker.try_get(key("a"), || worker.get(key("a"), || pair("a", "inner"))).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::ComputeCycle, "{error}");
    assert_eq!(scope.len()?, 0);
    assert_eq!(scope.get(key("a"), || pair("a", "1"))?, pair("a", "1"));
    Ok(())
}

fn a_computed_record_has_the_key_asked_for(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let error = scope.get(key("a"), || pair("a ", "1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(scope.len()?, 0);
    Ok(())
}

fn get_many_computes_what_is_missing_in_one_call(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    scope.set_many([pair(1, 10), pair(3, 30)])?;
    let mut calls = 0;
    let got = scope.get_many([5, 1, 4, 3, 5, 2, 1].map(key), |mut missing| {
        calls += 1;
        missing.sort_by_key(|key| format!("{key:?}"));
        assert_eq!(missing, [2, 4, 5].map(key));
        // In another order than asked, which is no matter.
        [4, 2, 5].map(|n| pair(n, n * 100))
    })?;
    assert_eq!(calls, 1);
    let expected = [(5, 500), (1, 10), (4, 400), (3, 30), (5, 500), (2, 200), (1, 10)];
    assert_eq!(got, expected.map(|(id, v)| pair(id, v)));
    let again = scope.get_many([2, 1].map(key), |_| -> Vec<Raw> { panic!("all are stored") })?;
    assert_eq!(again, [pair(2, 200), pair(1, 10)]);
    assert_eq!(scope.len()?, 5);
    Ok(())
}

fn get_many_refuses_what_was_not_asked_for(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    let error = scope.get_many([1, 2].map(key), |_| [pair(1, 1), pair(9, 9)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(scope.len()?, 0);
    let error = scope.get_many([1, 2].map(key), |_| [pair(1, 1)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(all_rows(&scope)?, [pair(1, 1)], "what it gave is stored");
    assert_eq!(scope.get(key(2), || pair(2, 2))?, pair(2, 2));
    Ok(())
}

/// Batches that overlap, in opposite orders, and single gets: each key is computed once.
fn get_many_and_get_compute_once(context: TestContext) -> Result<()> {
    const KEYS: i64 = 30;
    let scope = context.numbers()?;
    let worker = scope.clone();
    let computed = within(LIMIT, move || -> Result<u32> {
        let computed = AtomicU32::new(0);
        let start = Barrier::new(8);
        let compute = |id: i64| {
            computed.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_micros(200));
            pair(id, id)
        };
        let ask = |thread: i64| -> Result<()> {
            start.wait();
            if thread % 4 == 3 {
                return (0..KEYS).try_for_each(|id| worker.get(key(id), || compute(id)).map(drop));
            }
            let order = (0..KEYS).map(|n| if thread % 2 == 0 { n } else { KEYS - 1 - n });
            let rows = worker.get_many(order.clone().map(key), |missing| {
                let ids = missing.into_iter().filter_map(|key| match key.0.values() {
                    [hilcat::Value::Int(id)] => Some(*id),
                    _ => None,
                });
                ids.map(compute).collect::<Vec<_>>()
            })?;
            assert_eq!(rows, order.map(|id| pair(id, id)).collect::<Vec<_>>());
            Ok(())
        };
        thread::scope(|threads| {
            let ask = &ask;
            let threads: Vec<_> = (0..8).map(|n| threads.spawn(move || ask(n))).collect();
            threads.into_iter().try_for_each(join)
        })?;
        Ok(computed.load(Ordering::SeqCst))
    })?;
    assert_eq!(i64::from(computed), KEYS);
    assert_eq!(all_rows(&scope)?, sorted((0..KEYS).map(|id| pair(id, id))));
    Ok(())
}
