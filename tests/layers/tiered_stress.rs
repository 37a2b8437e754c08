//! Many concurrent calls of a tiered cache.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use hilcat::backend::Memory;
use hilcat::{Cache, MapScope};

use crate::spy::spied_on;
use crate::{Test, done, tests};

pub const TESTS: &[Test] = tests![
    reads_are_never_older_than_acknowledged_writes,
    both_stores_agree_after_concurrent_writes,
];

/// Returns a far store of which some calls are slow.
fn slow_far() -> Cache {
    let (far, spy) = spied_on(Memory::new());
    let count = AtomicI64::new(0);
    spy.hook(move |_, _| {
        match count.fetch_add(1, Ordering::Relaxed) % 7 {
            0 => thread::sleep(Duration::from_micros(50)),
            3 => thread::yield_now(),
            _ => {}
        }
        Ok(())
    });
    far
}

const KEYS: usize = 6;

/// One writer per key counts up; a read never returns less than was acknowledged before it began. The
/// near store is too small for all keys, so that reads fill it all the time.
fn reads_are_never_older_than_acknowledged_writes() {
    let near = Cache::from_uri("memory:?max_entries=3").unwrap();
    let cache = Cache::tiered(near, slow_far());
    let scope: MapScope<i64, i64> = cache.map("m").unwrap();
    let acknowledged: Vec<AtomicI64> = (0..KEYS).map(|_| AtomicI64::new(0)).collect();
    let over = AtomicBool::new(false);
    let write = |key: usize| {
        for value in 1..=400 {
            match value % 3 {
                0 => scope.set(key as i64, &value).unwrap(),
                1 => done(scope.update(key as i64, &value)),
                _ => done(scope.set_many([(key as i64, &value)])),
            }
            acknowledged[key].store(value, Ordering::SeqCst);
        }
    };
    let look = |reader: usize| {
        let mut at = reader;
        while !over.load(Ordering::SeqCst) {
            at = (at * 5 + 1) % KEYS;
            let least = acknowledged[at].load(Ordering::SeqCst);
            let found = match reader % 2 {
                0 => scope.fetch(at as i64).unwrap(),
                _ => scope.fetch_many([at as i64]).unwrap()[0],
            };
            assert!(found.unwrap_or(0) >= least, "key {at}: {found:?} after {least}");
        }
    };
    thread::scope(|threads| {
        let writers: Vec<_> = (0..KEYS).map(|key| threads.spawn(move || write(key))).collect();
        let readers: Vec<_> = (0..4).map(|reader| threads.spawn(move || look(reader))).collect();
        let written = writers.into_iter().map(thread::ScopedJoinHandle::join).all(|w| w.is_ok());
        over.store(true, Ordering::SeqCst);
        assert!(written && readers.into_iter().all(|reader| reader.join().is_ok()));
    });
}

/// Many writers of the same keys, with removals and clears. Afterwards, every read returns the value
/// of the far store.
fn both_stores_agree_after_concurrent_writes() {
    for round in 0..20_i64 {
        let far = slow_far();
        let cache = Cache::tiered(Cache::memory(), far.clone());
        let scope: MapScope<i64, i64> = cache.map("m").unwrap();
        let work = |thread: i64| {
            for step in 0..60_i64 {
                let key = (step * 7 + thread * 3 + round) % KEYS as i64;
                match (step + thread) % 9 {
                    0 => done(scope.pop(key)),
                    1 => done(scope.fetch_many(0..KEYS as i64)),
                    2 => done(scope.set_many([(key, &step), ((key + 1) % KEYS as i64, &step)])),
                    3 if step % 20 == 0 => scope.clear().unwrap(),
                    4 | 5 => done(scope.fetch(key)),
                    _ => scope.set(key, &(thread * 1000 + step)).unwrap(),
                }
            }
        };
        thread::scope(|threads| {
            let threads: Vec<_> = (0..6).map(|n| threads.spawn(move || work(n))).collect();
            assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
        });
        let truth: HashMap<i64, i64> =
            far.map::<i64, i64>("m").unwrap().iter().unwrap().map(Result::unwrap).collect();
        for key in 0..KEYS as i64 {
            assert_eq!(scope.fetch(key).unwrap(), truth.get(&key).copied(), "round {round}");
        }
    }
}
