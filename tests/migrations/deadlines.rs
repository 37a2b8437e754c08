//! Every call ends by its deadline, even if the database is locked.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use diesel::SqliteConnection;
use diesel::connection::SimpleConnection;
use hilcat::{Cache, DynScope, Error, ErrorKind};
use serde_json::json;

use crate::support::{File, int, scope};

const TIMEOUT: Duration = Duration::from_millis(600);
/// The tolerance for a busy machine.
const SLACK: Duration = Duration::from_millis(400);

fn cache(file: &File) -> Cache {
    Cache::builder(file.uri()).timeout(TIMEOUT).open().unwrap()
}

/// A scope with one record, and the lock of another writer.
fn locked(file: &File) -> (DynScope, SqliteConnection) {
    let scope = cache(file).dynamic_with(scope([int("n")])).unwrap();
    scope.set("x", json!({"n": 1})).unwrap();
    let mut other = file.connection();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    (scope, other)
}

#[track_caller]
fn assert_timeout(error: &Error, took: Duration) {
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.is_retryable());
    assert!(took >= TIMEOUT * 9 / 10, "gave up after {took:?}");
    assert!(took <= TIMEOUT * 11 / 10 + SLACK, "took {took:?}");
}

#[test]
fn writes_end_by_the_deadline_and_reads_go_on() {
    let file = File::new();
    let (scope, mut other) = locked(&file);
    let before = file.dump();
    type Write = fn(&DynScope) -> hilcat::Result<()>;
    let writes: [Write; 6] = [
        |scope| scope.set("x", json!({"n": 2})),
        |scope| scope.update("x", json!({"n": 2})).map(drop),
        |scope| scope.pop("x").map(drop),
        |scope| scope.set_many([("x", json!({"n": 2})), ("y", json!({"n": 2}))]).map(drop),
        |scope| scope.pop_many(["x"]).map(drop),
        DynScope::clear,
    ];
    for write in writes {
        let start = Instant::now();
        let error = write(&scope).unwrap_err();
        assert_timeout(&error, start.elapsed());
        let start = Instant::now();
        assert_eq!(scope.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
        assert_eq!(scope.keys().unwrap().count(), 1);
        assert!(start.elapsed() < SLACK);
    }
    assert_eq!(file.dump(), before);
    other.batch_execute("ROLLBACK").unwrap();
    scope.set("x", json!({"n": 3})).unwrap();
    assert_eq!(scope.fetch("x").unwrap(), Some(json!({"id": "x", "n": 3})));
}

#[test]
fn opening_a_scope_ends_by_the_deadline() {
    let file = File::new();
    let (_, mut other) = locked(&file);
    let before = file.dump();
    let start = Instant::now();
    let error = cache(&file).dynamic_with(scope([int("n")]).table("b")).unwrap_err();
    assert_timeout(&error, start.elapsed());
    assert_eq!(file.dump(), before);
    // An up-to-date table is opened although the database is locked.
    let start = Instant::now();
    cache(&file).dynamic_with(scope([int("n")])).unwrap();
    assert!(start.elapsed() < SLACK);
    other.batch_execute("ROLLBACK").unwrap();
}

#[test]
fn reads_go_on_while_a_write_waits() {
    let file = File::new();
    let (scope, _other) = locked(&file);
    thread::scope(|threads| {
        let writer = threads.spawn(|| scope.set("x", json!({"n": 2})).unwrap_err());
        let mut slowest = Duration::ZERO;
        let mut reads = 0;
        while !writer.is_finished() {
            let start = Instant::now();
            assert!(scope.exists("x").unwrap());
            slowest = slowest.max(start.elapsed());
            reads += 1;
        }
        assert!(reads > 100, "{reads} reads");
        assert!(slowest < SLACK, "{slowest:?}");
        assert_eq!(writer.join().unwrap().kind(), ErrorKind::Timeout);
    });
}

#[test]
fn all_waiting_calls_end_by_the_deadline() {
    let file = File::new();
    let (scope, mut other) = locked(&file);
    thread::scope(|threads| {
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                threads.spawn(|| {
                    let start = Instant::now();
                    (scope.set("x", json!({"n": 2})).unwrap_err(), start.elapsed())
                })
            })
            .collect();
        for thread in waiting {
            let (error, took) = thread.join().unwrap();
            assert_timeout(&error, took);
        }
    });
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(scope.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
}

