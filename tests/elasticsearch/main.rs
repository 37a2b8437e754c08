//! Tests of the Elasticsearch backend: indices and documents, connections, and outages. Each test
//! runs on each server; without one, it is reported as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

mod batches;
mod connect;
mod documents;
mod foreign;
mod freshness;
#[path = "../conformance/indices.rs"]
mod indices;
mod limits;
mod mappings;
mod outages;
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::support::Server;

/// The name and the function of a test.
type Test = (&'static str, fn(&Server));

/// The servers, and the environment variables with their URIs.
const SERVERS: [(&str, &str); 3] = [
    ("elasticsearch8", "HILCAT_TEST_ELASTICSEARCH8"),
    ("elasticsearch9", "HILCAT_TEST_ELASTICSEARCH9"),
    ("elasticsearch-secured", "HILCAT_TEST_ELASTICSEARCH_SECURED"),
];

fn main() -> ExitCode {
    let lists = [
        ("batches", batches::TESTS),
        ("connect", connect::TESTS),
        ("documents", documents::TESTS),
        ("foreign", foreign::TESTS),
        ("freshness", freshness::TESTS),
        ("limits", limits::TESTS),
        ("mappings", mappings::TESTS),
    ];
    let on = |server: usize| {
        lists
            .into_iter()
            .flat_map(move |(list, tests)| tests.iter().map(move |test| trial(list, server, *test)))
    };
    let mut trials: Vec<Trial> = on(0).chain(on(1)).collect();
    trials.extend(connect::TESTS.iter().map(|test| trial("connect", 2, *test)));
    trials.extend(connect::SECURED.iter().map(|test| trial("connect", 2, *test)));
    let arguments = Arguments::from_args();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // These tests stop the server, so they run after all others.
    let last = outages::TESTS.iter().map(|test| trial("outages", 0, *test)).collect();
    let alone = Arguments { test_threads: Some(1), ..arguments };
    let last = libtest_mimic::run(&alone, last);
    match conclusion.has_failed() || last.has_failed() {
        true => ExitCode::from(101),
        false => ExitCode::SUCCESS,
    }
}

fn trial(list: &str, server: usize, (name, run): Test) -> Trial {
    let (engine, variable) = SERVERS[server];
    Trial::ignorable_test(format!("{engine}::{list}::{name}"), move || {
        match Server::open(engine, variable) {
            Ok(server) => {
                run(&server);
                Ok(Completion::Completed)
            }
            Err(reason) => Ok(Completion::ignored_with(reason)),
        }
    })
}
