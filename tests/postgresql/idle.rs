//! Connections that the server closed while they were idle, and a read-only connection.

use std::thread;
use std::time::Duration;

use hilcat::{Cache, Column, ColumnType, DynScope, ErrorKind, Schema};
use serde_json::json;

use crate::Test;
use crate::support::{SECOND, Server};

pub(crate) const TESTS: &[Test] = &[
    ("idle_connections_that_were_terminated", idle_connections_that_were_terminated),
    ("a_read_only_connection_is_replaced", a_read_only_connection_is_replaced),
];

const TABLE: &str = "takes no writes";

fn scope(cache: &Cache, table: &str) -> DynScope {
    let schema = Schema::new(table)
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("v", ColumnType::Text).nullable(true));
    cache.dynamic_with(schema).unwrap()
}

fn idle_connections_that_were_terminated(server: &Server) {
    let table = format!("idle {}", server.schema);
    let scope = scope(&Cache::from_uri(&server.with("timeout=10s")).unwrap(), &table);
    let before = || {
        // The connection's last statement names the table.
        scope.fetch("nothing").unwrap();
        let ended = server.query(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%{table}%'"
        ));
        assert!(!ended.is_empty());
        // The end of the stream needs a moment to arrive.
        thread::sleep(Duration::from_millis(200));
    };
    for _ in 0..3 {
        scope.set_many(["a", "b", "c"].map(|key| (key, json!({"v": "1"})))).unwrap();
        before();
        assert!(scope.pop("a").unwrap().is_some());
        before();
        assert!(scope.update("b", json!({"v": "2"})).unwrap().is_some());
        before();
        assert_eq!(scope.pop_many(["b", "c"]).unwrap().iter().flatten().count(), 2);
    }
}

/// As after a failover: the pooled connection is read-only, and a new one is not.
fn a_read_only_connection_is_replaced(server: &Server) {
    scope(&server.cache(), TABLE).set("a", json!({"v": "1"})).unwrap();
    let role = format!("ro_{}", server.schema.rsplit(' ').next().unwrap());
    let quoted = server.quoted();
    server.run(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'ro'; GRANT USAGE, CREATE ON SCHEMA {quoted} TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA {quoted} TO {role}; ALTER ROLE {role} SET default_transaction_read_only = on"
    ));
    let (login, _, _) = server.parts();
    let uri = server.uri().replacen(&login, &format!("{role}:ro"), 1);
    let kept = scope(&Cache::from_uri(&format!("{uri}&timeout=10s")).unwrap(), TABLE);
    let refused = scope(&Cache::from_uri(&format!("{uri}&timeout=1s")).unwrap(), TABLE);
    assert!(kept.fetch("a").unwrap().is_some());
    let error = refused.pop("a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("read-only"), "{error}");
    thread::scope(|threads| {
        let update = threads.spawn(|| kept.update("a", json!({"v": "2"})));
        thread::sleep(SECOND / 2);
        server.run(&format!("ALTER ROLE {role} SET default_transaction_read_only = off"));
        assert_eq!(update.join().unwrap().unwrap().unwrap()["v"], json!("1"));
    });
    assert!(refused.pop("a").unwrap().is_some());
    drop((kept, refused));
    server.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
