//! Inspection of the tables of a SQLite database.

use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, sql_query};

use crate::backends::sql::error::CallError;
use crate::schema::{ExistingColumn, ExistingTable};
use crate::{ColumnType, Error, Result};

/// Returns the existing table of this name, or `None`.
pub(super) fn table(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<ExistingTable>> {
    let fail = |error: diesel::result::Error| CallError::from(error).into_error::<Sqlite>();
    let found = sql_query(
        "SELECT name, type AS kind, '' AS declared, 0 AS required, 0 AS has_default, 0 AS key_position, 0 AS hidden FROM sqlite_schema WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')",
    );
    let found: Option<TableInfo> =
        found.bind::<Text, _>(name).get_result(connection).optional().map_err(fail)?;
    match found {
        None => return Ok(None),
        Some(TableInfo { kind, .. }) if kind == "view" => {
            return Err(Error::unsupported(format!(
                "`{name}` is a view, not a table; use another name"
            )));
        }
        Some(other) if other.name != name => {
            return Err(Error::unsupported(format!(
                "sqlite: table names are case-insensitive, so that `{}` and `{name}` are equal; rename one of them",
                other.name
            )));
        }
        Some(_) => {}
    }
    // Generated columns have the values 2 or 3 of `hidden`.
    let info = sql_query(
        "SELECT name, '' AS kind, type AS declared, \"notnull\" AS required, dflt_value IS NOT NULL AS has_default, pk AS key_position, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid",
    );
    let columns: Vec<TableInfo> = info.bind::<Text, _>(name).load(connection).map_err(fail)?;
    let (columns, computed): (Vec<_>, Vec<_>) =
        columns.into_iter().partition(|column| column.hidden == 0);
    check_key_collation(connection, name)?;
    let mut key: Vec<&TableInfo> =
        columns.iter().filter(|column| column.key_position > 0).collect();
    key.sort_by_key(|column| column.key_position);
    Ok(Some(ExistingTable {
        key: key.into_iter().map(|column| column.name.clone()).collect(),
        columns: columns.iter().map(existing_column).collect(),
        full_key_columns: Vec::new(),
        computed: computed.into_iter().map(|column| column.name).collect(),
    }))
}

/// Returns the names of all tables, sorted.
pub(super) fn tables(connection: &mut SqliteConnection) -> Result<Vec<String>> {
    let tables = sql_query(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    );
    let tables: QueryResult<Vec<Name>> = tables.load(connection);
    let tables = tables.map_err(|error| CallError::from(error).into_error::<Sqlite>())?;
    Ok(tables.into_iter().map(|table| table.name).collect())
}

/// Returns the columns of each index of a table, except for that of its key.
pub(super) fn indexes(
    connection: &mut SqliteConnection,
    table: &str,
) -> QueryResult<Vec<Vec<String>>> {
    // A partial index has no entries for some records.
    let parts = sql_query(
        "SELECT list.name AS name, part.name AS part FROM pragma_index_list(?) AS list, pragma_index_info(list.name) AS part WHERE list.partial = 0 ORDER BY list.name, part.seqno",
    );
    let parts: Vec<IndexPart> = parts.bind::<Text, _>(table).load(connection)?;
    let parts = parts.chunk_by(|a, b| a.name == b.name);
    let columns = |parts: &[IndexPart]| {
        parts.iter().map(|part| part.part.clone().unwrap_or_default()).collect()
    };
    Ok(parts.map(columns).collect())
}

#[derive(QueryableByName)]
struct IndexPart {
    #[diesel(sql_type = Text)]
    name: String,
    /// `None` for an expression.
    #[diesel(sql_type = Nullable<Text>)]
    part: Option<String>,
}

/// Rejects a key whose collation does not distinguish all texts.
fn check_key_collation(connection: &mut SqliteConnection, table: &str) -> Result<()> {
    let found = sql_query(
        "SELECT part.name AS name FROM pragma_index_list(?) AS list, pragma_index_xinfo(list.name) AS part WHERE list.origin = 'pk' AND part.key = 1 AND part.coll <> 'BINARY'",
    );
    let found: QueryResult<Option<Name>> =
        found.bind::<Text, _>(table).get_result(connection).optional();
    match found.map_err(|error| CallError::from(error).into_error::<Sqlite>())? {
        None => Ok(()),
        Some(column) => Err(Error::unsupported(
            "the collation of the key column treats different texts as equal; use the collation BINARY",
        )
        .with_column(&column.name)),
    }
}

fn existing_column(info: &TableInfo) -> ExistingColumn {
    let ty = info.declared.parse::<ColumnType>().ok();
    ExistingColumn {
        name: info.name.clone(),
        declared: info.declared.clone(),
        // SQLite's integers are signed, regardless of the declared type.
        ty: ty.map(|ty| if ty == ColumnType::UBigInt { ColumnType::BigInt } else { ty }),
        known: false,
        nullable: info.required == 0 && info.key_position == 0,
        required: info.required != 0 && info.has_default == 0,
    }
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
    has_default: i64,
    #[diesel(sql_type = BigInt)]
    key_position: i64,
    /// 0 for an ordinary column.
    #[diesel(sql_type = BigInt)]
    hidden: i64,
}

#[derive(QueryableByName)]
pub(super) struct Count {
    #[diesel(sql_type = BigInt)]
    pub(super) count: i64,
}

#[derive(QueryableByName)]
pub(super) struct Name {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
}
