//! Tables that other programs changed, including hilcat's own.

use std::time::Instant;

use hilcat::{Cache, Column, ColumnType, DynScope, Error, ErrorKind};
use serde_json::json;

use crate::Test;
use crate::support::{SECOND, Server, int, null, scope, text};

pub(crate) const TESTS: &[Test] = &[
    ("a_suppressed_write_is_an_error", a_suppressed_write_is_an_error),
    ("a_rule_that_suppresses_writes_is_an_error", a_rule_that_suppresses_writes),
    ("a_suppressed_removal_is_an_error", a_suppressed_removal_is_an_error),
    ("a_row_that_may_not_be_removed_is_an_error", a_row_that_may_not_be_removed),
    ("a_generated_column_is_refused", a_generated_column_is_refused),
    ("a_hidden_row_is_an_error", a_hidden_row_is_an_error),
    ("a_table_with_children_is_refused", a_table_with_children_is_refused),
    ("a_partitioned_table_is_a_scope", a_partitioned_table_is_a_scope),
    ("a_dependency_on_a_column_is_named", a_dependency_on_a_column_is_named),
    ("a_dropped_registry_is_recreated", a_dropped_registry_is_recreated),
];

/// Checks for an error that is not retryable.
fn refused<T: std::fmt::Debug>(result: hilcat::Result<T>, words: &str) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(!error.is_retryable(), "{error}");
    assert!(error.to_string().contains(words), "{error}");
    error
}

fn with_two(server: &Server) -> DynScope {
    server.cache().dynamic_with(scope([null(int("n")), null(text("t"))])).unwrap()
}

fn a_suppressed_write_is_an_error(server: &Server) {
    let a = with_two(server);
    a.set("old", json!({"n": 1, "t": "x"})).unwrap();
    server.run(
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER nothing BEFORE INSERT OR UPDATE ON a FOR EACH ROW EXECUTE FUNCTION nothing()",
    );
    let whole = || json!({"n": 2, "t": "y"});
    let start = Instant::now();
    for key in ["old", "new"] {
        refused(a.set(key, whole()), "stored nothing");
        refused(a.set(key, json!({"n": 2})), "stored nothing");
        refused(a.set_many([(key, whole())]), "stored nothing");
        refused(a.set_many([(key, json!({"n": 2}))]), "stored nothing");
        refused(a.update(key, whole()), "trigger");
        refused(a.update(key, json!({"n": 2})), "trigger");
    }
    refused(a.get("new", whole), "stored nothing");
    // None of the calls is repeated until its deadline.
    assert!(start.elapsed() < SECOND * 4, "{:?}", start.elapsed());
    assert_eq!(server.query("SELECT id || n FROM a"), ["old1"]);
    server.run(
        "CREATE OR REPLACE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql
             AS 'BEGIN IF new.n > 5 THEN RETURN NULL; END IF; RETURN new; END'",
    );
    let two = [("x", json!({"n": 1, "t": "x"})), ("y", json!({"n": 6, "t": "x"}))];
    refused(a.set_many(two), "stored 1 of 2");
}

/// The server itself refuses a statement that returns rows.
fn a_rule_that_suppresses_writes(server: &Server) {
    let a = with_two(server);
    server.run("CREATE RULE nothing AS ON INSERT TO a DO INSTEAD NOTHING");
    refused(a.set("x", json!({"n": 2, "t": "y"})), "stored nothing");
    refused(a.update("x", json!({"n": 2, "t": "y"})), "INSERT RETURNING");
    assert_eq!(a.fetch("x").unwrap(), None);
}

/// Opens a cache as a new role, to which policies and permissions apply.
fn as_another_role(server: &Server) -> Cache {
    let role = server.schema.replace(' ', "").to_lowercase();
    server.run(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'secret';
         GRANT USAGE ON SCHEMA {} TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA {} TO {role}",
        server.quoted(),
        server.quoted(),
    ));
    let (login, ..) = server.parts();
    Cache::from_uri(&server.uri().replacen(&login, &format!("{role}:secret"), 1)).unwrap()
}

