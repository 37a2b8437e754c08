//! PostgreSQL, from version 12.

mod batch;
mod introspect;
mod keys;
mod numeric;
mod removal;
mod update;
mod values;

use std::borrow::Cow;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::AstPass;
use diesel::result::DatabaseErrorInformation;
use diesel::serialize::Output;
use diesel::sql_types::BigInt;
use diesel::{QueryResult, RunQueryDsl, sql_query};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use self::introspect::Collation;
use super::keys::{
    check_name, long_column, long_columns, needs_whole, selected, sized_columns, stored_key,
    stored_row,
};
use super::{CHANGE, Dialect, REGISTRY_TABLE};
use crate::backends::sql::connection::error::code;
use crate::backends::sql::connection::postgresql::{OUTDATED_PLAN, PostgresConnection};
use crate::backends::sql::dialect::statements::{
    Statements, Updates, columns, definition, on_conflict, unless_stored,
};
use crate::backends::sql::error::{CallError, Classify, ErrorClass};
use crate::backends::sql::statement::batch::Column;
use crate::backends::sql::statement::{Conn, Sql, ValueCodec};
use crate::remote::Deadline;
use crate::schema::{self, Change, ExistingTable};
use crate::{ColumnType, Error, Key, Result, Row, Schema, Value, text};

/// What migrations lock: the bytes of `hilcat`, as a number.
const LOCK: i64 = 0x6869_6c63_6174;

/// The longest name that PostgreSQL does not cut, in bytes.
const NAME: usize = 63;

impl ValueCodec for Pg {
    fn bind<'b>(out: AstPass<'_, 'b, Self>, ty: ColumnType, value: &'b Value) -> QueryResult<()> {
        values::bind(out, ty, value)
    }

    fn bind_column<'b>(
        out: AstPass<'_, 'b, Self>,
        ty: ColumnType,
        column: &'b Column<'b>,
    ) -> QueryResult<()> {
        values::bind_column(out, ty, column)
    }

    fn encode<'b>(
        value: &'b Value,
        ty: ColumnType,
        out: &mut Output<'b, '_, Self>,
    ) -> diesel::serialize::Result {
        values::encode(value, ty, out)
    }

    fn decode(raw: PgValue<'_>, ty: ColumnType) -> Result<Value> {
        values::decode(raw, ty)
    }
}

impl Classify for Pg {
    fn classify(info: &dyn DatabaseErrorInformation) -> ErrorClass {
        match code(info) {
            Some("55P03") => ErrorClass::Busy,
            Some("57014") => ErrorClass::TooLong,
            // A prepared statement that does not fit the table any more, is gone, or has the name of
            // another one.
            Some(OUTDATED_PLAN | "26000" | "42P05") => ErrorClass::StaleStatement,
            Some("25006") => ErrorClass::ReadOnly,
            Some("42P01") => ErrorClass::NoTable,
            Some("42703") => ErrorClass::NoColumn,
            Some(limit) if limit.starts_with("54") => ErrorClass::TooLarge,
            _ => ErrorClass::Other,
        }
    }
}

impl Dialect for Pg {
    type Connection = PostgresConnection;

    const NAME: &'static str = "postgresql";
    const ON_SERVER: bool = true;
    const LONG_SCOPES: bool = false;
    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgresql");
    const TABLE_OPTIONS: &'static str = "";

