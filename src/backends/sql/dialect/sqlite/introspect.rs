//! What stands in a SQLite database.

use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, sql_query};

use crate::backends::sql::error::CallError;
use crate::schema::{ExistingColumn, ExistingTable};
use crate::{ColumnType, Error, Result};

/// The table of this name as it stands, if it does.
pub(super) fn table(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<ExistingTable>> {
    let fail = |error: diesel::result::Error| CallError::from(error).into_error::<Sqlite>();
    let stands = sql_query(
        "SELECT name, type AS kind, '' AS declared, 0 AS required, 0 AS filled, 0 AS place, 0 AS hidden FROM sqlite_schema WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')",
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
    // Generated columns are hidden 2 or 3.
    let info = sql_query(
        "SELECT name, '' AS kind, type AS declared, \"notnull\" AS required, dflt_value IS NOT NULL AS filled, pk AS place, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid",
    );
    let columns: Vec<TableInfo> = info.bind::<Text, _>(name).load(connection).map_err(fail)?;
    let (columns, computed): (Vec<_>, Vec<_>) =
        columns.into_iter().partition(|column| column.hidden == 0);
    inexact_key(connection, name)?;
    let mut key: Vec<&TableInfo> = columns.iter().filter(|column| column.place > 0).collect();
    key.sort_by_key(|column| column.place);
    Ok(Some(ExistingTable {
        key: key.into_iter().map(|column| column.name.clone()).collect(),
        columns: columns.iter().map(standing_column).collect(),
        wholes: Vec::new(),
        computed: computed.into_iter().map(|column| column.name).collect(),
    }))
}

/// The names of all tables, sorted.
pub(super) fn tables(connection: &mut SqliteConnection) -> Result<Vec<String>> {
    let tables = sql_query(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    );
    let tables: QueryResult<Vec<Name>> = tables.load(connection);
    let tables = tables.map_err(|error| CallError::from(error).into_error::<Sqlite>())?;
    Ok(tables.into_iter().map(|table| table.name).collect())
}

/// The columns of each index of a table, but for those of its key.
pub(super) fn indexes(
    connection: &mut SqliteConnection,
    table: &str,
) -> QueryResult<Vec<Vec<String>>> {
    // Only whole indexes: one with a condition has no entry for some records.
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

/// Keys are exact: a table whose key compares text in another way cannot be a scope.
fn inexact_key(connection: &mut SqliteConnection, table: &str) -> Result<()> {
    let found = sql_query(
        "SELECT part.name AS name FROM pragma_index_list(?) AS list, pragma_index_xinfo(list.name) AS part WHERE list.origin = 'pk' AND part.key = 1 AND part.coll <> 'BINARY'",
    );
    let found: QueryResult<Option<Name>> =
        found.bind::<Text, _>(table).get_result(connection).optional();
    match found.map_err(|error| CallError::from(error).into_error::<Sqlite>())? {
        None => Ok(()),
        Some(column) => Err(Error::unsupported(
            "the column is unique under a collation that takes different texts for one",
        )
        .with_column(&column.name)),
    }
}

fn standing_column(info: &TableInfo) -> ExistingColumn {
    let ty = info.declared.parse::<ColumnType>().ok();
    ExistingColumn {
        name: info.name.clone(),
        declared: info.declared.clone(),
        // SQLite's integers are signed, whatever the column says.
        ty: ty.map(|ty| if ty == ColumnType::UBigInt { ColumnType::BigInt } else { ty }),
        known: false,
        nullable: info.required == 0 && info.place == 0,
        required: info.required != 0 && info.filled == 0,
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
    /// Whether it has a default.
    #[diesel(sql_type = BigInt)]
    filled: i64,
    #[diesel(sql_type = BigInt)]
    place: i64,
    /// 0 for a column that is written as any other.
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
