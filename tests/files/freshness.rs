//! The expiry index, bounds, and leases.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hilcat::testing::ManualClock;
use hilcat::{Cache, Column, ColumnType, DynScope, ErrorKind, Schema, SingleFlight};
use serde_json::json;

use crate::killed::start;
use crate::names;

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn schema() -> Schema {
    Schema::new("s")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("n", ColumnType::BigInt))
}

fn uri(root: &Path) -> String {
    format!("file:{}?synchronous=off", root.display())
}

fn open(root: &Path, clock: &ManualClock, schema: Schema) -> DynScope {
    let cache = Cache::builder(uri(root)).clock(clock.clone()).open().unwrap();
    cache.dynamic_with(schema).unwrap()
}

fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + SECOND * 1_800_000_000)
}

#[test]
fn rewritten_records_are_not_purged() {
    let root = tempfile::tempdir().unwrap();
    let clock = clock();
    let scope = open(root.path(), &clock, schema().ttl(SECOND * 60));
    scope.set_many((0..300).map(|n| (format!("k{n}"), json!({"n": n})))).unwrap();
    clock.advance(SECOND * 30);
    scope.set("k0", json!({"n": 1})).unwrap();
    assert!(scope.touch("k1").unwrap());
    scope.update("k2", json!({"n": 1})).unwrap();
    assert_eq!(scope.purge().unwrap(), 0);
    clock.advance(SECOND * 31);
    assert_eq!(scope.purge().unwrap(), 297);
    assert_eq!(names(root.path()), ["s/k0.json", "s/k1.json", "s/k2.json"]);
    assert_eq!(scope.purge().unwrap(), 0);
    clock.advance(SECOND * 60);
    assert_eq!(scope.purge().unwrap(), 3);
    assert_eq!(names(root.path()), [] as [&str; 0]);
}

#[test]
fn a_lost_index_is_rebuilt() {
    let root = tempfile::tempdir().unwrap();
    let clock = clock();
    let scope = open(root.path(), &clock, schema().ttl(SECOND * 60));
    scope.set_many((0..100).map(|n| (format!("a/k{n}"), json!({"n": n})))).unwrap();
    assert_eq!(scope.purge().unwrap(), 0);
    // As after a crash of the system: entries are lost, and the boot id has changed.
    let index = root.path().join(".hilcat/s/expiry");
    for file in fs::read_dir(&index).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    fs::write(index.join("boot"), "another run").unwrap();
    clock.advance(SECOND * 61);
    let scope = open(root.path(), &clock, schema().ttl(SECOND * 60));
    assert_eq!(scope.purge().unwrap(), 100);
    assert_eq!(names(root.path()), [] as [&str; 0]);
}

/// The job of a child process.
pub(crate) fn write_until_killed(uri: &str) {
    let scope = Cache::from_uri(uri).unwrap().dynamic_with(schema().ttl(SECOND * 60)).unwrap();
    for round in 0.. {
        if round == 10 {
            println!("\ndone 0");
        }
        scope.set(format!("one{}", round % 50), json!({"n": round})).unwrap();
        let batch = (0..20).map(|n| (format!("k{}", (round * 7 + n) % 200), json!({"n": n})));
        scope.set_many(batch).unwrap();
        if round % 16 == 0 {
            scope.pop(format!("one{}", round % 7)).unwrap();
        }
    }
}

#[test]
fn the_index_is_complete_after_a_writer_is_killed() {
    let root = tempfile::tempdir().unwrap();
    for round in 0..12 {
        let (mut child, mut lines) = start("expiring", &uri(root.path()));
        lines
            .find(|line| line.as_ref().is_ok_and(|line| line.starts_with("done")))
            .unwrap()
            .unwrap();
        thread::sleep(Duration::from_millis(5 + 17 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let later = ManualClock::new(SystemTime::now() + SECOND * 120);
    let scope = open(root.path(), &later, schema().ttl(SECOND * 60));
    let all = names(root.path()).len();
    assert!(all > 50, "{all}");
    assert_eq!(scope.purge().unwrap() as usize, all);
    assert_eq!(names(root.path()), [] as [&str; 0]);
}

#[test]
fn a_bound_removes_the_records_that_expire_first() {
    let root = tempfile::tempdir().unwrap();
    let clock = clock();
    let scope = open(root.path(), &clock, schema().ttl(SECOND * 3_600).max_records(200));
    for n in 0..1_000 {
        clock.advance(SECOND);
        scope.set(format!("k{n}"), json!({"n": n})).unwrap();
        if n % 50 == 0 {
            let stored = names(root.path()).len();
            assert!(stored <= 300, "{stored} after {n}");
        }
    }
    let left = names(root.path()).len();
    assert!((150..=300).contains(&left), "{left}");
    assert!(scope.exists("k999").unwrap() && scope.exists("k900").unwrap());
    assert!(!scope.exists("k0").unwrap() && !scope.exists("k600").unwrap());
}

#[test]
fn bare_values_have_no_expiry() {
    let root = tempfile::tempdir().unwrap();
    let open = |options: &str| {
        Cache::from_uri(&format!("file:{}?{options}", root.path().join(options).display())).unwrap()
    };
    for options in ["format=text", "layout=plain"] {
        let text = Schema::new("s")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("v", ColumnType::Text));
        let error = open(options).dynamic_with(text.ttl(SECOND)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{options}");
        assert!(error.to_string().contains("`ttl`"), "{error}");
    }
    let until = schema().column(Column::new("until", ColumnType::Timestamp).nullable(true));
    let scope = open("layout=plain").dynamic_with(until.expires_at("until")).unwrap();
    scope.set("a", json!({"n": 1, "until": "2001-01-01T00:00:00Z"})).unwrap();
    scope.set("b", json!({"n": 1, "until": null})).unwrap();
    assert_eq!((scope.fetch("a").unwrap(), scope.len().unwrap()), (None, 1));
    assert_eq!(scope.purge().unwrap(), 1);
}

fn shared() -> Schema {
    schema().single_flight(SingleFlight::Shared { lease: SECOND })
}

/// The job of a child process.
pub(crate) fn compute_until_killed(uri: &str) {
    let scope = Cache::from_uri(uri).unwrap().dynamic_with(shared()).unwrap();
    scope
        .get("a", || {
            println!("\ndone 0");
            thread::sleep(SECOND * 60);
            json!({"n": 0})
        })
        .unwrap();
}

#[test]
fn the_lease_of_a_dead_holder_is_taken_over() {
    let root = tempfile::tempdir().unwrap();
    let (mut child, mut lines) = start("holding", &uri(root.path()));
    lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("done"))).unwrap().unwrap();
    let scope = Cache::from_uri(&uri(root.path())).unwrap().dynamic_with(shared()).unwrap();
    assert_eq!(fs::read_dir(root.path().join(".hilcat/s/leases")).unwrap().count(), 1);
    // The lease is renewed while its holder is alive.
    thread::sleep(SECOND * 3 / 2);
    let (killed, computed) = thread::scope(|threads| {
        let waiting = threads.spawn(|| scope.get("a", || json!({"n": 1})).map(|_| Instant::now()));
        thread::sleep(SECOND / 5);
        assert!(!waiting.is_finished());
        let killed = Instant::now();
        child.kill().unwrap();
        child.wait().unwrap();
        (killed, waiting.join().unwrap().unwrap())
    });
    assert!(computed - killed < SECOND * 4, "{:?}", computed - killed);
    assert_eq!(scope.fetch("a").unwrap().unwrap()["n"], json!(1));
    assert_eq!(fs::read_dir(root.path().join(".hilcat/s/leases")).unwrap().count(), 0);
}
