//! The example `axum` as a program, called over HTTP.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the example is a module here")]

#[path = "../examples/axum.rs"]
mod example;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};

use reqwest::Method;
use reqwest::blocking::Client;

/// If set, the process is the example.
const AS_EXAMPLE: &str = "HILCAT_TEST_AS_EXAMPLE";

fn main() -> ExitCode {
    if std::env::var_os(AS_EXAMPLE).is_some() {
        example::main().unwrap();
        return ExitCode::SUCCESS;
    }
    let tests: [(&str, fn()); 2] = [
        ("a_service_answers_from_the_cache", a_service_answers_from_the_cache),
        ("requests_share_one_computation", requests_share_one_computation),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.map(trial).into()).exit_code()
}

/// The service, which ends with the test.
struct Service {
    program: Child,
    address: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }
}

impl Service {
    fn start(uri: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(AS_EXAMPLE, "1").env("HILCAT_CACHE", uri).env("PORT", "0");
        command.stdout(Stdio::piped());
        let mut program = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap().to_owned();
        Self { program, address }
    }

    fn call(&self, method: Method, path: &str) -> (u16, String) {
        let request = Client::new().request(method, format!("{}{path}", self.address));
        let response = request.timeout(Duration::from_secs(20)).send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.call(Method::GET, path)
    }
}

fn a_service_answers_from_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("sqlite:///{}", directory.path().join("planets.db").display());
    let service = Service::start(&uri);
    assert_eq!(service.get("/health"), (200, "ok\n".to_owned()));

    let earth = (200, r#"{"name":"earth","radius_km":6371}"#.to_owned());
    let began = Instant::now();
    assert_eq!(service.get("/planets/earth"), earth);
    assert!(began.elapsed() >= Duration::from_millis(200), "it was looked up");
    assert_eq!(service.get("/planets/earth"), earth);
    assert_eq!(service.get("/planets/pluto").0, 404);

    // The record is a row, which other programs see.
    let cache = hilcat::Cache::builder(&uri).adopt_tables().open().unwrap();
    let stored = cache.dynamic("planets").unwrap().fetch("earth").unwrap().unwrap();
    assert_eq!(stored["radius_km"], 6_371);

    assert_eq!(service.call(Method::DELETE, "/planets/earth").0, 204);
    assert_eq!(service.get("/planets/earth"), earth);
}

/// Thirty requests at once: the record is looked up once, so that none takes much longer.
fn requests_share_one_computation() {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("sqlite:///{}", directory.path().join("planets.db").display());
    let service = Service::start(&uri);
    std::thread::scope(|threads| {
        let requests = [(); 30].map(|()| threads.spawn(|| service.get("/planets/mars")));
        for request in requests {
            assert_eq!(request.join().unwrap().0, 200);
        }
    });
}
