//! The example `axum` as a program, called over HTTP.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::blocking::Client;

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
    /// Starts the example, which `cargo test` has built beside this test.
    fn start(uri: &str) -> Self {
        let test = std::env::current_exe().unwrap();
        let built = test.parent().and_then(Path::parent).unwrap();
        let mut command = Command::new(built.join("examples/axum"));
        command.env("HILCAT_CACHE", uri).env("PORT", "0").stdout(Stdio::piped());
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

#[test]
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
#[test]
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
