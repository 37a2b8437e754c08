//! Typed Diesel queries on the rows of a cache, and cache calls in Diesel transactions.
//!
//! Each engine has a file, which defines its connections and databases and includes the suite as a
//! module. Without a server its cases are ignored.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]
#![allow(clippy::duplicate_mod, reason = "each engine has the suite with its own types")]

#[allow(dead_code, unreachable_pub, reason = "an example is a program")]
#[path = "../../examples/diesel_queries.rs"]
mod diesel_queries;
#[allow(dead_code, unreachable_pub, reason = "an example is a program")]
#[path = "../../examples/diesel_transaction.rs"]
mod diesel_transaction;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgresql")]
mod postgresql;
mod records;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

/// The error of a transaction: that of Diesel, of hilcat or of the test.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A test on a database of its own.
type Case<G> = (&'static str, fn(&G));

/// Builds a list of cases with their names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), $name as fn(&TestContext))),*] };
}
use cases;

fn main() -> ExitCode {
    let mut trials = Vec::new();
    #[cfg(feature = "sqlite")]
    add(&mut trials, "sqlite", sqlite::cases(), || Ok(sqlite::TestContext::new()));
    #[cfg(feature = "postgresql")]
    for (name, variable) in
        [("postgresql15", "HILCAT_TEST_POSTGRESQL15"), ("postgresql18", "HILCAT_TEST_POSTGRESQL18")]
    {
        let context = move || Ok(postgresql::TestContext::new(&uri(variable)?));
        add(&mut trials, name, postgresql::cases(), context);
    }
    #[cfg(feature = "mysql")]
    for (name, variable) in [("mysql8", "HILCAT_TEST_MYSQL8"), ("mariadb", "HILCAT_TEST_MARIADB")] {
        add(&mut trials, name, mysql::cases(), move || {
            Ok(mysql::TestContext::new(&uri(variable)?))
        });
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn add<G: 'static>(
    trials: &mut Vec<Trial>,
    engine: &str,
    cases: Vec<Case<G>>,
    context: impl Fn() -> Result<G, String> + Clone + Send + 'static,
) {
    trials.extend(cases.into_iter().map(|(name, run)| {
        let context = context.clone();
        Trial::ignorable_test(format!("{engine}::{name}"), move || match context() {
            Err(reason) => Ok(Completion::ignored_with(reason)),
            Ok(context) => {
                run(&context);
                Ok(Completion::Completed)
            }
        })
    }));
}

#[cfg(any(feature = "postgresql", feature = "mysql"))]
fn uri(variable: &str) -> Result<String, String> {
    std::env::var(variable).map_err(|_| format!("{variable} is not set"))
}

/// Returns a name that no other test uses.
#[cfg(any(feature = "postgresql", feature = "mysql"))]
fn name() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("dsl{:016x}", RandomState::new().hash_one(std::process::id()))
}
