//! SQLite: the text of statements.

use diesel::sqlite::Sqlite;

use crate::backends::sql::dialect::statements::{columns, on_conflict, unless_stored};
use crate::backends::sql::dialect::{ColumnTypes, StatementText};
use crate::backends::sql::statement::Sql;
use crate::{ColumnType, Schema};

impl StatementText for Sqlite {
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
        overwriting(schema, 1)
    }

    fn upsert_rows(schema: &Schema) -> Sql {
        overwriting(schema, rows_at_once(schema))
    }

    const LEASE_TABLE: &'static [&'static str] = &[
        "CREATE TABLE IF NOT EXISTS hilcat_leases (scope TEXT NOT NULL, key TEXT NOT NULL, holder TEXT NOT NULL, expires_at TIMESTAMP NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS hilcat_ix_leases ON hilcat_leases (expires_at)",
    ];

    const LEASE_NOW: &'static str = "strftime('%Y-%m-%d %H:%M:%f', 'now')";

    const LEASE_TAKEN: &'static str = "ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at WHERE hilcat_leases.expires_at <= strftime('%Y-%m-%d %H:%M:%f', 'now') OR hilcat_leases.holder = excluded.holder";

    fn lease_after(sql: Sql) -> Sql {
        sql.text("strftime('%Y-%m-%d %H:%M:%f', 'now', (")
            .bind(ColumnType::BigInt)
            .text(" / 1e6) || ' seconds')")
    }

    fn existing_row(table: &str) -> Option<String> {
        Some(Self::quote(table))
    }

    /// A write transaction locks the whole database.
    const LOCKING: &'static str = "";

    /// Times are texts, which are comparable only in hilcat's format.
    fn comparable_time(name: &str) -> String {
        format!(
            " AND {name} GLOB '????-??-?? ??:??:??*' AND {name} NOT GLOB '???????????*[-+A-Za-z]*'"
        )
    }

    fn insert(schema: &Schema) -> Sql {
        unless_stored::<Self>(inserting(schema, 1), schema)
    }

    fn merge(schema: &Schema) -> Sql {
        on_conflict::<Self>(inserting(schema, 1), schema, |sql, column| {
            let name = Self::quote(&column.name);
            sql.text(&format!("{name} = CASE WHEN "))
                .bind(ColumnType::Bool)
                .text(&format!(" THEN excluded.{name} ELSE {name} END"))
        })
    }
}

/// Returns the number of rows that one statement of a batch writes. The overhead of Diesel for a
/// statement is about that of SQLite for a row; more than some hundred values gain nothing.
pub(super) fn rows_at_once(schema: &Schema) -> usize {
    (256 / schema.columns.len()).clamp(1, 64)
}

/// `INSERT` of all columns of a number of rows.
fn inserting(schema: &Schema, rows: usize) -> Sql {
    let (table, all) = (Sqlite::quote(&schema.table), columns::<Sqlite>(&schema.columns));
    Sql::new(format!("INSERT INTO {table} ({all}) VALUES ")).list(", ", 0..rows, |sql, _| {
        sql.text("(").list(", ", &schema.columns, |sql, column| sql.bind(column.ty)).text(")")
    })
}

/// The insert that overwrites the rows of its keys.
fn overwriting(schema: &Schema, rows: usize) -> Sql {
    on_conflict::<Sqlite>(inserting(schema, rows), schema, |sql, column| {
        let name = Sqlite::quote(&column.name);
        sql.text(&format!("{name} = excluded.{name}"))
    })
}
