//! SQLite.

mod created;
mod introspect;
mod rebuild;
mod values;

use std::any::Any;
use std::time::Duration;

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::query_builder::AstPass;
use diesel::result::DatabaseErrorInformation;
use diesel::serialize::Output;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{QueryResult, RunQueryDsl, sql_query};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use self::introspect::Count;
use super::Dialect;
use crate::backends::sql::dialect::statements::{
    Statements, columns, definition, on_conflict, unless_stored,
};
use crate::backends::sql::dialect::write::{
    check_written, pop, removal_suppressed, remove_expired, replace_expired,
};
use crate::backends::sql::error::{CallError, Classify, ErrorClass};
use crate::backends::sql::statement::batch::RequestOrder;
use crate::backends::sql::statement::{Conn, Sql, ValueCodec, execute, find, load};
use crate::schema::{Change, ExistingTable};
use crate::{Column, ColumnType, Error, Key, Result, Row, Schema, Value, temporal, text};

impl ValueCodec for Sqlite {
    fn bind<'b>(out: AstPass<'_, 'b, Self>, _: ColumnType, value: &'b Value) -> QueryResult<()> {
        values::bind(out, value)
    }

    fn encode<'b>(
        value: &'b Value,
        ty: ColumnType,
        out: &mut Output<'b, '_, Self>,
    ) -> diesel::serialize::Result {
        values::encode(value, ty, out)
    }

    fn decode(raw: Self::RawValue<'_>, ty: ColumnType) -> Result<Value> {
        values::decode(raw, ty)
    }
}

impl Classify for Sqlite {
    fn classify(info: &dyn DatabaseErrorInformation) -> ErrorClass {
        let message = info.message();
        if message.contains("is locked") {
            ErrorClass::Busy
        } else if message.starts_with("disk I/O error") {
            // What a commit wrote before the disk failed may be found by the next process.
            ErrorClass::DiskError
        } else if message.starts_with("no such table") {
            ErrorClass::NoTable
        } else if message.starts_with("no such column") || message.contains(" has no column named ")
        {
            ErrorClass::NoColumn
        } else {
            ErrorClass::Other
        }
    }
}

impl Dialect for Sqlite {
    type Connection = SqliteConnection;

    const NAME: &'static str = "sqlite";
    const ON_SERVER: bool = false;
    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
    // The table is the index of its key: one search instead of two, and no copy of the key.
    const TABLE_OPTIONS: &'static str = " WITHOUT ROWID";

