//! A server that responds, but whose connections or rows are in use.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use hilcat::backend::{MysqlConnection, PostgresConnection};
use hilcat::{Cache, ErrorKind};
use serde_json::json;

use crate::Test;
use crate::server::{Server, name, schema};
use crate::tests;

pub(crate) const TESTS: &[Test] =
    tests![a_busy_pool_does_not_open_the_breaker, locked_rows_do_not_open_the_breaker,];

/// Runs SQL on a connection of the cache, and keeps the connection for some time.
fn keep(server: &Server, cache: &Cache, sql: &str, time: Duration) {
    let kept = match server.engine.starts_with("postgresql") {
        true => cache.diesel(|connection: &mut PostgresConnection| {
            connection.batch_execute(sql)?;
            thread::sleep(time);
            connection.batch_execute("ROLLBACK")
        }),
        false => cache.diesel(|connection: &mut MysqlConnection| {
            connection.batch_execute(sql)?;
            thread::sleep(time);
            connection.batch_execute("ROLLBACK")
        }),
    };
    // A connection that is kept for longer than the timeout may be closed.
    drop(kept);
}

fn quoted(server: &Server, table: &str) -> String {
    match server.engine.starts_with("postgresql") {
        true => format!("\"{table}\""),
        false => format!("`{table}`"),
    }
}

fn a_busy_pool_does_not_open_the_breaker(server: &Server) {
    if !server.is_sql() {
        return;
    }
    let cache = server.open("timeout=2s&pool_size=1");
    let a = cache.dynamic_with(schema(&name())).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    thread::scope(|threads| {
        threads.spawn(|| keep(server, &cache, "SELECT 1", Duration::from_secs(3)));
        thread::sleep(Duration::from_millis(300));
        let fetches: Vec<_> = (0..12).map(|_| threads.spawn(|| a.fetch("x").err())).collect();
        let errors: Vec<_> =
            fetches.into_iter().filter_map(|fetch| fetch.join().unwrap()).collect();
        assert_eq!(errors.len(), 12);
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        }
        assert!(!a.len().is_err_and(|error| error.message().contains("circuit breaker")));
    });
    assert_eq!(a.fetch("x").unwrap().unwrap()["n"], 1);
    a.clear().unwrap();
}

fn locked_rows_do_not_open_the_breaker(server: &Server) {
    if !server.is_sql() {
        return;
    }
    let name = name();
    let cache = server.open("timeout=3s");
    let a = cache.dynamic_with(schema(&name)).unwrap();
    a.set_many([("x", json!({"n": 1})), ("y", json!({"n": 2}))]).unwrap();
    let other = server.open("timeout=20s");
    let lock = format!("BEGIN; UPDATE {} SET n = 5 WHERE id = 'x'", quoted(server, &name));
    thread::scope(|threads| {
        threads.spawn(|| keep(server, &other, &lock, Duration::from_secs(5)));
        thread::sleep(Duration::from_millis(500));
        let sets: Vec<_> =
            (0..7).map(|_| threads.spawn(|| a.update("x", json!({"n": 3})).err())).collect();
        let errors: Vec<_> = sets.into_iter().filter_map(|set| set.join().unwrap()).collect();
        assert!(errors.len() >= 5, "{errors:?}");
        for error in &errors {
            assert!(!error.message().contains("circuit breaker"), "{error}");
        }
        println!("{}: {}", server.engine, errors[0]);
        // The breaker is closed: another row is read.
        assert_eq!(a.fetch("y").unwrap().unwrap()["n"], 2);
    });
    a.clear().unwrap();
}
