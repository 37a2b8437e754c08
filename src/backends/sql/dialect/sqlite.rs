//! SQLite.

mod rebuild;

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::deserialize::FromSql;
use diesel::query_builder::AstPass;
use diesel::result::DatabaseErrorInformation;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, Double, Text};
use diesel::sqlite::{Sqlite, SqliteConnection, SqliteType};
use diesel::{Connection, OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, sql_query};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::{Dialect, Failure, misfit, unreadable};
use crate::backends::sql::batch::InOrder;
use crate::backends::sql::error::Failed;
use crate::backends::sql::render::{Statements, columns, definition, non_key};
use crate::backends::sql::statement::{Sql, load, load_one};
use crate::schema::{Change, Standing, StandingColumn};
use crate::{Column, ColumnType, Error, Key, Result, Row, Schema, Value, json, temporal, text};

type Raw<'a> = <Sqlite as diesel::backend::Backend>::RawValue<'a>;

impl Dialect for Sqlite {
    type Connection = SqliteConnection;

    const NAME: &'static str = "sqlite";
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

    fn bind<'b>(
        mut out: AstPass<'_, 'b, Self>,
        _: ColumnType,
        value: &'b Value,
    ) -> QueryResult<()> {
        // SQLite has a type for each value, not for each column.
        match value {
            Value::Bool(_) | Value::Int(_) => out.push_bind_param::<BigInt, Value>(value),
            Value::Float(_) => out.push_bind_param::<Double, Value>(value),
            Value::Bytes(_) | Value::Uuid(_) => out.push_bind_param::<Binary, Value>(value),
            _ => out.push_bind_param::<Text, Value>(value),
        }
    }

    /// Only what hilcat would have stored is read: a value that another program put there in
    /// another form would be listed under a key by which it is not found.
    fn decode(mut raw: Raw<'_>, ty: ColumnType) -> Result<Value> {
        use ColumnType as Ty;
        use SqliteType::{Binary, Double, Float, Integer, Long, SmallInt, Text};
        let stored = raw.value_type();
        Ok(match (ty, stored) {
            (_, None) => Value::Null,
            (Ty::BigInt, Some(SmallInt | Integer | Long)) => Value::Int(raw.read_long()),
            (Ty::SmallInt | Ty::Int, Some(SmallInt | Integer | Long)) => {
                in_range(Value::Int(raw.read_long()), ty)?
            }
            (Ty::Text | Ty::Varchar(_), Some(Text)) => Value::Text(read_text(raw)?),
            (Ty::Real | Ty::Double, Some(Float | Double)) => Value::Float(raw.read_double()),
            (Ty::Real | Ty::Double, Some(SmallInt | Integer | Long)) => {
                ty.coerce(Value::Int(raw.read_long())).map_err(unreadable)?
            }
            (Ty::Bool, Some(SmallInt | Integer | Long)) => match raw.read_long() {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(misfit(ty, "an integer beyond 0 and 1")),
            },
            (Ty::Bytes, Some(Binary)) => Value::Bytes(raw.read_blob().to_vec()),
            (Ty::Uuid, Some(Binary)) => match raw.read_blob().try_into() {
                Ok(bytes) => Value::Uuid(bytes),
                Err(_) => return Err(misfit(ty, "bytes, but not sixteen")),
            },
            (Ty::Json, Some(Text)) => {
                Value::Json(Box::new(json::parse(&read_text(raw)?).map_err(unreadable)?))
            }
            (Ty::UBigInt | Ty::Date | Ty::Time | Ty::Timestamp, Some(Text)) => {
                text::to_value(&read_text(raw)?, ty).map_err(unreadable)?
            }
            // In a column of affinity NUMERIC a decimal is an integer or a float.
            (Ty::Decimal { .. }, Some(Float | Double)) => {
                text::to_value(&raw.read_double().to_string(), ty).map_err(unreadable)?
            }
            (Ty::Decimal { .. }, Some(Text | SmallInt | Integer | Long)) => {
                text::to_value(&read_text(raw)?, ty).map_err(unreadable)?
            }
            _ => return Err(misfit(ty, name_of(stored))),
        })
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
        on_conflict(schema, |sql, column| {
            let name = Self::quote(&column.name);
            sql.text(&format!("{name} = excluded.{name}"))
        })
    }

    fn merge(schema: &Schema) -> Sql {
        on_conflict(schema, |sql, column| {
            let name = Self::quote(&column.name);
            sql.text(&format!("{name} = CASE WHEN "))
                .bind(ColumnType::Bool)
                .text(&format!(" THEN excluded.{name} ELSE {name} END"))
        })
    }

    /// Columns are renamed and added where they stand. For anything else the table is made anew
    /// beside the old one, filled from it and put in its place, as SQLite's documentation of
    /// `ALTER TABLE` advises (<https://www.sqlite.org/lang_altertable.html>, section 7), with the
    /// indexes and triggers that stood on it: before any column is renamed, while they have the
    /// names that these know.
    fn alter(
        connection: &mut SqliteConnection,
        schema: &Schema,
        standing: &Standing,
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
            _ => None,
        };
        let mut steps: Vec<Vec<String>> =
            changes.iter().map(|change| in_place(change).into_iter().collect()).collect();
        if let Some(first) = steps.iter().position(Vec::is_empty) {
            let renames =
                changes.iter().any(|change| matches!(change, Change::RenameColumn { .. }));
            let at = if renames { 0 } else { first };
            let rebuild = rebuild::statements(connection, schema, standing, changes, at)?;
            steps[at].splice(0..0, rebuild);
        }
        Ok(steps)
    }

    fn table(connection: &mut SqliteConnection, name: &str) -> Result<Option<Standing>> {
        let fail = |error: diesel::result::Error| Failed::from(error).into_error::<Self>();
        let stands = sql_query(
            "SELECT name, type AS kind, '' AS declared, 0 AS required, 0 AS place FROM sqlite_schema WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')",
        );
        let stands: Option<TableInfo> =
            stands.bind::<Text, _>(name).get_result(connection).optional().map_err(fail)?;
        match stands {
            None => return Ok(None),
            Some(TableInfo { kind, .. }) if kind == "view" => {
                return Err(Error::unsupported(format!("`{name}` is a view, not a table")));
            }
            Some(other) if other.name != name => {
                return Err(Error::unsupported(format!(
                    "sqlite does not tell the tables `{}` and `{name}` apart",
                    other.name
                )));
            }
            Some(_) => {}
        }
        // Generated columns, which are hidden, are not to be written.
        let info = sql_query(
            "SELECT name, '' AS kind, type AS declared, \"notnull\" AS required, pk AS place FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid",
        );
        let columns: Vec<TableInfo> = info.bind::<Text, _>(name).load(connection).map_err(fail)?;
        inexact_key(connection, name)?;
        let mut key: Vec<&TableInfo> = columns.iter().filter(|column| column.place > 0).collect();
        key.sort_by_key(|column| column.place);
        Ok(Some(Standing {
            key: key.into_iter().map(|column| column.name.clone()).collect(),
            columns: columns.iter().map(standing_column).collect(),
        }))
    }

    fn tables(connection: &mut SqliteConnection) -> Result<Vec<String>> {
        let tables = sql_query(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        );
        let tables: QueryResult<Vec<Name>> = tables.load(connection);
        let tables = tables.map_err(|error| Failed::from(error).into_error::<Self>())?;
        Ok(tables.into_iter().map(|table| table.name).collect())
    }

    fn write_transaction<T>(
        connection: &mut SqliteConnection,
        body: impl FnOnce(&mut SqliteConnection) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        // A deferred transaction that turns to writing fails at once where another one wrote
        // meanwhile, however long it is to wait.
        connection.immediate_transaction(body)
    }

    /// While a table is made anew, the foreign keys of other tables must not act: dropping the old
    /// one would delete the rows that refer to it. They cannot be switched inside a transaction.
    fn exclusively<T>(
        connection: &mut SqliteConnection,
        body: impl FnOnce(&mut SqliteConnection) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let enforced = sql_query("SELECT foreign_keys AS count FROM pragma_foreign_keys");
        let enforced = enforced.get_result::<Count>(connection)?.count != 0;
        connection.batch_execute("PRAGMA foreign_keys = OFF")?;
        let result = connection.immediate_transaction(body);
        connection.batch_execute("PRAGMA legacy_alter_table = OFF")?;
        connection.batch_execute(&format!("PRAGMA foreign_keys = {}", u8::from(enforced)))?;
        result
    }

    fn set_deadline(connection: &mut SqliteConnection, left: Duration) -> QueryResult<()> {
        connection.batch_execute(&format!("PRAGMA busy_timeout = {}", left.as_millis()))
    }

    fn failure(info: &dyn DatabaseErrorInformation) -> Failure {
        let message = info.message();
        if message.contains("is locked") {
            Failure::Busy
        } else if message.starts_with("no such table") {
            Failure::NoTable
        } else if message.starts_with("no such column") || message.contains(" has no column named ")
        {
            Failure::NoColumn
        } else {
            Failure::Other
        }
    }

    fn fetch_many(
        connection: &mut SqliteConnection,
        statements: &Statements,
        keys: &[Key],
    ) -> QueryResult<Vec<Option<Row>>> {
        let listed = statements.fetch_many.as_ref().zip(list(keys));
        let Some((fetch_many, list)) = listed else {
            // One transaction for all: most of a fetch from a file is its own.
            return connection.transaction(|connection| {
                let mut fetch = |key: &Key| {
                    let fetch = statements.fetch.with(key.values());
                    load_one::<Self>(connection, fetch, &statements.types)
                };
                keys.iter().map(&mut fetch).collect()
            });
        };
        let mut rows = InOrder::new(&statements.schema, keys);
        load::<Self>(connection, fetch_many.with(&[list]), &statements.types, |row| {
            rows.put(row);
            Ok(())
        })?;
        Ok(rows.finish())
    }

    fn set_many(
        connection: &mut SqliteConnection,
        statements: &Statements,
        rows: &[Row],
    ) -> QueryResult<()> {
        rows.iter().try_for_each(|row| statements.set.with(row).execute(connection).map(drop))
    }
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

