//! PostgreSQL: the text of statements.

use std::borrow::Cow;

use diesel::pg::Pg;

use super::clauses::{EXISTING_ROW, inserting, inserting_into, merging, overwriting};
use super::{batch, removal, update};
use crate::backends::sql::dialect::StatementText;
use crate::backends::sql::dialect::keys::{selected, stored_key, stored_row};
use crate::backends::sql::dialect::statements::{Updates, unless_stored};
use crate::backends::sql::statement::Sql;
use crate::{ColumnType, Key, Row, Schema, schema};

impl StatementText for Pg {
    fn stored_key<'a>(schema: &Schema, key: &'a Key) -> Cow<'a, Key> {
        stored_key::<Self>(schema, key)
    }

    fn stored_row(schema: &Schema, row: Row) -> Row {
        stored_row::<Self>(schema, row)
    }

    fn selected(schema: &Schema, column: &schema::Column) -> String {
        selected::<Self>(schema, column)
    }

    fn fetch_listed(schema: &Schema) -> Option<Sql> {
        Some(batch::fetch_listed(schema))
    }

    fn pop_listed(schema: &Schema) -> Option<Sql> {
        Some(batch::pop_listed(schema))
    }

    fn upsert(schema: &Schema) -> Sql {
        overwriting(inserting(Sql::new(""), schema), schema)
    }

    fn upsert_rows(schema: &Schema) -> Sql {
        overwriting(batch::unnested(inserting_into(Sql::new(""), schema), schema), schema)
    }

    const LEASE_TABLE: &'static [&'static str] = &[
        "CREATE TABLE IF NOT EXISTS hilcat_leases (scope text COLLATE \"C\" NOT NULL, key text COLLATE \"C\" NOT NULL, holder text NOT NULL, expires_at timestamptz NOT NULL, PRIMARY KEY (scope, key))",
        "CREATE INDEX IF NOT EXISTS hilcat_ix_leases ON hilcat_leases (expires_at)",
    ];

    /// Unlike `now()`, this is not the start of the transaction, which may have waited for locks.
    const LEASE_NOW: &'static str = "clock_timestamp()";

    const LEASE_TAKEN: &'static str = "ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at WHERE hilcat_leases.expires_at <= clock_timestamp() OR hilcat_leases.holder = excluded.holder";

    fn lease_after(sql: Sql) -> Sql {
        sql.text("clock_timestamp() + CAST(")
            .bind(ColumnType::BigInt)
            .text(" AS bigint) * interval '1 microsecond'")
    }

    fn existing_row(_: &str) -> Option<String> {
        Some(EXISTING_ROW.to_owned())
    }

    /// Locked rows are skipped. Rows are not identified by `ctid`, which is not unique across
    /// partitions.
    fn limited_delete(table: &str, keys: &str, _: usize) -> (String, String) {
        let before = format!("WITH hilcat_locked AS MATERIALIZED (SELECT {keys} FROM {table}");
        let after = format!(
            " FOR UPDATE SKIP LOCKED) DELETE FROM {table} WHERE ({keys}) IN (SELECT {keys} FROM hilcat_locked)"
        );
        (before, after)
    }

    fn remove_listed(schema: &Schema, name: &str) -> Option<Sql> {
        Some(batch::remove_listed(schema, name))
    }

    fn insert(schema: &Schema) -> Sql {
        unless_stored::<Self>(inserting(Sql::new(""), schema), schema)
    }

    fn merge(schema: &Schema) -> Sql {
        merging(inserting(Sql::new(""), schema), schema)
    }

    fn updates(schema: &Schema) -> Option<Updates> {
        update::statements(schema)
    }

    fn insert_listed(schema: &Schema) -> Option<Sql> {
        Some(batch::insert_listed(schema))
    }

    fn pop_one(schema: &Schema) -> Sql {
        removal::pop_one(schema)
    }

    fn clear_section(schema: &Schema, fixed: usize) -> Sql {
        removal::clear_section(schema, fixed)
    }
}
