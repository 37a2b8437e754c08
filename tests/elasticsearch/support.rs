//! A server with indices for a single test, and plain requests to it.

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use elasticsearch::http::Method;
use hilcat::{Cache, Column, ColumnType, Schema};
use serde_json::Value as Json;

use crate::indices::Indices;

/// A server, with a prefix of indices that no other test uses.
pub struct Server {
    pub engine: &'static str,
    pub indices: Indices,
}

impl Server {
    pub fn open(engine: &'static str, variable: &str) -> Result<Self, String> {
        Ok(Self { engine, indices: Indices::new(variable)? })
    }

    pub fn cache(&self) -> Cache {
        self.with("timeout=30s")
    }

    pub fn with(&self, options: &str) -> Cache {
        Cache::from_uri(&self.indices.uri(options)).unwrap()
    }

    /// Returns the name of the index or alias of a table, as a segment of a path.
    pub fn name(&self, table: &str) -> String {
        let name = format!("{}{table}", self.indices.prefix);
        percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).to_string()
    }

    /// Returns the body of a successful response.
    pub fn ask(&self, method: Method, path: &str, body: Option<Json>) -> Json {
        let (status, answer) = self.indices.send(method, path, body);
        assert!(status < 300, "{status}: {answer}");
        answer
    }

    pub fn get(&self, path: &str) -> Json {
        self.ask(Method::Get, path, None)
    }

    pub fn put(&self, path: &str, body: Json) -> Json {
        self.ask(Method::Put, path, Some(body))
    }

    /// Returns the mapping of a table.
    pub fn mappings(&self, table: &str) -> Json {
        let found = self.get(&format!("{}/_mapping", self.name(table)));
        let indices = found.as_object().unwrap();
        assert_eq!(indices.len(), 1, "{found}");
        indices.values().next().unwrap()["mappings"].clone()
    }

    /// Returns the parts of the URI: scheme, login and address.
    pub fn parts(&self) -> (String, String, String) {
        let (scheme, rest) = self.indices.base.split_once("://").unwrap();
        let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        (scheme.to_owned(), login.to_owned(), place.to_owned())
    }
}

/// Runs `scripts/services`, which started the server.
pub fn services(command: &str, engine: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
    let output = Command::new(script).args([command, engine]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns a schema with a text key `id` and these columns.
pub fn scope(columns: impl IntoIterator<Item = Column>) -> Schema {
    columns.into_iter().fold(Schema::new("a").unique(text("id")), Schema::column)
}

pub fn text(name: &str) -> Column {
    Column::new(name, ColumnType::Text)
}

pub fn int(name: &str) -> Column {
    Column::new(name, ColumnType::Int)
}

pub fn null(column: Column) -> Column {
    column.nullable(true)
}

pub const SECOND: Duration = Duration::from_secs(1);

/// Fails if the work takes longer than `limit`, which indicates a deadlock.
pub fn within(limit: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, result) = mpsc::channel();
    let worker = thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    match result.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the work was not done after {limit:?}"),
        _ => worker.join().unwrap(),
    }
}
