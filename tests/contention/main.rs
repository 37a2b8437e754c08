//! Eight processes of four threads each read, compute, replace and remove a few records: no
//! acknowledged write is lost.
//!
//! There is a test for each store that processes can share, ignored if its server is not running. It
//! takes two seconds, or as many as `HILCAT_CONTENTION_SECONDS` says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

mod account;
mod worker;

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::account::Account;
use crate::worker::Event;

const PROCESSES: usize = 8;

/// The stores: the scheme of a file, or the environment variable with the URI of a server.
const STORES: [(&str, &str); 10] = [
    ("sqlite", "sqlite"),
    ("sqlite+kv", "sqlite+kv"),
    ("files", "file"),
    ("redis", "HILCAT_TEST_REDIS"),
    ("redis-cluster", "HILCAT_TEST_REDIS_CLUSTER"),
    ("postgresql15", "HILCAT_TEST_POSTGRESQL15"),
    ("postgresql18", "HILCAT_TEST_POSTGRESQL18"),
    ("mysql8", "HILCAT_TEST_MYSQL8"),
    ("mariadb", "HILCAT_TEST_MARIADB"),
    ("elasticsearch8", "HILCAT_TEST_ELASTICSEARCH8"),
];

fn main() -> ExitCode {
    if let Some(job) = worker::Job::from_env() {
        job.run();
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // The processes of one test use the whole machine.
    arguments.test_threads = Some(1);
    let trial = |(name, uri): (&'static str, &'static str)| {
        Trial::ignorable_test(format!("{name}::no_acknowledged_write_is_lost"), move || {
            run(name, uri)
        })
    };
    let mut trials: Vec<Trial> = STORES.map(trial).into();
    trials.push(Trial::test("account::notices_faults", || {
        account::notices_faults();
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run(name: &str, uri: &str) -> Result<Completion, Failed> {
    let directory = tempfile::tempdir().unwrap();
    let uri = match uri.starts_with("HILCAT") {
        true => match std::env::var(uri) {
            Ok(uri) => uri,
            Err(_) => return Ok(Completion::ignored_with(format!("{uri} is not set"))),
        },
        false => format!("{uri}:///{}", directory.path().join("records").display()),
    };
    let scope = format!("t{:016x}", RandomState::new().hash_one(std::process::id()));
    let records = worker::open(&uri, &scope);
    let children: Vec<Child> = (0..PROCESSES).map(|number| start(&uri, &scope, number)).collect();
    let mut account = Account::default();
    for events in thread::scope(|threads| {
        let children: Vec<_> =
            children.into_iter().map(|child| threads.spawn(|| events_of(child))).collect();
        children.into_iter().map(|child| child.join().unwrap()).collect::<Vec<_>>()
    }) {
        events.into_iter().for_each(|event| account.add(event));
    }
    let report = account.close(|key| worker::value_of(records.fetch(key).unwrap()));
    println!("{name}: {report:?}");
    records.clear().unwrap();
    report.check();
    Ok(Completion::Completed)
}

fn start(uri: &str, scope: &str, number: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    worker::Job::give(&mut command, uri, scope, number);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Lets a process begin, and returns its events.
fn events_of(mut child: Child) -> Vec<Event> {
    writeln!(child.stdin.take().unwrap(), "begin").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(Event::parse).collect()
}
