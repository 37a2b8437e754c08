//! A server that is stopped, killed and restarted.

use std::time::{Duration, Instant};

use hilcat::{Cache, DynScope, ErrorKind};
use libtest_mimic::{Completion, Failed};
use serde_json::json;

use crate::load::{self, DEADLINE, FAULTS, Fault, survives};
use crate::server::{Case, PASSED, Server, cases, name, texts};

pub const CASES: &[Case] = cases![
    calls_end_while_the_server_is_stopped,
    no_write_is_lost_when_the_server_is_killed,
    no_write_is_lost_when_the_server_is_stopped,
    no_write_is_lost_when_the_server_is_restarted,
];

const TIMEOUT: Duration = Duration::from_secs(2);

fn open(server: &Server) -> hilcat::Result<(Cache, DynScope)> {
    let cache = Cache::from_uri(&server.with("timeout=2s"))?;
    let scope = cache.dynamic_with(texts(&name()))?;
    scope.set("a", json!({"v": "1"}))?;
    Ok((cache, scope))
}

/// Checks that each call fails by its deadline, plus a tenth.
fn calls(scope: &DynScope) {
    for call in 0..5 {
        let start = Instant::now();
        let result = match call {
            0 => scope.fetch("a").map(drop),
            1 => scope.set("a", json!({"v": "2"})),
            2 => scope.update("a", json!({"v": "2"})).map(drop),
            3 => scope.fetch_many(["a", "b"]).map(drop),
            _ => scope.keys().map(drop),
        };
        let elapsed = start.elapsed();
        let error = result.unwrap_err();
        assert!(elapsed < TIMEOUT.mul_f64(1.1), "call {call} took {elapsed:?}: {error}");
        let kinds = [ErrorKind::Unavailable, ErrorKind::Timeout];
        assert!(kinds.contains(&error.kind()) && error.is_retryable(), "{error}");
    }
}

fn calls_end_while_the_server_is_stopped(server: &Server) -> Result<Completion, Failed> {
    let (cache, scope) = open(server)?;
    if let Err(reason) = server.fault_injection("pause") {
        return Ok(Completion::ignored_with(reason));
    }
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| calls(&scope)));
    server.fault_injection("resume")?;
    tried.unwrap();
    // The scope works again without being reopened.
    let start = Instant::now();
    while scope.set("a", json!({"v": "3"})).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(scope.fetch("a")?, Some(json!({"id": "a", "v": "3"})));
    drop(cache);
    PASSED
}

fn no_write_is_lost_when_the_server_is_killed(server: &Server) -> Result<Completion, Failed> {
    under_load(server, FAULTS[0])
}

fn no_write_is_lost_when_the_server_is_stopped(server: &Server) -> Result<Completion, Failed> {
    under_load(server, FAULTS[1])
}

fn no_write_is_lost_when_the_server_is_restarted(server: &Server) -> Result<Completion, Failed> {
    under_load(server, FAULTS[2])
}

fn under_load(server: &Server, fault_injection: Fault) -> Result<Completion, Failed> {
    if let Err(reason) = server.fault_injection("resume") {
        return Ok(Completion::ignored_with(reason));
    }
    let (schema, options) =
        (texts(&name()), format!("timeout={}ms&pool_size=8", DEADLINE.as_millis()));
    let reader = server.open().dynamic_with(schema.clone())?;
    let writers = Cache::from_uri(&server.with(&options))?.dynamic_with(schema)?;
    print!("{} {}: ", server.engine, fault_injection.0);
    survives(&writers, &reader, || {
        load::fault_injection(fault_injection, |command| server.fault_injection(command).unwrap())
    });
    PASSED
}
