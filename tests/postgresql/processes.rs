//! Several processes: this test program, run again with a job.

use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use hilcat::{Cache, Column, ColumnType, Schema};
use serde_json::json;

use crate::Test;
use crate::support::{Server, int, null, scope, text};

pub(crate) const TESTS: &[Test] =
    &[("eight_processes_migrate_at_once", eight_processes_migrate_at_once)];

/// The job of a child process: the time to begin, and the URI of the database.
const JOB: &str = "HILCAT_TEST_POSTGRESQL_JOB";

/// Runs the job, if this process is a child.
pub(crate) fn child() -> Option<ExitCode> {
    let job = std::env::var(JOB).ok()?;
    let (at, uri) = job.split_once(' ').unwrap();
    let at: u128 = at.parse().unwrap();
    while now() < at {
        std::thread::yield_now();
    }
    let cache = Cache::from_uri(uri).unwrap();
    let scope = cache.dynamic_with(newest()).unwrap();
    scope.set(format!("p{}", std::process::id()), json!({"n": 1})).unwrap();
    assert!(cache.plan(&newest()).unwrap().is_empty());
    Some(ExitCode::SUCCESS)
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

fn newest() -> Schema {
    scope([Column::new("n", ColumnType::BigInt), null(int("m")), text("d").default_value("x")])
}

fn start(server: &Server, at: u128) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(JOB, format!("{at} {}", server.with("timeout=20s")))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// In an empty schema, and in one whose table is upgraded.
fn eight_processes_migrate_at_once(server: &Server) {
    for upgrade in [false, true] {
        server.run("DROP TABLE IF EXISTS a, hilcat_scopes, __diesel_schema_migrations");
        if upgrade {
            server.cache().dynamic_with(scope([int("n")])).unwrap();
        }
        let at = now() + 300;
        let children: Vec<Child> = (0..8).map(|_| start(server, at)).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(server.query("SELECT count(*) FROM a"), ["8"]);
    }
}
