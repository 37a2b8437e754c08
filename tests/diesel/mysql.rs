//! MySQL and MariaDB: the suite.

use diesel::prelude::*;
use diesel::sql_query;
use hilcat::Cache;
use hilcat::backend::MysqlConnection;

use crate::{Case, Failed};

#[path = "suite.rs"]
mod suite;
#[cfg(all(feature = "chrono", feature = "uuid", feature = "rust_decimal"))]
#[path = "types.rs"]
mod types;

pub(crate) type Conn = MysqlConnection;

/// All its cases.
pub(crate) fn cases() -> Vec<Case<TestContext>> {
    [
        suite::CASES,
        #[cfg(all(feature = "chrono", feature = "uuid", feature = "rust_decimal"))]
        types::CASES,
    ]
    .concat()
}

/// A database with a cache, dropped after the test.
pub(crate) struct TestContext {
    server: Cache,
    name: String,
    uri: String,
    /// A second cache, which provides connections that are independent of the first.
    other: Cache,
    pub(crate) cache: Cache,
}

impl TestContext {
    pub(crate) fn new(uri: &str) -> Self {
        let (server, name) = (Cache::from_uri(uri).unwrap(), crate::name());
        let create = format!("CREATE DATABASE {name}");
        let made = server.diesel(|connection: &mut Conn| sql_query(create).execute(connection));
        made.unwrap();
        let (uri, options) = uri.split_once('?').unwrap_or((uri, ""));
        let (host, _) = uri.rsplit_once('/').unwrap();
        let uri = format!("{host}/{name}?{options}");
        let open = || Cache::from_uri(&uri).unwrap();
        Self { server, name, other: open(), cache: open(), uri }
    }

    pub(crate) fn uri(&self) -> String {
        self.uri.clone()
    }

    /// Runs a transaction on a connection from outside the cache.
    pub(crate) fn in_transaction<T>(
        &self,
        body: impl FnOnce(&mut Conn) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let mut result = None;
        let ended = self.other.diesel(|connection: &mut Conn| {
            result = Some(connection.transaction(body));
            QueryResult::Ok(())
        });
        ended?;
        result.unwrap()
    }

    /// Asserts that the engine considers the values of the cache and of Diesel equal in each column.
    #[cfg(all(feature = "chrono", feature = "uuid", feature = "rust_decimal"))]
    pub(crate) fn assert_same_on_disk<R: hilcat::ScopeRecord>(&self) {
        #[derive(QueryableByName)]
        struct Distinct {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            count: i64,
        }
        let schema = R::schema();
        for column in schema.columns().iter().filter(|column| column.name != "id") {
            let query = format!(
                "SELECT count(DISTINCT `{}`) AS count FROM {}",
                column.name,
                schema.table_name()
            );
            let distinct = self.cache.diesel_read(|connection: &mut Conn| {
                sql_query(query).get_result::<Distinct>(connection)
            });
            assert_eq!(distinct.unwrap().count, 1, "{}", column.name);
        }
    }
}

impl Drop for TestContext {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE {}", self.name);
        let _ = self.server.diesel(|connection: &mut Conn| sql_query(drop).execute(connection));
    }
}
