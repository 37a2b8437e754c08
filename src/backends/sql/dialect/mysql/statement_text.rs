//! MySQL and MariaDB: the text of statements.

use std::borrow::Cow;

use diesel::mysql::Mysql;

use crate::backends::sql::dialect::keys::{long_columns, selected, stored_key, stored_row};
use crate::backends::sql::dialect::sized::{Batches, SizedStatement};
use crate::backends::sql::dialect::statements::{columns, non_key, selected as selected_columns};
use crate::backends::sql::dialect::{ColumnTypes, StatementText};
use crate::backends::sql::statement::Sql;
use crate::{Column, ColumnType, Key, Row, Schema, Value};

impl StatementText for Mysql {
    fn stored_key<'a>(schema: &Schema, key: &'a Key) -> Cow<'a, Key> {
        stored_key::<Self>(schema, key)
    }

    fn stored_row(schema: &Schema, row: Row) -> Row {
        stored_row::<Self>(schema, row)
    }

    fn selected(schema: &Schema, column: &Column) -> String {
        selected::<Self>(schema, column)
    }

    /// The condition is a disjunction of column comparisons. For a comparison of rows the engine would
    /// scan the index.
    fn key_after(sql: Sql, columns: &[&Column]) -> Sql {
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

    fn key_after_values(key: &[Value]) -> Cow<'_, [Value]> {
        match key {
            [_] => Cow::Borrowed(key),
            values => (1..=values.len()).flat_map(|length| &values[..length]).cloned().collect(),
        }
    }

    const LEASE_TABLE: &'static [&'static str] = &[
        "CREATE TABLE IF NOT EXISTS hilcat_leases (scope varchar(255) NOT NULL, `key` varchar(255) NOT NULL, holder varchar(255) NOT NULL, expires_at datetime(6) NOT NULL, PRIMARY KEY (scope, `key`), INDEX hilcat_ix_leases (expires_at)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 /*!80017 COLLATE=utf8mb4_0900_bin */ /*M! COLLATE=utf8mb4_nopad_bin */",
    ];

    const LEASE_NOW: &'static str = "UTC_TIMESTAMP(6)";

    /// Columns are assigned from left to right, so that the second condition uses the new holder.
    const LEASE_TAKEN: &'static str = "ON DUPLICATE KEY UPDATE holder = IF(expires_at <= UTC_TIMESTAMP(6) OR holder = VALUES(holder), VALUES(holder), holder), expires_at = IF(holder = VALUES(holder), VALUES(expires_at), expires_at)";

    /// A row that is left unchanged counts like an inserted one.
    const LEASE_COUNT_IS_EXACT: bool = false;

    fn lease_after(sql: Sql) -> Sql {
        sql.text("UTC_TIMESTAMP(6) + INTERVAL ").bind(ColumnType::BigInt).text(" MICROSECOND")
    }

    /// Rows are removed in the order of the index, so that those that expire first are removed.
    fn limited_delete(table: &str, _: &str, _: usize) -> (String, String) {
        (format!("DELETE FROM {table}"), String::new())
    }

    fn upsert(schema: &Schema) -> Sql {
        upsert(schema, 1)
    }

    /// `IGNORE` is not used: it hides all other errors and truncates values.
    fn insert(schema: &Schema) -> Sql {
        insert(schema, 1)
    }

    fn merge(schema: &Schema) -> Sql {
        merge(schema)
    }

    fn pop_condition(schema: &Schema) -> String {
        readable(schema).unwrap_or_default()
    }

    fn batches(schema: &Schema) -> Option<Batches> {
        Some(batches(schema))
    }
}

/// The numbers of keys or rows of statements. Fixed sizes keep the number of prepared statements
/// small.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

/// The numbers of rows of statements in which no row may be repeated as padding.
const EXACT_SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// The maximum number of values of a statement that writes. The limit of servers is 65,535.
const MAX_VALUES: usize = 4096;

/// `INSERT` of a number of rows that overwrites the rows of their keys.
pub(super) fn upsert(schema: &Schema, rows: usize) -> Sql {
    on_duplicate(schema, rows, |sql, column| {
        let name = Mysql::quote(&column.name);
        // MariaDB does not support the row alias that replaces VALUES() in MySQL.
        sql.text(&format!("{name} = VALUES({name})"))
    })
}

/// `INSERT` of a row that overwrites the columns that are present.
pub(super) fn merge(schema: &Schema) -> Sql {
    on_duplicate(schema, 1, |sql, column| {
        let name = Mysql::quote(&column.name);
        sql.text(&format!("{name} = IF("))
            .bind(ColumnType::Bool)
            .text(&format!(", VALUES({name}), {name})"))
    })
}

