#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::{Error, ErrorKind, Value};

fn key(id: i64) -> Key {
    Key::single(Value::Int(id))
}

fn row(key: &Key) -> Option<Row> {
    Some(key.values().to_vec())
}

/// A coalescer whose callers wait for as long as it takes.
fn without_timeout() -> Coalescer {
    let long = Duration::from_secs(20);
    Coalescer { min_wait: long, ..Coalescer::new(1, 2 * long) }
}

fn never_alone(_: &Key) -> Result<Option<Row>> {
    panic!("fetched alone")
}

fn never_together(_: &[Key]) -> Result<Vec<Option<Row>>> {
    panic!("fetched with other keys")
}

/// Runs `others` while a statement is in flight, which ends with the result of `end` once `many`
/// callers wait.
fn while_in_flight<T: Send>(
    coalescer: &Coalescer,
    many: usize,
    end: impl Fn() -> Result<Option<Row>> + Sync,
    others: impl FnOnce() -> T + Send,
) -> T {
    let (began, begun) = mpsc::channel();
    thread::scope(|threads| {
        threads.spawn(|| {
            let fetch = |_: &Key| {
                began.send(()).unwrap();
                while lock(&coalescer.queue)
                    .pending
                    .as_ref()
                    .map_or(0, |batch| lock(&batch.state).waiting)
                    < many
                {
                    thread::yield_now();
                }
                end()
            };
            let call = || coalescer.fetch(&key(0), fetch, never_together);
            let _ = catch_unwind(AssertUnwindSafe(call));
        });
        begun.recv().unwrap();
        others()
    })
}

/// Fetches each of these keys on a thread of its own.
fn fetch_all(
    coalescer: &Coalescer,
    keys: std::ops::Range<i64>,
    fetch: impl Fn(&Key) -> Result<Option<Row>> + Sync,
    fetch_many: impl Fn(&[Key]) -> Result<Vec<Option<Row>>> + Sync,
) -> Vec<Result<Option<Row>>> {
    thread::scope(|threads| {
        let call = |id| coalescer.fetch(&key(id), &fetch, &fetch_many);
        let callers: Vec<_> = keys.map(|id| threads.spawn(move || call(id))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    })
}

#[test]
fn a_lone_caller_executes_its_own_statement() {
    let coalescer = without_timeout();
    for id in 0..3 {
        let found = coalescer.fetch(&key(id), |key| Ok(row(key)), never_together);
        assert_eq!(found.unwrap(), row(&key(id)));
    }
    assert_eq!(lock(&coalescer.queue).in_flight, 0);
}

#[test]
fn a_server_that_has_answered_fast_counts_as_nearby() {
    let coalescer = Coalescer::new(1_000, Duration::from_secs(1));
    let slow = || {
        thread::sleep(2 * NEARBY);
        Ok(None)
    };
    coalescer.timed(slow).unwrap();
    assert_eq!(coalescer.max_in_flight(), 1_000);
    // The scheduler may suspend the thread during the call.
    while coalescer.max_in_flight() == 1_000 {
        coalescer.timed(|| Ok(None)).unwrap();
    }
    coalescer.timed(slow).unwrap();
    assert_eq!(coalescer.max_in_flight(), *HALF_OF_THE_PROCESSORS);
    assert!(coalescer.max_in_flight() < 1_000);
}

#[test]
fn concurrent_callers_share_one_statement() {
    let coalescer = without_timeout();
    let statements = Mutex::new(Vec::new());
    let together = |keys: &[Key]| {
        lock(&statements).push(keys.len());
        Ok(keys.iter().map(|key| row(key).filter(|_| *key != self::key(5))).collect())
    };
    let found = while_in_flight(
        &coalescer,
        8,
        || Ok(None),
        || fetch_all(&coalescer, 1..9, never_alone, together),
    );
    for (found, id) in found.into_iter().zip(1..9) {
        assert_eq!(found.unwrap(), row(&key(id)).filter(|_| id != 5));
    }
    assert_eq!(*lock(&statements), [8]);
    assert_eq!(lock(&coalescer.queue).in_flight, 0);
}

#[test]
fn each_caller_fetches_its_own_key_after_a_failed_batch() {
    let fail = |_: &[Key]| Err(Error::new(ErrorKind::InvalidData, "another caller's"));
    let panicking = |_: &[Key]| panic!("in the middle");
    let alone = |key: &Key| match *key == self::key(2) {
        true => Err(Error::new(ErrorKind::InvalidData, "its own")),
        false => Ok(row(key)),
    };
    let coalescer = without_timeout();
    let found =
        while_in_flight(&coalescer, 3, || Ok(None), || fetch_all(&coalescer, 1..4, alone, fail));
    let messages = found.iter().filter_map(|found| found.as_ref().err());
    let messages: Vec<_> = messages.map(ToString::to_string).collect();
    assert!(matches!(&messages[..], [one] if one.contains("its own")), "{messages:?}");
    assert_eq!(lock(&coalescer.queue).in_flight, 0);

    // Only the leader panics; the others get their records.
    let found = while_in_flight(
        &coalescer,
        3,
        || Ok(None),
        || {
            let call = |id| fetch_all(&coalescer, id..id + 1, |key| Ok(row(key)), panicking);
            thread::scope(|threads| {
                let callers = [1, 2, 3].map(|id| threads.spawn(move || call(id)));
                callers.map(|caller| caller.join().is_ok())
            })
        },
    );
    assert_eq!(found.iter().filter(|found| **found).count(), 2);
    assert_eq!(lock(&coalescer.queue).in_flight, 0);
}

#[test]
fn a_panic_frees_the_slot() {
    let coalescer = without_timeout();
    let found = while_in_flight(
        &coalescer,
        1,
        || panic!("in the middle"),
        || fetch_all(&coalescer, 1..2, |key| Ok(row(key)), never_together),
    );
    assert_eq!(found[0].as_ref().unwrap(), &row(&key(1)));
    assert_eq!(lock(&coalescer.queue).in_flight, 0);
}

#[test]
fn a_caller_fetches_its_own_key_after_max_wait() {
    let coalescer = Coalescer::new(1, Duration::from_secs(20));
    coalescer.timed(|| Ok(None)).unwrap();
    let done = AtomicUsize::new(0);
    // The statement in flight hangs until all other callers have their records.
    let hang = || {
        while done.load(Ordering::SeqCst) < 4 {
            thread::yield_now();
        }
        Ok(None)
    };
    let alone = |key: &Key| {
        done.fetch_add(1, Ordering::SeqCst);
        Ok(row(key))
    };
    let found =
        while_in_flight(&coalescer, 0, hang, || fetch_all(&coalescer, 1..5, alone, never_together));
    for (found, id) in found.into_iter().zip(1..5) {
        assert_eq!(found.unwrap(), row(&key(id)));
    }
    assert_eq!(lock(&coalescer.queue).in_flight, 0);
}
