//! The context of a test: an engine, and a table that no other test uses.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

use hilcat::{Cache, DynScope, Schemas};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::program::{Program, sorted};

/// An engine that both sides support.
pub struct Engine {
    pub name: &'static str,
    /// The scheme of hilcat's URIs.
    pub scheme: &'static str,
    /// The environment variable with the address of the server, or `None` if none is needed.
    variable: Option<&'static str>,
    /// The type of text keys, if the default cannot be used for keys.
    key: Option<&'static str>,
}

pub const ENGINES: &[Engine] = &[
    Engine { name: "sqlite", scheme: "sqlite", variable: None, key: None },
    Engine {
        name: "postgresql15",
        scheme: "postgresql",
        variable: Some("HILCAT_TEST_POSTGRESQL15"),
        key: None,
    },
    Engine {
        name: "postgresql18",
        scheme: "postgresql",
        variable: Some("HILCAT_TEST_POSTGRESQL18"),
        key: None,
    },
    Engine {
        name: "mysql8",
        scheme: "mysql",
        variable: Some("HILCAT_TEST_MYSQL8"),
        key: Some("varchar(50)"),
    },
    Engine {
        name: "mariadb",
        scheme: "mysql",
        variable: Some("HILCAT_TEST_MARIADB"),
        key: Some("varchar(50)"),
    },
];

pub struct TestContext {
    pub engine: &'static Engine,
    pub uri: String,
    /// The table of the test.
    pub table: String,
    python: PathBuf,
    /// The database in which the table is dropped after the test. A file is removed with its
    /// directory.
    on_server: bool,
    _directory: Option<TempDir>,
}

impl TestContext {
    /// Returns what is missing to run the tests.
    pub fn open(engine: &'static Engine) -> Result<Self, String> {
        let set =
            |variable: &str| std::env::var(variable).map_err(|_| format!("{variable} is not set"));
        let python = set("HILCAT_TEST_PYTHON")?.into();
        let (uri, directory) = match engine.variable {
            Some(variable) => (set(variable)?, None),
            None => {
                let directory = tempfile::tempdir().unwrap();
                (format!("sqlite:///{}/t.db", directory.path().display()), Some(directory))
            }
        };
        let table = format!("shared_{:016x}", RandomState::new().hash_one(std::process::id()));
        let on_server = engine.variable.is_some();
        Ok(Self { engine, uri, table, python, on_server, _directory: directory })
    }

    /// Starts a program of the Python package with the scope `s` in the table.
    pub fn program(&self, scope: Json) -> Program {
        let mut scope = scope;
        scope["scope"] = json!("s");
        scope["table"] = json!(self.table);
        Program::start(&self.python, &json!({"uri": self.uri, "scopes": [scope]}))
    }

    /// Starts a program of the Python package with all scopes in the table.
    pub fn program_of_single_table(&self, config: Json) -> Program {
        let mut config = config;
        config["table"] = json!(self.table);
        Program::start(&self.python, &json!({"uri": self.uri, "single": config}))
    }

    /// Returns the types of the text columns of the key, if the default cannot be used for keys.
    pub fn key_types(&self, keys: &[&str]) -> Vec<(String, String)> {
        let types = self.engine.key.iter();
        types.flat_map(|ty| keys.iter().map(|key| ((*key).to_owned(), (*ty).to_owned()))).collect()
    }

    /// hilcat's scope `s` in the table.
    pub fn scope(&self, toml: &str) -> DynScope {
        let toml = format!("[scopes.s]\ntable = '{}'\n{toml}", self.table);
        let schemas = Schemas::from_str(&toml).unwrap();
        Cache::builder(&self.uri).schemas(schemas).open().unwrap().dynamic("s").unwrap()
    }

    /// hilcat's cache of a single table.
    pub fn single_table(&self, options: &str) -> Cache {
        let mark = if self.uri.contains('?') { '&' } else { '?' };
        let uri = format!("{}{mark}single_table={}&{options}", self.uri, self.table);
        Cache::from_uri(&uri).unwrap()
    }

    /// Returns the policies under which a table of the package can be opened. On MySQL its keys are not
    /// exact until they are migrated.
    pub fn policies(&self) -> &'static [&'static str] {
        match self.engine.key {
            None => &["safe", "manual"],
            Some(_) => &["safe"],
        }
    }

    /// Returns the policy that changes the least.
    pub fn policy(&self) -> &'static str {
        self.policies().last().unwrap()
    }
}

impl Drop for TestContext {
    fn drop(&mut self) {
        if self.on_server && !std::thread::panicking() {
            let mut program = Program::start(&self.python, &json!({"uri": self.uri}));
            program.run(&format!("DROP TABLE IF EXISTS {}", self.table));
        }
    }
}

/// Returns the keys of a scope, sorted by their text.
pub fn keys(scope: &DynScope) -> Vec<Json> {
    sorted(scope.keys().unwrap().map(Result::unwrap).collect())
}