    /// Not in double quotes: SQLite takes `"n"` for the text `n` where there is no such column,
    /// and every record would have it.
    fn quote(name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn quote_in_definition(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// The type's affinity must leave what is bound as it is: text that looks like a number stays
    /// text only in a column of affinity TEXT, and JSON may look like one. Dates and times never
    /// do, so their own names can stand.
    fn column_type(ty: ColumnType) -> String {
        match ty {
            ColumnType::Bool => "BOOLEAN",
            ColumnType::SmallInt => "SMALLINT",
            ColumnType::Int => "INTEGER",
            ColumnType::BigInt => "BIGINT",
            ColumnType::Real => "REAL",
            ColumnType::Double => "DOUBLE",
            ColumnType::Text
            | ColumnType::Json
            | ColumnType::Decimal { .. }
            // SQLite's integers are signed: the upper half of u64 is kept as digits.
            | ColumnType::UBigInt => "TEXT",
            ColumnType::Varchar(length) => return format!("VARCHAR({length})"),
            ColumnType::Bytes | ColumnType::Uuid => "BLOB",
            ColumnType::Date => "DATE",
            ColumnType::Time => "TIME",
            ColumnType::Timestamp => "TIMESTAMP",
        }
        .to_owned()
    }

    fn holds(declared: &str, ty: ColumnType) -> bool {
        use Affinity::{Blob, Integer, Numeric, Real, Text};
        let affinity = Affinity::of(declared);
        match ty {
            ColumnType::Bool | ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
                matches!(affinity, Integer | Numeric | Blob)
            }
            ColumnType::Real | ColumnType::Double => matches!(affinity, Real | Numeric),
            // A number of so many digits comes back from a float as it went in.
            ColumnType::Decimal { precision: 0..=15, .. } => affinity != Integer,
            ColumnType::UBigInt
            | ColumnType::Decimal { .. }
            | ColumnType::Text
            | ColumnType::Varchar(_)
            | ColumnType::Json => matches!(affinity, Text | Blob),
            ColumnType::Bytes | ColumnType::Uuid => true,
            ColumnType::Date | ColumnType::Time | ColumnType::Timestamp => {
                matches!(affinity, Text | Numeric | Blob)
            }
        }
    }

    fn same_name(a: &str, b: &str) -> bool {
        a.eq_ignore_ascii_case(b)
    }

    /// Integers are of 64 bits and floats are doubles, whatever the column says.
    fn adopted(ty: ColumnType) -> ColumnType {
        match ty {
            ColumnType::Int => ColumnType::BigInt,
            ColumnType::Real => ColumnType::Double,
            other => other,
        }
    }

    fn makes_numbers(declared: &str) -> bool {
        Affinity::of(declared) == Affinity::Numeric
    }

    fn is_no_other_number(text: &str) -> bool {
        values::is_no_other_number(text)
    }

    fn literal(value: &Value) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let hex = |bytes: &[u8]| -> String {
            format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        match value {
            Value::Absent | Value::Null => "NULL".to_owned(),
            Value::Bool(v) => u8::from(*v).to_string(),
            Value::Int(v) => v.to_string(),
            Value::Float(v) if v.is_infinite() => {
                if *v > 0.0 { "9e999" } else { "-9e999" }.to_owned()
            }
            Value::Float(v) => format!("{v:?}"),
            Value::Bytes(v) => hex(v),
            Value::Uuid(v) => hex(v),
            // A text with NUL cannot stand in a statement.
            Value::Text(v) if v.contains('\0') => format!("(CAST({} AS TEXT))", hex(v.as_bytes())),
            Value::Timestamp(v) => quoted(&temporal::timestamp_to_sql(*v)),
            other => quoted(&text::from_value(other)),
        }
    }

    fn check_schema(schema: &Schema) -> Result<()> {
        let names = || schema.columns.iter().map(|column| column.name.as_str());
        for name in names().chain([schema.table.as_str()]) {
            if name.contains('\0') {
                return Err(Error::unsupported("sqlite: a name cannot hold the character NUL"));
            }
        }
        if schema.table.to_ascii_lowercase().starts_with("sqlite_") {
            return Err(Error::unsupported(
                "sqlite keeps the table names that begin with `sqlite_` for itself",
            ));
        }
        // SQLite does not tell upper from lower case in names.
        for (at, name) in names().enumerate() {
            if let Some(other) = names().take(at).find(|other| other.eq_ignore_ascii_case(name)) {
                return Err(Error::unsupported(format!(
                    "sqlite does not tell the columns `{other}` and `{name}` apart"
                )));
            }
        }
        // The default of `SQLITE_MAX_COLUMN` and what fits the binds of a merge.
        match schema.columns.len() {
            0..=2000 => Ok(()),
            columns => Err(Error::unsupported(format!("sqlite holds 2000 columns, not {columns}"))),
        }
    }

    fn check_value(value: &Value) -> Result<()> {
        match value {
            // SQLite would write NULL.
            Value::Float(v) if v.is_nan() => Err(Error::unsupported("sqlite cannot hold NaN")),
            Value::Text(v) => check_length(v.len()),
            Value::Bytes(v) => check_length(v.len()),
            _ => Ok(()),
        }
    }

    fn fetch_listed(schema: &Schema) -> Option<Sql> {
        use ColumnType::{BigInt, Int, SmallInt, Text, Varchar};
        let [key] = schema.key[..] else { return None };
        let key = &schema.columns[key];
        matches!(key.ty, SmallInt | Int | BigInt | Text | Varchar(_)).then(|| {
            let (table, name) = (Self::quote(&schema.table), Self::quote(&key.name));
            let all = columns::<Self>(&schema.columns);
            Sql::new(format!(
                "SELECT {all} FROM {table} WHERE {name} IN (SELECT value FROM json_each("
            ))
            .bind(Text)
            .text("))")
        })
    }

    fn upsert(schema: &Schema) -> Sql {
        overwriting(schema, 1)
    }

    fn upsert_rows(schema: &Schema) -> Sql {
        overwriting(schema, rows_at_once(schema))
    }

    const LEASE_TABLE: &'static [&'static str] = &[
        "CREATE TABLE IF NOT EXISTS hilcat_leases (scope TEXT NOT NULL, key TEXT NOT NULL, holder TEXT NOT NULL, expires_at TIMESTAMP NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS hilcat_ix_leases ON hilcat_leases (expires_at)",
    ];
    const LEASE_NOW: &'static str = "strftime('%Y-%m-%d %H:%M:%f', 'now')";
    const LEASE_TAKEN: &'static str = "ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at WHERE hilcat_leases.expires_at <= strftime('%Y-%m-%d %H:%M:%f', 'now') OR hilcat_leases.holder = excluded.holder";

