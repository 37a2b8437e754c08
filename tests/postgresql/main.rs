//! Tests of the PostgreSQL backend: connections, tables, poolers and outages. A test whose server is
//! not available is reported as ignored, with the reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod adopt;
mod concurrent;
mod connect;
mod foreign;
mod idle;
mod keys;
mod layout;
#[path = "../servers/load.rs"]
mod load;
mod outages;
mod pooler;
mod processes;
mod round_trips;
#[path = "../servers/stopped.rs"]
mod stopped;
mod support;
mod values;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::support::Server;

/// The name and the function of a test.
type Test = (&'static str, fn(&Server));

fn main() -> ExitCode {
    if let Some(code) = processes::child().or_else(pooler::child) {
        return code;
    }
    let lists = [
        ("adopt", adopt::TESTS),
        ("connect", connect::TESTS),
        ("foreign", foreign::TESTS),
        ("idle", idle::TESTS),
        ("keys", keys::TESTS),
        ("layout", layout::TESTS),
        ("processes", processes::TESTS),
        ("concurrent", concurrent::TESTS),
        ("round_trips", round_trips::TESTS),
        ("values", values::TESTS),
    ];
    // These tests check the connection to the server itself.
    let behind_a_pooler = |list: &str| !matches!(list, "connect" | "idle" | "round_trips");
    let on = |engine: &'static str| {
        let lists = lists
            .into_iter()
            .filter(move |(list, _)| engine.starts_with("postgresql") || behind_a_pooler(list));
        lists.flat_map(move |(list, tests)| {
            tests
                .iter()
                .map(move |&(name, run)| trial(format!("{engine}::{list}::{name}"), engine, run))
        })
    };
    let mut trials: Vec<Trial> = on("postgresql15").chain(on("postgresql18")).collect();
    for engine in ["pgbouncer", "pgbouncer_session"] {
        let pooled = pooler::TESTS.iter();
        trials.extend(on(engine).chain(
            pooled.map(|&(name, run)| trial(format!("{engine}::pooler::{name}"), engine, run)),
        ));
    }
    for (list, engine, (name, run)) in pooler::OTHERS.iter().copied() {
        trials.push(trial(format!("{engine}::{list}::{name}"), engine, run));
    }
    trials.extend(
        connect::ENCRYPTED.iter().map(|&(name, run)| {
            trial(format!("postgresql18::connect::{name}"), "postgresql18", run)
        }),
    );
    let arguments = Arguments::from_args();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // These tests stop the server, so they run after all others.
    let last = outages::TESTS
        .iter()
        .map(|&(name, run)| trial(format!("postgresql15::outages::{name}"), "postgresql15", run));
    let alone = Arguments { test_threads: Some(1), ..arguments };
    let last = libtest_mimic::run(&alone, last.collect());
    match conclusion.has_failed() || last.has_failed() {
        true => ExitCode::from(101),
        false => ExitCode::SUCCESS,
    }
}

fn trial(name: String, engine: &'static str, run: fn(&Server)) -> Trial {
    Trial::ignorable_test(name, move || match Server::open(engine) {
        Ok(server) => {
            run(&server);
            Ok(Completion::Completed)
        }
        Err(reason) => Ok(Completion::ignored_with(reason)),
    })
}
