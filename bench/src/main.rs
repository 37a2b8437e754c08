//! Measures hilcat and its peers, and prints a table of ratios.
//!
//! ```text
//! cargo run --release -p hilcat-bench             everything
//! cargo run --release -p hilcat-bench -- sqlite   the named engines
//! cargo run --release -p hilcat-bench -- --cpu    by the CPU time of the thread, not elapsed time
//! ```
//!
//! The servers are those of `HILCAT_BENCH_POSTGRESQL`, `HILCAT_BENCH_MYSQL` and
//! `HILCAT_BENCH_MARIADB`, or else of `HILCAT_TEST_POSTGRESQL15`, `HILCAT_TEST_MYSQL8` and
//! `HILCAT_TEST_MARIADB`, which `scripts/services env` prints. A server without a URI is skipped.
//!
//! A ratio is hilcat's time divided by the peer's: the median of rounds that both ran alternately.
//! An engine is one file and one line of [`ENGINES`].
#![allow(unreachable_pub, reason = "nothing outside of a program sees what is in it")]
#![allow(clippy::unwrap_used, reason = "a measurement that fails is none")]

mod files;
mod freshness;
mod functions;
mod harness;
mod memory;
mod mysql;
mod postgresql;
mod record;
mod redis;
mod report;
mod server;
mod sqlite;
mod tasks;

use std::process::ExitCode;

use harness::{CLOCK, Clock, Outcome};
use record::Data;
use report::{HEAD, Line};

/// Runs the races of an engine, and passes each line on as soon as it is measured.
type Engine = fn(&Data, &mut dyn FnMut(Line)) -> Outcome;

const ENGINES: &[(&str, Engine)] = &[
    ("sqlite", sqlite::run),
    ("memory", memory::run),
    ("functions", functions::run),
    ("files", files::run),
    ("postgresql", postgresql::run),
    ("mysql", mysql::run),
    ("mariadb", mysql::run_mariadb),
    ("redis", redis::run),
    ("freshness", freshness::run),
    ("purge", freshness::purge),
    ("churn", freshness::churn),
];

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hilcat-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Outcome {
    let (flags, wanted): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    if let Some(unknown) = flags.iter().find(|flag| flag.as_str() != "--cpu") {
        return Err(format!("unknown flag `{unknown}`; the only one is `--cpu`").into());
    }
    let clock = CLOCK.get_or_init(|| if flags.is_empty() { Clock::Wall } else { Clock::Cpu });
    let known = || ENGINES.iter().map(|(name, _)| *name);
    if let Some(unknown) = wanted.iter().find(|name| !known().any(|known| known == name.as_str())) {
        let known = known().collect::<Vec<_>>().join(", ");
        return Err(format!("unknown engine `{unknown}`; the engines are {known}").into());
    }
    let data = Data::new();
    println!("Medians of the rounds, by {}.\n\n{HEAD}", clock.name());
    for (name, engine) in ENGINES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            engine(&data, &mut |line| println!("{line}"))?;
        }
    }
    Ok(())
}
