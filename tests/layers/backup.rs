//! A backup in the middle of which the process is killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, MapScope};

use crate::backends::{Backend, unique};
use crate::{BackendTest, tests};

pub const TESTS: &[BackendTest] = tests![a_killed_backup_leaves_the_old_scope_or_the_new_one];

/// What a child is told: the URI of the storage and the prefix.
const JOB: &str = "HILCAT_TEST_BACKUP";

/// How many records generation `n` has: another number each time, and other keys.
fn keys(generation: i64) -> impl Iterator<Item = i64> {
    (0..300 + generation % 7 * 40).map(move |at| at + generation % 5 * 100)
}

fn scope(cache: &Cache) -> MapScope<i64, i64> {
    cache.map("s").unwrap()
}

fn storage(uri: &str, prefix: &str) -> Cache {
    Cache::from_uri(uri).unwrap().prefix(prefix)
}

/// The work of a child: it backs up one generation after the other until it is killed. Says
/// whether this process is one.
pub fn child() -> bool {
    let Ok(job) = std::env::var(JOB) else { return false };
    let (prefix, uri) = job.split_once(' ').unwrap();
    let cache = Cache::staged(Cache::memory(), storage(uri, prefix));
    cache.load(None).unwrap();
    let work = scope(&cache);
    let last = work.iter().unwrap().map(|item| item.unwrap().1).max().unwrap_or(0);
    println!("ready");
    for generation in last + 1.. {
        work.clear().unwrap();
        work.set_many(keys(generation).map(|key| (key, &generation))).unwrap();
        cache.backup(None).unwrap();
    }
    true
}

fn start(uri: &str, prefix: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(JOB, format!("{prefix} {uri}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    child
}

/// Kills a child at moments that are spread over several backups; after each of them the storage
/// holds one generation, whole, and none older than before.
fn a_killed_backup_leaves_the_old_scope_or_the_new_one(backend: &Backend) {
    if !backend.persistent {
        return;
    }
    let ((uri, _directory), prefix) = ((backend.uri)().unwrap(), unique());
    let took = time_of_a_backup(&uri, &prefix);
    let (mut last, mut stepped) = (0, 0);
    for kill in 0..backend.kills {
        let mut child = start(&uri, &prefix);
        // A number without a pattern between no time and that of three backups.
        let moment = took * 3 * u32::try_from(kill * 7919 % 1000).unwrap() / 1000;
        thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        let generation = generation_of(&storage(&uri, &prefix));
        assert!(generation >= last, "{generation} after {last}");
        stepped += usize::from(generation > last);
        last = generation;
    }
    assert!(stepped > backend.kills / 4, "{stepped} of {} made a step", backend.kills);
    scope(&storage(&uri, &prefix)).clear().unwrap();
}

fn time_of_a_backup(uri: &str, prefix: &str) -> Duration {
    let mut child = start(uri, prefix);
    let begun = Instant::now();
    while generation_of(&storage(uri, prefix)) < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not get on");
        thread::sleep(Duration::from_millis(2));
    }
    let took = begun.elapsed() / 3;
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

/// The one generation that a storage holds. A staged cache reads it as of one moment.
fn generation_of(storage: &Cache) -> i64 {
    let cache = Cache::staged(Cache::memory(), storage.clone());
    cache.load(None).unwrap();
    let mut found: Vec<(i64, i64)> = scope(&cache).iter().unwrap().map(Result::unwrap).collect();
    found.sort_unstable();
    let Some(&(_, generation)) = found.first() else { return 0 };
    let whole: Vec<(i64, i64)> = keys(generation).map(|key| (key, generation)).collect();
    assert!(found == whole, "it is not whole: {} of {} records", found.len(), whole.len());
    generation
}