    fn lease_after(sql: Sql) -> Sql {
        sql.text("strftime('%Y-%m-%d %H:%M:%f', 'now', (")
            .bind(ColumnType::BigInt)
            .text(" / 1e6) || ' seconds')")
    }

    fn existing_row(table: &str) -> Option<String> {
        Some(Self::quote(table))
    }

    /// A connection that writes has the whole database.
    const LOCKING: &'static str = "";

    /// Times are texts, which compare as times if they are written as hilcat writes them.
    fn comparable_time(name: &str) -> String {
        format!(
            " AND {name} GLOB '????-??-?? ??:??:??*' AND {name} NOT GLOB '???????????*[-+A-Za-z]*'"
        )
    }

    fn replace_all_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
        at: i64,
    ) -> Result<Vec<Option<Row>>, CallError> {
        Self::write_transaction(connection, |connection| {
            let replace = |(key, row)| replace_expired(connection, statements, key, row, at);
            keys.iter().zip(rows).map(replace).collect()
        })
    }

    fn remove_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        at: i64,
    ) -> Result<(), CallError> {
        Self::write_transaction(connection, |connection| {
            keys.iter().try_for_each(|key| remove_expired(connection, statements, key, at))
        })
    }

    fn insert(schema: &Schema) -> Sql {
        unless_stored::<Self>(inserting(schema, 1), schema)
    }

    fn merge(schema: &Schema) -> Sql {
        on_conflict::<Self>(inserting(schema, 1), schema, |sql, column| {
            let name = Self::quote(&column.name);
            sql.text(&format!("{name} = CASE WHEN "))
                .bind(ColumnType::Bool)
                .text(&format!(" THEN excluded.{name} ELSE {name} END"))
        })
    }

    /// Columns are renamed, added and dropped where they stand. For anything else the table is made
    /// anew beside the old one, filled from it and put in its place, as SQLite's documentation of
    /// `ALTER TABLE` advises (<https://www.sqlite.org/lang_altertable.html>, section 7): before all
    /// other changes, while the columns are those that the table's statement, indexes and
    /// triggers know.
    fn alter(
        connection: &mut SqliteConnection,
        schema: &Schema,
        standing: &ExistingTable,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>> {
        let table = Self::quote_in_definition(&schema.table);
        let in_place = |change: &Change| match change {
            Change::RenameColumn { from, to } => Some(format!(
                "ALTER TABLE {table} RENAME COLUMN {} TO {}",
                Self::quote_in_definition(from),
                Self::quote_in_definition(to)
            )),
            Change::AddColumn(column) if !is_computed(column) => {
                Some(format!("ALTER TABLE {table} ADD COLUMN {}", definition::<Self>(column)))
            }
            Change::DropColumn(column) => Some(format!(
                "ALTER TABLE {table} DROP COLUMN {}",
                Self::quote_in_definition(column)
            )),
            _ => None,
        };
        let mut steps: Vec<Vec<String>> =
            changes.iter().map(|change| in_place(change).into_iter().collect()).collect();
        if steps.iter().any(Vec::is_empty) {
            let rebuild = rebuild::statements(connection, schema, standing, changes)?;
            steps[0].splice(0..0, rebuild);
        }
        Ok(steps)
    }

    fn indexes(
        connection: &mut SqliteConnection,
        table: &str,
    ) -> Result<Vec<Vec<String>>, CallError> {
        Ok(introspect::indexes(connection, table)?)
    }

    fn table(connection: &mut SqliteConnection, name: &str) -> Result<Option<ExistingTable>> {
        introspect::table(connection, name)
    }

    fn tables(connection: &mut SqliteConnection) -> Result<Vec<String>> {
        introspect::tables(connection)
    }

    fn write_transaction<T, C: Conn<Self>>(
        connection: &mut C,
        body: impl FnOnce(&mut C) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        // A deferred transaction that turns to writing fails at once where another one wrote
        // meanwhile, however long it is to wait. Of a connection that is no `SqliteConnection`
        // itself the caller has to see to that.
        let own = (connection as &mut dyn Any).downcast_mut::<SqliteConnection>();
        let Some(own) = own.and_then(outside_of_transactions) else {
            return super::transaction(connection, body);
        };
        AnsiTransactionManager::begin_transaction_sql(own, "BEGIN IMMEDIATE")?;
        super::in_transaction(connection, body)
    }

    /// While a table is made anew, the foreign keys of other tables must not act: dropping the old
    /// one would delete the rows that refer to it. They cannot be switched inside a transaction.
    fn with_migration_lock<T>(
        connection: &mut SqliteConnection,
        body: impl FnOnce(&mut SqliteConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let enforced = sql_query("SELECT foreign_keys AS count FROM pragma_foreign_keys");
        let enforced = enforced.get_result::<Count>(connection)?.count != 0;
        connection.batch_execute("PRAGMA foreign_keys = OFF")?;
        let result = Self::write_transaction(connection, body);
        let restored = connection.batch_execute(&format!(
            "PRAGMA legacy_alter_table = OFF; PRAGMA foreign_keys = {}",
            u8::from(enforced)
        ));
        let value = result?;
        restored?;
        Ok(value)
    }

    fn set_deadline(connection: &mut SqliteConnection, left: Duration) -> QueryResult<()> {
        // More than that many milliseconds SQLite would take for none.
        let left = left.as_millis().min(i32::MAX as u128);
        connection.batch_execute(&format!("PRAGMA busy_timeout = {left}"))
    }

    fn fetch_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        let listed = statements.fetch_many.as_ref().zip(list(keys));
        let Some((fetch_many, list)) = listed else {
            // One transaction for all: most of a fetch from a file is its own.
            return super::transaction(connection, |connection| {
                let mut fetch = |key: &Key| {
                    let fetch = statements.fetch.with(key.values());
                    find::<Self>(connection, fetch, &statements.types)
                };
                Ok(keys.iter().map(&mut fetch).collect::<QueryResult<_>>()?)
            });
        };
        let mut rows = RequestOrder::new(&statements.schema, keys);
        load::<Self>(connection, fetch_many.with(&[list]), &statements.types, |row| {
            rows.put(row);
            Ok(())
        })?;
        Ok(rows.finish())
    }

    /// A trigger can have the engine leave the row without an error: no other connection writes
    /// while the transaction is open, so one that is still there was left.
    fn pop<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        Self::write_transaction(connection, |connection| pop_own(connection, statements, key))
    }

    fn pop_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        Self::write_transaction(connection, |connection| {
            keys.iter().map(|key| pop_own(connection, statements, key)).collect()
        })
    }

    fn clear<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        fixed: &[Value],
    ) -> Result<(), CallError> {
        Self::write_transaction(connection, |connection| {
            execute::<Self>(connection, statements.clear.with(fixed))?;
            let left = find::<Self>(connection, statements.keys.first.with(fixed), &[])?;
            left.map_or(Ok(()), |_| Err(CallError::Hilcat(removal_suppressed(&statements.schema))))
        })
    }

    /// While the transaction is open nothing else writes: what has no row when it is asked for has
    /// none when it is inserted.
    fn insert_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
    ) -> Result<Vec<Option<Row>>, CallError> {
        Self::write_transaction(connection, |connection| {
            let stored = Self::fetch_many(connection, statements, keys)?;
            let new = rows.iter().zip(&stored).filter(|(_, stored)| stored.is_none());
            let new: Vec<Row> = new.map(|(row, _)| row.clone()).collect();
            Self::put_all(connection, statements, &new)?;
            Ok(stored)
        })
    }

    /// Several rows at once: each is a search of its own, but Diesel's work is done once.
    fn put_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        rows: &[Row],
    ) -> Result<(), CallError> {
        Self::write_transaction(connection, |connection| {
            let schema = &statements.schema;
            let chunks = rows.chunks_exact(rows_at_once(schema));
            let rest = chunks.remainder();
            for rows in chunks {
                let written = execute::<Self>(connection, statements.set_rows.with_rows(rows))?;
                check_written(schema, written, rows.len())?;
            }
            for row in rest {
                let written = execute::<Self>(connection, statements.set.with(row))?;
                check_written(schema, written, 1)?;
            }
            Ok(())
        })
    }
}

