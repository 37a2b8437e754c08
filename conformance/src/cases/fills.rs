//! A computed value never overwrites a value that was written during the computation.

use std::collections::BTreeMap;
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use hilcat::{ColumnType, Error, ErrorKind, Result, Scope};

use super::{Case, case_list};
use crate::context::{TestContext, all_rows, join, key, pair, within};
use crate::records::Raw;

pub(crate) const CASES: &[Case] = case_list![Stores:
    a_write_voids_the_computation,
    a_get_after_a_write_computes_anew,
    waiting_callers_get_the_result_of_a_void_computation,
    a_write_by_another_handle_voids_the_computation,
    a_write_by_the_computation_itself_is_kept,
    a_write_in_another_process_is_kept_and_returned,
    two_processes_that_compute_return_one_value,
    get_many_stores_only_keys_that_were_not_written,
    get_many_returns_records_that_another_process_stored,
    a_failed_computation_keeps_a_concurrent_write,
    no_write_is_lost_among_fills,
    no_write_is_lost_among_fills_of_two_processes,
];

pub(crate) const OF_PERSISTENT: &[Case] = case_list![Persistent:
    a_write_by_another_cache_is_kept_and_returned,
    no_write_is_lost_among_fills_of_two_caches,
];

const LIMIT: Duration = Duration::from_secs(60);

/// A write of the key `a`, with the value that is stored afterwards.
type Write = (&'static str, fn(&Scope<Raw>) -> Result<()>, Option<&'static str>);

const WRITES: &[Write] = &[
    ("set", |scope| scope.set(&pair("a", "new")), Some("new")),
    ("update", |scope| scope.update(&pair("a", "new")).map(drop), Some("new")),
    ("set_many", |scope| scope.set_many([pair("a", "new"), pair("b", "new")]), Some("new")),
    ("pop", |scope| scope.pop(key("a")).map(drop), None),
    ("pop_many", |scope| scope.pop_many(["a", "b"].map(key)).map(drop), None),
    ("clear", |scope| scope.clear(), None),
];

fn stored(value: Option<&str>) -> Option<Raw> {
    value.map(|value| pair("a", value))
}

/// Computes `old` for the key `a` in a second thread, and calls `meanwhile` in this thread during the computation.
/// Returns the results of both.
fn computing<T>(scope: &Scope<Raw>, meanwhile: impl FnOnce() -> T) -> (Result<Raw>, T) {
    let ((begun, has_begun), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel::<()>());
    thread::scope(|threads| {
        let computed = threads.spawn(move || {
            scope.get(key("a"), || {
                begun.send(()).unwrap();
                // The computation ends even if `meanwhile` panics.
                let _ = may_go_on.recv();
                pair("a", "old")
            })
        });
        has_begun.recv().unwrap();
        let done = meanwhile();
        drop(go_on);
        (join(computed), done)
    })
}

fn a_write_voids_the_computation(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    for (name, write, after) in WRITES {
        scope.clear()?;
        let (got, written) = computing(&scope, || write(&scope));
        written?;
        assert_eq!(got?, pair("a", "old"), "{name}");
        assert_eq!(scope.fetch(key("a"))?, stored(*after), "{name}");
    }
    Ok(())
}

fn a_get_after_a_write_computes_anew(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    for (name, write, after) in WRITES {
        scope.clear()?;
        // A call that joined the void computation would wait for ever.
        let (got, again) = computing(&scope, || {
            write(&scope)?;
            let scope = scope.clone();
            within(LIMIT, move || scope.get(key("a"), || pair("a", "newer")))
        });
        let expected = pair("a", after.unwrap_or("newer"));
        assert_eq!(again?, expected, "{name}");
        assert_eq!(got?, pair("a", "old"), "{name}");
        assert_eq!(scope.fetch(key("a"))?, Some(expected), "{name}");
    }
    Ok(())
}

/// A waiting caller cannot be observed from outside: each round allows more time until the caller waits.
fn waiting_callers_get_the_result_of_a_void_computation(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let waited = |pause: Duration| -> Result<bool> {
        scope.clear()?;
        thread::scope(|threads| {
            let (got, waiting) = computing(&scope, || {
                let waiting = threads.spawn(|| scope.get(key("a"), || pair("a", "late")));
                thread::sleep(pause);
                scope.pop(key("a")).map(|popped| (waiting, popped))
            });
            assert_eq!(got?, pair("a", "old"));
            let (waiting, popped) = waiting?;
            let got = join(waiting)?;
            let late = got == pair("a", "late");
            assert!(late || got == pair("a", "old"), "{got:?}");
            // The removal may be sent after the late record was stored.
            let removed = popped == Some(pair("a", "late"));
            assert_eq!(scope.fetch(key("a"))?, (late && !removed).then_some(got));
            Ok(!late)
        })
    };
    for pause in [10, 50, 200, 1_000, 5_000] {
        if waited(Duration::from_millis(pause))? {
            return Ok(());
        }
    }
    panic!("no waiting caller received the result of the computation");
}

