//! Many futures at once: one computation, few threads.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use crate::runtimes::{current_thread, multi_thread};
use crate::{Place, Test, tests};

pub const TESTS: &[Test] =
    tests![a_thousand_tasks_compute_once, ten_thousand_futures_need_few_threads];

fn a_thousand_tasks_compute_once(place: &Place) {
    let computed = Arc::new(AtomicUsize::new(0));
    multi_thread().block_on(async {
        let scope = place.cache().map::<i64, i64>(&place.scope).await.unwrap();
        let tasks = (0..1_000).map(|_| {
            let (scope, computed) = (scope.clone(), computed.clone());
            tokio::spawn(async move {
                let compute = || async {
                    computed.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    49
                };
                scope.get(7, compute).await.unwrap()
            })
        });
        let values = join_all(tasks).await;
        assert!(values.into_iter().all(|value| value.unwrap() == 49));
    });
    assert_eq!(computed.load(Ordering::SeqCst), 1);
}

/// The pool has eight connections, and the executor two threads more.
const MOST_THREADS: usize = 10;

fn ten_thousand_futures_need_few_threads(place: &Place) {
    let before = threads();
    let most = current_thread().block_on(async {
        let scope = place.cache().map::<i64, i64>(&place.scope).await.unwrap();
        scope.set_many((0..100).map(|n| (n, n))).await.unwrap();
        let scope = &scope;
        let mut calls: FuturesUnordered<_> = (0..10_000_i64)
            .map(|n| async move {
                assert_eq!(scope.fetch(n % 100).await.unwrap(), Some(n % 100));
                if n % 10 == 0 {
                    scope.set(n % 100, &(n % 100)).await.unwrap();
                }
            })
            .collect();
        let mut most = 0;
        let mut ended = 0;
        while calls.next().await.is_some() {
            ended += 1;
            if ended % 100 == 0 {
                most = most.max(threads());
            }
        }
        assert_eq!(ended, 10_000);
        most
    });
    println!("{before} threads before, {most} at the most");
    assert!(most <= before + MOST_THREADS, "{before} threads before, {most} at the most");
}

/// The threads of this process that run the calls of futures. Those of earlier tests end while this
/// one runs, and none of them starts.
fn threads() -> usize {
    let names = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    // A thread may end meanwhile.
    let names = names.filter_map(|task| fs::read_to_string(task.join("comm")).ok());
    names.filter(|name| name.starts_with("hilcat-async")).count()
}
