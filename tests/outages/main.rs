//! What a cache does while its server is stopped, is not there yet, or is busy. A test whose server
//! is not there shows as ignored with the reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod busy;
mod lazy;
mod server;
mod stopped;
mod unreachable;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::server::{ENGINES, Server};

/// A test: its name, and what it does on a server.
type Test = (&'static str, fn(&Server));

/// Names the functions of a list of tests.
macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn(&crate::server::Server))),*] };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They stop the servers under one another.
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
