//! A server that is stopped, killed and started again.

use std::time::{Duration, Instant};

use hilcat::{Cache, DynScope, ErrorKind};
use libtest_mimic::{Completion, Failed};
use serde_json::json;

use crate::server::{Case, PASSED, Server, cases, name, texts};

pub const CASES: &[Case] =
    cases![calls_end_while_the_server_is_stopped, a_killed_server_loses_no_acknowledged_write,];

const TIMEOUT: Duration = Duration::from_secs(1);

fn open(server: &Server) -> hilcat::Result<(Cache, DynScope)> {
    let cache = Cache::from_uri(&server.with("timeout=1s"))?;
    let scope = cache.dynamic_with(texts(&name()))?;
    scope.set("a", json!({"v": "1"}))?;
    Ok((cache, scope))
}

/// Calls until the deadline of each, and a tenth of it.
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
    if let Err(reason) = server.torment("pause") {
        return Ok(Completion::ignored_with(reason));
    }
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| calls(&scope)));
    server.torment("resume")?;
    tried.unwrap();
    // It goes on without being opened again.
    let start = Instant::now();
    while scope.set("a", json!({"v": "3"})).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(scope.fetch("a")?, Some(json!({"id": "a", "v": "3"})));
    drop(cache);
    PASSED
}

fn a_killed_server_loses_no_acknowledged_write(server: &Server) -> Result<Completion, Failed> {
    let (cache, scope) = open(server)?;
    let writer = scope.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let load = std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for n in 0_u32.. {
            if stopped.try_recv().is_ok() {
                break;
            }
            let start = Instant::now();
            if writer.set(format!("k{n}"), json!({"v": n.to_string()})).is_ok() {
                acknowledged.push(n);
            }
            assert!(start.elapsed() < TIMEOUT.mul_f64(1.1), "{:?}", start.elapsed());
        }
        acknowledged
    });
    std::thread::sleep(Duration::from_millis(300));
    let killed = server.torment("kill");
    std::thread::sleep(Duration::from_millis(300));
    let started = killed.clone().and_then(|()| server.torment("start"));
    std::thread::sleep(Duration::from_millis(1_500));
    stop.send(()).unwrap();
    let acknowledged = load.join().unwrap();
    if let Err(reason) = killed {
        return Ok(Completion::ignored_with(reason));
    }
    started?;
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let last = acknowledged.last().unwrap();
    assert!(acknowledged.windows(2).any(|pair| pair[1] > pair[0] + 1), "no call failed");
    assert!(scope.fetch(format!("k{last}"))?.is_some());
    for keys in acknowledged.chunks(500) {
        let found = scope.fetch_many(keys.iter().map(|n| format!("k{n}")))?;
        assert!(found.iter().all(Option::is_some));
    }
    drop(cache);
    PASSED
}