/// `INSERT` of all columns, changing the record that has the key by what `change` says of each
/// column that is not unique.
fn on_conflict(schema: &Schema, change: impl Fn(Sql, &Column) -> Sql) -> Sql {
    let table = Sqlite::quote(&schema.table);
    let sql =
        Sql::new(format!("INSERT INTO {table} ({}) VALUES (", columns::<Sqlite>(&schema.columns)))
            .list(", ", &schema.columns, |sql, column| sql.bind(column.ty))
            .text(&format!(") ON CONFLICT ({}) DO ", columns::<Sqlite>(schema.key_columns())));
    match non_key(schema).next() {
        None => sql.text("NOTHING"),
        Some(_) => sql.text("UPDATE SET ").list(", ", non_key(schema), change),
    }
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

/// Keys are exact: a table whose key compares text in another way cannot be a scope.
fn inexact_key(connection: &mut SqliteConnection, table: &str) -> Result<()> {
    let found = sql_query(
        "SELECT part.name AS name FROM pragma_index_list(?) AS list, pragma_index_xinfo(list.name) AS part WHERE list.origin = 'pk' AND part.key = 1 AND part.coll <> 'BINARY'",
    );
    let found: QueryResult<Option<Name>> =
        found.bind::<Text, _>(table).get_result(connection).optional();
    match found.map_err(|error| Failed::from(error).into_error::<Sqlite>())? {
        None => Ok(()),
        Some(column) => Err(Error::unsupported(
            "the column is unique under a collation that takes different texts for one",
        )
        .with_column(&column.name)),
    }
}

fn standing_column(info: &TableInfo) -> StandingColumn {
    let ty = info.declared.parse::<ColumnType>().ok();
    StandingColumn {
        name: info.name.clone(),
        declared: info.declared.clone(),
        // SQLite's integers are signed, whatever the column says.
        ty: ty.map(|ty| if ty == ColumnType::UBigInt { ColumnType::BigInt } else { ty }),
        known: false,
        nullable: info.required == 0 && info.place == 0,
    }
}

/// The limit of SQLite's own default, a billion bytes, less the room for the rest of the row.
fn check_length(length: usize) -> Result<()> {
    match length {
        0..=999_000_000 => Ok(()),
        _ => Err(Error::unsupported("sqlite holds values of up to 999,000,000 bytes")),
    }
}

/// A stored value that has to be in the range of its type.
fn in_range(value: Value, ty: ColumnType) -> Result<Value> {
    ty.check(&value).map_err(unreadable)?;
    Ok(value)
}

fn read_text(raw: Raw<'_>) -> Result<String> {
    let text = <String as FromSql<Text, Sqlite>>::from_sql(raw);
    text.map_err(|_| Error::invalid_data("the stored text is not UTF-8"))
}

fn name_of(stored: Option<SqliteType>) -> &'static str {
    match stored {
        None => "NULL",
        Some(SqliteType::Binary) => "bytes",
        Some(SqliteType::Text) => "text",
        Some(SqliteType::Float | SqliteType::Double) => "a floating-point number",
        Some(_) => "an integer",
    }
}

