//! PgBouncer between hilcat and the server: programs that share sessions do not interfere.

use std::process::{Child, Command, ExitCode, Stdio};

use hilcat::{Cache, Column, ColumnType, DynScope, ErrorKind, Schema};
use serde_json::{Value as Json, json};

use crate::Test;
use crate::support::{Server, Sql, int, scope, text};

/// The tests behind a pooler in transaction mode and in session mode.
pub(crate) const TESTS: &[Test] = &[
    ("two_programs_do_not_interfere", two_programs_do_not_interfere),
    ("six_programs_do_not_interfere", six_programs_do_not_interfere),
    ("settings_of_other_programs_have_no_effect", settings_of_other_programs_have_no_effect),
    ("leftovers_of_other_programs_have_no_effect_in_the_default_schema", in_the_default_schema),
    ("nothing_is_left_in_a_session", nothing_is_left_in_a_session),
    ("the_first_error_ends_a_call", the_first_error_ends_a_call),
];

/// The tests of one mode, or without a pooler.
pub(crate) const OTHERS: &[(&str, &str, Test)] = &[
    ("pooler", "pgbouncer_statement", ("statement_mode_is_refused", statement_mode_is_refused)),
    ("pooler", "pgbouncer_session", ("statements_can_be_prepared", statements_can_be_prepared)),
    ("pooler", "postgresql15", ("statement_names_that_are_taken", statement_names_that_are_taken)),
    (
        "pooler",
        "postgresql15",
        (
            "a_direct_connection_can_be_treated_as_pooled",
            a_direct_connection_can_be_treated_as_pooled,
        ),
    ),
];

/// The job of a child process, and the URI of the database.
const JOB: &str = "HILCAT_TEST_POSTGRESQL_POOLER_JOB";

/// Runs the job, if this process is a child.
pub(crate) fn child() -> Option<ExitCode> {
    let job = std::env::var(JOB).ok()?;
    let (job, uri) = job.split_once(' ').unwrap();
    let cache = Cache::from_uri(uri).unwrap();
    match job.parse() {
        Ok(number) => write_and_read(&cache, number),
        Err(_) => prepare_under_taken_names(&cache),
    }
    Some(ExitCode::SUCCESS)
}

