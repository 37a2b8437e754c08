//! Writers that are killed, as seen by other processes.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hilcat::{Cache, Column, ColumnType, DynScope, Schema};
use serde_json::{Value as Json, json};

/// The variables that pass the job and the URI of the directory to a child process.
const JOB: [&str; 2] = ["HILCAT_CHILD_JOB", "HILCAT_CHILD_URI"];
/// The number of records of a batch.
const BATCH: usize = 400;

/// Not a test, but the entry point of child processes. Without a job it does nothing.
#[test]
fn child() {
    let Ok(job) = std::env::var(JOB[0]) else { return };
    let uri = std::env::var(JOB[1]).unwrap();
    match job.as_str() {
        "expiring" => return crate::freshness::write_until_killed(&uri),
        "holding" => return crate::freshness::compute_until_killed(&uri),
        _ => {}
    }
    let scope = scope(&uri);
    match job.as_str() {
        "one by one" => one_by_one(&scope),
        "batches" => batches(&scope),
        other => panic!("no job `{other}`"),
    }
}

pub(crate) fn start(job: &str, uri: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::child", "--nocapture", "--test-threads=1"])
        .envs([(JOB[0], job), (JOB[1], uri)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// Returns the numbers that a child acknowledges until it ends.
fn acknowledged(lines: Lines<BufReader<ChildStdout>>) -> impl Iterator<Item = u64> {
    let number = |line: String| line.strip_prefix("done ").and_then(|n| n.parse().ok());
    lines.map_while(Result::ok).filter_map(number)
}

fn scope(uri: &str) -> DynScope {
    let schema = Schema::new("s")
        .unique(Column::new("id", ColumnType::Int))
        .column(Column::new("round", ColumnType::BigInt))
        .column(Column::new("text", ColumnType::Text));
    Cache::from_uri(uri).unwrap().dynamic_with(schema).unwrap()
}

/// A text of several pages, so that a write takes some time.
fn record(id: u64, round: u64) -> Json {
    json!({"round": round, "text": format!("{id} in {round};").repeat(400)})
}

fn is_complete(value: &Json) -> bool {
    let number = |name: &str| value[name].as_u64().unwrap();
    value["text"] == record(number("id"), number("round"))["text"]
}

/// Writes 10,000 files in turn.
fn one_by_one(scope: &DynScope) {
    for count in 0.. {
        let (id, round) = (count % 10_000, count / 10_000);
        scope.set(id, record(id, round)).unwrap();
        println!("done {count}");
    }
}

fn batches(scope: &DynScope) {
    for round in 1.. {
        scope.set_many((0..BATCH as u64).map(|id| (id, record(id, round)))).unwrap();
        println!("done {round}");
    }
}

/// Checks that every file of the scope is complete, and returns their number.
fn count_complete_files(directory: &Path) -> usize {
    let files = std::fs::read_dir(directory.join("s")).unwrap();
    let mut count = 0;
    for file in files {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let value: Json = serde_json::from_slice(&bytes).expect("an incomplete file");
        assert!(is_complete(&value));
        count += 1;
    }
    count
}

fn killed_one_by_one(options: &str, after: u64) {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("file://{}?{options}", directory.path().display());
    let reader = scope(&uri);
    let (mut child, lines) = start("one by one", &uri);
    let stop = AtomicBool::new(false);
    let last = thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                count_complete_files(directory.path());
                reader.iter().unwrap().for_each(|value| assert!(is_complete(&value.unwrap())));
                thread::sleep(Duration::from_millis(100));
            }
        });
        let mut last = 0;
        for number in acknowledged(lines) {
            last = number;
            if number == after {
                child.kill().unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        last
    });
    child.wait().unwrap();
    assert!(last >= after);
    let scope = scope(&uri);
    for id in 0..=last.min(9_999) {
        let value = scope.fetch(id).unwrap().expect("an acknowledged record is lost");
        // The write after the last acknowledged one may have been done.
        let newest = (0..=last + 1).rev().find(|count| count % 10_000 == id).unwrap() / 10_000;
        let round = value["round"].as_u64().unwrap();
        assert!(is_complete(&value) && round + 1 >= newest.max(1) && round <= newest);
    }
    count_complete_files(directory.path());
    scope.set(0, record(0, 77)).unwrap();
    assert_eq!(scope.fetch(0).unwrap().unwrap()["round"], 77);
}

#[test]
fn killed_while_writing_files() {
    killed_one_by_one("synchronous=full", 1_500);
}

#[test]
fn killed_while_writing_files_without_flushing() {
    killed_one_by_one("synchronous=off", 5_000);
}

/// A batch is written completely or not at all, whenever the writer dies.
#[test]
fn killed_while_writing_a_batch() {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("file://{}?synchronous=off", directory.path().display());
    let mut last = 0;
    for kill in 0..12 {
        let (mut child, lines) = start("batches", &uri);
        let mut lines = acknowledged(lines);
        // A batch takes a few hundred milliseconds; the writer is killed at moments spread over
        // that time.
        let first = lines.next();
        thread::sleep(Duration::from_millis(kill * 13));
        child.kill().unwrap();
        last = lines.last().or(first).unwrap_or(last);
        child.wait().unwrap();
        let scope = scope(&uri);
        assert_eq!(scope.len().unwrap(), BATCH as u64);
        let mut rounds: Vec<u64> = scope
            .iter()
            .unwrap()
            .map(|value| {
                let value = value.unwrap();
                assert!(is_complete(&value));
                value["round"].as_u64().unwrap()
            })
            .collect();
        rounds.dedup();
        assert!(rounds == [last] || rounds == [last + 1], "{rounds:?} after {last}");
        count_complete_files(directory.path());
    }
}

/// Another process holds the lock of the scope.
#[test]
fn writers_wait_until_their_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("file://{}?timeout=1s", directory.path().display());
    let scope = scope(&uri);
    scope.set(1, record(1, 1)).unwrap();
    let lock = std::fs::File::open(directory.path().join(".hilcat/s/lock")).unwrap();
    lock.lock().unwrap();
    let begin = std::time::Instant::now();
    let error = scope.set(1, record(1, 2)).unwrap_err();
    assert_eq!(error.kind(), hilcat::ErrorKind::Timeout, "{error}");
    assert!(begin.elapsed() < Duration::from_millis(1_100), "{:?}", begin.elapsed());
    assert_eq!(scope.fetch(1).unwrap().unwrap()["round"], 1, "readers do not wait for the lock");
    lock.unlock().unwrap();
    scope.set(1, record(1, 2)).unwrap();
}
