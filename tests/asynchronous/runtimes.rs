//! The same calls under each runtime.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use hilcat::{AsyncMapScope, Cache, ErrorKind};

use crate::proxy::{Mode, Proxy};
use crate::{Place, Test, tests};

pub const TESTS: &[Test] =
    tests![the_calls_are_those_of_the_blocking_handle, a_runtime_is_not_blocked];

type Run = fn(Pin<Box<dyn Future<Output = ()> + Send>>);

const RUNTIMES: [(&str, Run); 4] = [
    ("tokio", |work| multi_thread().block_on(work)),
    ("tokio with one thread", |work| current_thread().block_on(work)),
    ("smol", smol::block_on),
    ("an executor", futures_executor::block_on),
];

pub fn multi_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

pub fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn the_calls_are_those_of_the_blocking_handle(place: &Place) {
    for (name, run) in RUNTIMES {
        println!("{name}");
        let (cache, name) = (place.cache(), place.scope.clone());
        run(Box::pin(async move {
            let scope = cache.map::<i64, i64>(&name).await.unwrap();
            calls(&scope).await;
            assert!(cache.scopes().await.unwrap().contains(&name));
        }));
    }
}

async fn calls(squares: &AsyncMapScope<i64, i64>) {
    squares.clear().await.unwrap();
    assert_eq!(squares.fetch(2).await.unwrap(), None);
    squares.set(2, &4).await.unwrap();
    squares.set_many([(3, 9), (4, 16)]).await.unwrap();
    assert_eq!(squares.fetch(2).await.unwrap(), Some(4));
    assert!(squares.exists(3).await.unwrap());
    assert_eq!(squares.fetch_many([4, 5]).await.unwrap(), [Some(16), None]);
    assert_eq!(squares.update(2, &5).await.unwrap(), Some(4));
    assert_eq!(squares.get(2, || async { unreachable!() }).await.unwrap(), 5);
    assert_eq!(squares.get(5, || async { 25 }).await.unwrap(), 25);
    assert_eq!(squares.refresh(5, || async { 26 }).await.unwrap(), 26);
    assert_eq!(squares.get_in_background(5, || async { 0 }).await.unwrap(), 26);
    assert_eq!(squares.get_optional(6, || async { None }).await.unwrap(), None);
    assert_eq!(squares.get_optional(6, || async { Some(36) }).await.unwrap(), Some(36));
    let failed = squares.try_get(7, || async { Err(std::io::Error::other("no")) }).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Compute);
    let many = squares.get_many([7, 2, 8, 7], |missing| async move {
        assert_eq!(missing.len(), 2);
        missing.into_iter().map(|key| (key, key * key)).collect::<Vec<_>>()
    });
    assert_eq!(many.await.unwrap(), [49, 5, 64, 49]);
    let itself = squares.get(9, || async { squares.get(9, || async { 0 }).await.unwrap_or(81) });
    assert_eq!(itself.await.unwrap(), 81, "a computation that needs itself is an error");
    assert_eq!(squares.pop(9).await.unwrap(), Some(81));
    assert_eq!(squares.pop_many([8, 9]).await.unwrap(), [Some(64), None]);
    squares.set_many((100..1_100).map(|n| (n, n))).await.unwrap();
    squares.pop_many([2, 3]).await.unwrap();
    let mut keys: Vec<i64> = squares.keys().await.unwrap().map(Result::unwrap).collect().await;
    keys.sort_unstable();
    assert_eq!(keys[..4], [4, 5, 6, 7]);
    assert_eq!(keys.len(), 1_004);
    let sum = |sum, entry: hilcat::Result<(i64, i64)>| async move { sum + entry.unwrap().1 };
    let sum = squares.iter().await.unwrap().fold(0, sum).await;
    assert_eq!(sum, 16 + 26 + 36 + 49 + (100..1_100).sum::<i64>());
    assert_eq!(squares.len().await.unwrap(), 1_004);
    squares.clear().await.unwrap();
    assert_eq!(squares.len().await.unwrap(), 0);
}

/// A task on a runtime of one thread is late by less than this while the store does not answer.
const LATE: Duration = Duration::from_millis(200);

/// For two seconds the store does not answer, and a task of the same thread goes on.
fn a_runtime_is_not_blocked(place: &Place) {
    if !place.blocks() {
        return;
    }
    let (uri, held) = hold(place);
    current_thread().block_on(async {
        let cache = Cache::from_uri(&uri).unwrap().into_async();
        let scope = cache.map::<i64, i64>(&place.scope).await.unwrap();
        scope.set(1, &1).await.unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let heartbeat = tokio::spawn(heartbeat(ended.clone()));
        let began = Instant::now();
        let holding = thread::spawn(held);
        thread::sleep(Duration::from_millis(100));
        let calls = (0..100).map(|n| {
            let scope = &scope;
            async move {
                scope.set(n, &n).await.unwrap();
                assert_eq!(scope.fetch(n).await.unwrap(), Some(n));
                assert_eq!(scope.get(n + 1_000, || async { n }).await.unwrap(), n);
            }
        });
        join_all(calls).await;
        assert!(began.elapsed() > Duration::from_secs(1), "the store was not held");
        ended.store(true, Ordering::SeqCst);
        let latest = heartbeat.await.unwrap();
        println!("the latest heartbeat came {latest:?} late");
        assert!(latest < LATE, "{latest:?}");
        holding.join().unwrap();
    });
}

/// Returns by how much a task that sleeps for 5 ms was late at the most.
async fn heartbeat(ended: Arc<AtomicBool>) -> Duration {
    let mut latest = Duration::ZERO;
    // The caller has not yielded to the runtime until it awaits.
    while !ended.load(Ordering::SeqCst) {
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(5)).await;
        latest = latest.max(began.elapsed().saturating_sub(Duration::from_millis(5)));
    }
    latest
}

/// Returns a URI of the store, and what keeps it from answering for two seconds.
fn hold(place: &Place) -> (String, Box<dyn FnOnce() + Send>) {
    let pause = Duration::from_secs(2);
    if place.uri.starts_with("sqlite") {
        let other = Cache::from_uri(&place.uri.replace("+kv", "")).unwrap();
        return (
            place.uri.clone(),
            Box::new(move || {
                let locked = other.diesel(|connection: &mut diesel::SqliteConnection| {
                    use diesel::connection::SimpleConnection;
                    connection.batch_execute("BEGIN IMMEDIATE")?;
                    thread::sleep(pause);
                    connection.batch_execute("ROLLBACK")
                });
                locked.unwrap();
            }),
        );
    }
    if place.uri.starts_with("file") {
        let records = PathBuf::from(place.uri.trim_start_matches("file://"));
        let locked = move || {
            let files = lock_files(&records);
            assert!(!files.is_empty());
            files.iter().for_each(|file| file.lock().unwrap());
            thread::sleep(pause);
        };
        return (place.uri.clone(), Box::new(locked));
    }
    let (proxy, uri) = Proxy::before(&place.uri);
    let silent = move || {
        proxy.set(Mode::Silent);
        thread::sleep(pause);
        proxy.set(Mode::Pass);
        // Connections are relayed until the calls have ended.
        thread::sleep(Duration::from_secs(1));
    };
    (uri, Box::new(silent))
}

/// The lock files of all scopes of a directory.
fn lock_files(directory: &Path) -> Vec<File> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.map(|path| match path.is_dir() {
        true => lock_files(&path),
        false if path.ends_with("lock") => vec![File::open(path).unwrap()],
        false => Vec::new(),
    });
    files.flatten().collect()
}