fn start(job: &str, uri: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(JOB, format!("{job} {uri}"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn succeed(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the schema of one program's scope; all have equal columns.
fn own(number: usize) -> Schema {
    let name = format!("p{number}");
    scope([text("owner"), int("n")]).renamed(&name).table(&name)
}

/// Runs one program. The order of its first calls depends on its number, so that prepared statements
/// would get different names in each program.
fn write_and_read(cache: &Cache, number: usize) {
    let own = cache.dynamic_with(own(number)).unwrap();
    for round in 0..120 {
        for step in 0..STEPS.len() {
            STEPS[(step + number + round) % STEPS.len()](&own, number, round);
        }
    }
    let owned = |row: hilcat::Result<Json>| row.unwrap()["owner"] == json!(number.to_string());
    assert!(own.iter().unwrap().all(owned));
}

type Step = fn(&DynScope, usize, usize);

const STEPS: &[Step] = &[
    |own, number, round| own.set("a", record(number, round)).unwrap(),
    |own, number, _| check(own.fetch("a").unwrap(), number),
    |own, number, round| check(own.update("u", record(number, round)).unwrap(), number),
    |own, number, _| check(own.pop("u").unwrap(), number),
    |own, number, round| {
        let keys: Vec<String> = (0..5).map(|n| format!("m{n}")).collect();
        let items = || keys.iter().map(|key| (key.as_str(), record(number, round)));
        own.set_many(items()).unwrap();
        for record in own.fetch_many(keys.iter().map(String::as_str)).unwrap() {
            assert_eq!(record, Some(with_key(&keys, number, round, &record)));
        }
    },
    |own, number, round| {
        let made = own.get("g", || record(number, round)).unwrap();
        check(Some(made), number);
    },
    |own, _, _| assert!(own.exists("m0").is_ok() && own.len().unwrap() <= 8),
    |own, number, _| own.iter().unwrap().for_each(|row| check(Some(row.unwrap()), number)),
];

fn record(number: usize, round: usize) -> Json {
    json!({"owner": number.to_string(), "n": round})
}

fn with_key(keys: &[String], number: usize, round: usize, read: &Option<Json>) -> Json {
    let mut record = record(number, round);
    let key = read.as_ref().unwrap()["id"].clone();
    assert!(keys.iter().any(|known| key == json!(known)));
    record["id"] = key;
    record
}

/// Checks that a record, if any, belongs to the program.
fn check(record: Option<Json>, number: usize) {
    let owner = record.map(|record| record["owner"].clone());
    assert!(owner.as_ref().is_none_or(|owner| *owner == json!(number.to_string())), "{owner:?}");
}

fn two_programs_do_not_interfere(server: &Server) {
    programs_do_not_interfere(server, 2);
}

fn six_programs_do_not_interfere(server: &Server) {
    programs_do_not_interfere(server, 6);
}

fn programs_do_not_interfere(server: &Server, programs: usize) {
    let uri = server.with("pool_size=2&timeout=30s");
    let children: Vec<Child> = (0..programs).map(|at| start(&at.to_string(), &uri)).collect();
    children.into_iter().for_each(succeed);
    for at in 0..programs {
        let strangers = server.query(&format!("SELECT count(*) FROM p{at} WHERE owner <> '{at}'"));
        assert_eq!(strangers, ["0"]);
        assert_eq!(server.query(&format!("SELECT count(*) >= 6 FROM p{at}")), ["t"]);
    }
}

/// Executes SQL in both sessions of the pooler.
fn in_both_sessions(server: &Server, sql: &str) {
    let clients = [(); 2].map(|()| Sql::connect(&server.base));
    clients.iter().for_each(|client| client.run("BEGIN"));
    clients.iter().for_each(|client| client.run(sql));
    clients.iter().for_each(|client| client.run("COMMIT"));
}

/// Settings of another program, on which hilcat's statements could depend.
const SETTINGS: &str = "
    SET search_path = pg_catalog;
    SET TimeZone = 'Asia/Tokyo';
    SET DateStyle = 'SQL, DMY';
    SET standard_conforming_strings = off;
    SET default_transaction_isolation = serializable;
    SET synchronous_commit = off;
    SET extra_float_digits = -15;
    SET bytea_output = escape;
    SET statement_timeout = 7777;
    CREATE TEMPORARY TABLE IF NOT EXISTS a (id text PRIMARY KEY, at timestamp, f float8, b bytea)";

/// The required settings of the session that writes.
const REQUIRED: &[(&str, &str)] = &[
    ("timezone", "UTC"),
    ("statement_timeout", "1900ms"),
    ("standard_conforming_strings", "on"),
    ("synchronous_commit", "on"),
    ("transaction_isolation", "read committed"),
];

fn settings_of_other_programs_have_no_effect(server: &Server) {
    server
        .run("CREATE TABLE a (id text COLLATE \"C\" PRIMARY KEY, at timestamp, f float8, b bytea)");
    in_both_sessions(server, SETTINGS);
    let columns = [
        Column::new("at", ColumnType::Timestamp).nullable(true),
        Column::new("f", ColumnType::Double).nullable(true),
        Column::new("b", ColumnType::Bytes).nullable(true),
    ];
    let a = Cache::from_uri(&server.with("timeout=2s")).unwrap();
    let a = a.dynamic_with(scope(columns)).unwrap();
    let value = json!({"at": "2024-02-29T12:30:00Z", "f": 0.1, "b": {"$bytes": "XA=="}});
    a.set("x", value.clone()).unwrap();
    let mut read = a.fetch("x").unwrap().unwrap();
    read.as_object_mut().unwrap().remove("id");
    assert_eq!(read, value);
    assert_eq!(server.query("SELECT at::text FROM a"), ["2024-02-29 12:30:00"]);
    server.run("ALTER TABLE a ADD COLUMN asked text");
    for (name, value) in REQUIRED {
        server.run(&format!("ALTER TABLE a ALTER asked SET DEFAULT current_setting('{name}')"));
        a.clear().unwrap();
        a.set("x", json!({"f": 1.0})).unwrap();
        assert_eq!(server.query("SELECT asked FROM a"), [*value], "{name}");
    }
    in_both_sessions(server, "DISCARD TEMP; RESET ALL");
}

/// Leftovers of another program that affect the default schema. The last one makes all later
/// transactions of the session read-only.
const LEFT: &[&str] = &[
    "SET search_path = ''",
    "SET lock_timeout = 1; SET quote_all_identifiers = on",
    "SET ROLE pg_monitor",
    "SET SESSION AUTHORIZATION pg_monitor",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
];

fn in_the_default_schema(server: &Server) {
    let table = server.schema.replace(' ', "").to_lowercase();
    let schema = scope([int("n")]).renamed(&table).table(&table);
    let open = || Cache::from_uri(&server.base).unwrap();
    let kept = open();
    let kept = kept.dynamic_with(schema.clone()).unwrap();
    let check = |n: i32| {
        kept.set("x", json!({"n": n})).unwrap();
        let new = open();
        new.migrate(&schema).unwrap();
        let new = new.dynamic_with(schema.clone()).unwrap();
        assert_eq!(new.update("x", json!({"n": n})).unwrap(), Some(json!({"id": "x", "n": n})));
        assert_eq!(server.query(&format!("SELECT n FROM public.{table}")), [n.to_string()]);
    };
    let undo = "RESET SESSION AUTHORIZATION; DISCARD TEMP; RESET ALL";
    let shadow = format!("CREATE TEMP TABLE {table} (id text PRIMARY KEY, n int)");
    for (at, left) in [&[shadow.as_str()], LEFT].concat().into_iter().enumerate() {
        if server.engine == "pgbouncer_session" && at > 0 {
            // In session mode, a session belongs to one client and is cleared afterwards.
            break;
        }
        in_both_sessions(server, left);
        check(at as i32);
        in_both_sessions(server, undo);
    }
    server.run(&format!(
        "DROP TABLE public.{table}; DELETE FROM public.hilcat_scopes WHERE scope = '{table}'"
    ));
}

fn nothing_is_left_in_a_session(server: &Server) {
    let cache = server.cache();
    let a = cache.dynamic_with(scope([int("n")])).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    a.set_many([("y", json!({"n": 1})), ("z", json!({"n": 1}))]).unwrap();
    a.fetch("x").unwrap();
    a.pop_many(["x", "y"]).unwrap();
    if server.engine == "pgbouncer_session" {
        // The pooler passes a session on when its client has disconnected.
        drop((a, cache));
    }
    let clients = [(); 2].map(|()| Sql::connect(&server.base));
    for client in &clients {
        client.run("BEGIN");
        let ask = |sql: &str| client.query(sql);
        assert_eq!(ask("SELECT count(*) FROM pg_prepared_statements"), ["0"]);
        assert_eq!(ask("SHOW statement_timeout"), ["0"]);
        assert_ne!(ask("SHOW search_path"), [server.quoted()]);
        let advisory = "SELECT count(*) FROM pg_locks
            WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
        assert_eq!(ask(advisory), ["0"]);
    }
    clients.iter().for_each(|client| client.run("COMMIT"));
}

/// The transaction of a failed call is ended, and the call returns the first error.
fn the_first_error_ends_a_call(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    server.run("ALTER TABLE a ADD CHECK (n < 10)");
    for _ in 0..5 {
        let error = a.set("x", json!({"n": 11})).unwrap_err();
        assert!(error.to_string().contains("check constraint"), "{error}");
        a.set("x", json!({"n": 1})).unwrap();
        let both = [("y", json!({"n": 1})), ("z", json!({"n": 11}))];
        let error = a.set_many(both).unwrap_err();
        assert!(error.to_string().contains("check constraint"), "{error}");
        assert_eq!(a.len().unwrap(), 1);
    }
}

fn statement_mode_is_refused(server: &Server) {
    let error = Cache::from_uri(&server.uri()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("statement mode"), "{error}");
}

/// With `pooler=session`, each session belongs to one client, so statements can be prepared.
fn statements_can_be_prepared(server: &Server) {
    for (options, prepares) in [("pool_size=1", "f"), ("pool_size=1&pooler=session", "t")] {
        server.run("DROP FUNCTION IF EXISTS prepared CASCADE; DROP TABLE IF EXISTS a");
        let cache = Cache::from_uri(&server.with(options)).unwrap();
        let a = cache.dynamic_with(scope([int("n")])).unwrap();
        a.set("x", json!({"n": 1})).unwrap();
        server.run(
            "CREATE FUNCTION prepared() RETURNS bool LANGUAGE sql
                 AS 'SELECT count(*) > 0 FROM pg_prepared_statements';
             ALTER TABLE a ADD COLUMN asked bool DEFAULT prepared()",
        );
        a.set("y", json!({"n": 1})).unwrap();
        assert_eq!(server.query("SELECT asked FROM a WHERE id = 'y'"), [prepares]);
    }
}

/// The name of a new prepared statement is taken by another statement.
fn statement_names_that_are_taken(server: &Server) {
    succeed(start("names", &server.with("pool_size=1")));
}

/// Runs in a child process, in which nothing else prepares statements.
fn prepare_under_taken_names(cache: &Cache) {
    let a = cache.dynamic_with(scope([int("n")])).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    cache
        .diesel(|connection: &mut hilcat::backend::PostgresConnection| {
            use diesel::connection::SimpleConnection;
            connection.batch_execute(
                "DO $$ DECLARE last int;
                 BEGIN
                   SELECT max(substr(name, 2)::int) INTO last FROM pg_prepared_statements;
                   FOR at IN 1..3 LOOP
                     EXECUTE format('PREPARE s%s (text) AS SELECT $1', last + at);
                   END LOOP;
                 END $$",
            )
        })
        .unwrap();
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
}

/// A pooler that passes on the server's process ids is not detected, but can be declared.
fn a_direct_connection_can_be_treated_as_pooled(server: &Server) {
    let cache = Cache::from_uri(&server.with("pooler=transaction")).unwrap();
    let a = cache.dynamic_with(scope([int("n")])).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    assert_eq!(a.pop("x").unwrap(), Some(json!({"id": "x", "n": 1})));
}
