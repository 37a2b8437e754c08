//! MySQL and MariaDB.

mod alter;
mod batch;
mod introspect;
mod keys;
mod narrow;
mod redefine;
mod values;

use std::borrow::Cow;
use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use diesel::mysql::Mysql;
use diesel::query_builder::AstPass;
use diesel::result::DatabaseErrorInformation;
use diesel::serialize::Output;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::keys::{
    check_name as check_own, long_column, long_columns, selected, sized_columns, stored_key,
    stored_row,
};
use super::{CHANGE, Dialect, Fits};
use crate::backends::sql::connection::error::code;
use crate::backends::sql::connection::mysql::MysqlConnection;
use crate::backends::sql::dialect::check_depth;
use crate::backends::sql::dialect::statements::{Batches, Statements, create_table};
use crate::backends::sql::error::{CallError, Classify, ErrorClass};
use crate::backends::sql::statement::{Conn, Sql, ValueCodec, execute, load_one};
use crate::schema::{Change, ExistingTable, fnv1a};
use crate::{Column, ColumnType, Error, Key, Result, Row, Schema, Value, temporal, text};

/// The collations that take no two texts for one; each engine reads the comment that is for it.
const EXACT: &str = "/*!80017 COLLATE utf8mb4_0900_bin */ /*M! COLLATE utf8mb4_nopad_bin */";

/// The longest `VARCHAR`: a row holds 65,535 bytes beside its long texts.
const LONGEST_VARCHAR: u32 = 16_383;

