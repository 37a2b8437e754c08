//! Migrations by concurrent processes and by killed ones: this program, run again with a job.

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::{InstrumentationEvent, set_default_instrumentation};
use hilcat::{Cache, Column, ColumnType, Migrate, Schema};
use libtest_mimic::{Completion, Failed};
use mysql::prelude::Queryable;
use serde_json::json;

use crate::server::{Case, PASSED, Server, cases, name, texts};

pub const CASES: &[Case] = cases![
    eight_processes_migrate_at_once,
    a_killed_upgrade_is_completed,
    a_killed_recreation_is_completed,
    the_migration_lock_is_released,
    a_migration_done_by_another_node_is_accepted,
];

/// The job of a child process: its name, the table, a number and the URI.
pub const JOB: &str = "HILCAT_TEST_JOB";

fn start(job: &str, table: &str, number: u32, server: &Server) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(JOB, format!("{job} {table} {number} {}", server.uri))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the job of a child process: opens a scope, and dies before it sends the statement of this number.
pub fn work(task: &str) {
    static LAST: AtomicU32 = AtomicU32::new(0);
    static SENT: AtomicU32 = AtomicU32::new(0);
    if task.starts_with("second") {
        return second(task);
    }
    fn count(event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { .. } = event
            && SENT.fetch_add(1, Ordering::SeqCst) + 1 == LAST.load(Ordering::SeqCst)
        {
            std::process::abort();
        }
    }
    let mut words = task.splitn(4, ' ');
    let (job, table) = (words.next().unwrap(), words.next().unwrap());
    LAST.store(words.next().unwrap().parse().unwrap(), Ordering::SeqCst);
    set_default_instrumentation(|| Some(Box::new(count))).unwrap();
    let cache = Cache::from_uri(words.next().unwrap()).unwrap();
    cache.dynamic_with(newest(job, table)).unwrap();
}

/// Opens a scope while another node of a cluster, which has its own lock, executes the same statement
/// first. The number selects the statement.
fn second(task: &str) {
    static FASTER: Mutex<Option<(mysql::Conn, String, bool)>> = Mutex::new(None);
    fn faster(event: InstrumentationEvent<'_>) {
        let InstrumentationEvent::StartQuery { query, .. } = event else { return };
        let query = query.to_string();
        let mut faster = FASTER.lock().unwrap();
        let Some((mut raw, table, rows)) = faster.take() else { return };
        match rows {
            false if query.starts_with(&format!("CREATE TABLE `{table}`")) => {
                raw.query_drop(query.split("-- binds").next().unwrap()).unwrap();
            }
            true if query.starts_with("INSERT INTO `__diesel_schema_migrations`") => {
                let version = query.split('"').nth(1).unwrap();
                raw.exec_drop(
                    "INSERT INTO __diesel_schema_migrations (version) VALUES (?)",
                    (version,),
                )
                .unwrap();
            }
            _ => *faster = Some((raw, table, rows)),
        }
    }
    let words: Vec<&str> = task.splitn(4, ' ').collect();
    let server = Server { engine: "mysql8", uri: words[3].to_owned() };
    *FASTER.lock().unwrap() = Some((server.raw(), words[1].to_owned(), words[2] == "2"));
    set_default_instrumentation(|| Some(Box::new(faster))).unwrap();
    let scope = server.open().dynamic_with(texts(words[1])).unwrap();
    scope.set("a", json!({"v": "1"})).unwrap();
    assert!(FASTER.lock().unwrap().is_none(), "no statement matched");
}

/// The table exists already (error 1050), or the row of the migration does (error 1062).
fn a_migration_done_by_another_node_is_accepted(server: &Server) -> Result<Completion, Failed> {
    for number in [1, 2] {
        let table = name();
        let done = start("second", &table, number, server).wait_with_output()?;
        assert!(done.status.success(), "{number}: {}", String::from_utf8_lossy(&done.stderr));
        let scope = server.open().dynamic_with(texts(&table))?;
        assert_eq!(scope.fetch("a")?, Some(json!({"id": "a", "v": "1"})));
    }
    PASSED
}

fn newest(job: &str, table: &str) -> Schema {
    match job {
        "upgrade" => {
            let mut schema = texts(table)
                .column(Column::new("m", ColumnType::Int).nullable(true))
                .column(Column::new("d", ColumnType::Text).default_value("x"));
            schema.columns_mut()[0] = Column::new("key", ColumnType::Text).was("id");
            schema.columns_mut()[1].ty = ColumnType::Text;
            schema
        }
        "recreate" => Schema::new(table)
            .unique(Column::new("n", ColumnType::BigInt))
            .column(Column::new("v", ColumnType::Text).nullable(true))
            .migrate(Migrate::Recreate),
        _ => texts(table),
    }
}