/// Binds a value as what it is stored as.
macro_rules! stored_as {
    ($($ty:ty),*) => {$(
        impl ToSql<$ty, Sqlite> for Value {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> diesel::serialize::Result {
                Ok(store(self, out))
            }
        }
    )*};
}
stored_as!(BigInt, Double, Binary, Text);

fn store<'b>(value: &'b Value, out: &mut Output<'b, '_, Sqlite>) -> IsNull {
    match value {
        Value::Absent | Value::Null => return IsNull::Yes,
        Value::Bool(v) => out.set_value(i64::from(*v)),
        Value::Int(v) => out.set_value(*v),
        Value::Float(v) => out.set_value(*v),
        Value::Text(v) | Value::Decimal(v) => out.set_value(v.as_str()),
        Value::Bytes(v) => out.set_value(v.as_slice()),
        Value::Uuid(v) => out.set_value(v.as_slice()),
        Value::Timestamp(v) => out.set_value(temporal::timestamp_to_sql(*v)),
        other => out.set_value(text::from_value(other).into_owned()),
    }
    IsNull::No
}

#[derive(QueryableByName)]
struct TableInfo {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    declared: String,
    #[diesel(sql_type = BigInt)]
    required: i64,
    #[diesel(sql_type = BigInt)]
    place: i64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}
