//! What each layer guarantees beyond the contract of a store, which the conformance suite checks: the
//! order in which the stores are called, and the outcome of failures, of concurrent calls and of a
//! killed process.
//!
//! A test whose server is not available is reported as ignored, with the reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

mod backends;
mod backup;
mod config;
mod fan_out;
mod prefix;
mod single_flight;
mod spy;
mod staged;
mod tiered;
mod tiered_stress;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::backends::{BACKENDS, Backend};

/// A test that needs no server.
type Test = (&'static str, fn());

/// A test that runs on each backend.
type BackendTest = (&'static str, fn(&Backend));

/// Builds a list of functions with their names.
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        &[$((stringify!($test), $test)),*]
    };
}
pub(crate) use tests;

/// Asserts that a call succeeded, and ignores its value.
pub(crate) fn done<T>(result: hilcat::Result<T>) {
    result.unwrap();
}

fn main() -> ExitCode {
    if backup::child() {
        return ExitCode::SUCCESS;
    }
    let lists: [(&str, &[Test]); 7] = [
        ("tiered", tiered::TESTS),
        ("tiered_stress", tiered_stress::TESTS),
        ("staged", staged::TESTS),
        ("fan_out", fan_out::TESTS),
        ("prefix", prefix::TESTS),
        ("config", config::TESTS),
        ("single_flight", single_flight::ALONE),
    ];
    let trial = |list: &str, (name, run): Test| {
        Trial::test(format!("{list}::{name}"), move || {
            run();
            Ok(())
        })
    };
    let alone = lists.iter().flat_map(|(list, tests)| tests.iter().map(|&test| trial(list, test)));
    let mut trials: Vec<Trial> = alone.collect();
    let lists: [(&str, &[BackendTest]); 3] = [
        ("backup", backup::TESTS),
        ("single_flight", single_flight::TESTS),
        ("prefix", prefix::ON_BACKENDS),
    ];
    for backend in BACKENDS {
        for (list, tests) in lists {
            trials.extend(tests.iter().map(|&(name, run)| {
                let name = format!("{}::{list}::{name}", backend.name);
                Trial::ignorable_test(name, move || match (backend.uri)() {
                    Ok(_) => {
                        run(backend);
                        Ok(Completion::Completed)
                    }
                    Err(reason) => Ok(Completion::ignored_with(reason)),
                })
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
