//! PostgreSQL: the clauses that statements of one row and of many have in common.

use diesel::pg::Pg;

use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::dialect::keys::long_columns;
use crate::backends::sql::dialect::statements::{columns, on_conflict};
use crate::backends::sql::statement::Sql;
use crate::{ColumnType, Schema};

/// The alias of the existing row in an `INSERT`, since a table may be named `excluded`.
pub(super) const EXISTING_ROW: &str = "hilcat_existing";

/// Returns the types of a stored row: its columns, followed by the full keys.
pub(super) fn stored_types(schema: &Schema) -> impl Iterator<Item = ColumnType> {
    let full_key_columns = long_columns::<Pg>(schema).map(|long| long.column.ty);
    schema.columns.iter().map(|column| column.ty).chain(full_key_columns)
}

/// Adds `INSERT INTO` with all columns.
pub(super) fn inserting_into(sql: Sql, schema: &Schema) -> Sql {
    let (table, mut all) = (Pg::quote(&schema.table), columns::<Pg>(&schema.columns));
    for long in long_columns::<Pg>(schema) {
        all.push_str(", ");
        all.push_str(&Pg::quote(&long.full_key));
    }
    sql.text(&format!("INSERT INTO {table} AS {EXISTING_ROW} ({all}) "))
}

/// Adds `INSERT` of one row.
pub(super) fn inserting(sql: Sql, schema: &Schema) -> Sql {
    inserting_into(sql, schema)
        .text("VALUES (")
        .list(", ", stored_types(schema), Sql::bind)
        .text(")")
}

/// Adds the clause that overwrites an existing row.
pub(super) fn overwriting(sql: Sql, schema: &Schema) -> Sql {
    on_conflict::<Pg>(sql, schema, |sql, column| {
        let name = Pg::quote(&column.name);
        sql.text(&format!("{name} = excluded.{name}"))
    })
}

/// Adds the clause that changes the present columns of an existing row.
pub(super) fn merging(sql: Sql, schema: &Schema) -> Sql {
    on_conflict::<Pg>(sql, schema, |sql, column| {
        let name = Pg::quote(&column.name);
        sql.text(&format!("{name} = CASE WHEN "))
            .bind(ColumnType::Bool)
            .text(&format!(" THEN excluded.{name} ELSE {EXISTING_ROW}.{name} END"))
    })
}
