//! Servers that are stopped, die and restart.

use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, DynScope};
use serde_json::json;

use crate::Test;
use crate::stopped;
use crate::support::{SECOND, Server, numbers, services, until};

pub(crate) const TESTS: &[Test] = &[
    ("every_call_ends_while_the_server_is_stopped", every_call_ends_while_the_server_is_stopped),
    ("idempotent_calls_survive_a_restart", idempotent_calls_survive_a_restart),
    ("no_acknowledged_write_is_lost_in_a_crash", no_acknowledged_write_is_lost),
];

pub(crate) const TIMEOUT: Duration = Duration::from_millis(1000);

fn open(server: &Server) -> DynScope {
    let cache = Cache::from_uri(&server.with("timeout=1s&pool_size=4")).unwrap();
    cache.dynamic_with(numbers()).unwrap()
}

fn every_call_ends_while_the_server_is_stopped(server: &Server) {
    stopped::every_call_ends(|| open(server), TIMEOUT, |command| services(command, server.engine));
}

fn idempotent_calls_survive_a_restart(server: &Server) {
    stopped::idempotent_calls_survive_a_restart(&open(server), |command| {
        services(command, server.engine)
    });
}

/// Writes in several threads until the time is over. Returns the acknowledged keys and the number
/// of failed calls. No call may exceed its deadline by more than a tenth.
pub(crate) fn write_for(
    a: &DynScope,
    time: Duration,
    timeout: Duration,
    then: impl FnOnce(),
) -> (Vec<String>, usize) {
    let write = |writer: usize| {
        move || {
            let (mut acknowledged, mut failed, start) = (Vec::new(), 0, Instant::now());
            for n in 0.. {
                if start.elapsed() > time {
                    break;
                }
                let (key, before) = (format!("{writer}-{n}"), Instant::now());
                match a.set(key.as_str(), json!({"n": n})) {
                    Ok(()) => acknowledged.push(key),
                    Err(error) => {
                        assert!(error.is_retryable(), "{error}");
                        failed += 1;
                    }
                }
                assert!(before.elapsed() <= timeout * 11 / 10, "{:?}", before.elapsed());
            }
            (acknowledged, failed)
        }
    };
    thread::scope(|threads| {
        let writers: Vec<_> = (0..4).map(|writer| threads.spawn(write(writer))).collect();
        thread::sleep(SECOND / 2);
        then();
        let done = writers.into_iter().map(|writer| writer.join().unwrap());
        done.fold((Vec::new(), 0), |(mut all, failed), (keys, more)| {
            all.extend(keys);
            (all, failed + more)
        })
    })
}

/// Returns how many of these keys have no record.
pub(crate) fn missing(a: &DynScope, keys: &[String]) -> usize {
    let pages = keys.chunks(5_000).map(|keys| a.fetch_many(keys).unwrap());
    pages.flatten().filter(Option::is_none).count()
}

fn no_acknowledged_write_is_lost(server: &Server) {
    let a = open(server);
    let (acknowledged, failed) = write_for(&a, SECOND * 3, TIMEOUT, || {
        services("kill", server.engine);
        services("start", server.engine);
    });
    until(SECOND * 5, || a.len().is_ok());
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    assert_eq!(missing(&a, &acknowledged), 0);
    a.clear().unwrap();
    eprintln!("{} writes were acknowledged and {failed} failed", acknowledged.len());
}
