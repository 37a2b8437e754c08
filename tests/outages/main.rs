//! A cache while its server is stopped, not yet reachable, or busy. A test whose server is not
//! available is reported as ignored, with the reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod busy;
mod lazy;
mod server;
mod stopped;
mod unreachable;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::server::{ENGINES, Server};

/// The name and the function of a test.
type Test = (&'static str, fn(&Server));

/// Builds a list of functions with their names.
macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn(&crate::server::Server))),*] };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The tests stop servers that other tests use, so they run one at a time.
    arguments.test_threads = Some(1);
    let mut trials = unreachable::trials();
    for engine in ENGINES {
        let lists: [(&str, &[Test]); 3] =
            [("stopped", stopped::TESTS), ("lazy", lazy::TESTS), ("busy", busy::TESTS)];
        for (list, tests) in lists {
            let on_engine = tests.iter().map(|&(name, run)| {
                Trial::ignorable_test(
                    format!("{engine}::{list}::{name}"),
                    move || match Server::of(engine) {
                        Ok(server) => {
                            run(&server);
                            Ok(Completion::Completed)
                        }
                        Err(reason) => Ok(Completion::ignored_with(reason)),
                    },
                )
            });
            trials.extend(on_engine);
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.has_failed() { ExitCode::from(101) } else { ExitCode::SUCCESS }
}
