//! A dropped cache releases its memory.

#![cfg(all(feature = "sqlite", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use hilcat::Cache;

/// Returns the resident memory of the process in bytes.
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4_096
}

fn open_and_drop(times: usize) {
    for _ in 0..times {
        Cache::from_uri("sqlite::memory:").unwrap().scopes().unwrap();
    }
}

#[test]
fn caches_that_are_opened_and_dropped_leave_no_memory() {
    open_and_drop(500);
    let before = resident();
    open_and_drop(4_000);
    let grown = resident() - before;
    // A scheduled job left behind by each pool took some 4 MB.
    assert!(grown < 1 << 20, "{grown} bytes");
}