/// Removes a row in a transaction that writes.
fn pop_own<C: Conn<Sqlite>>(
    connection: &mut C,
    statements: &Statements,
    key: &Key,
) -> Result<Option<Row>, CallError> {
    let row = pop::<Sqlite>(connection, statements, key)?;
    if row.is_none()
        && find::<Sqlite>(connection, statements.exists.with(key.values()), &[])?.is_some()
    {
        return Err(CallError::Hilcat(removal_suppressed(&statements.schema)));
    }
    Ok(row)
}

/// The connection, if no transaction is open there. One that is broken is left for Diesel to say so.
fn outside_of_transactions(connection: &mut SqliteConnection) -> Option<&mut SqliteConnection> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(connection);
    matches!(status.transaction_depth(), Ok(None)).then_some(connection)
}

/// How many rows one statement of a batch writes: for each statement Diesel takes about as long as
/// SQLite for each row, and more than some hundred values at once gain nothing.
fn rows_at_once(schema: &Schema) -> usize {
    (256 / schema.columns.len()).clamp(1, 64)
}

/// What SQLite makes of the values of a column, by the type that it was declared with
/// (<https://www.sqlite.org/datatype3.html>, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affinity {
    Text,
    Numeric,
    Integer,
    Real,
    Blob,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        match () {
            () if has(&["INT"]) => Self::Integer,
            () if has(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            () if has(&["BLOB"]) || declared.is_empty() => Self::Blob,
            () if has(&["REAL", "FLOA", "DOUB"]) => Self::Real,
            () => Self::Numeric,
        }
    }
}