fn drop_role(server: &Server) {
    let role = server.schema.replace(' ', "").to_lowercase();
    server.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

fn a_hidden_row_is_an_error(server: &Server) {
    if server.engine.starts_with("pgbouncer") {
        // The pooler knows only one login.
        return;
    }
    with_two(server).set("x", json!({"n": 100, "t": "x"})).unwrap();
    server.run(
        "ALTER TABLE a ENABLE ROW LEVEL SECURITY;
         CREATE POLICY small ON a USING (n < 10) WITH CHECK (n < 10)",
    );
    let cache = as_another_role(server);
    let a = cache.dynamic_with(scope([null(int("n")), null(text("t"))])).unwrap();
    a.set("y", json!({"n": 1, "t": "y"})).unwrap();
    assert!(a.update("y", json!({"n": 2})).unwrap().is_some());
    assert_eq!(a.update("z", json!({"n": 2, "t": "z"})).unwrap(), None);
    let start = Instant::now();
    refused(a.update("x", json!({"n": 1, "t": "x"})), "row-level security");
    refused(a.update("x", json!({"n": 1})), "row-level security");
    refused(a.set("x", json!({"n": 1, "t": "x"})), "row-level security");
    assert!(start.elapsed() < SECOND * 4, "{:?}", start.elapsed());
    assert_eq!(server.query("SELECT n FROM a WHERE id = 'x'"), ["100"]);
    let role = server.schema.replace(' ', "").to_lowercase();
    server.run(&format!("REVOKE INSERT ON a FROM {role}"));
    refused(a.set("y", json!({"n": 1, "t": "y"})), "permission denied");
    drop((a, cache));
    drop_role(server);
}

fn a_table_with_children_is_refused(server: &Server) {
    server.run(
        "CREATE TABLE parent (id text COLLATE \"C\" PRIMARY KEY, n int);
         CREATE TABLE child (more int, PRIMARY KEY (id)) INHERITS (parent);
         INSERT INTO parent VALUES ('x', 1);
         INSERT INTO child VALUES ('x', 2)",
    );
    let of = |table: &str| scope([null(int("n"))]).table(table);
    let error = server.cache().dynamic_with(of("parent")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("child"), "{error}");
    let cache = Cache::builder(server.uri()).adopt_tables().open().unwrap();
    assert!(cache.schemas().iter().any(|schema| schema.name() == "child"));
    assert!(cache.schemas().iter().all(|schema| schema.name() != "parent"));
    // A table that gets a child after it was opened.
    server.cache().dynamic_with(of("a")).unwrap().set("x", json!({"n": 1})).unwrap();
    server.run("CREATE TABLE later () INHERITS (a)");
    let error = server.cache().dynamic_with(of("a")).unwrap_err();
    assert!(error.to_string().contains("later"), "{error}");
    server.run("ALTER TABLE later NO INHERIT a");
    assert!(server.cache().dynamic_with(of("a")).unwrap().pop("x").unwrap().is_some());
}

fn a_partitioned_table_is_a_scope(server: &Server) {
    server.run(
        "CREATE TABLE a (id text PRIMARY KEY, n int) PARTITION BY HASH (id);
         CREATE TABLE a0 PARTITION OF a FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE a1 PARTITION OF a FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    );
    for _ in 0..2 {
        let a = server.cache().dynamic_with(scope([null(int("n"))])).unwrap();
        let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
        a.set_many(keys.iter().map(|key| (key.as_str(), json!({"n": 1})))).unwrap();
        assert_eq!(a.update("k3", json!({"n": 2})).unwrap(), Some(json!({"id": "k3", "n": 1})));
        assert_eq!(a.keys().unwrap().count(), 20);
        assert_eq!(a.pop("k3").unwrap(), Some(json!({"id": "k3", "n": 2})));
        a.clear().unwrap();
    }
}

/// The refusal is permanent, so it is reported at once and not taken for an outdated statement.
fn a_dependency_on_a_column_is_named(server: &Server) {
    let wider = || scope([null(Column::new("n", ColumnType::BigInt)), null(text("t"))]);
    let start = Instant::now();
    with_two(server);
    server.run("CREATE VIEW seen AS SELECT n FROM a");
    refused(server.cache().dynamic_with(wider()), "view seen");
    server.run("DROP VIEW seen; ALTER TABLE a ADD twice int GENERATED ALWAYS AS (n * 2) STORED");
    refused(server.cache().dynamic_with(wider()), "twice");
    assert!(start.elapsed() < SECOND * 4, "{:?}", start.elapsed());
    server.run("ALTER TABLE a DROP twice");
    server.cache().dynamic_with(wider()).unwrap();
}

fn a_dropped_registry_is_recreated(server: &Server) {
    let named = |name: &str| scope([null(int("n"))]).renamed(name).table(name);
    let cache = server.cache();
    let a = cache.dynamic_with(named("a")).unwrap();
    for (name, dropped) in [
        ("b", "hilcat_scopes"),
        ("c", "__diesel_schema_migrations"),
        ("d", "hilcat_scopes, __diesel_schema_migrations"),
    ] {
        server.run(&format!("DROP TABLE IF EXISTS {dropped}"));
        // While the cache is open.
        a.set("x", json!({"n": 1})).unwrap();
        cache.dynamic_with(named(name)).unwrap().set("x", json!({"n": 1})).unwrap();
        assert!(server.query("SELECT scope FROM hilcat_scopes").contains(&name.to_owned()));
        // Between two openings, of a scope whose table is up to date.
        server.run(&format!("DROP TABLE IF EXISTS {dropped}"));
        let again = server.cache().dynamic_with(named("a")).unwrap();
        assert_eq!(again.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
        assert!(server.query("SELECT scope FROM hilcat_scopes").contains(&"a".to_owned()));
    }
    assert_eq!(
        server.query(
            "SELECT count(*) FROM __diesel_schema_migrations WHERE version LIKE '%registry%'"
        ),
        ["1"]
    );
}

fn a_suppressed_removal_is_an_error(server: &Server) {
    let a = with_two(server);
    let record = |n: i32| json!({"n": n, "t": "x"});
    a.set_many([("x", record(1)), ("y", record(2))]).unwrap();
    server.run(
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql
             AS 'BEGIN IF old.n = 1 THEN RETURN NULL; END IF; RETURN old; END';
         CREATE TRIGGER nothing BEFORE DELETE ON a FOR EACH ROW EXECUTE FUNCTION nothing()",
    );
    let start = Instant::now();
    refused(a.pop("x"), "kept records that it was to remove");
    refused(a.pop_many(["y", "x", "none"]), "kept records that it was to remove");
    assert_eq!(server.query("SELECT id FROM a ORDER BY id"), ["x", "y"]);
    assert_eq!(a.pop("none").unwrap(), None);
    assert!(a.pop_many(["y", "none"]).unwrap()[0].is_some());
    refused(a.clear(), "kept records that it was to remove");
    // None of the calls is repeated until its deadline.
    assert!(start.elapsed() < SECOND * 4, "{:?}", start.elapsed());
    server.run("DROP TRIGGER nothing ON a");
    a.clear().unwrap();
    assert_eq!(a.len().unwrap(), 0);
}

/// A policy shows a row, and no policy permits its removal.
fn a_row_that_may_not_be_removed(server: &Server) {
    if server.engine.starts_with("pgbouncer") {
        // The pooler knows only one login.
        return;
    }
    with_two(server).set("x", json!({"n": 1, "t": "x"})).unwrap();
    server.run(
        "ALTER TABLE a ENABLE ROW LEVEL SECURITY;
         CREATE POLICY seen ON a FOR SELECT USING (true);
         CREATE POLICY written ON a FOR UPDATE USING (true)",
    );
    let a = as_another_role(server);
    let a = a.dynamic_with(scope([null(int("n")), null(text("t"))])).unwrap();
    refused(a.pop("x"), "row-level security");
    refused(a.pop_many(["x"]), "row-level security");
    refused(a.clear(), "row-level security");
    assert_eq!(server.query("SELECT id FROM a"), ["x"]);
    drop_role(server);
}

fn a_generated_column_is_refused(server: &Server) {
    for made in ["AS (length(id)) STORED", "AS IDENTITY"] {
        server.run(&format!(
            "DROP TABLE IF EXISTS a;
             CREATE TABLE a (id text PRIMARY KEY, n int GENERATED ALWAYS {made})"
        ));
        let schema = scope([null(int("n"))]);
        for error in [
            server.cache().dynamic_with(schema.clone()).unwrap_err(),
            server.cache().read_only().dynamic_with(schema).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("n")));
            assert!(error.to_string().contains("generated column"), "{error}");
        }
        server.cache().dynamic_with(scope([])).unwrap().set("x", json!({})).unwrap();
    }
}