fn older(table: &str) -> Schema {
    let mut schema = texts(table);
    schema.columns_mut()[0].ty = ColumnType::Varchar(50);
    schema.columns_mut()[1].ty = ColumnType::Varchar(50);
    schema
}

fn eight_processes_migrate_at_once(server: &Server) -> Result<Completion, Failed> {
    let table = name();
    for job in ["create", "upgrade"] {
        let children: Vec<Child> = (0..8).map(|_| start(job, &table, 0, server)).collect();
        for child in children {
            let done = child.wait_with_output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        assert!(server.open().plan(&newest(job, &table))?.is_empty());
    }
    let versions: Option<usize> = server
        .raw()
        .query_first(format!("SELECT COUNT(*) FROM hilcat_scopes WHERE scope = '{table}'"))?;
    assert_eq!(versions, Some(1));
    PASSED
}

/// Kills the job before its first statement, its second and so on, until it completes.
fn kill_at_each(server: &Server, job: &str, check: fn(&Server, &str)) {
    for last in 1.. {
        assert!(last < 100, "it never completes");
        let table = name();
        let scope = server.open().dynamic_with(older(&table)).unwrap();
        let records = (0..20).map(|n| (format!("k{n}"), json!({"v": n.to_string()})));
        scope.set_many(records).unwrap();
        let survived = start(job, &table, last, server).wait().unwrap().success();
        let cache = server.open();
        cache.dynamic_with(newest(job, &table)).unwrap();
        let plan = cache.plan(&newest(job, &table)).unwrap();
        assert!(plan.is_empty(), "killed at {last}: {plan}");
        check(server, &table);
        server.raw().query_drop(format!("DROP TABLE `{table}`")).unwrap();
        if survived {
            return assert!(last > 5, "it was killed {last} times only");
        }
    }
}

fn a_killed_upgrade_is_completed(server: &Server) -> Result<Completion, Failed> {
    kill_at_each(server, "upgrade", |server, table| {
        let scope = server.open().dynamic_with(newest("upgrade", table)).unwrap();
        assert_eq!(scope.len().unwrap(), 20);
        let record = json!({"key": "k7", "v": "7", "m": null, "d": "x"});
        assert_eq!(scope.fetch("k7").unwrap(), Some(record));
    });
    PASSED
}

fn a_killed_recreation_is_completed(server: &Server) -> Result<Completion, Failed> {
    kill_at_each(server, "recreate", |server, table| {
        let scope = server.open().dynamic_with(newest("recreate", table)).unwrap();
        assert_eq!(scope.len().unwrap(), 0);
        let left: Vec<String> = server
            .raw()
            .query("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND (table_name LIKE 'hilcat\\_new\\_%' OR table_name LIKE 'hilcat\\_old\\_%')")
            .unwrap();
        assert!(left.is_empty(), "{left:?}");
    });
    PASSED
}

/// The lock is released after a refused migration, too.
fn the_migration_lock_is_released(server: &Server) -> Result<Completion, Failed> {
    let table = name();
    let cache = Cache::from_uri(&server.with("timeout=1s"))?;
    cache.dynamic_with(texts(&table))?;
    let mut narrower = texts(&table);
    narrower.columns_mut()[1].ty = ColumnType::Int;
    for _ in 0..3 {
        assert!(cache.dynamic_with(narrower.clone()).is_err());
    }
    let free: Option<u8> =
        server.raw().query_first("SELECT IS_FREE_LOCK(CONCAT('hilcat ', SHA1(DATABASE())))")?;
    assert_eq!(free, Some(1));
    // While another session holds it, a migration ends by its deadline, and nothing is changed.
    let mut raw = server.raw();
    let got: Option<u8> =
        raw.query_first("SELECT GET_LOCK(CONCAT('hilcat ', SHA1(DATABASE())), 1)")?;
    assert_eq!(got, Some(1));
    let start = std::time::Instant::now();
    let error = cache.dynamic_with(texts(&name())).unwrap_err();
    assert!(start.elapsed().as_millis() < 1_100, "{:?}", start.elapsed());
    assert!(error.is_retryable(), "{error}");
    PASSED
}
