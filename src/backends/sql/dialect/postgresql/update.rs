//! Writes that return the replaced row.

use diesel::pg::Pg;

use super::clauses::{inserting, merging, overwriting};
use crate::backends::sql::dialect::statements::{
    Statements, Updates, matching_key, non_key, patch, selected,
};
use crate::backends::sql::dialect::write::{
    RowWrite, WriteMode, check_written, explain_unwritten, put,
};
use crate::backends::sql::dialect::{ColumnTypes, Dialect};
use crate::backends::sql::error::CallError;
use crate::backends::sql::statement::{Conn, Sql, find, load_one};
use crate::{Column, ColumnType, Result, Row, Schema, Value};

/// Returns the condition that a row can be decoded, since another program may have stored other
/// values. It is empty if all rows can be, and `None` if no condition can express it.
pub(super) fn readable(schema: &Schema) -> Option<String> {
    let of = |column: &Column| {
        let name = Pg::quote(&column.name);
        Some(match column.ty {
            // Integers beyond 64 bits.
            ColumnType::Json => return None,
            ColumnType::Date => format!("{name} BETWEEN '0001-01-01' AND '9999-12-31'"),
            ColumnType::Time => format!("{name} < '24:00:00'"),
            ColumnType::Timestamp => {
                format!("({name} >= '0001-01-01' AND {name} < '10000-01-01')")
            }
            ColumnType::UBigInt => format!("{name} BETWEEN 0 AND {}", u64::MAX),
            ColumnType::Decimal { .. } => format!("{name} <> 'NaN'"),
            _ => return Some(String::new()),
        })
    };
    let conditions = schema.columns.iter().map(of).collect::<Option<Vec<_>>>()?;
    let conditions = conditions.iter().filter(|condition| !condition.is_empty());
    let conditions = conditions.map(|condition| format!("({condition}) IS NOT FALSE"));
    Some(conditions.collect::<Vec<_>>().join(" AND "))
}

/// Returns the statements. Each locks and reads the existing row, and overwrites it only if its
/// snapshot contains the row. If a concurrent call inserted the row after the snapshot, nothing is
/// written, and the call is repeated.
pub(super) fn statements(schema: &Schema) -> Option<Updates> {
    let condition = match readable(schema)?.as_str() {
        "" => "true".to_owned(),
        condition => condition.to_owned(),
    };
    let only_seen = |sql: Sql| match non_key(schema).next() {
        None => sql,
        Some(_) => sql.text(" WHERE EXISTS (SELECT FROM hilcat_old WHERE readable)"),
    };
    let around = |write: &dyn Fn(Sql) -> Sql| {
        let (table, all) = (Pg::quote(&schema.table), selected::<Pg>(schema, &schema.columns));
        let old = schema.columns.iter().map(|column| format!(", {}", Pg::quote(&column.name)));
        let sql = Sql::new(format!(
            "WITH hilcat_old AS (SELECT {all}, {condition} AS readable FROM {table} WHERE "
        ));
        let sql = matching_key::<Pg>(sql, schema).text(" FOR UPDATE), hilcat_new AS (");
        write(sql).text(&format!(
            " RETURNING 1) SELECT (SELECT count(*) FROM hilcat_new){} FROM (SELECT) AS one LEFT JOIN hilcat_old ON true",
            old.collect::<String>()
        ))
    };
    Some(Updates {
        set: around(&|sql| only_seen(overwriting(inserting(sql, schema), schema))),
        merge: around(&|sql| only_seen(merging(inserting(sql, schema), schema))),
        patch: around(&|sql| {
            patch::<Pg>(sql, schema).text(" AND EXISTS (SELECT FROM hilcat_old WHERE readable)")
        }),
    })
}

/// Writes a row, and returns the row that it replaced.
pub(super) fn run<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    row: &Row,
) -> Result<Option<Row>, CallError> {
    let Some(updates) = &statements.updates else {
        return in_transaction(connection, statements, row);
    };
    let writing = RowWrite::new(statements, row);
    let sql = match writing.mode {
        WriteMode::Set => &updates.set,
        WriteMode::Merge => &updates.merge,
        WriteMode::Patch => &updates.patch,
    };
    let (key, values) = (statements.schema.key_of(row), writing.values.as_ref().unwrap_or(row));
    let types: Vec<ColumnType> =
        [ColumnType::BigInt].into_iter().chain(statements.types.iter().copied()).collect();
    let result = load_one::<Pg>(connection, sql.with_both(key.values(), values), &types)?;
    let mut old = result.unwrap_or_default().into_iter();
    let written = old.next() == Some(Value::Int(1));
    let old: Row = old.collect();
    // A key column is never NULL.
    let existed = !statements.schema.key.first().is_some_and(|&at| old[at].is_null());
    match (written, existed, writing.incomplete) {
        (false, false, Some(incomplete)) => Err(CallError::Hilcat(incomplete)),
        (false, false, None) => {
            let sql = match writing.mode {
                WriteMode::Merge => &statements.merge,
                _ => &statements.set,
            };
            Err(explain_unwritten::<Pg, _>(connection, statements, &key, sql.with(values)))
        }
        (written, true, _) => {
            check_written(&statements.schema, usize::from(written), 1)?;
            Ok(Some(old))
        }
        (true, false, _) => Ok(None),
    }
}

/// Writes a row in a transaction, if no condition expresses that a row can be decoded.
fn in_transaction<C: Conn<Pg>>(
    connection: &mut C,
    statements: &Statements,
    row: &Row,
) -> Result<Option<Row>, CallError> {
    Pg::write_transaction(connection, |connection| {
        let key = statements.schema.key_of(row);
        let old = find::<Pg>(connection, statements.fetch.with(key.values()), &statements.types)?;
        put::<Pg>(connection, statements, row)?;
        Ok(old)
    })
}
