//! Futures that are dropped at each of their awaits.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use hilcat::{AsyncMapScope, SingleFlight};

use crate::{Place, Test, tests};

pub const TESTS: &[Test] = tests![
    a_dropped_get_leaves_the_key_free,
    a_dropped_get_gives_its_lease_back,
    a_dropped_get_many_leaves_the_keys_free,
    a_dropped_write_is_whole_or_not_done,
];

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future so often, each time after it was woken, and drops it. Returns whether it ended.
fn poll_times<F: Future>(future: F, times: usize) -> bool {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    for _ in 0..times {
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
        thread::park_timeout(Duration::from_secs(5));
    }
    false
}

/// Calls a test with the number of polls after which its future is dropped, until a future ends.
fn at_each_await(mut test: impl FnMut(usize) -> bool) {
    let polls = (0..1_000).find(|&polls| test(polls));
    println!("it ended at poll {polls:?}");
    polls.expect("the future never ended");
}

async fn pause() {
    let mut polled = false;
    std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn open(place: &Place) -> AsyncMapScope<i64, i64> {
    place.cache().map(&place.scope).await.unwrap()
}

/// Whether `get` ends at once: no other computation of the key is waited for.
fn computes(scope: &AsyncMapScope<i64, i64>, key: i64) {
    let began = Instant::now();
    let value = block_on(scope.get(key, || async { 2 })).unwrap();
    assert!(value == 1 || value == 2, "{value}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// Drops a `get` at each of its awaits. The next one need not wait for it.
fn drop_gets(scope: &AsyncMapScope<i64, i64>) {
    at_each_await(|polls| {
        block_on(scope.pop(1)).unwrap();
        let get = scope.get(1, || async {
            pause().await;
            1
        });
        let ended = poll_times(get, polls);
        computes(scope, 1);
        ended
    });
}

fn a_dropped_get_leaves_the_key_free(place: &Place) {
    drop_gets(&block_on(open(place)));
}

fn a_dropped_get_gives_its_lease_back(place: &Place) {
    let lease = Duration::from_secs(60);
    if !place.cache().capabilities().shared_single_flight {
        return;
    }
    let cache = block_on(
        hilcat::AsyncCache::builder(&place.uri)
            .single_flight(SingleFlight::Shared { lease })
            .open(),
    );
    drop_gets(&block_on(cache.unwrap().map(&place.scope)).unwrap());
}

fn a_dropped_get_many_leaves_the_keys_free(place: &Place) {
    let scope = block_on(open(place));
    at_each_await(|polls| {
        block_on(scope.pop_many([1, 2, 3])).unwrap();
        let get = scope.get_many([1, 2, 3], |missing| async {
            pause().await;
            missing.into_iter().map(|key| (key, 1)).collect::<Vec<_>>()
        });
        let ended = poll_times(get, polls);
        (1..=3).for_each(|key| computes(&scope, key));
        ended
    });
}

fn a_dropped_write_is_whole_or_not_done(place: &Place) {
    let scope = block_on(open(place));
    at_each_await(|polls| {
        let polls = i64::try_from(polls).unwrap();
        let (old, new) = (2 * polls, 2 * polls + 1);
        block_on(scope.set_many((0..10).map(|key| (key, old)))).unwrap();
        let set = scope.set_many((0..10).map(|key| (key, new)));
        let ended = poll_times(set, usize::try_from(polls).unwrap());
        let set_one = poll_times(scope.set(10, &new), usize::try_from(polls).unwrap());
        // A write that was sent may end later: then it is seen whole.
        let values = block_on(scope.fetch_many(0..10)).unwrap();
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        assert!([Some(old), Some(new)].contains(&values[0]), "{values:?}");
        assert!(!ended || values[0] == Some(new));
        block_on(scope.set(10, &0)).unwrap();
        ended && set_one
    });
}
