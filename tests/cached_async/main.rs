//! `#[cached]` on an `async fn`, with and without a runtime.
#![cfg(all(feature = "derive", feature = "async"))]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod slow_store;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use hilcat::{Cache, Error, ErrorKind, cached};

use crate::slow_store::slow;

static SLOW: LazyLock<Cache> = LazyLock::new(|| slow(5));
static MEMORY: LazyLock<Cache> = LazyLock::new(Cache::memory);

/// Runs a future in this thread, without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(Duration::from_secs(1)),
        }
        assert!(Instant::now() < end, "the future is never ready");
    }
}

/// Runs a future in a runtime of one thread.
fn in_tokio<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

/// Yields once to other tasks.
async fn step() {
    let mut done = false;
    std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut done, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Polls two futures concurrently.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut a_out, mut b_out) = (None, None);
    std::future::poll_fn(|context| {
        fn poll<F: Future>(f: &mut Pin<Box<F>>, out: &mut Option<F::Output>, c: &mut Context<'_>) {
            if out.is_none()
                && let Poll::Ready(value) = f.as_mut().poll(c)
            {
                *out = Some(value);
            }
        }
        poll(&mut a, &mut a_out, context);
        poll(&mut b, &mut b_out, context);
        if a_out.is_some() && b_out.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (a_out.unwrap(), b_out.unwrap())
}

#[test]
fn values_are_stored_and_forgotten() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    #[cached(cache = SLOW)]
    async fn kept(name: &str) -> u32 {
        step().await;
        RUNS.fetch_add(1, Ordering::SeqCst) + name.len() as u32
    }
    #[cached(cache = MEMORY, scope = "other")]
    async fn fallible(x: i64) -> Result<i64, Error> {
        let y: Result<i64, Error> = async { Ok(x) }.await;
        if x < 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "negative"));
        }
        Ok(y? + 1)
    }
    let work = || async {
        assert_eq!(kept("a").await, kept("a").await);
        let before = kept("a").await;
        assert_eq!(kept_refresh("a").await, before + 1);
        assert_eq!(kept("a").await, before + 1);
        assert!(kept_forget("a").await.unwrap());
        assert!(!kept_forget("a").await.unwrap());
        assert_eq!((fallible(1).await.unwrap(), fallible(1).await.unwrap()), (2, 2));
        assert_eq!(fallible(-1).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(fallible_refresh(2).await.unwrap(), 3);
    };
    block_on(work());
    in_tokio(work());
}

struct Shop {
    cache: Cache,
    runs: u32,
}

impl Shop {
    #[cached(cache = self.cache)]
    async fn count(&mut self, article: &str) -> u32 {
        step().await;
        self.runs += 1;
        self.runs + article.len() as u32
    }
}

#[test]
fn methods_and_threads() {
    fn crosses_threads<T: Send>(value: T) -> T {
        value
    }
    let mut shop = Shop { cache: slow(1), runs: 0 };
    assert_eq!(block_on(crosses_threads(shop.count("pen"))), 4);
    assert_eq!(block_on(shop.count("pen")), 4);
    assert_eq!(shop.runs, 1);
}

#[test]
fn concurrent_calls_run_once() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    #[cached(cache = SLOW, scope = "once")]
    async fn once(x: i64) -> i64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        RUNS.fetch_add(1, Ordering::SeqCst);
        x
    }
    let ask = |_| {
        thread::spawn(|| {
            in_tokio(async {
                let tasks: Vec<_> = (0..20).map(|n| tokio::spawn(once(n % 5))).collect();
                for (n, task) in tasks.into_iter().enumerate() {
                    assert_eq!(task.await.unwrap(), n as i64 % 5);
                }
            });
        })
    };
    let threads: Vec<_> = (0..4).map(ask).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(RUNS.load(Ordering::SeqCst), 5);
}

/// While a call waits for its store, other tasks of the same thread run.
#[test]
fn the_executor_is_not_blocked() {
    static VERY_SLOW: LazyLock<Cache> = LazyLock::new(|| slow(60));
    #[cached(cache = VERY_SLOW)]
    async fn held(x: i64) -> i64 {
        x
    }
    let longest = in_tokio(async {
        let ticks = async {
            let (begun, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
            while begun.elapsed() < Duration::from_millis(250) {
                tokio::time::sleep(Duration::from_millis(2)).await;
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            longest
        };
        both(ticks, held(1)).await.0
    });
    assert!(longest < Duration::from_millis(50), "it was blocked for {longest:?}");
}

#[test]
fn after_a_cancelled_future_the_next_call_computes() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    #[cached(cache = MEMORY, scope = "cancelled")]
    async fn sometimes(x: i64) -> i64 {
        if RUNS.fetch_add(1, Ordering::SeqCst) == 0 {
            std::future::pending::<()>().await;
        }
        x
    }
    in_tokio(async {
        let first = tokio::spawn(sometimes(1));
        while RUNS.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn(sometimes(1));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!second.is_finished(), "it waits for the first call");
        first.abort();
        assert_eq!(second.await.unwrap(), 1);
    });
    assert_eq!(RUNS.load(Ordering::SeqCst), 2);
}

