//! The example `from_python` prints the documented output on every backend.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../examples/from_python.rs"]
mod example;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// If set, the process runs the example itself, whose cache is global to its process.
const AS_EXAMPLE: &str = "HILCAT_TEST_AS_EXAMPLE";

/// The backends that need no server, each with its URI in a directory of its own.
const EMBEDDED: &[(&str, &str)] = &[
    ("memory", "memory:"),
    #[cfg(unix)]
    ("files", "file:///DIRECTORY/files"),
    ("sqlite", "sqlite:///DIRECTORY/t.db"),
    ("sqlite-kv", "sqlite+kv:///DIRECTORY/kv.db"),
];

/// The servers, each with the environment variable of its URI.
const SERVERS: &[(&str, &str)] = &[
    #[cfg(feature = "postgresql")]
    ("postgresql", "HILCAT_TEST_POSTGRESQL15"),
    #[cfg(feature = "mysql")]
    ("mysql", "HILCAT_TEST_MYSQL8"),
    #[cfg(feature = "mysql")]
    ("mariadb", "HILCAT_TEST_MARIADB"),
    #[cfg(feature = "redis")]
    ("redis", "HILCAT_TEST_REDIS"),
    #[cfg(feature = "elasticsearch")]
    ("elasticsearch", "HILCAT_TEST_ELASTICSEARCH8"),
];

fn main() -> ExitCode {
    if std::env::var_os(AS_EXAMPLE).is_some() {
        example::main().unwrap();
        return ExitCode::SUCCESS;
    }
    let embedded = EMBEDDED.iter().map(|&(name, uri)| {
        Trial::test(name, || {
            let directory = tempfile::tempdir().unwrap();
            prints_the_documented_output(&uri.replace("DIRECTORY", directory.path().to_str().unwrap()))
        })
    });
    let servers = SERVERS.iter().map(|&(name, variable)| {
        Trial::ignorable_test(name, move || match std::env::var(variable) {
            Ok(uri) => prints_the_documented_output(&uri).map(|()| Completion::Completed),
            Err(_) => Ok(Completion::ignored_with(format!("{variable} is not set"))),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), embedded.chain(servers).collect()).exit_code()
}

fn prints_the_documented_output(uri: &str) -> Result<(), Failed> {
    let mut example = Command::new(std::env::current_exe()?);
    let output = example.env(AS_EXAMPLE, "1").env("HILCAT_CACHE", uri).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let document = include_str!("../docs/guide/src/coming-from-python.md");
    let documented = document.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(String::from_utf8(output.stdout)?, documented);
    Ok(())
}
