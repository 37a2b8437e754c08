//! Inspection of the tables of a MySQL or MariaDB database.

use diesel::mysql::Mysql;

use crate::backends::sql::connection::mysql::MysqlConnection;
use crate::backends::sql::dialect::keys::{full_key_name, is_full_key_name, needs_full_key};
use crate::backends::sql::dialect::{ColumnTypes, REGISTRY_TABLE};
use crate::backends::sql::error::{CallError, ErrorClass};
use crate::backends::sql::statement::{Sql, load};
use crate::schema::{ExistingColumn, ExistingTable};
use crate::{ColumnType, Error, Result, Row, Value};

/// The collations that distinguish all texts, including trailing spaces.
const EXACT: [&str; 3] = ["utf8mb4_0900_bin", "utf8mb4_nopad_bin", "binary"];

/// The separator between the declared type and an inexact collation of a key column.
const COLLATED: &str = " collate ";

/// A column in the information schema.
struct Info {
    name: String,
    declared: String,
    nullable: bool,
    /// Whether the server fills it if an insert omits it.
    has_default: bool,
    /// The character set of a text column.
    charset: Option<String>,
    collation: Option<String>,
    generated: bool,
}

/// Returns the existing table of this name, or `None`.
pub(super) fn table(connection: &mut MysqlConnection, name: &str) -> Result<Option<ExistingTable>> {
    if !exists(connection, name)? {
        return Ok(None);
    }
    let json = json_columns(connection, name)?;
    let columns = columns(connection, name)?;
    let all: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let key = key(connection, name)?;
    let full_key = |number: usize| {
        let name = full_key_name(number);
        columns.iter().find(move |column| column.name.eq_ignore_ascii_case(&name))
    };
    let sized = key.iter().filter_map(|part| columns.iter().find(|column| column.name == *part));
    let sized = sized.filter(|column| is_sized(&column.declared)).count();
    let existing = columns
        .iter()
        .filter(|column| !column.generated && !is_full_key_name(&column.name))
        .map(|column| match key.iter().position(|part| *part == column.name) {
            None => existing_column(column, &json),
            Some(at) => key_column(column, full_key(at + 1), sized),
        });
    let existing = existing.collect();
    let computed = columns.iter().filter(|column| column.generated);
    let computed = computed.map(|column| column.name.clone()).collect();
    let full_key_columns = all.into_iter().filter(|name| is_full_key_name(name)).collect();
    Ok(Some(ExistingTable { columns: existing, key, full_key_columns, computed }))
}

/// Returns the names of all tables, sorted.
pub(super) fn tables(connection: &mut MysqlConnection) -> Result<Vec<String>> {
    let tables = Sql::new(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY table_name",
    );
    let rows = query(connection, &tables, &[], &[ColumnType::Text])?;
    let mut names: Vec<String> = rows.into_iter().filter_map(|row| texts(row).next()).collect();
    names.sort();
    Ok(names)
}

/// Returns whether a table of this name exists. Compares names like the server, which can be
/// case-insensitive.
fn exists(connection: &mut MysqlConnection, name: &str) -> Result<bool> {
    let sql = Sql::new(
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ",
    )
    .bind(ColumnType::Text);
    let folds = connection.server().folds_tables;
    let found = query(connection, &sql, &[name.into()], &[ColumnType::Text, ColumnType::Text])?;
    for row in found {
        let mut row = texts(row);
        let (Some(found), Some(kind)) = (row.next(), row.next()) else { continue };
        if found == name || folds && found.to_lowercase() == name.to_lowercase() {
            if folds {
                check_spelling(connection, name)?;
            }
            return match kind.as_str() {
                "BASE TABLE" => Ok(true),
                kind => Err(Error::unsupported(format!(
                    "`{name}` is a {}, not a table; use another name",
                    kind.to_lowercase()
                ))),
            };
        }
    }
    Ok(false)
}

/// Rejects a table that another scope uses in another spelling, if the server treats the names as
/// equal: the scopes would share their records.
fn check_spelling(connection: &mut MysqlConnection, name: &str) -> Result<()> {
    let sql = Sql::new(format!("SELECT scope, table_name FROM {}", Mysql::quote(REGISTRY_TABLE)));
    let mut noted = Vec::new();
    let loaded =
        load::<Mysql>(connection, sql.with(&[]), &[ColumnType::Text, ColumnType::Text], |row| {
            noted.push(row);
            Ok(())
        });
    match loaded.map_err(CallError::from) {
        Err(failed) if failed.class::<Mysql>() == ErrorClass::NoTable => return Ok(()),
        loaded => loaded.map_err(CallError::into_error::<Mysql>)?,
    }
    let other = |row: Row| {
        let mut texts = texts(row);
        let (scope, table) = texts.next().zip(texts.next())?;
        (table != name && table.to_lowercase() == name.to_lowercase()).then_some((scope, table))
    };
    match noted.into_iter().find_map(other) {
        None => Ok(()),
        Some((scope, table)) => Err(Error::invalid_schema(format!(
            "the table `{name}` is the table `{table}` of the scope `{scope}`: table names are case-insensitive on this server (lower_case_table_names); use another table for one of the scopes"
        ))),
    }
}

