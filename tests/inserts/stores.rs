//! The stores, and a scope for each case.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hilcat::backend::Registry;
use hilcat::store::{Options, ScopeStore};
use hilcat::{Cache, Column, ColumnType, Schema, Value};

/// A store under test.
pub struct Tested {
    pub name: &'static str,
    /// The scheme of a file, or the environment variable with the URI of a server.
    uri: &'static str,
    /// Whether all scopes are in one table.
    single: bool,
    /// Options of its URI.
    options: &'static str,
    /// Whether it provides Diesel connections, on which transactions can be kept open.
    pub lends: bool,
}

impl Tested {
    /// Returns whether the records belong to one store, and are gone with it.
    pub fn is_volatile(&self) -> bool {
        self.uri.ends_with(':')
    }
}

const fn tables(name: &'static str, uri: &'static str) -> Tested {
    Tested { name, uri, single: false, options: "", lends: true }
}

const fn others(name: &'static str, uri: &'static str, options: &'static str) -> Tested {
    Tested { options, lends: false, ..tables(name, uri) }
}

pub const STORES: [Tested; 20] = [
    others("memory", "memory:", ""),
    others("memory-bounded", "memory:", "&max_entries=100000"),
    others("files", "file", ""),
    others("files-unsynced", "file", "&synchronous=off&suffix="),
    others("redis", "HILCAT_TEST_REDIS", ""),
    others("redis-hash", "HILCAT_TEST_REDIS", "&layout=hash"),
    others("redis-cluster", "HILCAT_TEST_REDIS_CLUSTER", ""),
    others("redis-cluster-hash", "HILCAT_TEST_REDIS_CLUSTER", "&layout=hash"),
    others("redis-cluster-slots", "HILCAT_TEST_REDIS_CLUSTER", "&slots=scope"),
    others("elasticsearch8", "HILCAT_TEST_ELASTICSEARCH8", ""),
    tables("sqlite-file", "sqlite"),
    Tested { lends: false, ..tables("sqlite-memory", "sqlite::memory:") },
    Tested { single: true, lends: false, ..tables("sqlite-single-table", "sqlite") },
    Tested { lends: false, ..tables("sqlite+kv", "sqlite+kv") },
    tables("postgresql15", "HILCAT_TEST_POSTGRESQL15"),
    tables("postgresql18", "HILCAT_TEST_POSTGRESQL18"),
    Tested {
        single: true,
        lends: false,
        ..tables("postgresql15-single-table", "HILCAT_TEST_POSTGRESQL15")
    },
    tables("mysql8", "HILCAT_TEST_MYSQL8"),
    tables("mariadb", "HILCAT_TEST_MARIADB"),
    Tested { single: true, lends: false, ..tables("mysql8-single-table", "HILCAT_TEST_MYSQL8") },
];

/// A store with a scope for one case.
pub struct TestContext {
    pub tested: &'static Tested,
    uri: String,
    _directory: tempfile::TempDir,
    pub scope: String,
}

impl TestContext {
    pub fn open(tested: &'static Tested) -> Result<Self, String> {
        let directory = tempfile::tempdir().unwrap();
        let uri = match tested.uri {
            variable if variable.starts_with("HILCAT") => {
                std::env::var(variable).map_err(|_| format!("{variable} is not set"))?
            }
            memory if memory.ends_with(':') => memory.to_owned(),
            scheme => format!("{scheme}:///{}", directory.path().join("t.db").display()),
        };
        let scope = format!("t{:016x}", RandomState::new().hash_one(std::process::id()));
        Ok(Self { tested, uri, _directory: directory, scope })
    }

    /// Returns the URI with an option.
    pub fn uri(&self, option: &str) -> String {
        let sign = if self.uri.contains('?') { '&' } else { '?' };
        format!("{}{sign}{option}{}", self.uri, self.tested.options)
    }

    pub fn cache(&self) -> Cache {
        Cache::from_uri(&self.uri("timeout=20s")).unwrap()
    }

    /// Opens the store of a scope.
    pub fn store(&self, schema: &Schema) -> Arc<dyn ScopeStore> {
        self.store_with(schema, "20s")
    }

    /// Opens the store of a scope with a deadline.
    pub fn store_with(&self, schema: &Schema, timeout: &str) -> Arc<dyn ScopeStore> {
        let mut uri = self.uri(&format!("timeout={timeout}"));
        if self.tested.single {
            uri += &single_table(schema);
        }
        let (store, _) = Registry::new().open(&uri, Options::default()).unwrap();
        store.open(&Arc::new(schema.clone())).unwrap()
    }

    /// A schema of the case's scope.
    pub fn schema(&self) -> Schema {
        Schema::new(&self.scope)
    }

    /// A schema of a key `id` and a value `v`, both text.
    pub fn texts(&self) -> Schema {
        let column = |name| Column::new(name, ColumnType::Text);
        self.schema().unique(column("id")).column(column("v").nullable(true))
    }
}

/// Returns the URI options of one table for scopes of this schema.
fn single_table(schema: &Schema) -> String {
    let names = |keys: bool| {
        let columns = schema.columns().iter().enumerate();
        let names = columns.filter(|(at, _)| schema.key_positions().contains(at) == keys);
        names.map(|(_, column)| column.name.clone()).collect::<Vec<_>>().join(",")
    };
    let types = schema.columns().iter().map(|column| format!("{}:{}", column.name, column.ty));
    format!(
        "&single_table=all_{}&key_columns={}&columns={}&column_types={}",
        schema.name(),
        names(true),
        names(false),
        types.collect::<Vec<_>>().join(",")
    )
}

/// A row of text.
pub fn row<const N: usize>(values: [&str; N]) -> Vec<Value> {
    values.map(Value::from).to_vec()
}