impl ValueCodec for Mysql {
    fn bind<'b>(out: AstPass<'_, 'b, Self>, ty: ColumnType, value: &'b Value) -> QueryResult<()> {
        values::bind(out, ty, value)
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

impl Classify for Mysql {
    fn classify(info: &dyn DatabaseErrorInformation) -> ErrorClass {
        match code(info).and_then(|code| code.parse::<u16>().ok()) {
            Some(1146 | 1051) => ErrorClass::NoTable,
            Some(1054) => ErrorClass::NoColumn,
            Some(1205) => ErrorClass::Busy,
            Some(1317 | 1969 | 3024) => ErrorClass::TooLong,
            Some(1213 | 1020) => ErrorClass::Conflict,
            // A table was changed since the statement was prepared.
            Some(1412 | 1615) => ErrorClass::StaleStatement,
            Some(1118 | 1153 | 1264 | 1265 | 1292 | 1366 | 1406 | 3157 | 3988 | 4025) => {
                ErrorClass::TooLarge
            }
            Some(1290 | 1792 | 1836) => ErrorClass::ReadOnly,
            // "WSREP has not yet prepared node for application use".
            Some(1047) => ErrorClass::NotReady,
            Some(2006 | 2013) => ErrorClass::ConnectionLost,
            _ => ErrorClass::Other,
        }
    }
}

impl Dialect for Mysql {
    type Connection = MysqlConnection;

    const NAME: &'static str = "mysql";
    const ON_SERVER: bool = true;
    const MIGRATES_IN_TRANSACTION: bool = false;
    const INDEXES_IN_TABLE: bool = true;
    const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/mysql");
    const TABLE_OPTIONS: &'static str = " ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 /*!80017 COLLATE=utf8mb4_0900_bin */ /*M! COLLATE=utf8mb4_nopad_bin */";

    fn quote(name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn column_type(ty: ColumnType) -> String {
        match ty {
            ColumnType::Bool => "tinyint(1)",
            ColumnType::SmallInt => "smallint",
            ColumnType::Int => "int",
            ColumnType::BigInt => "bigint",
            ColumnType::UBigInt => "bigint unsigned",
            ColumnType::Real => "float",
            ColumnType::Double => "double",
            ColumnType::Decimal { precision, scale } => {
                return format!("decimal({precision},{scale})");
            }
            ColumnType::Varchar(length @ ..=LONGEST_VARCHAR) => {
                return format!("varchar({length})");
            }
            ColumnType::Text | ColumnType::Varchar(_) => "longtext",
            ColumnType::Bytes => "longblob",
            ColumnType::Json => "json",
            ColumnType::Date => "date",
            ColumnType::Time => "time(6)",
            ColumnType::Timestamp => "datetime(6)",
            ColumnType::Uuid => "binary(16)",
        }
        .to_owned()
    }

    fn holds(declared: &str, ty: ColumnType) -> bool {
        match ty {
            ColumnType::Bool | ColumnType::SmallInt => {
                matches!(declared, "smallint" | "mediumint" | "int" | "bigint")
            }
            ColumnType::Int => matches!(declared, "int" | "bigint"),
            ColumnType::Double => declared == "double",
            ColumnType::Text => declared == "longtext",
            ColumnType::Varchar(length) => {
                matches!(declared, "longtext" | "mediumtext")
                    || declared == "text" && length <= LONGEST_VARCHAR
            }
            ColumnType::Bytes => declared == "longblob",
            _ => declared == Self::column_type(ty),
        }
    }

    fn is_exact(declared: &str) -> bool {
        introspect::is_exact(declared)
    }

    fn same_name(a: &str, b: &str) -> bool {
        a.to_lowercase() == b.to_lowercase()
    }

    /// Text, JSON and bytes can have no literal as their default, but an expression.
    fn default_of(column: &Column, value: &Value) -> String {
        let literal = Self::literal(value);
        match column.ty {
            ColumnType::Text | ColumnType::Json | ColumnType::Bytes => format!("({literal})"),
            ColumnType::Varchar(length) if length > LONGEST_VARCHAR => format!("({literal})"),
            _ => literal,
        }
    }

    fn literal(value: &Value) -> String {
        let quoted = |text: &str| {
            let text = text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0");
            format!("'{text}'")
        };
        let hex = |bytes: &[u8]| -> String {
            format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        match value {
            Value::Absent | Value::Null => "NULL".to_owned(),
            Value::Bool(v) => u8::from(*v).to_string(),
            Value::Int(v) => v.to_string(),
            Value::UInt(v) => v.to_string(),
            // With an exponent it is a float, without one a decimal.
            Value::Float(v) => format!("{v:e}"),
            Value::Bytes(v) => hex(v),
            Value::Uuid(v) => hex(v),
            Value::Timestamp(v) => quoted(&temporal::timestamp_to_sql(*v)),
            other => quoted(&text::from_value(other)),
        }
    }

    fn check_schema(schema: &Schema) -> Result<()> {
        check_name(&schema.table, "table")?;
        let names = || schema.columns.iter().map(|column| column.name.as_str());
        for (at, name) in names().enumerate() {
            check_name(name, "column")?;
            check_own::<Self>(name)?;
            if let Some(other) = names().take(at).find(|other| Self::same_name(other, name)) {
                return Err(Error::unsupported(format!(
                    "mysql does not tell the columns `{other}` and `{name}` apart"
                )));
            }
        }
        check_size(schema)
    }

    fn check_value(value: &Value) -> Result<()> {
        match value {
            Value::Float(v) if v.is_nan() => Err(Error::unsupported("mysql cannot hold NaN")),
            Value::Float(v) if v.is_infinite() => {
                Err(Error::unsupported("mysql cannot hold an infinity"))
            }
            Value::Json(json) => check_depth::<Self>(json, DEEPEST_JSON),
            _ => Ok(()),
        }
    }

    fn narrow(declared: &str, ty: ColumnType) -> Option<Fits> {
        narrow::of(declared, ty)
    }

    fn stored_key<'a>(schema: &Schema, key: &'a Key) -> Cow<'a, Key> {
        stored_key::<Self>(schema, key)
    }

    fn stored_row(schema: &Schema, row: Row) -> Row {
        stored_row::<Self>(schema, row)
    }

    fn selected(schema: &Schema, column: &Column) -> String {
        selected::<Self>(schema, column)
    }

    /// As alternatives that each begin with equal columns: a comparison of rows would read the
    /// whole index.
    fn after(sql: Sql, columns: &[&Column]) -> Sql {
        sql.list(" OR ", 1..=columns.len(), |sql, length| {
            sql.text("(")
                .list(" AND ", 0..length, |sql, at| {
                    let sign = if at + 1 == length { ">" } else { "=" };
                    let name = Self::quote(&columns[at].name);
                    sql.text(&format!("{name} {sign} ")).bind(columns[at].ty)
                })
                .text(")")
        })
    }

    fn after_values(key: &[Value]) -> Cow<'_, [Value]> {
        match key {
            [_] => Cow::Borrowed(key),
            values => (1..=values.len()).flat_map(|length| &values[..length]).cloned().collect(),
        }
    }

    fn fetch_listed(_: &Schema) -> Option<Sql> {
        None
    }

    const LEASE_TABLE: &'static [&'static str] = &[
        "CREATE TABLE IF NOT EXISTS hilcat_leases (scope varchar(255) NOT NULL, `key` varchar(255) NOT NULL, holder varchar(255) NOT NULL, expires_at datetime(6) NOT NULL, PRIMARY KEY (scope, `key`), INDEX hilcat_ix_leases (expires_at)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 /*!80017 COLLATE=utf8mb4_0900_bin */ /*M! COLLATE=utf8mb4_nopad_bin */",
    ];
    const LEASE_NOW: &'static str = "UTC_TIMESTAMP(6)";
    /// The columns are assigned from left to right: the second condition sees the new holder.
    const LEASE_TAKEN: &'static str = "ON DUPLICATE KEY UPDATE holder = IF(expires_at <= UTC_TIMESTAMP(6) OR holder = VALUES(holder), VALUES(holder), holder), expires_at = IF(holder = VALUES(holder), VALUES(expires_at), expires_at)";
    /// A row that is left as it is counts as one that was inserted.
    const LEASE_COUNT_TELLS: bool = false;

    fn lease_after(sql: Sql) -> Sql {
        sql.text("UTC_TIMESTAMP(6) + INTERVAL ").bind(ColumnType::BigInt).text(" MICROSECOND")
    }

    /// In the order of the index: the rows before the limit are those that expire first.
    fn purging(table: &str, _: &str, _: usize) -> (String, String) {
        (format!("DELETE FROM {table}"), String::new())
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
        Ok(batch::remove_expired(connection, statements, keys, at)?)
    }

    fn upsert(schema: &Schema) -> Sql {
        batch::upsert(schema, 1)
    }

    /// The statements of batches have sizes of their own.
    fn upsert_rows(schema: &Schema) -> Sql {
        batch::upsert(schema, 1)
    }

    /// Not `IGNORE`, which hides every other error as well, and cuts values that do not fit.
    fn insert(schema: &Schema) -> Sql {
        batch::insert(schema, 1)
    }

    fn merge(schema: &Schema) -> Sql {
        batch::merge(schema)
    }

    fn pop_condition(schema: &Schema) -> String {
        batch::readable(schema).unwrap_or_default()
    }

    fn batches(schema: &Schema) -> Option<Batches> {
        Some(batch::batches(schema))
    }

    fn key_type_in(schema: &Schema, column: &Column) -> String {
        match long_column::<Self>(schema, &column.name) {
            Some(long) => keys::declared(&long),
            None => Self::column_type(column.ty),
        }
    }

    fn auxiliary_columns(schema: &Schema) -> Vec<String> {
        let definitions = long_columns::<Self>(schema).map(|long| {
            let ty = Self::column_type(long.column.ty);
            let comment =
                format!("the key where `{}` holds its beginning and its SHA-256", long.column.name);
            let comment = Self::literal(&Value::Text(comment));
            format!("{} {ty} COMMENT {comment}", Self::quote(&long.whole))
        });
        definitions.collect()
    }

    /// A new table is swapped with the old one, so that at no time there is none.
    fn recreate(schema: &Schema) -> Vec<String> {
        let (new, old) = temporary(&schema.table);
        let table = Self::quote(&schema.table);
        vec![
            create_table::<Self>(schema, &new),
            format!(
                "RENAME TABLE {table} TO {old}, {new} TO {table}",
                old = Self::quote(&old),
                new = Self::quote(&new)
            ),
            format!("DROP TABLE {}", Self::quote(&old)),
        ]
    }

    fn drop_leftovers(connection: &mut MysqlConnection, schema: &Schema) -> QueryResult<()> {
        let (new, old) = temporary(&schema.table);
        let (new, old) = (Self::quote(&new), Self::quote(&old));
        connection.batch_execute(&format!("DROP TABLE IF EXISTS {new}, {old}"))
    }

    /// One statement for all changes, which the engine makes or leaves undone as a whole: nothing
    /// is lost where one of them fails.
    fn alter(
        connection: &mut MysqlConnection,
        schema: &Schema,
        standing: &ExistingTable,
        changes: &[Change],
    ) -> QueryResult<Vec<Vec<String>>> {
        let mut steps = vec![Vec::new(); changes.len()];
        if let Some(first) = steps.first_mut() {
            first.push(alter::statement(connection, schema, standing, changes)?);
        }
        Ok(steps)
    }

    fn indexes(
        connection: &mut MysqlConnection,
        table: &str,
    ) -> Result<Vec<Vec<String>>, CallError> {
        Ok(introspect::indexes(connection, table)?)
    }

    fn table(connection: &mut MysqlConnection, name: &str) -> Result<Option<ExistingTable>> {
        introspect::table(connection, name)
    }

    fn tables(connection: &mut MysqlConnection) -> Result<Vec<String>> {
        introspect::tables(connection)
    }

    /// Under a lock of the server's, which is given back when the connection ends. Nothing of what
    /// changes a table is undone by a transaction.
    fn with_migration_lock<T>(
        connection: &mut MysqlConnection,
        body: impl FnOnce(&mut MysqlConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let seconds = connection.left().as_secs().max(1);
        // Names of locks are of the whole server, and of 64 characters at the most.
        let name = "CONCAT('hilcat ', SHA1(DATABASE()))";
        let lock = Sql::new(format!("SELECT GET_LOCK({name}, {seconds})"));
        let got = load_one::<Self>(connection, lock.with(&[]), &[ColumnType::BigInt])?;
        if got.as_deref() != Some(&[Value::Int(1)]) {
            return Err(CallError::Hilcat(Error::new(
                crate::ErrorKind::Timeout,
                "another process migrated this database until the deadline passed; nothing was changed",
            )
            .while_waiting()));
        }
        let result = body(connection);
        let unlock = Sql::new(format!("SELECT RELEASE_LOCK({name})"));
        let released = load_one::<Self>(connection, unlock.with(&[]), &[ColumnType::BigInt]);
        let result = result?;
        released?;
        Ok(result)
    }

    fn without_statement_timeout<T>(
        connection: &mut MysqlConnection,
        wait: Duration,
        body: impl FnOnce(&mut MysqlConnection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let (keep, lift, restore) = match connection.server().mariadb {
            true => (
                ", @hilcat_statement = @@max_statement_time",
                ", max_statement_time = 0",
                ", max_statement_time = @hilcat_statement",
            ),
            // Its limit is for statements that read.
            false => ("", "", ""),
        };
        let wait = wait.as_secs().max(1);
        connection.begin(CHANGE);
        connection.batch_execute(&format!("SET @hilcat_lock = @@lock_wait_timeout{keep}"))?;
        connection.batch_execute(&format!("SET lock_wait_timeout = {wait}{lift}"))?;
        let result = body(connection);
        let restored =
            connection.batch_execute(&format!("SET lock_wait_timeout = @hilcat_lock{restore}"));
        let result = result?;
        restored?;
        Ok(result)
    }

    fn set_deadline(connection: &mut MysqlConnection, left: Duration) -> QueryResult<()> {
        connection.begin(left);
        Ok(())
    }

    fn is_quiet(connection: &MysqlConnection) -> bool {
        connection.is_quiet()
    }

    fn abandon(connection: &mut MysqlConnection) {
        connection.abandon();
    }

    /// The table is there, or the row of the migration: on another node of a cluster, say.
    fn is_race(info: &dyn DatabaseErrorInformation) -> bool {
        matches!(code(info), Some("1050" | "1062"))
    }

    fn fetch_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        Ok(batch::fetch_many(connection, statements, keys)?)
    }

    fn put_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        rows: &[Row],
    ) -> Result<(), CallError> {
        Ok(batch::put_all(connection, statements, rows)?)
    }

    fn insert_one<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<bool, CallError> {
        Ok(batch::inserted(execute::<Self>(connection, statements.insert.with(row)))?)
    }

    fn insert_all<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
        rows: &[Row],
    ) -> Result<Vec<Option<Row>>, CallError> {
        batch::insert_all(connection, statements, keys, rows)
    }

    fn update<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        row: &Row,
    ) -> Result<Option<Row>, CallError> {
        batch::update(connection, statements, row)
    }

    fn pop<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        key: &Key,
    ) -> Result<Option<Row>, CallError> {
        Ok(batch::pop(connection, statements, key)?)
    }

    fn pop_many<C: Conn<Self>>(
        connection: &mut C,
        statements: &Statements,
        keys: &[Key],
    ) -> Result<Vec<Option<Row>>, CallError> {
        Ok(batch::pop_many(connection, statements, keys)?)
    }
}