/// Returns the CREATE TABLE statement of a table.
pub(super) fn show_create_table(connection: &mut MysqlConnection, table: &str) -> Result<String> {
    let sql = Sql::new(format!("SHOW CREATE TABLE {}", Mysql::quote(table)));
    let rows = query(connection, &sql, &[], &[ColumnType::Text, ColumnType::Text])?;
    let show_create_table = rows.into_iter().next().and_then(|row| texts(row).nth(1));
    show_create_table.ok_or_else(|| Error::invalid_data("SHOW CREATE TABLE returned no statement"))
}

/// Returns the triggers of a table: their names and statements.
pub(super) fn triggers(
    connection: &mut MysqlConnection,
    table: &str,
) -> Result<Vec<(String, String)>> {
    use ColumnType::Text;
    let sql = Sql::new(
        "SELECT trigger_name, action_statement FROM information_schema.triggers WHERE event_object_schema = DATABASE() AND event_object_table = ",
    )
    .bind(Text);
    let rows = query(connection, &sql, &[table.into()], &[Text, Text])?;
    let pair = |row: Row| {
        let mut texts = texts(row);
        texts.next().zip(texts.next())
    };
    Ok(rows.into_iter().filter_map(pair).collect())
}

fn columns(connection: &mut MysqlConnection, table: &str) -> Result<Vec<Info>> {
    use ColumnType::{Bool, Text};
    let sql = Sql::new(
        "SELECT column_name, column_type, character_set_name, collation_name, is_nullable = 'YES', column_default IS NOT NULL OR extra LIKE '%auto_increment%', COALESCE(generation_expression, '') <> '' FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ",
    )
    .bind(Text)
    .text(" ORDER BY ordinal_position");
    let rows =
        query(connection, &sql, &[table.into()], &[Text, Text, Text, Text, Bool, Bool, Bool])?;
    let info = |row: Row| match <[Value; 7]>::try_from(row) {
        Ok(
            [
                Value::Text(name),
                Value::Text(declared),
                charset,
                collation,
                Value::Bool(nullable),
                Value::Bool(has_default),
                Value::Bool(generated),
            ],
        ) => {
            let (charset, collation) = (text(charset), text(collation));
            let declared = canonical(&declared);
            Some(Info { name, declared, nullable, has_default, charset, collation, generated })
        }
        _ => None,
    };
    Ok(rows.into_iter().filter_map(info).collect())
}

/// Returns the columns of each index of a table.
pub(super) fn indexes(connection: &mut MysqlConnection, table: &str) -> Result<Vec<Vec<String>>> {
    let sql = Sql::new(
        "SELECT index_name, IF(sub_part IS NULL, COALESCE(column_name, ''), '') FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ",
    )
    .bind(ColumnType::Text)
    .text(" ORDER BY index_name, seq_in_index");
    let rows = query(connection, &sql, &[table.into()], &[ColumnType::Text, ColumnType::Text])?;
    let parts: Vec<(String, String)> = rows
        .into_iter()
        .filter_map(|row| {
            let mut texts = texts(row);
            texts.next().zip(texts.next())
        })
        .collect();
    let indexes = parts.chunk_by(|a, b| a.0 == b.0);
    Ok(indexes.map(|parts| parts.iter().map(|(_, column)| column.clone()).collect()).collect())
}

/// Returns the columns of the primary key, in order.
fn key(connection: &mut MysqlConnection, table: &str) -> Result<Vec<String>> {
    use ColumnType::{BigInt, Text};
    let sql = Sql::new(
        "SELECT column_name, sub_part, index_name FROM information_schema.statistics WHERE table_schema = DATABASE() AND non_unique = 0 AND table_name = ",
    )
    .bind(Text)
    .text(" ORDER BY seq_in_index");
    let rows = query(connection, &sql, &[table.into()], &[Text, BigInt, Text])?;
    let mut key = Vec::new();
    for row in rows {
        match <[Value; 3]>::try_from(row) {
            Ok([_, _, Value::Text(index)]) if index != "PRIMARY" => {
                return Err(Error::unsupported(format!(
                    "the table has the unique index `{index}` in addition to its primary key, and an upsert of this engine would overwrite the records of both; drop the index"
                )));
            }
            Ok([Value::Text(column), Value::Null, _]) => key.push(column),
            Ok([Value::Text(column), _, _]) => {
                return Err(Error::unsupported(
                    "the primary key contains only a prefix of the column; use the whole column",
                )
                .with_column(&column));
            }
            _ => {}
        }
    }
    Ok(key)
}