/// `INSERT` of all columns of so many rows.
fn inserting(schema: &Schema, rows: usize) -> Sql {
    let (table, all) = (Sqlite::quote(&schema.table), columns::<Sqlite>(&schema.columns));
    Sql::new(format!("INSERT INTO {table} ({all}) VALUES ")).list(", ", 0..rows, |sql, _| {
        sql.text("(").list(", ", &schema.columns, |sql, column| sql.bind(column.ty)).text(")")
    })
}

/// The same, overwriting those that have their keys.
fn overwriting(schema: &Schema, rows: usize) -> Sql {
    on_conflict::<Sqlite>(inserting(schema, rows), schema, |sql, column| {
        let name = Sqlite::quote(&column.name);
        sql.text(&format!("{name} = excluded.{name}"))
    })
}

/// Keys of one integer or text each as a JSON array; none where there is another one among them,
/// or a text with NUL, at which SQLite ends a text in JSON.
fn list(keys: &[Key]) -> Option<Value> {
    let mut list = String::from("[");
    for key in keys {
        if list.len() > 1 {
            list.push(',');
        }
        match key.values() {
            [Value::Int(value)] => list.push_str(&value.to_string()),
            [Value::Text(text)] if !text.contains('\0') => {
                list.push_str(&serde_json::to_string(text).ok()?)
            }
            _ => return None,
        }
    }
    list.push(']');
    Some(Value::Text(list))
}

/// Whether a column's default is an expression, which no column can have that is added to a table
/// of records.
fn is_computed(column: &Column) -> bool {
    column.default.as_ref().is_some_and(|default| Sqlite::literal(default).starts_with('('))
}

/// The limit of SQLite's own default, a billion bytes, less the room for the rest of the row.
fn check_length(length: usize) -> Result<()> {
    match length {
        0..=999_000_000 => Ok(()),
        _ => Err(Error::unsupported("sqlite holds values of up to 999,000,000 bytes")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use diesel::Connection;

    use super::*;

    /// SQLite rolls everything back by itself, so that no savepoint is left to go back to.
    #[test]
    fn a_full_disk_is_the_error_of_a_transaction_in_another() {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection.batch_execute("PRAGMA max_page_count = 10; CREATE TABLE a (b)").unwrap();
        let result: Result<(), CallError> =
            Sqlite::write_transaction(&mut connection, |connection| {
                Sqlite::write_transaction(connection, |connection| {
                    let fill = "INSERT INTO a VALUES (zeroblob(3000))";
                    (0..20).try_for_each(|_| Ok(connection.batch_execute(fill)?))
                })
            });
        let error = result.unwrap_err().into_error::<Sqlite>();
        assert!(error.to_string().contains("full"), "{error}");
    }
}
