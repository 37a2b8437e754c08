//! A scope whose lock another process holds.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, ErrorKind};

/// A write waits for an insert of the same key, and then for the lock. Both waits count towards its
/// deadline.
#[test]
fn waiting_for_an_insert_counts_towards_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("file:///{}?timeout=1s", directory.path().display());
    let scope = Cache::from_uri(&uri).unwrap().map::<String, i64>("m").unwrap();
    let own = directory.path().join(".hilcat/m/lock");
    let lock = File::options().write(true).open(own).unwrap();
    lock.lock().unwrap();
    let timed = |call: &dyn Fn() -> hilcat::Result<()>| {
        let start = Instant::now();
        let error = call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
    };
    thread::scope(|threads| {
        threads.spawn(|| timed(&|| scope.get("a".to_owned(), || 1).map(drop)));
        thread::sleep(Duration::from_millis(200));
        timed(&|| scope.set("a".to_owned(), &2));
    });
    lock.unlock().unwrap();
    scope.set("a".to_owned(), &3).unwrap();
}