/// Returns the JSON columns of MariaDB, which are texts with a check.
fn json_columns(connection: &mut MysqlConnection, table: &str) -> Result<Vec<String>> {
    if !connection.server().mariadb {
        return Ok(Vec::new());
    }
    let sql = Sql::new(
        "SELECT check_clause FROM information_schema.check_constraints WHERE constraint_schema = DATABASE() AND table_name = ",
    )
    .bind(ColumnType::Text);
    let rows = query(connection, &sql, &[table.into()], &[ColumnType::Text])?;
    let column = |clause: String| {
        let quoted = clause.strip_prefix("json_valid(`")?.strip_suffix("`)")?;
        Some(quoted.replace("``", "`"))
    };
    Ok(rows.into_iter().filter_map(|row| texts(row).next()).filter_map(column).collect())
}

/// Returns the collation of a column if it treats different texts as equal.
fn inexact(info: &Info) -> Option<&str> {
    info.collation.as_deref().filter(|collation| !EXACT.contains(collation))
}

/// Returns whether the declared type of a key column has an exact collation.
pub(super) fn is_exact(declared: &str) -> bool {
    !declared.contains(COLLATED)
}

fn existing_column(info: &Info, json: &[String]) -> ExistingColumn {
    let declared = match json.contains(&info.name) {
        true => "json".to_owned(),
        false => with_charset(info),
    };
    ExistingColumn {
        name: info.name.clone(),
        ty: type_of(if declared == "json" { "json" } else { &info.declared }),
        declared,
        known: false,
        nullable: info.nullable,
        required: !info.nullable && !info.has_default,
    }
}

/// Describes a key column. If it has a column for full keys, that column has the type. An inexact
/// collation is part of the declared type.
fn key_column(info: &Info, full_key: Option<&Info>, sized: usize) -> ExistingColumn {
    let mut column = existing_column(info, &[]);
    match full_key {
        Some(full_key) => {
            column.ty = type_of(&full_key.declared);
            column.declared = full_key.declared.clone();
        }
        None if needs_full_key::<Mysql>(column.ty, sized) => {
            column.ty = None;
            column.declared.push_str(" without a column for full keys");
        }
        None => {}
    }
    if let Some(collation) = inexact(info) {
        column.declared.push_str(COLLATED);
        column.declared.push_str(collation);
    }
    column
}

fn is_sized(declared: &str) -> bool {
    declared.contains("char") || declared.starts_with("varbinary")
}

/// Adds a character set other than utf8mb4 to the declared type.
fn with_charset(info: &Info) -> String {
    match info.charset.as_deref() {
        None | Some("utf8mb4") => info.declared.clone(),
        Some(charset) => format!("{} character set {charset}", info.declared),
    }
}

/// Normalizes a type to a common spelling of both engines, without the display width of integers.
fn canonical(declared: &str) -> String {
    if declared.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("enum(")) {
        return format!("enum{}", &declared[4..]);
    }
    let declared = declared.to_lowercase();
    let integer = ["tinyint", "smallint", "mediumint", "int", "bigint"];
    match declared.split_once('(') {
        Some((name, rest)) if integer.contains(&name) && declared != "tinyint(1)" => {
            let after = rest.split_once(')').map_or("", |(_, after)| after);
            format!("{name}{after}")
        }
        _ => declared,
    }
}

fn type_of(declared: &str) -> Option<ColumnType> {
    match declared {
        // A float has 32 bits in MySQL.
        "float" => Some(ColumnType::Real),
        "binary(16)" => Some(ColumnType::Uuid),
        declared if declared.starts_with("enum(") => Some(ColumnType::Text),
        declared => declared.parse().ok(),
    }
}

fn query(
    connection: &mut MysqlConnection,
    sql: &Sql,
    values: &[Value],
    types: &[ColumnType],
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    load::<Mysql>(connection, sql.with(values), types, |row| {
        rows.push(row);
        Ok(())
    })
    .map_err(|error| CallError::from(error).into_error::<Mysql>())?;
    Ok(rows)
}

fn texts(row: Row) -> impl Iterator<Item = String> {
    row.into_iter().filter_map(text)
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_both_engines_are_normalized() {
        for (declared, expected) in [
            ("bigint(20)", "bigint"),
            ("bigint(20) unsigned", "bigint unsigned"),
            ("BIGINT UNSIGNED", "bigint unsigned"),
            ("tinyint(1)", "tinyint(1)"),
            ("tinyint(4)", "tinyint"),
            ("varchar(20)", "varchar(20)"),
            ("decimal(10,2)", "decimal(10,2)"),
            ("int", "int"),
            ("ENUM('X','y')", "enum('X','y')"),
        ] {
            assert_eq!(canonical(declared), expected);
        }
        assert_eq!(type_of("float"), Some(ColumnType::Real));
        assert_eq!(type_of("double"), Some(ColumnType::Double));
    }
}