fn a_write_by_another_handle_voids_the_computation(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let same = context.cache.clone();
    let dynamic = same.dynamic_with(context.pairs(ColumnType::Text, ColumnType::Text))?;
    let map = same.prefix("p").map::<String, String>("m")?;
    let (got, written) = computing(&scope, || dynamic.set("a", serde_json::json!({"v": "new"})));
    written?;
    assert_eq!(got?, pair("a", "old"));
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "new")));
    dynamic.clear()?;
    let (got, popped) = computing(&scope, || dynamic.pop("a"));
    assert_eq!((popped?, got?), (None, pair("a", "old")));
    assert_eq!(scope.fetch(key("a"))?, None);
    let (got, written) = computing(&scope, || map.set("a", &"of another scope".to_owned()));
    written?;
    assert_eq!(scope.fetch(key("a"))?, Some(got?));
    Ok(())
}

fn a_write_by_the_computation_itself_is_kept(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let got = scope.try_get(key("a"), || -> Result<Raw> {
        scope.set(&pair("a", "set within"))?;
        Ok(pair("a", "returned"))
    })?;
    assert_eq!(got, pair("a", "returned"));
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "set within")));
    Ok(())
}

fn a_write_elsewhere_is_kept(scope: &Scope<Raw>, other: &Scope<Raw>) -> Result<()> {
    for (name, write, after) in WRITES.iter().filter(|(_, _, after)| after.is_some()) {
        scope.clear()?;
        let (got, written) = computing(scope, || write(other));
        written?;
        assert_eq!(Some(got?), stored(*after), "{name}");
        assert_eq!(scope.fetch(key("a"))?, stored(*after), "{name}");
        assert_eq!(other.fetch(key("a"))?, stored(*after), "{name}");
    }
    Ok(())
}

fn a_write_in_another_process_is_kept_and_returned(context: TestContext) -> Result<()> {
    a_write_elsewhere_is_kept(&context.texts()?, &context.texts_elsewhere()?)
}

fn a_write_by_another_cache_is_kept_and_returned(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let cache = context.another()?;
    let other = context.raw_in(&cache, context.pairs(ColumnType::Text, ColumnType::Text))?;
    a_write_elsewhere_is_kept(&scope, &other)
}

/// Both processes find the key missing and compute: one value is stored, and both return it.
fn two_processes_that_compute_return_one_value(context: TestContext) -> Result<()> {
    let scopes = [context.texts()?, context.texts_elsewhere()?];
    for round in 0..20 {
        let id = format!("k{round}");
        let barrier = Barrier::new(2);
        let got = thread::scope(|threads| {
            let threads = [0, 1].map(|at| {
                let (scopes, id, barrier) = (&scopes, id.as_str(), &barrier);
                threads.spawn(move || {
                    scopes[at].get(key(id), || {
                        barrier.wait();
                        pair(id, format!("of {at}"))
                    })
                })
            });
            threads.map(join)
        });
        let [first, second] = got;
        let first = first?;
        assert_eq!(second?, first);
        assert_eq!(scopes[0].fetch(key(id.as_str()))?, Some(first));
    }
    Ok(())
}

fn get_many_stores_only_keys_that_were_not_written(context: TestContext) -> Result<()> {
    let scope = context.numbers()?;
    let got = scope.get_many([1, 2, 3, 4, 5].map(key), |missing| {
        assert_eq!(missing.len(), 5);
        scope.set(&pair(2, 20)).unwrap();
        scope.pop(key(3)).unwrap();
        scope.set_many([pair(4, 40), pair(6, 60)]).unwrap();
        scope.pop(key(4)).unwrap();
        [1, 2, 3, 4, 5].map(|n| pair(n, n))
    })?;
    assert_eq!(got, [1, 2, 3, 4, 5].map(|n| pair(n, n)), "all computed records are returned");
    assert_eq!(all_rows(&scope)?, [pair(1, 1), pair(2, 20), pair(5, 5), pair(6, 60)]);
    let got = scope.get_many([1, 2, 3].map(key), |missing| {
        assert_eq!(missing, [key(3)], "the key is computed again");
        [pair(3, 300)]
    })?;
    assert_eq!(got, [pair(1, 1), pair(2, 20), pair(3, 300)]);
    Ok(())
}