    fn quote(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    fn column_type(ty: ColumnType) -> String {
        match ty {
            ColumnType::Bool => "boolean",
            ColumnType::SmallInt => "smallint",
            ColumnType::Int => "integer",
            ColumnType::BigInt => "bigint",
            // PostgreSQL has no unsigned integers.
            ColumnType::UBigInt => "numeric(20,0)",
            ColumnType::Real => "real",
            ColumnType::Double => "double precision",
            ColumnType::Decimal { precision, scale } => {
                return format!("numeric({precision},{scale})");
            }
            ColumnType::Text => "text",
            ColumnType::Varchar(length) => return format!("varchar({length})"),
            ColumnType::Bytes => "bytea",
            ColumnType::Json => "jsonb",
            ColumnType::Date => "date",
            ColumnType::Time => "time",
            ColumnType::Timestamp => "timestamptz",
            ColumnType::Uuid => "uuid",
        }
        .to_owned()
    }

    /// Text is unique by its bytes, whatever the database's collation is, and its index stays
    /// right when a library changes the order of a language.
    fn key_type(ty: ColumnType) -> String {
        let name = Self::column_type(ty);
        match ty {
            ColumnType::Text | ColumnType::Varchar(_) => format!("{name} COLLATE \"C\""),
            _ => name,
        }
    }

    fn key_type_in(schema: &Schema, column: &schema::Column) -> String {
        match long_column::<Self>(schema, &column.name) {
            Some(long) => keys::declared(&long),
            None => Self::key_type(column.ty),
        }
    }

    fn auxiliary_columns(schema: &Schema) -> Vec<String> {
        let wholes = long_columns::<Self>(schema);
        wholes.map(|long| format!("{} {}", keys::whole(&long), keys::condition(&long))).collect()
    }

    fn holds(declared: &str, ty: ColumnType) -> bool {
        match ty {
            ColumnType::Timestamp => declared == "timestamp",
            ColumnType::Json => declared == "json",
            ColumnType::Text => declared == "varchar",
            _ => declared == Self::column_type(ty),
        }
    }

    fn literal(value: &Value) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match value {
            Value::Absent | Value::Null => "NULL".to_owned(),
            Value::Bool(_) | Value::Int(_) | Value::UInt(_) => text::from_value(value).into(),
            Value::Float(v) if v.is_finite() => format!("{v:?}"),
            Value::Bytes(v) => {
                quoted(&v.iter().fold("\\x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")))
            }
            Value::Json(v) => {
                let mut json = Vec::new();
                // Writing to memory cannot fail.
                let _ = values::write_json(v, &mut json);
                quoted(&String::from_utf8_lossy(&json))
            }
            other => quoted(&text::from_value(other)),
        }
    }

    fn check_schema(schema: &Schema) -> Result<()> {
        let columns = schema.columns.iter().map(|column| (column.name.as_str(), "column"));
        for (name, what) in columns.chain([(schema.table.as_str(), "table")]) {
            if name.len() > NAME {
                return Err(Error::unsupported(format!(
                    "postgresql: the name of the {what} `{name}` has {} bytes, of which it would keep {NAME}",
                    name.len()
                )));
            }
            if name.contains('\0') {
                return Err(Error::unsupported("postgresql: a name cannot hold the character NUL"));
            }
        }
        for column in &schema.columns {
            check_name::<Self>(&column.name)?;
        }
        let of_system = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];
        for column in &schema.columns {
            if of_system.contains(&column.name.as_str()) {
                return Err(Error::unsupported("postgresql has a column of that name itself")
                    .with_column(&column.name));
            }
            if let ColumnType::Varchar(10_485_761..) = column.ty {
                return Err(Error::unsupported("postgresql: varchar is of up to 10485760")
                    .with_column(&column.name));
            }
        }
        match (schema.columns.len(), schema.key.len()) {
            (0..=1600, 0..=32) => Ok(()),
            (columns, keys) => Err(Error::unsupported(format!(
                "postgresql holds 1600 columns, 32 of them unique, not {columns} and {keys}"
            ))),
        }
    }

    fn check_value(value: &Value) -> Result<()> {
        match value {
            Value::Text(v) if v.contains('\0') => Err(values::nul()),
            Value::Text(v) => check_length(v.len()),
            Value::Bytes(v) => check_length(v.len()),
            Value::Json(v) if has_nul(v) => Err(values::nul()),
            _ => Ok(()),
        }
    }

    fn check_row(schema: &Schema, row: &Row) -> Result<()> {
        keys::check(schema, row)
    }

    fn stored_key<'a>(schema: &Schema, key: &'a Key) -> Cow<'a, Key> {
        stored_key::<Self>(schema, key)
    }

    fn stored_row(schema: &Schema, row: Row) -> Row {
        stored_row::<Self>(schema, row)
    }

    fn selected(schema: &Schema, column: &schema::Column) -> String {
        selected::<Self>(schema, column)
    }

    fn keys_in_clear(connection: &mut PostgresConnection, schema: &Schema) -> QueryResult<bool> {
        keys::stand_in_clear(connection, schema)
    }

    fn layout(schema: &Schema) -> &'static str {
        let sized = sized_columns(schema);
        match schema.key_columns().any(|column| needs_whole::<Self>(Some(column.ty), sized)) {
            false => "",
            true if schema.keys_in_clear => ", keys in clear",
            true => ", long keys beside",
        }
    }

    fn fetch_listed(schema: &Schema) -> Option<Sql> {
        Some(batch::fetch_listed(schema))
    }

    fn pop_listed(schema: &Schema) -> Option<Sql> {
        Some(batch::pop_listed(schema))
    }

    fn upsert(schema: &Schema) -> Sql {
        overwriting(inserting(Sql::new(""), schema), schema)
    }

    fn upsert_rows(schema: &Schema) -> Sql {
        overwriting(batch::unnested(inserting_into(Sql::new(""), schema), schema), schema)
    }

    const LEASE_TABLE: &'static [&'static str] = &[
        "CREATE TABLE IF NOT EXISTS hilcat_leases (scope text COLLATE \"C\" NOT NULL, key text COLLATE \"C\" NOT NULL, holder text NOT NULL, expires_at timestamptz NOT NULL, PRIMARY KEY (scope, key))",
        "CREATE INDEX IF NOT EXISTS hilcat_ix_leases ON hilcat_leases (expires_at)",
    ];
    /// Not that of the beginning of the transaction, which may have waited since.
    const LEASE_NOW: &'static str = "clock_timestamp()";
    const LEASE_TAKEN: &'static str = "ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at WHERE hilcat_leases.expires_at <= clock_timestamp() OR hilcat_leases.holder = excluded.holder";

    fn lease_after(sql: Sql) -> Sql {
        sql.text("clock_timestamp() + CAST(")
            .bind(ColumnType::BigInt)
            .text(" AS bigint) * interval '1 microsecond'")
    }

    fn existing_row(_: &str) -> Option<String> {
        Some(STANDING.to_owned())
    }

    /// Rows that others have locked are passed over. Not by the place of a row in its table, which
    /// in the parts of a partitioned one is that of several.
    fn purging(table: &str, keys: &str, _: usize) -> (String, String) {
        let before = format!("WITH hilcat_locked AS MATERIALIZED (SELECT {keys} FROM {table}");
        let after = format!(
            " FOR UPDATE SKIP LOCKED) DELETE FROM {table} WHERE ({keys}) IN (SELECT {keys} FROM hilcat_locked)"
        );
        (before, after)
    }

    fn remove_listed(schema: &Schema, name: &str) -> Option<Sql> {
        Some(batch::remove_listed(schema, name))
    }

    fn replace_all_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
        at: i64,
    ) -> Result<Vec<Option<Row>>, CallError> {
        batch::replace_expired(connection, statements, keys, rows, at)
    }

    fn remove_expired<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        at: i64,
    ) -> Result<(), CallError> {
        batch::remove_expired(connection, statements, keys, at)
    }

    fn insert(schema: &Schema) -> Sql {
        unless_stored::<Self>(inserting(Sql::new(""), schema), schema)
    }

    fn merge(schema: &Schema) -> Sql {
        merging(inserting(Sql::new(""), schema), schema)
    }

    fn updates(schema: &Schema) -> Option<Updates> {
        update::statements(schema)
    }

    fn insert_listed(schema: &Schema) -> Option<Sql> {
        Some(batch::insert_listed(schema))
    }

    fn pop_one(schema: &Schema) -> Sql {
        removal::pop_one(schema)
    }

    fn clear_section(schema: &Schema, fixed: usize) -> Sql {
        removal::clear_section(schema, fixed)
    }

    fn alter(
        connection: &mut PostgresConnection,
        schema: &Schema,
        standing: &ExistingTable,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>> {
        let collations = introspect::collations(connection, &schema.table)?;
        let table = Self::quote(&schema.table);
        let altered = |action: String| vec![format!("ALTER TABLE {table} {action}")];
        let statements = changes.iter().map(|change| match change {
            Change::RenameColumn { from, to } => {
                altered(format!("RENAME COLUMN {} TO {}", Self::quote(from), Self::quote(to)))
            }
            Change::AddColumn(column) => {
                altered(format!("ADD COLUMN {}", definition::<Self>(column)))
            }
            Change::WidenColumn { column, to, .. } => {
                widened(schema, standing, &collations, column, *to)
            }
            Change::DropColumn(column) => altered(format!("DROP COLUMN {}", Self::quote(column))),
            Change::AllowNull(column) => {
                altered(format!("ALTER COLUMN {} DROP NOT NULL", Self::quote(column)))
            }
            _ => Vec::new(),
        });
        Ok(statements.collect())
    }

    fn indexes(
        connection: &mut PostgresConnection,
        table: &str,
    ) -> Result<Vec<Vec<String>>, CallError> {
        Ok(introspect::indexes(connection, table)?)
    }

    fn table(connection: &mut PostgresConnection, name: &str) -> Result<Option<ExistingTable>> {
        introspect::table(connection, name)
    }

    fn tables(connection: &mut PostgresConnection) -> Result<Vec<String>> {
        introspect::tables(connection)
    }

    /// A table may be given children after it was noted.
    fn noted_fingerprint() -> String {
        introspect::fingerprint_without_children()
    }

    fn has_registry(connection: &mut PostgresConnection) -> QueryResult<bool> {
        introspect::has_table(connection, REGISTRY_TABLE)
    }

    /// The lock comes before anything else: of two that make Diesel's own table at once one would
    /// fail.
    fn with_migration_lock<T>(
        connection: &mut PostgresConnection,
        body: impl FnOnce(&mut PostgresConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        super::transaction(connection, |connection| {
            let lock = sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(LOCK);
            lock.execute(connection)?;
            body(connection)
        })
    }

    /// In the transaction that holds the lock: the session's limits come back with its end.
    fn without_statement_timeout<T>(
        connection: &mut PostgresConnection,
        wait: Duration,
        body: impl FnOnce(&mut PostgresConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        connection.set_deadline(Deadline::after(CHANGE));
        let wait = wait.as_millis().max(1);
        connection.batch_execute(&format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {wait}"
        ))?;
        body(connection)
    }

    fn set_deadline(connection: &mut PostgresConnection, left: Duration) -> QueryResult<()> {
        connection.set_deadline(Deadline::after(left));
        Ok(())
    }

    fn is_quiet(connection: &PostgresConnection) -> bool {
        connection.is_quiet()
    }

    fn abandon(connection: &mut PostgresConnection) {
        connection.abandon();
    }

    fn fetch_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        batch::fetch(connection, statements, keys)
    }

    fn put_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        rows: &[Row],
    ) -> Result<(), CallError> {
        batch::put(connection, statements, rows)
    }

    fn insert_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
    ) -> Result<Vec<Option<Row>>, CallError> {
        batch::insert(connection, statements, keys, rows)
    }

    fn update<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<Option<Row>, CallError> {
        update::run(connection, statements, row)
    }

    fn pop<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        let key = Self::stored_key(&statements.schema, key);
        match update::readable(&statements.schema) {
            Some(_) => removal::pop(connection, statements, &key),
            None => super::transaction(connection, |connection| {
                removal::pop(connection, statements, &key)
            }),
        }
    }

    fn pop_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        batch::pop(connection, statements, keys)
    }

    fn clear<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        fixed: &[Value],
    ) -> Result<(), CallError> {
        removal::clear(connection, statements, fixed)
    }
}

