//! A server with a prefix for a single test, and a connection of another program.

use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::time::{Duration, Instant};

use hilcat::{Cache, Column, ColumnType, Schema};
use redis::{Client, Cmd, Connection, FromRedisValue};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A server, with a prefix that no other test uses.
pub(crate) struct Server {
    pub(crate) engine: &'static str,
    pub(crate) base: String,
    pub(crate) prefix: String,
}

impl Server {
    pub(crate) fn open(engine: &'static str) -> Result<Self, String> {
        let base = variable(&format!("HILCAT_TEST_{}", engine.to_uppercase().replace('-', "_")))?;
        let random = RandomState::new().hash_one(std::process::id());
        Ok(Self { engine, base, prefix: format!("t{random:016x}") })
    }

    /// Returns the URI with the prefix and more options.
    pub(crate) fn with(&self, options: &str) -> String {
        let sign = if self.base.contains('?') { '&' } else { '?' };
        format!("{}{sign}prefix={}&{options}", self.base, self.prefix)
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::from_uri(&self.with("timeout=10s")).unwrap()
    }

    /// Returns the first address of the URI.
    pub(crate) fn address(&self) -> &str {
        let place = self.base.split_once("://").unwrap().1.split(['?', '/', ',']).next().unwrap();
        place.rsplit('@').next().unwrap()
    }

    /// Opens the connection of another program.
    pub(crate) fn other(&self) -> Other {
        Other::at(self.address())
    }
}

pub(crate) fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set"))
}

/// The connection of another program.
pub(crate) struct Other(Connection);

impl Other {
    pub(crate) fn at(address: &str) -> Self {
        let client = Client::open(format!("redis://{address}/")).unwrap();
        Self(client.get_connection().unwrap())
    }

    pub(crate) fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = Cmd::new();
        command.arg(words);
        command.query(&mut self.0).unwrap()
    }

    /// Like `ask`; `None` if the server refuses the command.
    pub(crate) fn ask_or_refusal<T: FromRedisValue>(&mut self, words: &[&str]) -> Option<T> {
        Cmd::new().arg(words).query(&mut self.0).ok()
    }

    /// Returns all names with this prefix, sorted.
    pub(crate) fn names(&mut self, head: &str) -> Vec<String> {
        let mut names: Vec<String> = self.ask(&["KEYS", &format!("{head}*")]);
        names.sort();
        names
    }
}

/// Runs `scripts/services`, which started the servers.
pub(crate) fn services(command: &str, target: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
    let output = Command::new(script).args([command, target]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns which process of an engine listens on a port.
pub(crate) fn part(engine: &str, port: &str) -> String {
    let ports = std::env::var("HILCAT_SERVICES_DIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/services").to_owned());
    let head = format!("{engine}.");
    for entry in std::fs::read_dir(format!("{ports}/ports")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if let Some(part) = name.strip_prefix(&head)
            && std::fs::read_to_string(&path).unwrap().trim() == port
        {
            return part.to_owned();
        }
    }
    panic!("nothing of {engine} listens at {port}");
}

/// Repeats a check until it holds.
pub(crate) fn until(limit: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "the check does not hold after {limit:?}");
        std::thread::sleep(SECOND / 50);
    }
}

/// A schema with a text key `id` and an integer `n`.
pub(crate) fn numbers() -> Schema {
    Schema::new("a")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("n", ColumnType::BigInt))
}
