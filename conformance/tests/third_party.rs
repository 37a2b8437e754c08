//! The backend of `examples/third_party_backend.rs` passes the suite, as a crate of its own would test it.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../../examples/third_party_backend.rs"]
#[allow(dead_code, unreachable_pub, reason = "the example is a program")]
mod third_party_backend;

use std::process::ExitCode;

use hilcat::Cache;
use hilcat_conformance::{Storage, cases_for, check_against_model};
use libtest_mimic::{Arguments, Trial};

use crate::third_party_backend::registry;

fn storage() -> Storage {
    Storage::new(|clock| {
        Cache::builder("shelf:").registry(&registry()?).clock(clock.clone()).open()
    })
}

fn main() -> ExitCode {
    let cache = Cache::builder("shelf:").registry(&registry().unwrap()).open().unwrap();
    let cases = cases_for(cache.capabilities());
    let mut trials: Vec<Trial> =
        cases.map(|case| Trial::test(case.name(), move || Ok(case.run(storage())?))).collect();
    trials.push(Trial::test("model", || Ok(check_against_model(60, storage)?)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
