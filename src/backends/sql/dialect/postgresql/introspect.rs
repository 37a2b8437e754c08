//! Inspection of the tables of a PostgreSQL schema.

use diesel::pg::Pg;
use diesel::sql_types::{Bool, Integer, Nullable, Oid, Text};
use diesel::{OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, sql_query};

use crate::backends::sql::connection::postgresql::PostgresConnection;
use crate::backends::sql::dialect::keys::{
    full_key_name, is_full_key_name, is_sized, needs_full_key,
};
use crate::backends::sql::error::CallError;
use crate::schema::{ExistingColumn, ExistingTable};
use crate::{ColumnType, Error, Result};

/// Returns the existing table of this name, or `None`.
pub(super) fn table(
    connection: &mut PostgresConnection,
    name: &str,
) -> Result<Option<ExistingTable>> {
    let fail = |error: diesel::result::Error| CallError::from(error).into_error::<Pg>();
    let relation = sql_query(
        "SELECT oid, relkind::text AS kind FROM pg_catalog.pg_class WHERE relname = $1 AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema()) AND relkind NOT IN ('i', 'I', 'S', 't')",
    );
    let relation: Option<Relation> =
        relation.bind::<Text, _>(name).get_result(connection).optional().map_err(fail)?;
    let Some(relation) = relation else { return Ok(None) };
    if !matches!(relation.kind.as_str(), "r" | "p") {
        let what = match relation.kind.as_str() {
            "v" | "m" => "a view",
            "f" => "a foreign table",
            _ => "a type",
        };
        return Err(Error::unsupported(format!(
            "`{name}` is {what}, not a table; use another name"
        )));
    }
    reject_children(connection, name, &relation)?;
    let columns = columns(connection, relation.oid).map_err(fail)?;
    let full_key_columns: Vec<String> = columns
        .iter()
        .filter(|column| is_full_key_name(&column.name))
        .map(|column| column.name.clone())
        .collect();
    let mut key: Vec<&Attribute> =
        columns.iter().filter(|column| column.key_position > 0).collect();
    key.sort_by_key(|column| column.key_position);
    key.iter().try_for_each(|column| check_key_column(column))?;
    Ok(Some(ExistingTable {
        key: key.into_iter().map(|column| column.name.clone()).collect(),
        columns: columns
            .iter()
            .filter(|column| !column.computed && !full_key_columns.contains(&column.name))
            .map(|column| existing_column(column, &columns))
            .collect(),
        computed: columns
            .iter()
            .filter(|column| column.computed)
            .map(|column| column.name.clone())
            .collect(),
        full_key_columns,
    }))
}

/// Returns the columns of each valid index of a table, except for partial indexes.
pub(super) fn indexes(
    connection: &mut PostgresConnection,
    table: &str,
) -> QueryResult<Vec<Vec<String>>> {
    let parts = sql_query(
        "SELECT i.indexrelid AS oid, a.attname::text AS name FROM pg_catalog.pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS part(number, place) LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = part.number WHERE i.indrelid = (SELECT oid FROM pg_catalog.pg_class WHERE relname = $1 AND relkind IN ('r', 'p') AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())) AND i.indisvalid AND i.indpred IS NULL ORDER BY i.indexrelid, part.place",
    );
    let parts: Vec<IndexPart> = parts.bind::<Text, _>(table).load(connection)?;
    let parts = parts.chunk_by(|a, b| a.oid == b.oid);
    let columns = |parts: &[IndexPart]| {
        parts.iter().map(|part| part.name.clone().unwrap_or_default()).collect()
    };
    Ok(parts.map(columns).collect())
}

#[derive(QueryableByName)]
struct IndexPart {
    #[diesel(sql_type = Oid)]
    oid: u32,
    /// `None` for an expression.
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
}

