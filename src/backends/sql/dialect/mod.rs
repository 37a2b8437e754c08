//! What differs between engines: one file each.

pub(super) mod sqlite;

use std::time::Duration;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::connection::LoadConnection;
use diesel::expression::QueryMetadata;
use diesel::query_builder::AstPass;
use diesel::r2d2::R2D2Connection;
use diesel::result::DatabaseErrorInformation;
use diesel::serialize::Output;
use diesel::sql_types::Untyped;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};

use super::render::Statements;
use super::statement::{Conn, Sql};
use crate::schema::{Change, Standing};
use crate::{ColumnType, Error, Key, Result, Row, Schema, Value};

/// What the text of an engine's error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another one holds what the call needs: it was not done.
    Busy,
    /// A table does not stand.
    NoTable,
    /// A column does not stand.
    NoColumn,
    /// The connection is gone.
    Lost,
    /// Anything else.
    Other,
}

/// An engine, by its Diesel backend.
pub(super) trait Dialect: Backend + QueryMetadata<Untyped> + 'static {
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

    /// A value as a literal of SQL.
    fn literal(value: &Value) -> String;

    /// Checks that the engine can hold such a table.
    fn check_schema(schema: &Schema) -> Result<()>;

    /// Checks that the engine can hold a value, before anything is sent.
    fn check_value(value: &Value) -> Result<()>;

    /// Binds a value of a type.
    fn bind<'b>(out: AstPass<'_, 'b, Self>, ty: ColumnType, value: &'b Value) -> QueryResult<()>;

    /// Writes a value of a type where Diesel wants a bound value.
    fn encode<'b>(
        value: &'b Value,
        ty: ColumnType,
        out: &mut Output<'b, '_, Self>,
    ) -> diesel::serialize::Result;

    /// Reads a value of a type.
    fn decode(raw: Self::RawValue<'_>, ty: ColumnType) -> Result<Value>;

    /// Fetches the rows of all the keys that are listed in its one bind, where such a key can be
    /// listed.
    fn fetch_listed(schema: &Schema) -> Option<Sql>;

    /// `INSERT` of so many rows in one statement, overwriting those that have their keys. Of two
    /// rows with one key the last one counts.
    fn upsert_rows(schema: &Schema, rows: usize) -> Sql;

    /// `INSERT` of a row of which some columns are absent. Its binds are the row and, for each
    /// column that is not unique, whether it is given.
    fn merge(schema: &Schema) -> Sql;

    /// What comes after the columns of a `CREATE TABLE`.
    const TABLE_OPTIONS: &'static str;

    /// The statements of each safe change to a table that stands, in the order of the changes.
    fn alter(
        connection: &mut Self::Connection,
        schema: &Schema,
        standing: &Standing,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>>;

    /// The table of this name as it stands, if it does.
    fn table(connection: &mut Self::Connection, name: &str) -> Result<Option<Standing>>;

    /// The names of all tables, sorted.
    fn tables(connection: &mut Self::Connection) -> Result<Vec<String>>;

    /// Runs `body` in a transaction that writes.
    fn write_transaction<T>(
        connection: &mut Self::Connection,
        body: impl FnOnce(&mut Self::Connection) -> Result<T, super::error::Failed>,
    ) -> Result<T, super::error::Failed>;

    /// Runs `body` while no other process migrates this database; all that it does is done or,
    /// where the engine can, nothing.
    fn exclusively<T>(
        connection: &mut Self::Connection,
        body: impl FnOnce(&mut Self::Connection) -> Result<T, super::error::Failed>,
    ) -> Result<T, super::error::Failed>;

    /// Bounds how long the statements that follow wait for others.
    fn set_deadline(connection: &mut Self::Connection, left: Duration) -> QueryResult<()>;

    /// What an error says.
    fn failure(info: &dyn DatabaseErrorInformation) -> Failure;

    /// The rows of keys, in the order asked.
    fn fetch_many(
        connection: &mut impl Conn<Self>,
        statements: &Statements,
        keys: &[Key],
    ) -> QueryResult<Vec<Option<Row>>>;
}

/// The error for a stored value that is of another type than the schema says.
fn misfit(ty: ColumnType, found: &str) -> Error {
    Error::invalid_data(format!("the stored value is {found}, which is not of type {ty}"))
}

/// The error of reading a stored value's text.
fn unreadable(error: Error) -> Error {
    Error::invalid_data(format!("the stored value cannot be read: {}", error.message()))
}