/// `INSERT` of a number of rows.
pub(super) fn insert(schema: &Schema, rows: usize) -> Sql {
    let table = Mysql::quote(&schema.table);
    let mut names = columns::<Mysql>(&schema.columns);
    for long in long_columns::<Mysql>(schema) {
        names.push_str(", ");
        names.push_str(&Mysql::quote(&long.full_key));
    }
    let types: Vec<_> = schema.columns.iter().map(|column| column.ty).collect();
    let full_key_columns: Vec<_> =
        long_columns::<Mysql>(schema).map(|long| long.column.ty).collect();
    Sql::new(format!("INSERT INTO {table} ({names}) VALUES ")).list(", ", 0..rows, |sql, _| {
        sql.text("(")
            .list(", ", types.iter().chain(&full_key_columns), |sql, ty| sql.bind(*ty))
            .text(")")
    })
}

/// `INSERT` of rows that changes existing rows: `change` adds the assignment of a column outside the
/// key.
fn on_duplicate(schema: &Schema, rows: usize, change: impl Fn(Sql, &Column) -> Sql) -> Sql {
    let sql = insert(schema, rows).text(" ON DUPLICATE KEY UPDATE ");
    match (non_key(schema).next(), schema.key_columns().next()) {
        // All columns are part of the key: the assignment has no effect.
        (None, Some(key)) => {
            let (table, name) = (Mysql::quote(&schema.table), Mysql::quote(&key.name));
            sql.text(&format!("{name} = {table}.{name}"))
        }
        _ => sql.list(", ", non_key(schema), change),
    }
}

/// Adds the condition that the key is one of a number of keys. Several columns are compared as rows.
fn one_of(sql: Sql, schema: &Schema, keys: usize) -> Sql {
    let names = columns::<Mysql>(schema.key_columns());
    let types: Vec<_> = schema.key_columns().map(|column| column.ty).collect();
    // In a list, MySQL would not match a time without microseconds to one with microseconds.
    let part = |sql: Sql, ty| match ty {
        ColumnType::Time => sql.text("CAST(").bind(ty).text(" AS TIME(6))"),
        ty => sql.bind(ty),
    };
    let one = |sql: Sql| match types[..] {
        [ty] => part(sql, ty),
        _ => sql.text("(").list(", ", &types, |sql, ty| part(sql, *ty)).text(")"),
    };
    let names = if types.len() == 1 { names } else { format!("({names})") };
    sql.text(&format!("{names} IN (")).list(", ", 0..keys, |sql, _| one(sql)).text(")")
}

fn select(schema: &Schema, keys: usize) -> Sql {
    let (table, all) =
        (Mysql::quote(&schema.table), selected_columns::<Mysql>(schema, &schema.columns));
    one_of(Sql::new(format!("SELECT {all} FROM {table} WHERE ")), schema, keys)
}

fn remove(schema: &Schema, keys: usize) -> Sql {
    let table = Mysql::quote(&schema.table);
    one_of(Sql::new(format!("DELETE FROM {table} WHERE ")), schema, keys)
}

fn remove_expired_keys(schema: &Schema, keys: usize) -> Sql {
    let expiry = schema.expiry_column().map(|column| Mysql::quote(&schema.columns[column].name));
    remove(schema, keys)
        .text(&format!(" AND {} <= ", expiry.unwrap_or_default()))
        .bind(ColumnType::Timestamp)
}

pub(super) fn batches(schema: &Schema) -> Batches {
    let width = schema.columns.len() + long_columns::<Mysql>(schema).count();
    let writes = |size: &usize| *size == 1 || size * width <= MAX_VALUES;
    Batches {
        fetch: SizedStatement::new(SIZES, select),
        lock: SizedStatement::new(SIZES, |schema, keys| select(schema, keys).text(" FOR UPDATE")),
        remove: SizedStatement::new(SIZES, remove),
        remove_expired: SizedStatement::new(SIZES, remove_expired_keys),
        set: SizedStatement::new(SIZES.into_iter().filter(writes), upsert),
        insert: SizedStatement::exact(EXACT_SIZES.into_iter().filter(writes), insert),
    }
}

/// Returns the condition, beginning with `AND`, that a row can be decoded, since another program may
/// have stored other values. Returns `None` if no condition can express it.
pub(super) fn readable(schema: &Schema) -> Option<String> {
    let of = |column: &Column| {
        let name = Mysql::quote(&column.name);
        let condition = match column.ty {
            // Integers beyond 64 bits.
            ColumnType::Json => return None,
            ColumnType::Bool => format!("{name} IN (0, 1)"),
            ColumnType::Date | ColumnType::Timestamp => format!("{name} >= '0001-01-01'"),
            ColumnType::Time => format!("{name} BETWEEN '00:00:00' AND '23:59:59.999999'"),
            _ => return Some(String::new()),
        };
        Some(format!(" AND ({condition}) IS NOT FALSE"))
    };
    schema.columns.iter().map(of).collect()
}