/// Rejects a table from which other tables inherit: reading it includes their rows, and several rows
/// can have the same key. Partitions are allowed.
fn reject_children(
    connection: &mut PostgresConnection,
    name: &str,
    relation: &Relation,
) -> Result<()> {
    if relation.kind != "r" {
        return Ok(());
    }
    let children = sql_query(
        "SELECT inhrelid::regclass::text AS name FROM pg_catalog.pg_inherits WHERE inhparent = $1 ORDER BY 1",
    );
    let children: QueryResult<Vec<Name>> = children.bind::<Oid, _>(relation.oid).load(connection);
    let children = children.map_err(|error| CallError::from(error).into_error::<Pg>())?;
    let names: Vec<String> =
        children.into_iter().map(|child| format!("`{}`", child.name)).collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(Error::unsupported(format!(
            "other tables inherit from the table `{name}` ({}), and their rows would be read and removed with its own; use ALTER TABLE ... NO INHERIT, or partition the table",
            names.join(", ")
        ))),
    }
}

/// Returns the expression of the fingerprint in hilcat's table of scopes, which is empty if other tables
/// inherit from the scope's table.
pub(super) fn fingerprint_without_children() -> String {
    "CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhparent WHERE c.relname = hilcat_scopes.table_name AND c.relkind = 'r' AND c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())) THEN '' ELSE fingerprint END".to_owned()
}

/// Returns whether a table of this name exists.
pub(super) fn has_table(connection: &mut PostgresConnection, name: &str) -> QueryResult<bool> {
    let found = sql_query(
        "SELECT relname::text AS name FROM pg_catalog.pg_class WHERE relname = $1 AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())",
    );
    let found: Option<Name> = found.bind::<Text, _>(name).get_result(connection).optional()?;
    Ok(found.is_some())
}

/// Describes a column. If a key column has a column for full keys, that column has the type. A key
/// column of hilcat that needs one and lacks it has another declared type, so that a migration adds it.
fn existing_column(column: &Attribute, all: &[Attribute]) -> ExistingColumn {
    let full_key = full_key_name(usize::try_from(column.key_position).unwrap_or_default());
    let full_key = all.iter().find(|other| column.key_position > 0 && other.name == full_key);
    let typed = &full_key.unwrap_or(column).declared;
    let (mut declared, ty) = (spelled(typed), read_as(typed));
    let own = || all.iter().any(|other| other.key_position > 0 && other.bytewise);
    let sized = || {
        let key = all.iter().filter(|other| other.key_position > 0);
        key.filter(|other| read_as(&other.declared).is_some_and(is_sized)).count()
    };
    if column.key_position > 0 && full_key.is_none() && own() && needs_full_key::<Pg>(ty, sized()) {
        declared.push_str(" without a column for full keys");
    }
    ExistingColumn {
        name: column.name.clone(),
        declared,
        ty,
        known: false,
        nullable: !column.required,
        required: column.required && !column.has_default,
    }
}

/// Returns the columns of a table; those that cannot be written are `computed`.
fn columns(connection: &mut PostgresConnection, table: u32) -> QueryResult<Vec<Attribute>> {
    let columns = sql_query(
        "SELECT a.attname::text AS name,
                format_type(a.atttypid, a.atttypmod) AS declared,
                a.attnotnull AS required,
                a.atthasdef OR a.attidentity <> '' AS has_default,
                a.attgenerated <> '' OR a.attidentity = 'a' AS computed,
                coalesce(array_position(k.indkey[0:k.indnkeyatts - 1], a.attnum), 0) AS key_position,
                c.collisdeterministic AS exact,
                coalesce(c.collname = 'C', false) AS bytewise,
                coalesce(k.indimmediate, true) AS immediate
         FROM pg_catalog.pg_attribute a
         LEFT JOIN pg_catalog.pg_index k ON k.indrelid = a.attrelid AND k.indisprimary
         LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attnum",
    );
    columns.bind::<Oid, _>(table).load(connection)
}

/// Returns the collations of a table's columns, except for the database's default.
pub(super) fn collations(
    connection: &mut PostgresConnection,
    table: &str,
) -> QueryResult<Vec<Collation>> {
    let collations = sql_query(
        "SELECT a.attname::text AS \"column\", n.nspname::text AS namespace, c.collname::text AS name
         FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_class t ON t.oid = a.attrelid
         JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
         JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
         WHERE t.relname = $1 AND t.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
           AND a.attnum > 0 AND NOT a.attisdropped AND c.collname <> 'default'",
    );
    collations.bind::<Text, _>(table).load(connection)
}

