//! Computations that processes share: eight processes of eight threads compute each of fifty keys
//! once. If a process is killed while it computes, another one takes over.
//!
//! There is a test for each store that processes can share, ignored if its server is not running. The
//! holder of a lease is killed three times, or as many times as `HILCAT_KILLS` says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, MapScope, SingleFlight};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

const PROCESSES: usize = 8;
const THREADS: usize = 8;
const KEYS: i64 = 50;
const LEASE: Duration = Duration::from_secs(1);
/// The environment variable with the job of a child process.
const JOB: &str = "HILCAT_TEST_SHARED_FLIGHT";

/// The stores: the scheme of a file, or the environment variable with the URI of a server.
const STORES: [(&str, &str); 10] = [
    ("sqlite", "sqlite"),
    ("sqlite+kv", "sqlite+kv"),
    ("files", "file"),
    ("redis", "HILCAT_TEST_REDIS"),
    ("redis-cluster", "HILCAT_TEST_REDIS_CLUSTER"),
    ("postgresql15", "HILCAT_TEST_POSTGRESQL15"),
    ("pgbouncer", "HILCAT_TEST_PGBOUNCER"),
    ("mysql8", "HILCAT_TEST_MYSQL8"),
    ("mariadb", "HILCAT_TEST_MARIADB"),
    ("elasticsearch8", "HILCAT_TEST_ELASTICSEARCH8"),
];

fn main() -> ExitCode {
    if let Ok(job) = std::env::var(JOB) {
        work(&job);
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // The processes of one test use the whole machine, and the time of a takeover is measured.
    arguments.test_threads = Some(1);
    let of_once = |(name, uri): (&str, &'static str)| {
        Trial::ignorable_test(format!("{name}::each_key_is_computed_once"), || with(uri, once))
    };
    let of_kills = |(name, uri): (&str, &'static str)| {
        Trial::ignorable_test(format!("{name}::another_process_takes_over"), || with(uri, killed))
    };
    let trials = STORES.into_iter().flat_map(|store| [of_once(store), of_kills(store)]);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs a test on a store, if it is available.
fn with(uri: &str, test: fn(&str, &str)) -> Result<Completion, Failed> {
    let directory = tempfile::tempdir().unwrap();
    let uri = match uri.starts_with("HILCAT") {
        true => match std::env::var(uri) {
            Ok(uri) => uri,
            Err(_) => return Ok(Completion::ignored_with(format!("{uri} is not set"))),
        },
        false => format!("{uri}:///{}", directory.path().join("records").display()),
    };
    let scope = format!("t{:016x}", RandomState::new().hash_one(std::process::id()));
    test(&uri, &scope);
    open(&uri, &scope).clear().unwrap();
    Ok(Completion::Completed)
}

fn open(uri: &str, scope: &str) -> MapScope<i64, i64> {
    let builder = Cache::builder(uri).timeout(Duration::from_secs(30));
    let cache = builder.single_flight(SingleFlight::Shared { lease: LEASE }).open().unwrap();
    cache.map(scope).unwrap()
}

/// Starts a child process, which begins when a line is written to it.
fn start(what: &str, uri: &str, scope: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(JOB, [what, scope, uri].join("\n"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Runs the job of a child process.
fn work(job: &str) {
    let mut words = job.splitn(3, '\n');
    let (what, scope, uri) = (words.next(), words.next().unwrap(), words.next().unwrap());
    let scope = open(uri, scope);
    std::io::stdin().read_line(&mut String::new()).unwrap();
    match what {
        Some("once") => compute_all(&scope),
        _ => drop(scope.get(0, || {
            println!("computes");
            thread::sleep(Duration::from_secs(3_600));
            0
        })),
    }
}

fn compute_all(scope: &MapScope<i64, i64>) {
    thread::scope(|threads| {
        for number in 0..THREADS {
            threads.spawn(move || {
                for at in 0..KEYS {
                    let key = (at + number as i64 * 7) % KEYS;
                    let value = scope.get(key, || {
                        thread::sleep(Duration::from_millis(5));
                        println!("{key}");
                        key * key
                    });
                    assert_eq!(value.unwrap(), key * key);
                }
            });
        }
    });
}

fn once(uri: &str, scope: &str) {
    drop(open(uri, scope));
    let mut children: Vec<Child> = (0..PROCESSES).map(|_| start("once", uri, scope)).collect();
    children.iter_mut().for_each(|child| writeln!(child.stdin.take().unwrap()).unwrap());
    let mut computed: BTreeMap<i64, u32> = BTreeMap::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            *computed.entry(line.parse().unwrap()).or_default() += 1;
        }
    }
    assert_eq!(computed.len(), KEYS as usize);
    let repeated: Vec<_> = computed.iter().filter(|(_, times)| **times != 1).collect();
    assert!(repeated.is_empty(), "computed more than once: {repeated:?}");
}

fn killed(uri: &str, scope: &str) {
    let kills = std::env::var("HILCAT_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let records = open(uri, scope);
    let mut longest = Duration::ZERO;
    for round in 0..kills {
        records.clear().unwrap();
        let mut holder = start("hold", uri, scope);
        writeln!(holder.stdin.take().unwrap()).unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "computes\n");
        holder.kill().unwrap();
        holder.wait().unwrap();
        let began = Instant::now();
        assert_eq!(records.get(0, || round).unwrap(), round);
        longest = longest.max(began.elapsed());
    }
    println!("{kills} holders were killed; the longest take-over took {longest:?}");
    assert!(longest < LEASE + Duration::from_secs(1), "{longest:?}");
}
