//! Tables shared with the Python package hilcat 1.4.0. Each side reads what the other writes, while
//! both have the table open.
//!
//! `HILCAT_TEST_PYTHON` is the path of a Python with the package (`scripts/python` installs one);
//! the tests of a server run if its backend is built and its `HILCAT_TEST_*` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

mod adapters;
mod context;
mod numbers;
mod program;
mod single_tables;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::context::{ENGINES, Engine, TestContext};

/// The name and the function of a test, which runs on each engine.
type Case = (&'static str, fn(&TestContext));

fn main() -> ExitCode {
    let built = hilcat::backend::schemes();
    let engines = ENGINES.iter().filter(|engine| built.contains(&engine.scheme));
    let cases = || [adapters::CASES, single_tables::CASES].into_iter().flatten();
    let trials = engines.flat_map(|engine| {
        let own = if engine.name == "sqlite" { numbers::CASES } else { &[] };
        cases().chain(own).map(move |case| trial(engine, case))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn trial(engine: &'static Engine, (name, run): &'static Case) -> Trial {
    Trial::ignorable_test(format!("{}::{name}", engine.name), move || {
        match TestContext::open(engine) {
            Err(reason) => Ok(Completion::ignored_with(reason)),
            Ok(context) => {
                run(&context);
                Ok::<_, Failed>(Completion::Completed)
            }
        }
    })
}