/// What the row that stands is called in an `INSERT`: a table may be named `excluded`.
const STANDING: &str = "hilcat_standing";

/// The collation that another program gave a column, quoted: of the column before it is renamed.
fn collation(schema: &Schema, collations: &[Collation], name: &str) -> Option<String> {
    let column = schema.columns.iter().find(|column| column.name == name)?;
    let of = |name: &String| collations.iter().find(|collation| collation.column == *name);
    let found = of(&column.name).or_else(|| of(column.was.as_ref()?))?;
    Some(format!("{}.{}", Pg::quote(&found.namespace), Pg::quote(&found.name)))
}

/// The statements that change the type of a column. A column of the key that has stand-ins for long
/// values keeps its type, and the column of the whole keys gets that of the schema; any other column
/// of the key may get stand-ins.
fn widened(
    schema: &Schema,
    standing: &ExistingTable,
    collations: &[Collation],
    name: &str,
    to: ColumnType,
) -> Vec<String> {
    let table = Pg::quote(&schema.table);
    let retyped = |name: &str, ty: String| {
        vec![format!("ALTER TABLE {table} ALTER COLUMN {} TYPE {ty}", Pg::quote(name))]
    };
    let key = schema.key_columns().any(|key| key.name == name);
    match long_column::<Pg>(schema, name) {
        None if key => retyped(name, Pg::key_type(to)),
        // A type that is given without a collation has the database's own.
        None => match collation(schema, collations, name) {
            Some(collation) => {
                retyped(name, format!("{} COLLATE {collation}", Pg::column_type(to)))
            }
            None => retyped(name, Pg::column_type(to)),
        },
        Some(long) if standing.wholes.contains(&long.whole) => {
            retyped(&long.whole, Pg::column_type(to))
        }
        Some(long) => {
            let was = standing.columns.iter().find(|column| column.name == name);
            let had = was.and_then(|column| column.ty);
            keys::added(&long, &table, needs_whole::<Pg>(had, sized_columns(schema)))
        }
    }
}

