//! A process that is killed during a backup.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, MapScope};

use crate::backends::{Backend, unique};
use crate::{BackendTest, tests};

pub const TESTS: &[BackendTest] = tests![a_killed_backup_leaves_the_old_scope_or_the_new_one];

/// The job of a child process: the URI of the storage and the prefix.
const JOB: &str = "HILCAT_TEST_BACKUP";

/// Returns the keys of a generation, which differ from those of other generations in number too.
fn keys(generation: i64) -> impl Iterator<Item = i64> {
    (0..300 + generation % 7 * 40).map(move |at| at + generation % 5 * 100)
}

fn scope(cache: &Cache) -> MapScope<i64, i64> {
    cache.map("s").unwrap()
}

fn storage(uri: &str, prefix: &str) -> Cache {
    Cache::from_uri(uri).unwrap().prefix(prefix)
}

/// If this process is a child, backs up one generation after another until it is killed. Returns
/// whether it is one.
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

/// Kills a child at moments that are spread over several backups. After each kill, the storage holds
/// one complete generation, which is not older than before.
fn a_killed_backup_leaves_the_old_scope_or_the_new_one(backend: &Backend) {
    if !backend.persistent {
        return;
    }
    let ((uri, _directory), prefix) = ((backend.uri)().unwrap(), unique());
    let took = time_of_a_backup(&uri, &prefix);
    let (mut last, mut stepped) = (0, 0);
    for kill in 0..backend.kills {
        let mut child = start(&uri, &prefix);
        // An irregular moment within the time of three backups.
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
        assert!(begun.elapsed() < Duration::from_secs(60), "the backups make no progress");
        thread::sleep(Duration::from_millis(2));
    }
    let took = begun.elapsed() / 3;
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

/// Returns the generation that the storage holds. A staged cache reads a snapshot of it.
fn generation_of(storage: &Cache) -> i64 {
    let cache = Cache::staged(Cache::memory(), storage.clone());
    cache.load(None).unwrap();
    let mut found: Vec<(i64, i64)> = scope(&cache).iter().unwrap().map(Result::unwrap).collect();
    found.sort_unstable();
    let Some(&(_, generation)) = found.first() else { return 0 };
    let whole: Vec<(i64, i64)> = keys(generation).map(|key| (key, generation)).collect();
    assert!(
        found == whole,
        "the generation is incomplete: {} of {} records",
        found.len(),
        whole.len()
    );
    generation
}