/// How deep JSON can be; a MariaDB may hold less.
const DEEPEST_JSON: usize = 100;

/// The names of the tables while one is made anew: they can be told from the name of the table.
fn temporary(table: &str) -> (String, String) {
    let hash = fnv1a(table.as_bytes());
    (format!("hilcat_new_{hash:016x}"), format!("hilcat_old_{hash:016x}"))
}

/// A column's definition with the character set of its text: the table may have another one.
fn in_utf8(definition: String, ty: ColumnType) -> String {
    let spelled = Mysql::column_type(ty);
    match ty {
        ColumnType::Text | ColumnType::Varchar(_) => {
            definition.replacen(&spelled, &format!("{spelled} CHARACTER SET utf8mb4 {EXACT}"), 1)
        }
        _ => definition,
    }
}

fn check_name(name: &str, what: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::unsupported(format!("mysql: the name of a {what} {why}")));
    match () {
        () if name.chars().count() > 64 => wrong("has at most 64 characters"),
        () if name.contains('\0') => wrong("cannot hold the character NUL"),
        () if name.chars().any(|c| c > '\u{ffff}') => {
            wrong("cannot hold characters beyond U+FFFF, as emoji are")
        }
        () if name.ends_with(' ') => wrong("cannot end with a space"),
        () => Ok(()),
    }
}

