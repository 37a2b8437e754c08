//! Tests of the Redis backend: connections, stored formats, data shared with other programs, and
//! outages. A test whose server is not available is reported as ignored, with the reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod cluster;
mod connect;
mod failover;
mod freshness;
mod hostile;
mod layout;
mod limits;
mod listing;
mod outages;
mod plain;
#[path = "../servers/stopped.rs"]
mod stopped;
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::support::Server;

/// The name and the function of a test.
type Test = (&'static str, fn(&Server));

fn main() -> ExitCode {
    let lists = [
        ("redis", "connect", connect::TESTS),
        ("redis", "freshness", freshness::TESTS),
        ("redis-cluster", "freshness", freshness::CLUSTER),
        ("redis", "hostile", hostile::TESTS),
        ("redis", "layout", layout::TESTS),
        ("redis", "listing", listing::TESTS),
        ("redis", "plain", plain::TESTS),
        ("redis-cluster", "cluster", cluster::TESTS),
        ("redis-secured", "connect", connect::SECURED),
    ];
    let arguments = Arguments::from_args();
    let conclusion = libtest_mimic::run(&arguments, lists.into_iter().flat_map(trials).collect());
    // These tests stop the servers, so they run after all others.
    let last = [
        ("redis", "limits", limits::TESTS),
        ("redis", "outages", outages::TESTS),
        ("redis-cluster", "failover", failover::CLUSTER),
        ("redis-sentinel", "failover", failover::SENTINEL),
    ];
    let alone = Arguments { test_threads: Some(1), ..arguments };
    let last = libtest_mimic::run(&alone, last.into_iter().flat_map(trials).collect());
    match conclusion.has_failed() || last.has_failed() {
        true => ExitCode::from(101),
        false => ExitCode::SUCCESS,
    }
}

fn trials(
    (engine, list, tests): (&'static str, &'static str, &'static [Test]),
) -> impl Iterator<Item = Trial> {
    tests.iter().map(move |&(name, run)| {
        let name = format!("{engine}::{list}::{name}");
        Trial::ignorable_test(name, move || match Server::open(engine) {
            Ok(server) => {
                run(&server);
                Ok(Completion::Completed)
            }
            Err(reason) => Ok(Completion::ignored_with(reason)),
        })
    })
}
