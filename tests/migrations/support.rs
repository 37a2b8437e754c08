//! A database for each test, with a plain connection in addition to hilcat's.

use diesel::connection::SimpleConnection;
use diesel::sql_types::{Nullable, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use hilcat::{Cache, Column, ColumnType, DynScope, Row, Schema};
use tempfile::TempDir;

/// The file of a database, removed after the test.
pub(crate) struct File {
    directory: TempDir,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Nullable<Text>)]
    line: Option<String>,
}

impl File {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// A database in which another program created these tables.
    pub(crate) fn with(sql: &str) -> Self {
        let file = Self::new();
        file.run(sql);
        file
    }

    pub(crate) fn path(&self) -> String {
        self.directory.path().join("t.db").to_str().unwrap().to_owned()
    }

    pub(crate) fn uri(&self) -> String {
        format!("sqlite:///{}", self.path())
    }

    /// Opens the database like another process.
    pub(crate) fn cache(&self) -> Cache {
        Cache::from_uri(&self.uri()).unwrap()
    }

    pub(crate) fn connection(&self) -> SqliteConnection {
        let mut connection = SqliteConnection::establish(&self.path()).unwrap();
        // A cache that was just dropped may still be closing its connections in another thread.
        connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        connection
    }

    /// Executes statements like another program.
    pub(crate) fn run(&self, sql: &str) {
        self.connection().batch_execute(sql).unwrap();
    }

    /// Returns the first column of a query, as text.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        let sql = format!(
            "SELECT CAST(line AS TEXT) AS line FROM (SELECT NULL AS line WHERE 0 UNION ALL {sql})"
        );
        let lines: Vec<Line> = sql_query(sql).load(&mut self.connection()).unwrap();
        lines.into_iter().map(|line| line.line.unwrap_or_else(|| "NULL".into())).collect()
    }

    /// Returns the definition of a table.
    pub(crate) fn ddl(&self, table: &str) -> String {
        let table = table.replace('\'', "''");
        self.query(&format!(
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = '{table}'"
        ))
        .concat()
    }

    /// Returns all definitions and all rows of the database.
    pub(crate) fn dump(&self) -> Vec<String> {
        let mut dump = self.query("SELECT * FROM (SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1)");
        for table in self
            .query("SELECT * FROM (SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1)")
        {
            let columns = self.query(&format!(
                "SELECT 'typeof(\"' || name || '\") || '' '' || quote(CAST(\"' || name || '\" AS BLOB))' FROM pragma_table_xinfo('{table}')"
            ));
            let rows = format!("SELECT {} FROM \"{table}\"", columns.join(" || ',' || "));
            dump.extend(self.query(&rows).into_iter().map(|row| format!("{table}: {row}")));
        }
        dump
    }

    /// Returns the versions of all applied migrations.
    pub(crate) fn versions(&self) -> Vec<String> {
        self.query("SELECT * FROM (SELECT version FROM __diesel_schema_migrations ORDER BY 1)")
    }
}

/// A schema with the text key `id` and further columns.
pub(crate) fn scope(columns: impl IntoIterator<Item = Column>) -> Schema {
    columns.into_iter().fold(Schema::new("a").unique(text("id")), Schema::column)
}

pub(crate) fn text(name: &str) -> Column {
    Column::new(name, ColumnType::Text)
}

pub(crate) fn int(name: &str) -> Column {
    Column::new(name, ColumnType::Int)
}

pub(crate) fn null(column: Column) -> Column {
    column.nullable(true)
}

/// Returns all rows, ordered by key.
pub(crate) fn rows(scope: &DynScope) -> Vec<Row> {
    scope.rows().unwrap().collect::<hilcat::Result<_>>().unwrap()
}