#[test]
fn a_value_forgotten_during_its_computation_is_not_stored() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    #[cached(cache = SLOW, scope = "forgotten")]
    async fn counted(x: i64) -> u32 {
        let run = RUNS.fetch_add(1, Ordering::SeqCst) + 1;
        match x {
            // Boxed, since they call each other.
            1 if run == 1 => drop(Box::pin(counted_forget(x)).await.unwrap()),
            2 if run == 3 => drop(Box::pin(counted_refresh(x)).await),
            _ => {}
        }
        run
    }
    block_on(async {
        assert_eq!((counted(1).await, counted(1).await, counted(1).await), (1, 2, 2));
        assert_eq!((counted(2).await, counted(2).await), (3, 4), "the fourth run was the refresh");
    });
}

/// The store completes an insert whose future is dropped: a removal waits for that.
#[test]
fn a_removal_comes_after_the_insert_of_a_cancelled_future() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    static SLOWER: LazyLock<Cache> = LazyLock::new(|| slow(50));
    #[cached(cache = SLOWER, scope = "dropped")]
    async fn once(x: i64) -> u32 {
        let _ = x;
        RUNS.fetch_add(1, Ordering::SeqCst) + 1
    }
    in_tokio(async {
        let cancelled = tokio::spawn(once(1));
        while RUNS.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        cancelled.abort();
        once_forget(1).await.unwrap();
        assert_eq!(once(1).await, 2, "nothing was stored after the removal");
    });
}

#[test]
fn a_future_that_awaits_itself_is_an_error() {
    #[cached(cache = SLOW, scope = "itself")]
    async fn itself(x: i64) -> Result<i64, Error> {
        step().await;
        let inner: Pin<Box<dyn Future<Output = Result<i64, Error>>>> = Box::pin(itself(x));
        inner.await
    }
    let error = block_on(itself(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ComputeCycle, "{error}");
}

/// Each future awaits the value that the other one computes.
#[test]
fn a_cycle_of_two_futures_is_an_error() {
    #[cached(cache = SLOW, scope = "circle")]
    async fn circle(x: i64) -> Result<i64, Error> {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let other: Pin<Box<dyn Future<Output = Result<i64, Error>>>> = Box::pin(circle(1 - x));
        other.await
    }
    let (a, b) = in_tokio(async { both(circle(0), circle(1)).await });
    assert!(a.is_err() || b.is_err());
}

/// Computations that one value awaits concurrently can await each other.
#[test]
fn sibling_futures_can_wait_for_each_other() {
    #[cached(cache = SLOW, scope = "leaf")]
    async fn leaf(x: i64) -> Result<i64, Error> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(x)
    }
    #[cached(cache = SLOW, scope = "branch")]
    async fn branch(x: i64) -> Result<i64, Error> {
        Ok(leaf(x).await? + 1)
    }
    #[cached(cache = SLOW, scope = "root")]
    async fn root(x: i64) -> Result<i64, Error> {
        let (one, other) = both(leaf(x), branch(x)).await;
        Ok(one? + other?)
    }
    assert_eq!(in_tokio(root(3)).unwrap(), 7);
}

/// A waiting thread and a waiting future are both woken by the value.
#[test]
fn threads_and_futures_wait_for_each_other() {
    let map = MEMORY.map::<String, i64>("mixed").unwrap();
    #[cached(cache = MEMORY, scope = "mixed", key = key)]
    async fn mixed(key: String) -> i64 {
        let _ = key;
        panic!("the thread computes")
    }
    thread::scope(|threads| {
        let (started, begun) = std::sync::mpsc::channel();
        let map = &map;
        threads.spawn(move || {
            map.get("a", || {
                started.send(()).unwrap();
                thread::sleep(Duration::from_millis(50));
                5
            })
        });
        begun.recv().unwrap();
        assert_eq!(block_on(mixed("a".into())), 5);
    });
}