/// Checks what a table and its rows have to fit in.
fn check_size(schema: &Schema) -> Result<()> {
    let too_many = |what: &str, most: usize, are: usize| {
        Err(Error::unsupported(format!("mysql holds {most} {what}, not {are}")))
    };
    if schema.columns.len() > 1000 {
        return too_many("columns", 1000, schema.columns.len());
    }
    if schema.key.len() > 16 {
        return too_many("columns in a key", 16, schema.key.len());
    }
    if sized_columns(schema) > keys::MOST_SIZED {
        let (most, are) = (keys::MOST_SIZED, sized_columns(schema));
        return too_many("columns of text or bytes in a key", most, are);
    }
    for column in &schema.columns {
        if let ColumnType::Decimal { precision, scale } = column.ty
            && (precision > 65 || scale > 30)
        {
            return Err(Error::unsupported("mysql holds decimals of up to decimal(65,30)")
                .with_column(&column.name));
        }
    }
    let of_keys = long_columns::<Mysql>(schema).map(|_| 2560 + 12).sum::<usize>();
    match schema.columns.iter().map(|column| row_bytes(column.ty)).sum::<usize>() + of_keys {
        0..=65_000 => Ok(()),
        bytes => Err(Error::unsupported(format!(
            "mysql holds rows of up to 65,535 bytes beside the columns of type text, bytes and json, not {bytes}: make text of the longest varchar columns"
        ))),
    }
}

/// How many bytes a value takes at the most of those that a row can have.
fn row_bytes(ty: ColumnType) -> usize {
    match ty {
        ColumnType::Varchar(length @ ..=LONGEST_VARCHAR) => length as usize * 4 + 2,
        ColumnType::Decimal { .. } => 32,
        ColumnType::Uuid => 16,
        _ => 12,
    }
}
