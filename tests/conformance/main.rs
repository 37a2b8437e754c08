//! One suite over every backend: each case runs on each of them, as `backend::case`.
//!
//! The backends are rows of a list in `backends.rs`, the cases are functions listed in `cases/`. A
//! case whose server is not there shows as ignored with the reason. That the suite notices what it is there for is shown by stores that
//! are faulty on purpose (`faulty.rs`): each must fail it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

mod backends;
mod cases;
mod context;
mod faulty;
#[cfg(feature = "elasticsearch")]
mod indices;
#[cfg(feature = "sql")]
mod one_table;
mod records;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::backends::{Backend, Durability};
use crate::cases::Case;
use crate::context::TestContext;

fn main() -> ExitCode {
    let of = |backend: &'static Backend| {
        cases::asked_of(backend.keeps).map(move |case| trial(backend, case))
    };
    let mut trials: Vec<Trial> = backends::all().chain([&faulty::FAULTLESS]).flat_map(of).collect();
    trials.push(Trial::test("list::every_scheme_is_in_it", || {
        backends::every_scheme_is_listed();
        Ok(())
    }));
    trials.extend(faulty::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(backend: &'static Backend, case: &'static Case) -> Trial {
    Trial::ignorable_test(format!("{}::{}", backend.name, case.name), move || run(backend, case))
}

fn run(backend: &Backend, case: &Case) -> Result<Completion, Failed> {
    let place = match (backend.place)() {
        Ok(place) => place,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let context = TestContext::open(place)?;
    let able = context.cache.capabilities();
    assert_eq!(able.stores, backend.keeps != Durability::Nothing);
    assert_eq!(able.persistent, backend.keeps == Durability::ForGood);
    (case.run)(context)?;
    Ok(Completion::Completed)
}
