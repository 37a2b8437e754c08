//! From which length on keys have stand-ins, and what is known of tables that have none.
//!
//! An entry of a B-tree holds 2,704 bytes, of which 2,696 are for the values of a key. The columns
//! of the stand-ins are of the types that have no length of their own: a condition of the table
//! sees to it that nobody writes a longer key in clear, which hilcat would not find.

use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl, sql_query};

use crate::backends::sql::connection::postgresql::PostgresConnection;
use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::dialect::keys::{
    DIGITS, Long, LongKeys, Width, is_sized, long_columns, sized_columns,
};
use crate::{ColumnType, Error, Result, Row, Schema, Value};

/// The bytes of an entry that the text and bytes in a key share; the rest is for its other columns.
const SHARED: usize = 2048;

/// The bytes of an entry that the values of a key have, each with its length before it.
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

/// How the column of the stand-ins is declared.
pub(super) fn declared(long: &Long<'_>) -> String {
    match long.column.ty {
        ColumnType::Bytes => Pg::key_type(ColumnType::Bytes),
        _ => Pg::key_type(ColumnType::Text),
    }
}

/// The definition of the column of the whole keys.
pub(super) fn whole(long: &Long<'_>) -> String {
    format!("{} {}", Pg::quote(&long.whole), Pg::column_type(long.column.ty))
}

/// The condition that a key stands in clear only where it is shorter than a stand-in.
pub(super) fn condition(long: &Long<'_>) -> String {
    let (key, whole, width) =
        (Pg::quote(&long.column.name), Pg::quote(&long.whole), bytes(long.width));
    format!(
        "CHECK (octet_length({key}) < {width} OR octet_length({key}) = {width} AND {whole} IS NOT NULL)"
    )
}

/// The statements that give a column of the key its stand-ins. Where it was of a type that had
/// none of them, no key is too long.
pub(super) fn added(long: &Long<'_>, table: &str, had: bool) -> Vec<String> {
    let add = format!(
        "ALTER TABLE {table} ALTER COLUMN {} TYPE {}, ADD COLUMN {}",
        Pg::quote(&long.column.name),
        declared(long),
        whole(long)
    );
    match had {
        false => vec![format!("{add} {}", condition(long))],
        true => {
            let condition = format!("ALTER TABLE {table} ADD {}", condition(long));
            vec![add, moved(long, table), condition]
        }
    }
}

/// The statement that gives its stand-in to every key that stands in clear and is too long.
fn moved(long: &Long<'_>, table: &str) -> String {
    let (key, name) = (Pg::quote(&long.column.name), Pg::quote(&long.whole));
    let (width, head) = (bytes(long.width), bytes(long.width) - DIGITS);
    let stand_in = match long.column.ty {
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
        "UPDATE {table} SET {name} = {key}, {key} = {stand_in} WHERE octet_length({key}) >= {width}"
    )
}

/// Whether the keys of a table stand in clear, however long: it has no columns of the whole keys.
pub(super) fn stand_in_clear(
    connection: &mut PostgresConnection,
    schema: &Schema,
) -> QueryResult<bool> {
    let wholes: Vec<String> = long_columns::<Pg>(schema).map(|long| long.whole).collect();
    if wholes.is_empty() {
        return Ok(false);
    }
    let names: Vec<String> = wholes.iter().map(|name| Pg::literal(&name.as_str().into())).collect();
    let count = sql_query(format!(
        "SELECT count(*) FROM pg_catalog.pg_attribute WHERE attrelid = (SELECT oid FROM pg_catalog.pg_class WHERE relname = $1 AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())) AND NOT attisdropped AND attname IN ({})",
        names.join(", ")
    ));
    let count: Count = count.bind::<Text, _>(&schema.table).get_result(connection)?;
    Ok(count.count < i64::try_from(wholes.len()).unwrap_or(i64::MAX))
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

/// Checks that an index holds the key of a row, where keys stand in clear.
pub(super) fn check(schema: &Schema, row: &Row) -> Result<()> {
    if !schema.keys_in_clear {
        return Ok(());
    }
    let sized = schema.key.iter().filter(|&&at| is_sized(schema.columns[at].ty));
    let Some((&longest, long)) = sized.map(|at| (at, length(&row[*at]))).max_by_key(|(_, n)| *n)
    else {
        return Ok(());
    };
    // A length has four bytes, and up to three stand before it.
    let others = schema.key.iter().filter(|&&at| at != longest).map(|&at| match &row[at] {
        value if is_sized(schema.columns[at].ty) => length(value) + 7,
        _ => 24,
    });
    let others = others.sum::<usize>() + if sized_columns(schema) > 1 { 7 } else { 4 };
    if long + others <= ENTRY {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "postgresql: an index holds keys of {ENTRY} bytes, and this one has {}; hilcat's own tables have a column beside such keys, and this table has none",
        long + others
    ))
    .with_column(&schema.columns[longest].name))
}
