//! An upgrade that is killed before any of its statements is completed by the next run.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use diesel::connection::{InstrumentationEvent, set_default_instrumentation};
use hilcat::{Cache, Column, ColumnType, DynScope, Migrate, Schema};
use serde_json::json;

use crate::processes::start;
use crate::support::{File, int, null, scope, text};

/// The rows that must survive.
const ROWS: i64 = 5_000;

/// The schema before the upgrade, or `None` if there is no table.
fn old(job: &str) -> Option<Schema> {
    (job != "create").then(|| scope([int("n"), text("t")]))
}

/// The schema after the upgrade.
fn new(job: &str) -> Schema {
    let long = |name: &str| Column::new(name, ColumnType::BigInt);
    match job {
        "create" => scope([int("n"), text("t")]),
        "add" => scope([int("n"), text("t"), null(int("m")), int("d").default_value(7_i32)]),
        "widen" => scope([long("n"), text("t")]),
        "all" => Schema::new("a")
            .unique(text("key").was("id"))
            .column(null(long("count").was("n")))
            .column(text("t"))
            .column(int("d").default_value(7_i32)),
        "recreate" => scope([text("n"), text("t")]).migrate(Migrate::Recreate),
        other => panic!("no job `{other}`"),
    }
}

/// The job of a child process: upgrades, and dies before it sends the statement of this number.
pub(crate) fn upgrade(job: &str, uri: &str, last: u128) {
    static LAST: AtomicU32 = AtomicU32::new(0);
    static SENT: AtomicU32 = AtomicU32::new(0);
    LAST.store(u32::try_from(last).unwrap(), Ordering::SeqCst);
    fn count(event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { .. } = event
            && SENT.fetch_add(1, Ordering::SeqCst) + 1 == LAST.load(Ordering::SeqCst)
        {
            let kill = format!("kill -9 {}", std::process::id());
            Command::new("sh").args(["-c", &kill]).status().unwrap();
            thread::sleep(Duration::from_secs(60));
        }
    }
    set_default_instrumentation(|| Some(Box::new(count))).unwrap();
    Cache::from_uri(uri).unwrap().dynamic_with(new(job)).unwrap();
}

/// Kills upgrades before their first statement, their second and so on, until one completes. After
/// each kill `check` must accept the database, and the next run must upgrade it.
fn killed_at_every_statement(job: &str, check: fn(&File), upgraded: fn(&DynScope)) {
    let mut statement = 0;
    loop {
        statement += 1;
        let file = prepared(job);
        let output = start(job, &file, statement).wait_with_output().unwrap();
        if output.status.success() {
            break;
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_none(), "it was not killed but failed: {stderr}");
        assert_eq!(file.query("SELECT integrity_check FROM pragma_integrity_check"), ["ok"]);
        check(&file);
        let cache = file.cache();
        let scope = cache.dynamic_with(new(job)).unwrap();
        upgraded(&scope);
        assert!(cache.plan(&new(job)).unwrap().is_empty());
        assert!(file.ddl("hilcat_new_a").is_empty());
    }
    assert!(statement > 8, "killed at {statement} statements only");
}

fn prepared(job: &str) -> File {
    let file = File::new();
    if let Some(schema) = old(job) {
        let scope = file.cache().dynamic_with(schema).unwrap();
        let records = (0..ROWS).map(|at| (format!("k{at:04}"), json!({"n": at, "t": "007"})));
        scope.set_many(records).unwrap();
    }
    file
}

/// All rows exist, under the old or the new schema.
fn all_rows_exist(file: &File) {
    assert_eq!(file.query("SELECT count(*) FROM a WHERE t = '007'"), [ROWS.to_string()]);
}

fn all_are_read(scope: &DynScope, column: &str) {
    let mut count = 0;
    for (at, record) in scope.iter().unwrap().enumerate() {
        let record = record.unwrap();
        assert_eq!((&record[column], &record["t"]), (&json!(at), &json!("007")));
        count += 1;
    }
    assert_eq!(count, ROWS);
}

#[test]
fn creating_a_table() {
    killed_at_every_statement(
        "create",
        |_| {},
        |scope| scope.set("x", json!({"n": 1, "t": ""})).unwrap(),
    );
}

#[test]
fn adding_columns() {
    killed_at_every_statement("add", all_rows_exist, |scope| {
        all_are_read(scope, "n");
        let record = scope.fetch("k0001").unwrap().unwrap();
        assert_eq!((&record["m"], &record["d"]), (&json!(null), &json!(7)));
    });
}

#[test]
fn rebuilding_a_table_for_a_wider_type() {
    killed_at_every_statement("widen", all_rows_exist, |scope| all_are_read(scope, "n"));
}

#[test]
fn everything_at_once() {
    killed_at_every_statement("all", all_rows_exist, |scope| all_are_read(scope, "count"));
}

#[test]
fn recreating_a_table() {
    killed_at_every_statement(
        "recreate",
        |file| {
            // Either the old table with its rows exists, or the new one without.
            let old = file.ddl("a").contains("\"n\" INTEGER");
            let count = file.query("SELECT count(*) FROM a").concat();
            assert_eq!(count, if old { ROWS.to_string() } else { "0".to_owned() });
        },
        |scope| {
            assert_eq!(scope.len().unwrap(), 0);
            scope.set("x", json!({"n": "1", "t": ""})).unwrap();
        },
    );
}
