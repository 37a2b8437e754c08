//! SQLite: the suite, and cases of its own.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use hilcat::{Cache, ErrorKind};
use tempfile::TempDir;

use crate::records::*;
use crate::{Case, Failed, cases};

#[path = "suite.rs"]
mod suite;
#[cfg(all(feature = "chrono", feature = "uuid", feature = "rust_decimal"))]
#[path = "types.rs"]
mod types;

pub(crate) type Conn = SqliteConnection;

/// The cases of SQLite alone.
const OWN: &[Case<TestContext>] = &cases![
    a_locked_writer_is_a_timeout,
    nested_use_ends_by_the_deadline,
    a_database_in_memory_has_one_connection,
    a_failed_call_undoes_only_itself,
    an_existing_record_is_overwritten,
];

/// All its cases.
pub(crate) fn cases() -> Vec<Case<TestContext>> {
    let mut cases = [OWN, suite::CASES].concat();
    #[cfg(all(feature = "chrono", feature = "uuid", feature = "rust_decimal"))]
    {
        cases.extend_from_slice(types::CASES);
        cases.extend(cases![an_unreadable_stored_value_is_an_error]);
    }
    cases
}

/// A file with a cache.
pub(crate) struct TestContext {
    directory: TempDir,
    pub(crate) cache: Cache,
}

fn uri_in(directory: &TempDir) -> String {
    format!("sqlite:///{}", directory.path().join("cache.db").display())
}

impl TestContext {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::from_uri(&format!("{}?timeout=300ms", uri_in(&directory))).unwrap();
        Self { directory, cache }
    }

    pub(crate) fn uri(&self) -> String {
        uri_in(&self.directory)
    }

    /// Runs a transaction that writes on the caller's own connection.
    pub(crate) fn in_transaction<T>(
        &self,
        body: impl FnOnce(&mut Conn) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        self.connection().immediate_transaction(body)
    }

    /// Opens a connection of the caller's own.
    fn connection(&self) -> Conn {
        let path = self.directory.path().join("cache.db");
        SqliteConnection::establish(path.to_str().unwrap()).unwrap()
    }

    /// Asserts the number of distinct stored values in a column of four records: two from the cache
    /// and the same two from Diesel.
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
                "SELECT count(DISTINCT typeof(`{name}`) || quote(`{name}`)) AS count FROM {table}",
                name = column.name,
                table = schema.table_name()
            );
            let distinct = diesel::sql_query(query).get_result(&mut self.connection());
            let Distinct { count } = distinct.unwrap();
            assert_eq!(count, 1 + i64::from(column.nullable), "{}", column.name);
        }
    }
}

fn a_locked_writer_is_a_timeout(context: &TestContext) {
    context.articles();
    let mut connection = context.connection();
    let error = connection.immediate_transaction(|_| {
        let error = context
            .cache
            .diesel(|connection: &mut Conn| diesel::delete(articles::table).execute(connection));
        QueryResult::Ok(error.unwrap_err())
    });
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.is_retryable());
}

fn nested_use_ends_by_the_deadline(context: &TestContext) {
    let stored = context.articles();
    let start = Instant::now();
    let error = context.cache.diesel(|_: &mut Conn| {
        let inner = context.cache.diesel(|_: &mut Conn| QueryResult::Ok(()));
        assert_eq!(inner.unwrap_err().kind(), ErrorKind::Timeout);
        // Reads are not blocked by the writer.
        assert!(stored.exists("a1")?);
        stored.set(&article("c", 1))
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
    stored.set(&article("c", 1)).unwrap();
}

fn a_database_in_memory_has_one_connection(_: &TestContext) {
    let cache = Cache::from_uri("sqlite::memory:").unwrap();
    let stored = cache.scope::<Article>().unwrap();
    stored.set(&article("a1", 1)).unwrap();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cache.diesel(|connection: &mut Conn| {
            connection.transaction(|connection| -> QueryResult<()> {
                diesel::delete(articles::table).execute(connection)?;
                panic!("in the middle")
            })
        })
    }));
    assert!(panic.is_err());
    assert_eq!(stored.fetch("a1").unwrap(), Some(article("a1", 1)));
}

fn a_failed_call_undoes_only_itself(context: &TestContext) {
    let stored = context.articles();
    let mut connection = context.connection();
    connection
        .immediate_transaction(|connection| {
            diesel::sql_query(
                "CREATE TRIGGER refuse BEFORE INSERT ON articles WHEN new.count = 13 \
             BEGIN SELECT RAISE(ABORT, 'thirteen'); END",
            )
            .execute(connection)?;
            stored.on(connection)?.set(&article("n1", 1))?;
            // Longer than one statement can be.
            let batch = (0..100).map(|at| article(&format!("m{at}"), at - 86));
            let error = stored.on(connection)?.set_many(batch).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
            assert!(!stored.on(connection)?.exists("m0")?);
            Ok::<(), Failed>(())
        })
        .unwrap();
    assert_eq!(stored.len().unwrap(), 6);
}

fn an_existing_record_is_overwritten(context: &TestContext) {
    let stored = context.articles();
    let written = context.cache.diesel(|connection: &mut Conn| {
        diesel::insert_into(articles::table)
            .values(article("a1", 21))
            .on_conflict(articles::id)
            .do_update()
            .set(articles::count.eq(22))
            .execute(connection)
    });
    assert_eq!(written.unwrap(), 1);
    assert_eq!(stored.fetch("a1").unwrap().map(|article| article.count), Some(22));
}

#[cfg(all(feature = "chrono", feature = "uuid", feature = "rust_decimal"))]
fn an_unreadable_stored_value_is_an_error(context: &TestContext) {
    use types::{Others, others};

    context.cache.scope::<Others>().unwrap().set(&others(1)).unwrap();
    let error = context.cache.diesel(|connection: &mut Conn| {
        diesel::sql_query("UPDATE others SET at = 'soon'").execute(connection)?;
        others::table.load::<Others>(connection)
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    assert_eq!(error.column(), Some("at"));
    assert!(!error.to_string().contains("soon"), "{error}");
}
