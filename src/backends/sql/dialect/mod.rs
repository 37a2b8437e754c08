//! What differs between engines: one file each.

pub(crate) mod expiry;
#[cfg(feature = "server")]
mod keys;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgresql")]
pub(crate) mod postgresql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub(crate) mod statements;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod tokens;
pub(crate) mod write;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::{LoadConnection, TransactionManager};
use diesel::r2d2::R2D2Connection;
use diesel::result::DatabaseErrorInformation;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};

use super::error::{CallError, Classify, ErrorClass, classify};
use super::statement::{Conn, Sql, ValueCodec, execute, find};
use crate::backends::sql::dialect::statements::{
    Batches, Statements, Updates, columns, create, in_section, matching_key, selected,
};
use crate::backends::sql::dialect::write::{pop, put};
use crate::schema::{self, Change, ExistingTable};
use crate::{ColumnType, Error, Key, Result, Row, Schema, Value};

/// How long a change of a table that stands may take on a server.
#[cfg(feature = "server")]
const CHANGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of the table that lists the scopes of a database.
pub(crate) const REGISTRY_TABLE: &str = "hilcat_scopes";

/// The name of the table of leases.
pub(crate) const LEASE_TABLE: &str = "hilcat_leases";

/// Checks that a value comes back from a column as it went in.
pub(crate) type Fits = Arc<dyn Fn(&Value) -> Result<()> + Send + Sync>;

/// An engine, by its Diesel backend.
pub(crate) trait Dialect: ValueCodec + Classify {
    /// Its Diesel connection.
    type Connection: diesel::Connection<Backend = Self>
        + LoadConnection
        + MigrationHarness<Self>
        + R2D2Connection
        + Send
        + 'static;

    /// The name of the backend.
    const NAME: &'static str;

    /// Whether a server is at the other end, which may close a connection that is idle.
    const ON_SERVER: bool;

    /// Whether a transaction undoes what changes a table.
    const MIGRATES_IN_TRANSACTION: bool = true;

    /// Whether the indexes of a table are a part of its definition.
    const INDEXES_IN_TABLE: bool = false;

    /// Whether hilcat's own table of scopes is made as the engine makes others with long keys.
    const LONG_SCOPES: bool = true;

    /// hilcat's own tables.
    const MIGRATIONS: EmbeddedMigrations;

    /// Quotes a name in a statement.
    fn quote(name: &str) -> String;

    /// Quotes a name in the definition of a table, which people read.
    fn quote_in_definition(name: &str) -> String {
        Self::quote(name)
    }

    /// How the engine spells a column type.
    fn column_type(ty: ColumnType) -> String;

    /// How a unique column of a type is defined.
    fn key_type(ty: ColumnType) -> String {
        Self::column_type(ty)
    }

    /// The same for a column of a schema, where that depends on the other ones.
    fn key_type_in(schema: &Schema, column: &schema::Column) -> String {
        let _ = schema;
        Self::key_type(column.ty)
    }

    /// The definitions of the columns that the engine keeps beside those of a schema.
    fn auxiliary_columns(schema: &Schema) -> Vec<String> {
        let _ = schema;
        Vec::new()
    }

    /// The default of a column as its definition has it.
    fn default_of(column: &schema::Column, value: &Value) -> String {
        let _ = column;
        Self::literal(value)
    }

    /// Whether a column that was declared so, by whatever program, holds every value of a type as
    /// hilcat's own would.
    fn holds(declared: &str, ty: ColumnType) -> bool;

    /// Whether two names of columns are one to the engine.
    fn same_name(a: &str, b: &str) -> bool {
        a == b
    }

    /// The type of a column that another program made, for a scope made of its table: what the
    /// engine holds in it, where that is more than the type's name says.
    fn adopted(ty: ColumnType) -> ColumnType {
        ty
    }

    /// Whether a column of a key that was declared so takes no two texts for one.
    fn is_exact(declared: &str) -> bool {
        let _ = declared;
        true
    }

    /// Whether a column that was declared so makes numbers of the texts that look like one, so
    /// that not all of them come back.
    fn makes_numbers(declared: &str) -> bool {
        let _ = declared;
        false
    }

    /// Whether a text comes back from such a column as it went in.
    fn is_no_other_number(text: &str) -> bool {
        let _ = text;
        true
    }

    /// A value as a literal of SQL.
    fn literal(value: &Value) -> String;

    /// Checks that the engine can hold such a table.
    fn check_schema(schema: &Schema) -> Result<()>;

    /// Checks that the engine can hold a value, before anything is sent.
    fn check_value(value: &Value) -> Result<()>;

