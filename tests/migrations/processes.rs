//! Several processes: this test program, run again with a job.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hilcat::{Column, ColumnType, Schema};
use serde_json::json;

use crate::kill;
use crate::support::{File, int, null, scope, text};

/// The environment of a child process: the job, the URI of the database and a number.
const JOB: &str = "HILCAT_TEST_JOB";

/// Starts this program as a child that does one job.
pub(crate) fn start(job: &str, file: &File, number: u128) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::child", "--nocapture", "--test-threads=1"])
        .env(JOB, format!("{job} {number} {}", file.uri()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test: runs the job of a child process, if there is one.
#[test]
fn child() {
    let Ok(task) = std::env::var(JOB) else { return };
    let mut words = task.splitn(3, ' ');
    let (job, number) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
    let uri = words.next().unwrap();
    match job {
        "open" => open(uri, number),
        "write" => write(uri),
        "batch" => write_batches(uri),
        _ => kill::upgrade(job, uri, number),
    }
}

/// Opens the newest version of a scope at the given time, and stores a record.
fn open(uri: &str, at: u128) {
    while now() < at {
        std::hint::spin_loop();
    }
    let cache = hilcat::Cache::from_uri(uri).unwrap();
    let scope = cache.dynamic_with(newest()).unwrap();
    scope.set(format!("p{}", std::process::id()), json!({"n": 1})).unwrap();
    assert!(cache.plan(&newest()).unwrap().is_empty());
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

fn newest() -> Schema {
    scope([Column::new("n", ColumnType::BigInt), null(int("m")), text("d").default_value("x")])
}

/// Eight processes open one file at the same time. All must succeed.
fn eight_at_once(file: &File) {
    let at = now() + 100;
    let children: Vec<Child> = (0..8).map(|_| start("open", file, at)).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn eight_processes_open_a_fresh_file_at_once() {
    for _ in 0..10 {
        let file = File::new();
        eight_at_once(&file);
        assert_eq!(file.query("SELECT count(*) FROM a WHERE id LIKE 'p%'"), ["8"]);
        assert_eq!(file.versions().len(), 2, "{:?}", file.versions());
    }
}

#[test]
fn eight_processes_upgrade_an_old_file_at_once() {
    for _ in 0..5 {
        let file = File::new();
        let old = file.cache().dynamic_with(scope([int("n")])).unwrap();
        old.set_many((0..500).map(|at| (format!("k{at:03}"), json!({"n": at})))).unwrap();
        drop(old);
        eight_at_once(&file);
        assert_eq!(file.query("SELECT count(*) || ' ' || sum(n) FROM a"), ["508 124758"]);
        // Two columns were added, and one was widened in the first of these steps, once.
        assert_eq!(file.versions().len(), 2 + 2, "{:?}", file.versions());
    }
}

/// Stores and acknowledges records one by one, until it is killed.
fn write(uri: &str) {
    let cache = hilcat::Cache::from_uri(uri).unwrap();
    let scope = cache.dynamic_with(scope([int("n")])).unwrap();
    for at in 0.. {
        scope.set(format!("k{at}"), json!({"n": at})).unwrap();
        acknowledge(at);
    }
}

/// Stores batches of records.
fn write_batches(uri: &str) {
    let cache = hilcat::Cache::from_uri(uri).unwrap();
    let scope = cache.dynamic_with(scope([int("n")])).unwrap();
    for at in 0.. {
        scope.set_many((0..50).map(|part| (format!("k{at}-{part}"), json!({"n": at})))).unwrap();
        acknowledge(at);
    }
}

fn acknowledge(at: i32) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nstored {at}").unwrap();
    out.flush().unwrap();
}

/// Kills a writing child some time after its first record, and returns how many it acknowledged.
fn killed_after(job: &str, file: &File, delay: Duration) -> i64 {
    let mut child = start(job, file, 0);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (began, begin) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        let mut last = -1;
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("stored ") {
                last = number.parse().unwrap();
                let _ = began.send(());
            }
        }
        last
    });
    begin.recv_timeout(Duration::from_secs(20)).unwrap();
    thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap() + 1
}

/// Returns a delay that differs between rounds and between runs.
fn delay(round: u64) -> Duration {
    let random = u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_micros());
    Duration::from_micros((random * (round * 7 + 1)) % 60_000)
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    for round in 0..8 {
        let file = File::new();
        let acknowledged = killed_after("write", &file, delay(round));
        assert_eq!(file.query("SELECT integrity_check FROM pragma_integrity_check"), ["ok"]);
        let scope = file.cache().dynamic_with(scope([int("n")])).unwrap();
        for at in 0..acknowledged {
            let found = scope.fetch(format!("k{at}")).unwrap();
            assert_eq!(found, Some(json!({"id": format!("k{at}"), "n": at})), "of {acknowledged}");
        }
        // At most one more batch, which was in flight, is stored.
        let stored = i64::try_from(scope.len().unwrap()).unwrap();
        assert!((acknowledged..=acknowledged + 1).contains(&stored), "{stored} of {acknowledged}");
    }
}

#[test]
fn a_batch_is_complete_or_absent_after_a_kill() {
    for round in 0..6 {
        let file = File::new();
        let acknowledged = killed_after("batch", &file, delay(round));
        let scope = file.cache().dynamic_with(scope([int("n")])).unwrap();
        let stored = i64::try_from(scope.len().unwrap()).unwrap();
        assert_eq!(stored % 50, 0);
        assert!((acknowledged..=acknowledged + 1).contains(&(stored / 50)), "{stored}");
    }
}
