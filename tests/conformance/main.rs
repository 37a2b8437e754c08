//! The conformance suite on each backend of hilcat: each case runs as `backend::case`.
//!
//! The backends are rows of a list in `backends.rs`; the cases are those of `hilcat-conformance`. A case whose server is
//! missing shows as ignored with the reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

mod backends;
#[cfg(feature = "elasticsearch")]
mod indices;
#[cfg(feature = "sql")]
mod one_table;
mod storage;

use std::process::ExitCode;

use hilcat_conformance::Case;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::backends::Backend;

const THREADS: usize = 4;

fn main() -> ExitCode {
    let trials = |backend: &'static Backend| backend.cases().map(move |case| trial(backend, case));
    let mut trials: Vec<Trial> = backends::all().flat_map(trials).collect();
    trials.push(Trial::test("list::every_scheme_is_in_it", || {
        backends::assert_every_scheme_is_listed();
        Ok(())
    }));
    let mut arguments = Arguments::from_args();
    // Most of the time of a case on a server is that of the server.
    arguments.test_threads.get_or_insert(THREADS);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(backend: &'static Backend, case: &'static Case) -> Trial {
    Trial::ignorable_test(format!("{}::{}", backend.name, case.name()), move || run(backend, case))
}

fn run(backend: &Backend, case: &Case) -> Result<Completion, Failed> {
    match (backend.storage)() {
        Ok(storage) => case.run(storage)?,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    }
    Ok(Completion::Completed)
}