    /// The same of a row whose values it can each hold.
    fn check_row(schema: &Schema, row: &Row) -> Result<()> {
        let _ = (schema, row);
        Ok(())
    }

    /// What tells whether a value comes back from a column that another program declared so, where
    /// not every one of its type does.
    fn narrow(declared: &str, ty: ColumnType) -> Option<Fits> {
        let _ = (declared, ty);
        None
    }

    /// Whether a table that stands has no columns for the whole of keys that an index cannot hold,
    /// though the engine would have made them.
    fn keys_in_clear(connection: &mut Self::Connection, schema: &Schema) -> QueryResult<bool> {
        let _ = (connection, schema);
        Ok(false)
    }

    /// What tells apart the ways in which the table of one schema can stand; it is noted.
    fn layout(schema: &Schema) -> &'static str {
        let _ = schema;
        ""
    }

    /// A key as it stands in the table, or its beginning.
    fn stored_key<'a>(schema: &Schema, key: &'a Key) -> Cow<'a, Key> {
        let _ = schema;
        Cow::Borrowed(key)
    }

    /// A row as it stands in the table, with what the engine keeps beside its columns at the end.
    fn stored_row(schema: &Schema, row: Row) -> Row {
        let _ = schema;
        row
    }

    /// How a column is selected.
    fn selected(schema: &Schema, column: &schema::Column) -> String {
        let _ = schema;
        Self::quote(&column.name)
    }

    /// Adds the condition that the key is after the one bound.
    fn after(sql: Sql, key: &[&schema::Column]) -> Sql {
        let keys = columns::<Self>(key.iter().copied());
        sql.text(&format!("({keys}) > ("))
            .list(", ", key, |sql, column| sql.bind(column.ty))
            .text(")")
    }

    /// The binds of that condition.
    fn after_values(key: &[Value]) -> Cow<'_, [Value]> {
        Cow::Borrowed(key)
    }

    /// Fetches the rows of all the keys that are listed in its one bind, where such a key can be
    /// listed.
    fn fetch_listed(schema: &Schema) -> Option<Sql>;

    /// Inserts those of the rows in its binds whose keys have none, and gives the keys of those.
    fn insert_listed(schema: &Schema) -> Option<Sql> {
        let _ = schema;
        None
    }

    /// Removes the rows of all the keys that are listed in its binds, and gives them.
    fn pop_listed(schema: &Schema) -> Option<Sql> {
        let _ = schema;
        None
    }

    /// `INSERT` of a row, overwriting the one that has its key.
    fn upsert(schema: &Schema) -> Sql;

    /// The same for as many rows as one statement of a batch writes.
    fn upsert_rows(schema: &Schema) -> Sql;

    /// `INSERT` of a row, which does nothing where a record has its key, or fails.
    fn insert(schema: &Schema) -> Sql;

    /// `INSERT` of a row of which some columns are absent. Its binds are the row and, for each
    /// column that is not unique, whether it is given.
    fn merge(schema: &Schema) -> Sql;

    /// How the row that has the key is called in an `INSERT` that overwrites it on a condition; none
    /// where the engine has no such statement.
    fn existing_row(table: &str) -> Option<String> {
        let _ = table;
        None
    }

    /// What locks the rows of a `SELECT` until the transaction ends.
    const LOCKING: &'static str = " FOR UPDATE";

    /// What a condition on a time needs besides, where other programs may have written what does
    /// not compare as one: begins with `AND`.
    fn comparable_time(name: &str) -> String {
        let _ = name;
        String::new()
    }

    /// The text of a `DELETE` before and after the condition, order and limit of its rows. `keys` are
    /// the quoted columns of the key.
    fn purging(table: &str, keys: &str, count: usize) -> (String, String) {
        let wanted = if count == 1 { keys.to_owned() } else { format!("({keys})") };
        let before = format!("DELETE FROM {table} WHERE {wanted} IN (SELECT {keys} FROM {table}");
        (before, ")".to_owned())
    }

    /// Removes those rows of the keys that are listed in its binds that are expired at the time in
    /// the last one. `name` is the quoted column of the expiry.
    fn remove_listed(schema: &Schema, name: &str) -> Option<Sql> {
        let _ = (schema, name);
        None
    }

    /// Inserts complete rows whose keys have none or an expired one. Gives the stored rows of the
    /// other keys. No key occurs twice.
    fn replace_all_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
        at: i64,
    ) -> Result<Vec<Option<Row>>, CallError>;

    /// Removes those rows of keys that are expired, each in one step.
    fn remove_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        at: i64,
    ) -> Result<(), CallError>;

    /// The statements that make the table of leases unless it exists.
    const LEASE_TABLE: &'static [&'static str];

    /// The time of the server.
    const LEASE_NOW: &'static str;

    /// What follows the row of a lease that is inserted: one that has its key is overwritten if it is
    /// over or of the same holder.
    const LEASE_TAKEN: &'static str;

    /// Whether the count of changed rows tells that it was inserted or overwritten.
    const LEASE_COUNT_TELLS: bool = true;

    /// Adds the time that is so many microseconds, which are bound, after that of the server.
    fn lease_after(sql: Sql) -> Sql;

    /// What is added to the condition of removing a row.
    fn pop_condition(schema: &Schema) -> String {
        let _ = schema;
        String::new()
    }

    /// Removes the row of the key in its binds, and gives it.
    fn pop_one(schema: &Schema) -> Sql {
        let (table, all) = (Self::quote(&schema.table), selected::<Self>(schema, &schema.columns));
        matching_key::<Self>(Sql::new(format!("DELETE FROM {table} WHERE ")), schema)
            .text(&format!("{} RETURNING {all}", Self::pop_condition(schema)))
    }

    /// Removes the rows of a section: those whose first `fixed` key columns have the values bound.
    fn clear_section(schema: &Schema, fixed: usize) -> Sql {
        in_section::<Self>(format!("DELETE FROM {}", Self::quote(&schema.table)), schema, fixed)
    }

    /// Writes that also give the row they replace, where the engine does both in one statement.
    fn updates(schema: &Schema) -> Option<Updates> {
        let _ = schema;
        None
    }

    /// The statements of batches, where they are of fixed sizes.
    fn batches(schema: &Schema) -> Option<Batches> {
        let _ = schema;
        None
    }

    /// What comes after the columns of a `CREATE TABLE`.
    const TABLE_OPTIONS: &'static str;

    /// The statements that drop a table and make it anew.
    fn recreate(schema: &Schema) -> Vec<String> {
        let drop = format!("DROP TABLE {}", Self::quote_in_definition(&schema.table));
        [vec![drop], create::<Self>(schema)].concat()
    }

    /// Removes what an interrupted change of a table left behind.
    fn drop_leftovers(connection: &mut Self::Connection, schema: &Schema) -> QueryResult<()> {
        let _ = (connection, schema);
        Ok(())
    }

    /// The statements of each safe change to a table that stands, in the order of the changes.
    fn alter(
        connection: &mut Self::Connection,
        schema: &Schema,
        standing: &ExistingTable,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>>;

    /// The columns of each index of a table, in their order.
    fn indexes(
        connection: &mut Self::Connection,
        table: &str,
    ) -> Result<Vec<Vec<String>>, CallError>;

    /// The table of this name as it stands, if it does.
    fn table(connection: &mut Self::Connection, name: &str) -> Result<Option<ExistingTable>>;

    /// The names of all tables, sorted.
    fn tables(connection: &mut Self::Connection) -> Result<Vec<String>>;

    /// Runs `body` in a transaction that writes, which in another one is a savepoint.
    fn write_transaction<T, C: Conn<Self>>(
        connection: &mut C,
        body: impl FnOnce(&mut C) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        transaction(connection, body)
    }

    /// How the fingerprint is selected of an entry of hilcat's own table; another one than was noted
    /// where the scope's table has to be looked at again.
    fn noted_fingerprint() -> String {
        Self::quote("fingerprint")
    }

    /// Whether hilcat's own table exists, asked so that a transaction goes on where it does not.
    fn has_registry(connection: &mut Self::Connection) -> QueryResult<bool> {
        let look = Sql::new(format!("SELECT 1 FROM {} WHERE 1 = 0", Self::quote(REGISTRY_TABLE)));
        match execute::<Self>(connection, look.with(&[])) {
            Err(error) if classify::<Self>(&error) == ErrorClass::NoTable => Ok(false),
            looked => looked.map(|_| true),
        }
    }

    /// Runs `body` while no other process migrates this database; all that it does is done or,
    /// where the engine can, nothing.
    fn with_migration_lock<T>(
        connection: &mut Self::Connection,
        body: impl FnOnce(&mut Self::Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError>;

    /// Runs `body`, which changes a table that stands and may have to write it anew, without the
    /// limit of a call; what others hold is waited for no longer than `wait`.
    fn without_statement_timeout<T>(
        connection: &mut Self::Connection,
        wait: Duration,
        body: impl FnOnce(&mut Self::Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let _ = wait;
        body(connection)
    }

    /// Bounds how long the statements that follow take: on a server all of them together, else
    /// each one's waiting for others.
    fn set_deadline(connection: &mut Self::Connection, left: Duration) -> QueryResult<()>;

    /// Whether nothing has arrived on an idle connection, such as the end of the stream. Costs no
    /// round trip.
    fn is_quiet(connection: &Self::Connection) -> bool {
        let _ = connection;
        true
    }

    /// Makes a connection useless, so that the next call opens another one.
    fn abandon(connection: &mut Self::Connection) {
        let _ = connection;
    }

    /// Whether an error of a migration says that another process has made the same change
    /// meanwhile, which the engine's lock did not keep out.
    fn is_race(info: &dyn DatabaseErrorInformation) -> bool {
        let _ = info;
        false
    }

    /// The rows of keys, in the order asked.
    fn fetch_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError>;

    /// Writes rows that are complete, all or none. Of two rows with one key the last one counts.
    fn put_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        rows: &[Row],
    ) -> Result<(), CallError>;

    /// Inserts a complete row if its key has none. Gives whether it did.
    fn insert_one<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<bool, CallError> {
        Ok(execute::<Self>(connection, statements.insert.with(row))? > 0)
    }

    /// Inserts those of the complete rows whose keys have none. Gives the stored rows of the other
    /// keys. No key occurs twice.
    fn insert_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
    ) -> Result<Vec<Option<Row>>, CallError>;

    /// Writes a row, complete or not, and gives the one that it replaced.
    fn update<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<Option<Row>, CallError> {
        Self::write_transaction(connection, |connection| {
            let key = statements.schema.key_of(row);
            let fetch = statements.fetch.with(key.values());
            let old = find::<Self>(connection, fetch, &statements.types)?;
            put::<Self>(connection, statements, row)?;
            Ok(old)
        })
    }

    /// Removes a row and gives it. One that cannot be read stays.
    fn pop<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        Self::write_transaction(connection, |connection| {
            Ok(pop::<Self>(connection, statements, key)?)
        })
    }

    /// Removes rows and gives them, all or none, in the order asked; the first of two keys that
    /// are one gets the row. Where one cannot be read all stay.
    fn pop_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        Self::write_transaction(connection, |connection| {
            keys.iter().map(|key| Ok(pop::<Self>(connection, statements, key)?)).collect()
        })
    }

    /// Removes the rows of a section.
    fn clear<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        fixed: &[Value],
    ) -> Result<(), CallError> {
        execute::<Self>(connection, statements.clear.with(fixed))?;
        Ok(())
    }
}