fn get_many_returns_records_that_another_process_stored(context: TestContext) -> Result<()> {
    let (scope, other) = (context.numbers()?, context.numbers_elsewhere()?);
    let got = scope.get_many([1, 2, 3].map(key), |_| {
        other.set(&pair(2, 20)).unwrap();
        [1, 2, 3].map(|n| pair(n, n))
    })?;
    assert_eq!(got, [pair(1, 1), pair(2, 20), pair(3, 3)]);
    assert_eq!(all_rows(&scope)?, [pair(1, 1), pair(2, 20), pair(3, 3)]);
    Ok(())
}

fn a_failed_computation_keeps_a_concurrent_write(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    let failed = scope.try_get(key("a"), || -> Result<Raw, Error> {
        scope.set(&pair("a", "new"))?;
        Err(Error::new(ErrorKind::Timeout, "too slow"))
    });
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "new")));
    let failed = scope.try_get(key("b"), || {
        scope.pop(key("b")).unwrap();
        Err::<Raw, _>("the source is down")
    });
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Compute);
    assert_eq!(scope.get(key("b"), || pair("b", "computed"))?, pair("b", "computed"));
    Ok(())
}

const KEYS: i64 = 3;
const STEPS: i64 = 40;

/// The history of the values of one key.
#[derive(Default)]
struct Chain {
    updated: Vec<Raw>,
    filled: Vec<Raw>,
    /// Values that a call returned as replaced or popped, and the value stored at the end.
    replaced: Vec<Raw>,
}

/// Threads update, pop and get the same few keys. Every value of an acknowledged update is returned as replaced or popped exactly
/// once, or is stored at the end; a computed value at most once.
fn no_write_is_lost(scopes: &[Scope<Raw>]) -> Result<()> {
    let chains: Vec<Mutex<Chain>> = (0..KEYS).map(|_| Mutex::default()).collect();
    let start = Barrier::new(8);
    let work = |thread: i64| -> Result<()> {
        let scope = &scopes[thread as usize % scopes.len()];
        start.wait();
        for step in 0..STEPS {
            let id = (step + thread) % KEYS;
            let value = pair(id, thread * 1_000 + step);
            let chain = || chains[id as usize].lock().unwrap();
            match (step + thread) / KEYS % 4 {
                0 => {
                    let old = scope.update(&value)?;
                    chain().updated.push(value);
                    chain().replaced.extend(old);
                }
                1 => {
                    let popped = scope.pop(key(id))?;
                    chain().replaced.extend(popped);
                }
                _ => {
                    let got = scope.get(key(id), || {
                        thread::sleep(Duration::from_micros(300));
                        value.clone()
                    })?;
                    if got == value {
                        chain().filled.push(value);
                    }
                }
            }
        }
        Ok(())
    };
    thread::scope(|threads| {
        let work = &work;
        let threads: Vec<_> = (0..8).map(|n| threads.spawn(move || work(n))).collect();
        threads.into_iter().try_for_each(join)
    })?;
    for (id, chain) in chains.into_iter().enumerate() {
        let mut chain = chain.into_inner().unwrap();
        chain.replaced.extend(scopes[0].fetch(key(id as i64))?);
        check_chain(&chain);
    }
    Ok(())
}

fn check_chain(chain: &Chain) {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for value in &chain.replaced {
        *counts.entry(format!("{value:?}")).or_default() += 1;
    }
    for value in &chain.updated {
        let count = counts.remove(&format!("{value:?}"));
        assert_eq!(count, Some(1), "{value:?} was written, and is then to be found once");
    }
    for value in &chain.filled {
        let count = counts.remove(&format!("{value:?}")).unwrap_or(0);
        assert!(count <= 1, "{value:?} was stored twice");
    }
    assert!(counts.is_empty(), "these were never written: {counts:?}");
}

fn no_write_is_lost_among_fills(context: TestContext) -> Result<()> {
    no_write_is_lost(&[context.numbers()?])
}

fn no_write_is_lost_among_fills_of_two_processes(context: TestContext) -> Result<()> {
    no_write_is_lost(&[context.numbers()?, context.numbers_elsewhere()?])
}

fn no_write_is_lost_among_fills_of_two_caches(context: TestContext) -> Result<()> {
    let cache = context.another()?;
    let schema = context.pairs(ColumnType::BigInt, ColumnType::BigInt);
    no_write_is_lost(&[context.numbers()?, context.raw_in(&cache, schema)?])
}
