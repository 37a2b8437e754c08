//! The handles for async code on each store: under several runtimes, with many futures, and with
//! futures that are dropped. A test for each store, ignored where its server is not running.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

mod batches;
mod cancelled;
mod many;
mod runtimes;

#[path = "../proxy/mod.rs"]
mod proxy;

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;

use hilcat::{AsyncCache, Cache};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tempfile::TempDir;

/// The stores: a URI, a scheme of files, or the variable that has the URI of a server.
const STORES: [(&str, &str); 12] = [
    ("memory", "memory:"),
    ("sqlite-memory", "sqlite::memory:"),
    ("sqlite", "sqlite"),
    ("sqlite-kv", "sqlite+kv"),
    ("files", "file"),
    ("redis", "HILCAT_TEST_REDIS"),
    ("postgresql15", "HILCAT_TEST_POSTGRESQL15"),
    ("postgresql18", "HILCAT_TEST_POSTGRESQL18"),
    ("pgbouncer", "HILCAT_TEST_PGBOUNCER"),
    ("mysql8", "HILCAT_TEST_MYSQL8"),
    ("mariadb", "HILCAT_TEST_MARIADB"),
    ("elasticsearch8", "HILCAT_TEST_ELASTICSEARCH8"),
];

/// A store with a scope of its own for one test.
struct Place {
    uri: String,
    scope: String,
    _directory: TempDir,
}

type Test = (&'static str, fn(&Place));

/// Names the functions of a list of tests.
macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn(&crate::Place))),*] };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They count threads, and measure the delays of a runtime.
    arguments.test_threads = Some(1);
    let lists: [&[Test]; 4] = [runtimes::TESTS, many::TESTS, cancelled::TESTS, batches::TESTS];
    let on = |(store, uri): (&'static str, &'static str)| {
        lists.into_iter().flatten().map(move |&(name, test)| {
            Trial::ignorable_test(format!("{store}::{name}"), move || run(uri, test))
        })
    };
    libtest_mimic::run(&arguments, STORES.into_iter().flat_map(on).collect()).exit_code()
}

fn run(uri: &str, test: fn(&Place)) -> Result<Completion, Failed> {
    let directory = tempfile::tempdir()?;
    let uri = if uri.starts_with("HILCAT") {
        match std::env::var(uri) {
            Ok(uri) => uri,
            Err(_) => return Ok(Completion::ignored_with(format!("{uri} is not set"))),
        }
    } else if uri.contains(':') {
        uri.to_owned()
    } else {
        format!("{uri}:///{}", directory.path().join("records").display())
    };
    let scope = format!("t{:016x}", RandomState::new().hash_one(std::process::id()));
    let place = Place { uri, scope, _directory: directory };
    test(&place);
    if !place.uri.ends_with("memory:") {
        Cache::from_uri(&place.uri)?.map::<i64, i64>(&place.scope)?.clear()?;
    }
    Ok(Completion::Completed)
}

impl Place {
    fn cache(&self) -> AsyncCache {
        Cache::from_uri(&self.uri).unwrap().into_async()
    }

    /// Whether calls wait for something outside of the process.
    fn blocks(&self) -> bool {
        !self.uri.ends_with("memory:")
    }
}
