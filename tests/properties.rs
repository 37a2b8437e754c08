//! Random sequences of operations on each backend, compared with a model.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

#[path = "conformance/backends.rs"]
#[allow(dead_code, reason = "the conformance suite uses more of it")]
mod backends;
#[cfg(feature = "elasticsearch")]
#[path = "conformance/indices.rs"]
#[allow(dead_code, reason = "the tests of Elasticsearch use more of it")]
mod indices;
#[cfg(feature = "sql")]
#[path = "conformance/one_table.rs"]
mod one_table;
#[path = "conformance/storage.rs"]
mod storage;

use std::process::ExitCode;

use hilcat_conformance::check_against_model;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::backends::{Backend, Durability};

fn main() -> ExitCode {
    let storing = backends::all().filter(|backend| backend.durability != Durability::Nothing);
    let trial = |backend: &'static Backend| {
        Trial::ignorable_test(format!("{}::as_the_model", backend.name), move || run(backend))
    };
    libtest_mimic::run(&Arguments::from_args(), storing.map(trial).collect()).exit_code()
}

fn run(backend: &Backend) -> Result<Completion, Failed> {
    if let Err(reason) = (backend.storage)() {
        return Ok(Completion::ignored_with(reason));
    }
    // Fewer sequences if a storage is slow: indices take long to create, a Redis takes long to list all keys, and layers call
    // several stores.
    let slow = ["elasticsearch", "redis", ":"].iter().any(|part| backend.name.contains(part));
    check_against_model(if slow { 20 } else { 60 }, || (backend.storage)().unwrap())?;
    Ok(Completion::Completed)
}
