//! Conditional inserts, as documented by the trait `ScopeStore`: a test for each store, ignored if
//! its server is not running.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

mod cases;
mod held;
mod stores;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::stores::{STORES, TestContext};

/// A case, which panics if the store is wrong.
type Case = (&'static str, fn(&TestContext));

/// Builds a list of cases, each named as its function.
macro_rules! list {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), $case)),*] };
}
use list;

fn main() -> ExitCode {
    let trials = STORES.iter().flat_map(|store| {
        let held = if store.lends { held::CASES } else { &[] };
        cases::CASES.iter().chain(held).map(move |&(name, run)| {
            Trial::ignorable_test(format!("{}::{name}", store.name), move || {
                match TestContext::open(store) {
                    Ok(context) => run(&context),
                    Err(reason) => return Ok(Completion::ignored_with(reason)),
                }
                Ok(Completion::Completed)
            })
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
