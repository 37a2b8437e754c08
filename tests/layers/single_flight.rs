//! Concurrent calls compute a value once: on stores, and on each layer over them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use hilcat::{Cache, Error, MapScope};

use crate::backends::{Backend, unique};
use crate::spy::{When, spied};
use crate::{BackendTest, Test, tests};

pub const TESTS: &[BackendTest] = tests![
    sixty_four_threads_compute_a_hundred_keys_once_a_round,
    sixty_four_threads_compute_once_on_every_layer,
    a_write_through_another_cache_of_the_store_voids_the_computation,
];

/// Tests that need no server.
pub const ALONE: &[Test] = tests![a_miss_looks_once];

/// A second lookup is needed only if a computation has landed since the first one.
fn a_miss_looks_once() {
    let (cache, spy) = spied();
    let map: Map = cache.map("squares").unwrap();
    for key in 0..3 {
        let before = spy.calls().len();
        assert_eq!(map.get(key, || key * key).unwrap(), key * key);
        assert_eq!(spy.calls()[before..], ["fetch", "insert"]);
    }
    // The computation of another key lands between the lookup and the claim.
    let other = map.clone();
    let once = AtomicU32::new(0);
    spy.hook(move |when, call| {
        if when == When::After && call == "fetch" && once.fetch_add(1, Ordering::SeqCst) == 0 {
            other.get(8, || 64)?;
        }
        Ok(())
    });
    let before = spy.calls().len();
    assert_eq!(map.get(9, || 81).unwrap(), 81);
    assert_eq!(spy.calls()[before..], ["fetch", "fetch", "insert", "fetch", "insert"]);
}

const THREADS: i64 = 64;
const KEYS: i64 = 100;

type Map = MapScope<i64, i64>;

/// One round, which counts the computations of each key.
struct Round<'a> {
    map: &'a Map,
    computed: Vec<AtomicU32>,
    start: Barrier,
}

impl Round<'_> {
    fn compute(&self, key: i64) -> i64 {
        self.computed[key as usize].fetch_add(1, Ordering::SeqCst);
        thread::yield_now();
        key * 10
    }

    /// Requests all keys in an order that depends on the thread, one by one or in batches.
    fn request_all(&self, thread: i64) {
        self.start.wait();
        let order = (0..KEYS).map(|at| (at * 37 + thread * 13) % KEYS);
        match thread % 8 {
            7 => order.collect::<Vec<_>>().chunks(25).for_each(|keys| self.request_many(keys)),
            odd @ (1 | 3 | 5) => order.for_each(|key| {
                let value = self.map.try_get(key, || match odd {
                    1 => Ok(self.compute(key)),
                    _ => Ok::<_, Error>(self.compute(key)),
                });
                assert_eq!(value.unwrap(), key * 10);
            }),
            _ => order.for_each(|key| {
                assert_eq!(self.map.get(key, || self.compute(key)).unwrap(), key * 10);
            }),
        }
    }

    fn request_many(&self, keys: &[i64]) {
        let compute = |missing: Vec<i64>| missing.into_iter().map(|key| (key, self.compute(key)));
        let values =
            self.map.get_many(keys.iter().copied(), |missing| compute(missing).collect::<Vec<_>>());
        assert_eq!(values.unwrap(), keys.iter().map(|key| key * 10).collect::<Vec<_>>());
    }
}

/// Each round begins without records, and computes each key exactly once.
fn compute_once(cache: &Cache, rounds: u32) {
    let map: Map = cache.map(&unique()).unwrap();
    for round in 0..rounds {
        map.clear().unwrap();
        let computed = (0..KEYS).map(|_| AtomicU32::new(0)).collect();
        let this = Round { map: &map, computed, start: Barrier::new(THREADS as usize) };
        thread::scope(|threads| {
            let request = |thread| {
                threads.spawn({
                    let this = &this;
                    move || this.request_all(thread)
                })
            };
            let threads: Vec<_> = (0..THREADS).map(request).collect();
            assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
        });
        let counts: Vec<u32> = this.computed.into_iter().map(AtomicU32::into_inner).collect();
        assert!(counts.iter().all(|&count| count == 1), "round {round}: {counts:?}");
    }
}

fn sixty_four_threads_compute_a_hundred_keys_once_a_round(backend: &Backend) {
    let (uri, _directory) = (backend.uri)().unwrap();
    compute_once(&Cache::from_uri(&uri).unwrap(), 20);
}

fn sixty_four_threads_compute_once_on_every_layer(backend: &Backend) {
    let (uri, _directory) = (backend.uri)().unwrap();
    let beneath = Cache::from_uri(&uri).unwrap();
    let small = Cache::from_uri("memory:?max_entries=200").unwrap();
    for layer in [
        Cache::tiered(Cache::memory(), beneath.clone()),
        Cache::tiered(small, beneath.clone()),
        Cache::staged(Cache::memory(), beneath.clone()),
        Cache::fan_out(Cache::memory(), [beneath.clone()]),
        beneath.prefix(&unique()),
    ] {
        compute_once(&layer, 2);
    }
}

/// A write to the store below a layer, or through another layer, voids the computation of a layer,
/// and the other way round.
fn a_write_through_another_cache_of_the_store_voids_the_computation(backend: &Backend) {
    let (uri, _directory) = (backend.uri)().unwrap();
    let beneath = Cache::from_uri(&uri).unwrap();
    let (memory, tenant) = (Cache::memory(), beneath.prefix(&unique()));
    let tiered = || Cache::tiered(Cache::memory(), beneath.clone());
    for (one, other) in [
        (tiered(), beneath.clone()),
        (tiered(), tiered()),
        (Cache::fan_out(beneath.clone(), [Cache::memory()]), beneath.clone()),
        (Cache::staged(memory.clone(), beneath.clone()), memory.clone()),
        (Cache::tiered(Cache::memory(), tenant.clone()), tenant.clone()),
        (Cache::tiered(Cache::memory(), tenant.clone()).prefix("in"), tiered_in(&tenant)),
    ] {
        let name = unique();
        let (one, other): (Map, Map) = (one.map(&name).unwrap(), other.map(&name).unwrap());
        for (computing, writing) in [(&one, &other), (&other, &one)] {
            let compute = |write: &dyn Fn()| {
                computing.pop(1).unwrap();
                let computed = computing.get(1, || {
                    write();
                    10
                });
                assert_eq!(computed.unwrap(), 10);
                (one.fetch(1).unwrap(), other.fetch(1).unwrap())
            };
            let popped = compute(&|| assert_eq!(writing.pop(1).unwrap(), None));
            assert_eq!(popped, (None, None));
            let cleared = compute(&|| writing.clear().unwrap());
            assert_eq!(cleared, (None, None));
        }
    }
}

/// Opens another layer over the same cache, under the same prefix.
fn tiered_in(cache: &Cache) -> Cache {
    Cache::fan_out(cache.clone(), [Cache::memory()]).prefix("in")
}