#[derive(QueryableByName)]
pub(super) struct Collation {
    #[diesel(sql_type = Text)]
    pub(super) column: String,
    #[diesel(sql_type = Text)]
    pub(super) namespace: String,
    #[diesel(sql_type = Text)]
    pub(super) name: String,
}

/// Rejects a key column whose collation does not distinguish all texts, whose constraint is
/// deferrable, or which is generated.
fn check_key_column(column: &Attribute) -> Result<()> {
    let wrong = if column.exact == Some(false) {
        "the collation of the key column treats different texts as equal; use the collation \"C\""
    } else if !column.immediate {
        "the primary key of the column is deferrable, so that records cannot be overwritten; make it NOT DEFERRABLE"
    } else if column.computed {
        "the key column is generated by the database and cannot be written"
    } else {
        return Ok(());
    };
    Err(Error::unsupported(wrong).with_column(&column.name))
}

/// Returns the names of all tables, sorted.
pub(super) fn tables(connection: &mut PostgresConnection) -> Result<Vec<String>> {
    let tables = sql_query(
        "SELECT relname::text AS name FROM pg_catalog.pg_class WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema()) AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname",
    );
    let tables: QueryResult<Vec<Name>> = tables.load(connection);
    let tables = tables.map_err(|error| CallError::from(error).into_error::<Pg>())?;
    Ok(tables.into_iter().map(|table| table.name).collect())
}

/// Abbreviates PostgreSQL's long type names to the form that hilcat uses.
fn spelled(declared: &str) -> String {
    match declared {
        "timestamp with time zone" => "timestamptz".to_owned(),
        "timestamp without time zone" => "timestamp".to_owned(),
        "time without time zone" => "time".to_owned(),
        other => match other.strip_prefix("character varying") {
            Some(length) => format!("varchar{length}"),
            None => other.to_owned(),
        },
    }
}

/// Returns the column type of a declared type, or `None` if the column would change values (such as
/// `timestamp(3)` or the padded `char(5)`) or the type is unknown (a domain, an enum, an array).
fn read_as(declared: &str) -> Option<ColumnType> {
    let spelled = spelled(declared);
    let name = spelled.split('(').next().unwrap_or_default();
    let bare = matches!(
        spelled.as_str(),
        "boolean"
            | "smallint"
            | "integer"
            | "bigint"
            | "real"
            | "double precision"
            | "text"
            | "bytea"
            | "json"
            | "jsonb"
            | "date"
            | "time"
            | "timestamp"
            | "timestamptz"
            | "uuid"
    );
    let sized = matches!(name, "numeric" | "varchar");
    if bare || sized { spelled.parse().ok() } else { None }
}

#[derive(QueryableByName)]
struct Relation {
    #[diesel(sql_type = Oid)]
    oid: u32,
    #[diesel(sql_type = Text)]
    kind: String,
}

#[derive(QueryableByName)]
struct Attribute {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    declared: String,
    #[diesel(sql_type = Bool)]
    required: bool,
    /// Whether the database fills it if an insert omits it.
    #[diesel(sql_type = Bool)]
    has_default: bool,
    #[diesel(sql_type = Bool)]
    computed: bool,
    /// The position in the primary key from 1, or 0.
    #[diesel(sql_type = Integer)]
    key_position: i32,
    #[diesel(sql_type = Nullable<Bool>)]
    exact: Option<bool>,
    /// Whether it has the collation of hilcat's key columns.
    #[diesel(sql_type = Bool)]
    bytewise: bool,
    #[diesel(sql_type = Bool)]
    immediate: bool,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_change_values_are_unknown() {
        for (declared, ty) in [
            ("integer", Some(ColumnType::Int)),
            ("timestamp with time zone", Some(ColumnType::Timestamp)),
            ("timestamp(3) with time zone", None),
            ("character varying(50)", Some(ColumnType::Varchar(50))),
            ("character varying", Some(ColumnType::Text)),
            ("character(5)", None),
            ("numeric(10,2)", Some(ColumnType::Decimal { precision: 10, scale: 2 })),
            ("numeric(3,-2)", None),
            ("numeric(100,2)", None),
            ("integer[]", None),
            ("time with time zone", None),
            ("my_domain", None),
            ("\"Text\"", None),
        ] {
            assert_eq!(read_as(declared), ty, "{declared}");
        }
    }
}