/// The types of what a row has in the table: its columns, and the whole keys.
fn stored_types(schema: &Schema) -> impl Iterator<Item = ColumnType> {
    let wholes = long_columns::<Pg>(schema).map(|long| long.column.ty);
    schema.columns.iter().map(|column| column.ty).chain(wholes)
}

/// Adds `INSERT INTO` with all columns.
fn inserting_into(sql: Sql, schema: &Schema) -> Sql {
    let (table, mut all) = (Pg::quote(&schema.table), columns::<Pg>(&schema.columns));
    for long in long_columns::<Pg>(schema) {
        all.push_str(", ");
        all.push_str(&Pg::quote(&long.whole));
    }
    sql.text(&format!("INSERT INTO {table} AS {STANDING} ({all}) "))
}

/// Adds `INSERT` of one row.
fn inserting(sql: Sql, schema: &Schema) -> Sql {
    inserting_into(sql, schema)
        .text("VALUES (")
        .list(", ", stored_types(schema), Sql::bind)
        .text(")")
}

/// Adds that a record that has the key is overwritten.
fn overwriting(sql: Sql, schema: &Schema) -> Sql {
    on_conflict::<Pg>(sql, schema, |sql, column| {
        let name = Pg::quote(&column.name);
        sql.text(&format!("{name} = excluded.{name}"))
    })
}

/// Adds that of a record that has the key the columns are changed that are given.
fn merging(sql: Sql, schema: &Schema) -> Sql {
    on_conflict::<Pg>(sql, schema, |sql, column| {
        let name = Pg::quote(&column.name);
        sql.text(&format!("{name} = CASE WHEN "))
            .bind(ColumnType::Bool)
            .text(&format!(" THEN excluded.{name} ELSE {STANDING}.{name} END"))
    })
}

/// Whether a text in JSON holds the character NUL.
fn has_nul(json: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(has_nul),
        Json::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// PostgreSQL's limit of a row and of a message is a gigabyte, and escapes may take room.
fn check_length(length: usize) -> Result<()> {
    match length {
        0..=500_000_000 => Ok(()),
        _ => Err(Error::unsupported("postgresql holds values of up to 500,000,000 bytes")),
    }
}
