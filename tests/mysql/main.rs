//! Tests of the MySQL and MariaDB backend. Each test runs on both servers, and is ignored if the
//! server is not available.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of a test are its own")]

mod connect;
mod fault_injection;
mod galera;
mod hostile;
mod idle;
mod interrupted;
mod limits;
#[path = "../servers/load.rs"]
mod load;
mod lower_case_names;
#[path = "../proxy/mod.rs"]
mod proxy;
mod redefine;
mod server;
mod tables;

fn main() -> std::process::ExitCode {
    use libtest_mimic::{Arguments, Completion, Trial};

    if let Ok(job) = std::env::var(interrupted::JOB) {
        interrupted::work(&job);
        return std::process::ExitCode::SUCCESS;
    }
    if let Ok(job) = std::env::var(galera::JOB) {
        galera::work(&job);
        return std::process::ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // The tests stop and kill the servers, so they run one at a time.
    arguments.test_threads = Some(1);
    let cases = [
        connect::CASES,
        hostile::CASES,
        idle::CASES,
        tables::CASES,
        redefine::CASES,
        limits::CASES,
        interrupted::CASES,
        fault_injection::CASES,
    ];
    let mut trials = Vec::new();
    for (name, run) in cases.concat() {
        for (engine, variable) in server::ENGINES {
            // These tests start their own servers.
            if engine == "mariadb" && hostile::CASES.iter().any(|(case, _)| *case == name) {
                continue;
            }
            trials.push(Trial::ignorable_test(format!("{engine}::{name}"), move || {
                match server::Server::of(engine, variable) {
                    Ok(server) => run(&server),
                    Err(reason) => Ok(Completion::ignored_with(reason)),
                }
            }));
        }
    }
    let mut of_one = |cases: &[server::Case], (engine, variable): (&'static str, &'static str)| {
        for &(name, run) in cases {
            trials.push(Trial::ignorable_test(format!("{engine}::{name}"), move || {
                match server::Server::of(engine, variable) {
                    Ok(server) => run(&server),
                    Err(reason) => Ok(Completion::ignored_with(reason)),
                }
            }));
        }
    };
    of_one(lower_case_names::CASES, server::LOWER);
    of_one(galera::CASES, galera::NODES[0]);
    libtest_mimic::run(&arguments, trials).exit_code()
}