#[test]
fn a_call_succeeds_if_the_lock_is_released_in_time() {
    let file = File::new();
    let (scope, mut other) = locked(&file);
    let (locked, waits) = mpsc::channel::<()>();
    thread::scope(|threads| {
        threads.spawn(move || {
            waits.recv().unwrap();
            thread::sleep(TIMEOUT / 4);
            other.batch_execute("UPDATE a SET n = n + 10; COMMIT").unwrap();
        });
        locked.send(()).unwrap();
        // The replaced value is that of the other writer: it is read after the lock was acquired.
        let replaced = scope.update("x", json!({"n": 2})).unwrap();
        assert_eq!(replaced, Some(json!({"id": "x", "n": 11})));
    });
}

/// The whole file is locked, for example while another program changes the journal mode.
#[test]
fn a_locked_file_is_a_timeout_at_the_deadline() {
    let file = File::with("CREATE TABLE t (x)");
    let mut other = file.connection();
    other.batch_execute("BEGIN EXCLUSIVE").unwrap();
    let start = Instant::now();
    let error = Cache::builder(file.uri()).timeout(TIMEOUT).open().unwrap_err();
    assert_timeout(&error, start.elapsed());
    other.batch_execute("COMMIT").unwrap();
    cache(&file).dynamic_with(scope([int("n")])).unwrap();
}

#[test]
fn a_permanent_error_of_opening_is_returned_at_once() {
    let file = File::new();
    std::fs::write(
        file.path(),
        "This is a text and no database, and it is long enough to show.".repeat(99),
    )
    .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().display();
    for (uri, expected) in [
        (file.uri(), "file is not a database"),
        (format!("sqlite:///{directory}"), "cannot be opened"),
        (format!("sqlite:///{directory}/missing/t.db"), "its directory must exist"),
        (format!("sqlite:///{}/t.db", file.path()), "its directory must exist"),
    ] {
        let start = Instant::now();
        let error = Cache::from_uri(&uri).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(start.elapsed() < SLACK, "{uri} took {:?}", start.elapsed());
    }
}

#[test]
fn memory_is_one_database_for_all_threads() {
    let cache = Cache::from_uri("sqlite::memory:?pool_size=8").unwrap();
    let scope = cache.dynamic_with(scope([int("n")])).unwrap();
    thread::scope(|threads| {
        for at in 0..16 {
            let scope = &scope;
            threads.spawn(move || {
                for turn in 0..50 {
                    let key = format!("{at} {turn}");
                    scope.set(&key[..], json!({"n": turn})).unwrap();
                    assert!(scope.exists(&key[..]).unwrap());
                    scope.update("shared", json!({"n": at})).unwrap();
                }
            });
        }
    });
    assert_eq!(scope.len().unwrap(), 16 * 50 + 1);
    // Another cache in memory is another database.
    let other = Cache::from_uri("sqlite::memory:").unwrap();
    assert!(other.scopes().unwrap().is_empty());
}

/// A record that is stored while a thread unwinds, as a guard may do.
#[test]
fn memory_outlives_a_thread_that_panics() {
    struct Guard(DynScope);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.set("x", json!({"n": 1})).unwrap();
        }
    }
    let cache = Cache::from_uri("sqlite::memory:").unwrap();
    let scope = cache.dynamic_with(scope([int("n")])).unwrap();
    let guard = Guard(scope.clone());
    let panicked = thread::spawn(move || {
        let _guard = guard;
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    assert_eq!(scope.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
}
