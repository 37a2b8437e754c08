//! PostgreSQL: long keys.
//!
//! An entry of a B-tree holds 2,704 bytes, of which 2,696 are for the values of a key. The columns
//! of surrogates have types of unlimited length. A constraint of the table prevents other programs
//! from storing a longer key verbatim, which hilcat would not find.

use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl, sql_query};

use crate::backends::sql::connection::postgresql::PostgresConnection;
use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::dialect::keys::{
    DIGITS, LongKeyColumn, LongKeys, Width, is_sized, long_columns, sized_columns,
};
use crate::{ColumnType, Error, Result, Row, Schema, Value};

/// The bytes of an entry that the text and bytes columns of a key share. The rest is for the other
/// columns.
const SHARED: usize = 2048;

/// The bytes of an entry for the values of a key, including their length prefixes.
const ENTRY: usize = 2696;

impl LongKeys for Pg {
    fn width(ty: ColumnType, sized: usize) -> Option<Width> {
        let share = SHARED / sized.max(1);
        match ty {
            ColumnType::Bytes | ColumnType::Text => Some(Width::Bytes(share)),
            ColumnType::Varchar(length) if length as usize * 4 >= share => {
                Some(Width::Bytes(share))
            }
            _ => None,
        }
    }
}

fn bytes(width: Width) -> usize {
    let (Width::Bytes(width) | Width::Chars(width)) = width;
    width
}

/// Returns the type of a column of surrogates.
pub(super) fn surrogate_type(long: &LongKeyColumn<'_>) -> String {
    match long.column.ty {
        ColumnType::Bytes => Pg::key_type(ColumnType::Bytes),
        _ => Pg::key_type(ColumnType::Text),
    }
}

/// Returns the definition of a column for full keys.
pub(super) fn full_key_definition(long: &LongKeyColumn<'_>) -> String {
    format!("{} {}", Pg::quote(&long.full_key), Pg::column_type(long.column.ty))
}

/// Returns the constraint that a verbatim key is shorter than a surrogate.
pub(super) fn surrogate_condition(long: &LongKeyColumn<'_>) -> String {
    let (key, whole, width) =
        (Pg::quote(&long.column.name), Pg::quote(&long.full_key), bytes(long.width));
    format!(
        "CHECK (octet_length({key}) < {width} OR octet_length({key}) = {width} AND {whole} IS NOT NULL)"
    )
}

/// Returns the statements that add surrogates to a key column. `had` says whether keys of its former
/// type can be too long.
pub(super) fn add_surrogates(long: &LongKeyColumn<'_>, table: &str, had: bool) -> Vec<String> {
    let add = format!(
        "ALTER TABLE {table} ALTER COLUMN {} TYPE {}, ADD COLUMN {}",
        Pg::quote(&long.column.name),
        surrogate_type(long),
        full_key_definition(long)
    );
    match had {
        false => vec![format!("{add} {}", surrogate_condition(long))],
        true => {
            let condition = format!("ALTER TABLE {table} ADD {}", surrogate_condition(long));
            vec![add, fill_surrogates(long, table), condition]
        }
    }
}

/// Returns the statement that replaces verbatim keys that are too long by surrogates.
fn fill_surrogates(long: &LongKeyColumn<'_>, table: &str) -> String {
    let (key, name) = (Pg::quote(&long.column.name), Pg::quote(&long.full_key));
    let (width, head) = (bytes(long.width), bytes(long.width) - DIGITS);
    let surrogate = match long.column.ty {
        ColumnType::Bytes => {
            format!(
                "substring({key} FROM 1 FOR {head}) || convert_to(encode(sha256({key}), 'hex'), 'UTF8')"
            )
        }
        _ => format!(
            "(SELECT head || repeat('-', {head} - octet_length(head)) || encode(sha256(convert_to({key}, 'UTF8')), 'hex') FROM (SELECT left({key}, max(n)) AS head FROM generate_series({least}, {head}) AS n WHERE octet_length(left({key}, n)) <= {head}) AS cut)",
            least = head / 4
        ),
    };
    format!(
        "UPDATE {table} SET {name} = {key}, {key} = {surrogate} WHERE octet_length({key}) >= {width}"
    )
}

/// Returns whether a table stores all keys verbatim, because it has no columns for full keys.
pub(super) fn has_verbatim_keys(
    connection: &mut PostgresConnection,
    schema: &Schema,
) -> QueryResult<bool> {
    let full_key_columns: Vec<String> =
        long_columns::<Pg>(schema).map(|long| long.full_key).collect();
    if full_key_columns.is_empty() {
        return Ok(false);
    }
    let names: Vec<String> =
        full_key_columns.iter().map(|name| Pg::literal(&name.as_str().into())).collect();
    let count = sql_query(format!(
        "SELECT count(*) FROM pg_catalog.pg_attribute WHERE attrelid = (SELECT oid FROM pg_catalog.pg_class WHERE relname = $1 AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())) AND NOT attisdropped AND attname IN ({})",
        names.join(", ")
    ));
    let count: Count = count.bind::<Text, _>(&schema.table).get_result(connection)?;
    Ok(count.count < i64::try_from(full_key_columns.len()).unwrap_or(i64::MAX))
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn length(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

/// Checks that the key of a row fits an index, if keys are stored verbatim.
pub(super) fn check(schema: &Schema, row: &Row) -> Result<()> {
    if !schema.verbatim_keys {
        return Ok(());
    }
    let sized = schema.key.iter().filter(|&&at| is_sized(schema.columns[at].ty));
    let Some((&longest, long)) = sized.map(|at| (at, length(&row[*at]))).max_by_key(|(_, n)| *n)
    else {
        return Ok(());
    };
    // A length prefix has four bytes, and is aligned with up to three.
    let others = schema.key.iter().filter(|&&at| at != longest).map(|&at| match &row[at] {
        value if is_sized(schema.columns[at].ty) => length(value) + 7,
        _ => 24,
    });
    let others = others.sum::<usize>() + if sized_columns(schema) > 1 { 7 } else { 4 };
    if long + others <= ENTRY {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "postgresql: the key has {} bytes, and an index holds {ENTRY}; tables that hilcat created hold longer keys, but this table has no columns for them",
        long + others
    ))
    .with_column(&schema.columns[longest].name))
}
