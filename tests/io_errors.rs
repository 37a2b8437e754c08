//! Failing disks: no call reports that nothing was changed if the next process finds the change.
//!
//! A child process makes one call under `strace`, which lets one of its calls of `fsync`,
//! `fdatasync` or `syncfs` fail with EIO. If `strace` cannot run, the tests are reported as ignored.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

use std::process::{Command, ExitCode};

use hilcat::{Cache, Column, ColumnType, DynScope, ErrorKind, Result, Schema};
use libtest_mimic::{Arguments, Completion, Trial};
use serde_json::json;

const JOB: &str = "HILCAT_IO_ERRORS_JOB";

/// More records than hilcat flushes one by one.
const MANY: usize = 40;

const STORES: [&str; 3] = ["sqlite", "sqlite+kv", "file"];

/// The calls, and the value of the records after each, or `None`.
type Call = (&'static str, fn(&DynScope) -> Result<()>, Option<&'static str>);

const CALLS: [Call; 5] = [
    ("set", |scope| scope.set("k0", json!({"v": "new"})), Some("new")),
    ("update", |scope| scope.update("k0", json!({"v": "new"})).map(drop), Some("new")),
    ("pop", |scope| scope.pop("k0").map(drop), None),
    ("set_many", |scope| scope.set_many(all("new")).map(drop), Some("new")),
    ("pop_many", |scope| scope.pop_many(all("").map(|(key, _)| key)).map(drop), None),
];

fn all(value: &str) -> impl Iterator<Item = (String, serde_json::Value)> {
    (0..MANY).map(move |at| (format!("k{at}"), json!({"v": value})))
}

fn open(uri: &str) -> Result<DynScope> {
    let schema = Schema::new("records")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("v", ColumnType::Text));
    Cache::from_uri(uri)?.dynamic_with(schema)
}

fn main() -> ExitCode {
    if let Ok(job) = std::env::var(JOB) {
        work(&job);
        return ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    for store in STORES {
        for call in &CALLS {
            let name = format!("{store}::{}_says_what_is_not_known", call.0);
            trials.push(Trial::ignorable_test(name, move || match can_trace() {
                true => {
                    fails(store, call);
                    Ok(Completion::Completed)
                }
                false => Ok(Completion::ignored_with("strace cannot run here")),
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    traced.is_ok_and(|output| output.status.success())
}

/// Makes one call and prints its outcome.
fn work(job: &str) {
    let (name, uri) = job.split_once(' ').unwrap();
    let (_, call, _) = CALLS.iter().find(|call| call.0 == name).unwrap();
    let ended = match open(uri).and_then(|scope| call(&scope)) {
        Ok(()) => "done".to_owned(),
        Err(error) if error.kind() == ErrorKind::Unavailable => {
            assert!(error.to_string().contains("not known"), "{error}");
            "unknown".to_owned()
        }
        Err(error) => format!("not done: {error}"),
    };
    println!("{ended}");
}

/// Lets the first flush of each kind fail, then the second, until there are no more.
fn fails(store: &str, call: &Call) {
    let kinds = ["fsync", "fdatasync", "syncfs"];
    let unknown: usize = kinds.iter().map(|kind| each_fails(kind, store, call)).sum();
    assert!(unknown > 0, "no failure left the outcome open");
}

/// Returns for how many failures the outcome was not known.
fn each_fails(kind: &str, store: &str, (name, _, new): &Call) -> usize {
    let mut unknown = 0;
    for nth in 1..200 {
        let directory = tempfile::tempdir().unwrap();
        let uri = format!("{store}:///{}", directory.path().join("records").display());
        open(&uri).unwrap().set_many(all("old")).unwrap();
        let ended = under_strace(&format!("{name} {uri}"), kind, nth);
        // Opening the scope completes an interrupted batch before the records are read.
        let scope = open(&uri).unwrap();
        scope.set("other", json!({"v": "other"})).unwrap();
        let stored = scope.fetch("k0").unwrap();
        let stored = stored.as_ref().map(|record| record["v"].as_str().unwrap());
        match ended.as_str() {
            "done" => {
                assert_eq!(stored, *new, "{kind} {nth}");
                break;
            }
            "unknown" => {
                unknown += 1;
                assert!([Some("old"), *new].contains(&stored), "{stored:?}");
            }
            not_done => assert_eq!(stored, Some("old"), "{kind} {nth}: {not_done}"),
        }
    }
    unknown
}

/// Runs a child in which the n-th call of a kind fails.
fn under_strace(job: &str, kind: &str, nth: usize) -> String {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args(["-e", &format!("trace={kind}")])
        .args(["-e", &format!("inject={kind}:error=EIO:when={nth}")])
        .arg(std::env::current_exe().unwrap())
        .env(JOB, job)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