/// Runs `body` in a transaction, which in another one is a savepoint. The error is that of `body`,
/// also where rolling back fails: SQLite has done so by itself when its disk is full, and a lost
/// connection cannot.
pub(crate) fn transaction<T, E: From<diesel::result::Error>, C: diesel::Connection>(
    connection: &mut C,
    body: impl FnOnce(&mut C) -> Result<T, E>,
) -> Result<T, E> {
    C::TransactionManager::begin_transaction(connection)?;
    in_transaction(connection, body)
}

/// The same in a transaction that was begun.
fn in_transaction<T, E: From<diesel::result::Error>, C: diesel::Connection>(
    connection: &mut C,
    body: impl FnOnce(&mut C) -> Result<T, E>,
) -> Result<T, E> {
    match body(connection) {
        Ok(value) => {
            C::TransactionManager::commit_transaction(connection)?;
            Ok(value)
        }
        Err(error) => {
            let _ = C::TransactionManager::rollback_transaction(connection);
            Err(error)
        }
    }
}

/// The error for a stored value that is of another type than the schema says.
fn misfit(ty: ColumnType, found: &str) -> Error {
    Error::invalid_data(format!("the stored value is {found}, which is not of type {ty}"))
}

/// The error of reading a stored value's text.
fn unreadable(error: Error) -> Error {
    Error::invalid_data(format!("the stored value cannot be read: {}", error.message()))
}

/// Checks that JSON has no more levels of arrays and objects than an engine holds.
pub(crate) fn check_depth<D: Dialect>(json: &serde_json::Value, most: usize) -> Result<()> {
    match depth(json) <= most {
        true => Ok(()),
        false => Err(Error::unsupported(format!(
            "{}: the server holds JSON of up to {most} levels of arrays and objects",
            D::NAME
        ))),
    }
}

fn depth(json: &serde_json::Value) -> usize {
    use serde_json::Value as Json;
    match json {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
