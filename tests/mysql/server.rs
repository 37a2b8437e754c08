//! The servers, and a plain connection to them.

use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use hilcat::{Cache, Column, ColumnType, Schema};
use libtest_mimic::{Completion, Failed};
use mysql::prelude::Queryable;

/// A test. Returns `Ok` if it passed, or if there is a reason not to run it.
pub type Case = (&'static str, fn(&Server) -> Result<Completion, Failed>);

pub const ENGINES: [(&str, &str); 2] =
    [("mysql8", "HILCAT_TEST_MYSQL8"), ("mariadb", "HILCAT_TEST_MARIADB")];

/// The server whose table names ignore case.
pub const LOWER: (&str, &str) = ("mysql8-lower", "HILCAT_TEST_MYSQL8_LOWER");

/// Builds a list of functions with their names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), |server| $name(server))),*] };
}
pub(crate) use cases;

pub const PASSED: Result<Completion, Failed> = Ok(Completion::Completed);

pub struct Server {
    pub engine: &'static str,
    pub uri: String,
}

impl Server {
    pub fn of(engine: &'static str, variable: &str) -> Result<Self, String> {
        let uri = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
        Ok(Self { engine, uri })
    }

    pub fn is_mariadb(&self) -> bool {
        self.engine == "mariadb"
    }

    /// Returns the URI with more options.
    pub fn with(&self, options: &str) -> String {
        let sign = if self.uri.contains('?') { '&' } else { '?' };
        format!("{}{sign}{options}", self.uri)
    }

    pub fn open(&self) -> Cache {
        Cache::from_uri(&self.uri).unwrap()
    }

    /// Opens a plain connection, without hilcat.
    pub fn raw(&self) -> mysql::Conn {
        let uri = self.uri.replacen("mariadb:", "mysql:", 1);
        let uri = uri.split('?').next().unwrap();
        mysql::Conn::new(mysql::Opts::from_url(uri).unwrap()).unwrap()
    }

    /// Runs a command of `scripts/services` on the server. Fails if the script did not start it.
    pub fn fault_injection(&self, command: &str) -> Result<(), String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
        let mut services = Command::new(script);
        // With these variables, the script would not consider the servers its own.
        for (_, variable) in ENGINES {
            services.env_remove(variable);
        }
        let done = services.args([command, self.engine]).output().map_err(|e| e.to_string())?;
        match done.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }
}

/// Returns a table name that no other test uses.
pub fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("my{:016x}{count}", RandomState::new().hash_one(std::process::id()))
}

/// Returns a schema of a text key and a text value.
pub fn texts(name: &str) -> Schema {
    Schema::new(name)
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("v", ColumnType::Text).nullable(true))
}

/// Returns the result of `SHOW CREATE TABLE`.
pub fn shown(raw: &mut mysql::Conn, table: &str) -> String {
    let (_, sql): (String, String) =
        raw.query_first(format!("SHOW CREATE TABLE `{table}`")).unwrap().unwrap();
    sql.replace(table, "TABLE")
}
