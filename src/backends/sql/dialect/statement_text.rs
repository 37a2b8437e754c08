//! The text of an engine's statements.

use std::borrow::Cow;

use crate::backends::sql::dialect::ColumnTypes;
#[cfg(feature = "mysql")]
use crate::backends::sql::dialect::sized::Batches;
#[cfg(feature = "postgresql")]
use crate::backends::sql::dialect::statements::Updates;
use crate::backends::sql::dialect::statements::{columns, in_section, matching_key, selected};
use crate::backends::sql::statement::Sql;
use crate::{Key, Row, Schema, Value, schema};

/// The text of an engine's statements.
pub(crate) trait StatementText: ColumnTypes {
    /// Returns a key, or its first parts, as stored.
    fn stored_key<'a>(schema: &Schema, key: &'a Key) -> Cow<'a, Key> {
        let _ = schema;
        Cow::Borrowed(key)
    }

    /// Returns a row as stored, followed by the values of auxiliary columns.
    fn stored_row(schema: &Schema, row: Row) -> Row {
        let _ = schema;
        row
    }

    /// Returns the expression that selects a column.
    fn selected(schema: &Schema, column: &schema::Column) -> String {
        let _ = schema;
        Self::quote(&column.name)
    }

    /// Adds the condition that a key follows the bound one.
    fn key_after(sql: Sql, key: &[&schema::Column]) -> Sql {
        let keys = columns::<Self>(key.iter().copied());
        sql.text(&format!("({keys}) > ("))
            .list(", ", key, |sql, column| sql.bind(column.ty))
            .text(")")
    }

    /// Returns the binds of that condition.
    fn key_after_values(key: &[Value]) -> Cow<'_, [Value]> {
        Cow::Borrowed(key)
    }

    /// `SELECT` of the rows of the keys that are bound as a list, or `None` if such keys cannot be.
    #[cfg(any(feature = "sqlite", feature = "postgresql"))]
    fn fetch_listed(schema: &Schema) -> Option<Sql> {
        let _ = schema;
        None
    }

    /// `INSERT` of the bound rows whose keys have none. Returns their keys.
    #[cfg(feature = "postgresql")]
    fn insert_listed(schema: &Schema) -> Option<Sql> {
        let _ = schema;
        None
    }

    /// `DELETE` of the rows of the bound keys. Returns the rows.
    #[cfg(feature = "postgresql")]
    fn pop_listed(schema: &Schema) -> Option<Sql> {
        let _ = schema;
        None
    }

    /// `INSERT` of a row that overwrites the row of its key.
    fn upsert(schema: &Schema) -> Sql;

    /// The upsert of as many rows as one statement of a batch writes; of one row if the statements of
    /// batches have fixed sizes.
    #[cfg(any(feature = "sqlite", feature = "postgresql"))]
    fn upsert_rows(schema: &Schema) -> Sql {
        Self::upsert(schema)
    }

    /// `INSERT` of a row. If its key has a row, it does nothing or fails.
    fn insert(schema: &Schema) -> Sql;

    /// `INSERT` of a row with absent columns, which keep their stored values. The binds are the row
    /// and, for each column outside the key, whether it is present.
    fn merge(schema: &Schema) -> Sql;

    /// Returns the name of the existing row in a conditional upsert, or `None` if the engine has no
    /// such statement.
    fn existing_row(table: &str) -> Option<String> {
        let _ = table;
        None
    }

    /// The clause that locks the rows of a `SELECT` until the transaction ends.
    const LOCKING: &'static str = " FOR UPDATE";

    /// Returns the condition, beginning with `AND`, that a stored time is comparable, which may not
    /// hold for values of other programs.
    fn comparable_time(name: &str) -> String {
        let _ = name;
        String::new()
    }

    /// Returns the text of a limited `DELETE` before and after its condition, order and limit. `keys`
    /// are the quoted key columns.
    fn limited_delete(table: &str, keys: &str, count: usize) -> (String, String) {
        let wanted = if count == 1 { keys.to_owned() } else { format!("({keys})") };
        let before = format!("DELETE FROM {table} WHERE {wanted} IN (SELECT {keys} FROM {table}");
        (before, ")".to_owned())
    }

    /// `DELETE` of the rows of the bound keys that are expired at the time in the last bind. `name` is
    /// the quoted column of the expiry.
    #[cfg(feature = "postgresql")]
    fn remove_listed(schema: &Schema, name: &str) -> Option<Sql> {
        let _ = (schema, name);
        None
    }

    /// The statements that create the table of leases if it does not exist.
    const LEASE_TABLE: &'static [&'static str];

    /// The server's current time.
    const LEASE_NOW: &'static str;

    /// The clause that makes the `INSERT` of a lease overwrite one that is expired or has the same
    /// holder.
    const LEASE_TAKEN: &'static str;

    /// Whether the count of changed rows is 0 if the lease was not acquired.
    const LEASE_COUNT_IS_EXACT: bool = true;

    /// Adds the server's current time plus a bound number of microseconds.
    fn lease_after(sql: Sql) -> Sql;

    /// Returns an additional condition for the removal of a row.
    fn pop_condition(schema: &Schema) -> String {
        let _ = schema;
        String::new()
    }

    /// `DELETE` of the row of the bound key. Returns the row.
    fn pop_one(schema: &Schema) -> Sql {
        let (table, all) = (Self::quote(&schema.table), selected::<Self>(schema, &schema.columns));
        matching_key::<Self>(Sql::new(format!("DELETE FROM {table} WHERE ")), schema)
            .text(&format!("{} RETURNING {all}", Self::pop_condition(schema)))
    }

    /// `DELETE` of the rows of a section, whose first `fixed` key columns have the bound values.
    fn clear_section(schema: &Schema, fixed: usize) -> Sql {
        in_section::<Self>(format!("DELETE FROM {}", Self::quote(&schema.table)), schema, fixed)
    }

    /// Returns the writes that also return the replaced row, if the engine supports that in one
    /// statement.
    #[cfg(feature = "postgresql")]
    fn updates(schema: &Schema) -> Option<Updates> {
        let _ = schema;
        None
    }

    /// Returns the statements of batches, if they have fixed sizes.
    #[cfg(feature = "mysql")]
    fn batches(schema: &Schema) -> Option<Batches> {
        let _ = schema;
        None
    }
}
