#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use diesel::sqlite::Sqlite;
use diesel::{Connection, SqliteConnection};

use super::*;

fn in_memory() -> Result<SqliteConnection> {
    SqliteConnection::establish(":memory:")
        .map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))
}

#[test]
fn a_pool_schedules_no_jobs() {
    let single: Pool<Sqlite> = open_single(in_memory).unwrap();
    let many: Pool<Sqlite> = open(3, in_memory).unwrap();
    for (pool, size) in [(&single.pool, 1), (&many.pool, 3)] {
        assert_eq!((pool.idle_timeout(), pool.max_lifetime()), (None, None));
        assert_eq!(pool.max_size(), size);
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_failed_connection_is_not_reused_untested() {
    let pool: Pool<Sqlite> = open(1, in_memory).unwrap();
    let idle = |pool: &Pool<Sqlite>| pool.idle.lock().connections.len();
    assert_eq!(pool.run(SECOND, false, |_, _| Err::<(), _>("failed")).unwrap(), Err("failed"));
    assert_eq!(idle(&pool), 0);
    assert_eq!(pool.run(SECOND, false, |_, _| Ok::<_, ()>(7)).unwrap(), Ok(7));
    assert_eq!(idle(&pool), 1);
}

#[test]
fn concurrent_callers_share_at_most_the_allowed_connections() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let pool: Pool<Sqlite> = open(3, in_memory).unwrap();
    let (in_use, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let done = pool.run(SECOND * 20, false, |_, _| {
            most.fetch_max(in_use.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            in_use.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, ()>(())
        });
        assert!(done.unwrap().is_ok());
    };
    std::thread::scope(|threads| {
        for _ in 0..16 {
            threads.spawn(|| (0..500).for_each(|_| work()));
        }
    });
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(pool.idle.lock().waiting, 0);
}

#[test]
fn a_caller_waits_until_its_deadline() {
    let pool: Pool<Sqlite> = open(1, in_memory).unwrap();
    let inner = pool.run(SECOND, false, |_, _| {
        Ok::<_, ()>(pool.run(SECOND / 50, false, |_, _| Ok::<_, ()>(())))
    });
    let error = inner.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}
