//! What differs between engines in the text of statements.

use std::borrow::Cow;

use crate::backends::sql::dialect::ColumnTypes;
use crate::backends::sql::dialect::statements::{
    Batches, Updates, columns, in_section, matching_key, selected,
};
use crate::backends::sql::statement::Sql;
use crate::{Key, Row, Schema, Value, schema};

/// The text of an engine's statements.
pub(crate) trait StatementText: ColumnTypes {
    /// A key as it stands in the table, or its beginning.
    fn stored_key<'a>(schema: &Schema, key: &'a Key) -> Cow<'a, Key> {
        let _ = schema;
        Cow::Borrowed(key)
    }

    /// A row as it stands in the table, with what the engine keeps beside its columns at the end.
    fn stored_row(schema: &Schema, row: Row) -> Row {
        let _ = schema;
        row
    }

    /// How a column is selected.
    fn selected(schema: &Schema, column: &schema::Column) -> String {
        let _ = schema;
        Self::quote(&column.name)
    }

    /// Adds the condition that the key is after the one bound.
    fn after(sql: Sql, key: &[&schema::Column]) -> Sql {
        let keys = columns::<Self>(key.iter().copied());
        sql.text(&format!("({keys}) > ("))
            .list(", ", key, |sql, column| sql.bind(column.ty))
            .text(")")
    }

    /// The binds of that condition.
    fn after_values(key: &[Value]) -> Cow<'_, [Value]> {
        Cow::Borrowed(key)
    }

    /// Fetches the rows of all the keys that are listed in its one bind, where such a key can be
    /// listed.
    fn fetch_listed(schema: &Schema) -> Option<Sql>;

    /// Inserts those of the rows in its binds whose keys have none, and gives the keys of those.
    fn insert_listed(schema: &Schema) -> Option<Sql> {
        let _ = schema;
        None
    }

    /// Removes the rows of all the keys that are listed in its binds, and gives them.
    fn pop_listed(schema: &Schema) -> Option<Sql> {
        let _ = schema;
        None
    }

    /// `INSERT` of a row, overwriting the one that has its key.
    fn upsert(schema: &Schema) -> Sql;

    /// The same for as many rows as one statement of a batch writes.
    fn upsert_rows(schema: &Schema) -> Sql;

    /// `INSERT` of a row, which does nothing where a record has its key, or fails.
    fn insert(schema: &Schema) -> Sql;

    /// `INSERT` of a row of which some columns are absent. Its binds are the row and, for each
    /// column that is not unique, whether it is given.
    fn merge(schema: &Schema) -> Sql;

    /// How the row that has the key is called in an `INSERT` that overwrites it on a condition; none
    /// where the engine has no such statement.
    fn existing_row(table: &str) -> Option<String> {
        let _ = table;
        None
    }

    /// What locks the rows of a `SELECT` until the transaction ends.
    const LOCKING: &'static str = " FOR UPDATE";

    /// What a condition on a time needs besides, where other programs may have written what does
    /// not compare as one: begins with `AND`.
    fn comparable_time(name: &str) -> String {
        let _ = name;
        String::new()
    }

    /// The text of a `DELETE` before and after the condition, order and limit of its rows. `keys` are
    /// the quoted columns of the key.
    fn purging(table: &str, keys: &str, count: usize) -> (String, String) {
        let wanted = if count == 1 { keys.to_owned() } else { format!("({keys})") };
        let before = format!("DELETE FROM {table} WHERE {wanted} IN (SELECT {keys} FROM {table}");
        (before, ")".to_owned())
    }

    /// Removes those rows of the keys that are listed in its binds that are expired at the time in
    /// the last one. `name` is the quoted column of the expiry.
    fn remove_listed(schema: &Schema, name: &str) -> Option<Sql> {
        let _ = (schema, name);
        None
    }

    /// The statements that make the table of leases unless it exists.
    const LEASE_TABLE: &'static [&'static str];

    /// The time of the server.
    const LEASE_NOW: &'static str;

    /// What follows the row of a lease that is inserted: one that has its key is overwritten if it is
    /// over or of the same holder.
    const LEASE_TAKEN: &'static str;

    /// Whether the count of changed rows tells that it was inserted or overwritten.
    const LEASE_COUNT_TELLS: bool = true;

    /// Adds the time that is so many microseconds, which are bound, after that of the server.
    fn lease_after(sql: Sql) -> Sql;

    /// What is added to the condition of removing a row.
    fn pop_condition(schema: &Schema) -> String {
        let _ = schema;
        String::new()
    }

    /// Removes the row of the key in its binds, and gives it.
    fn pop_one(schema: &Schema) -> Sql {
        let (table, all) = (Self::quote(&schema.table), selected::<Self>(schema, &schema.columns));
        matching_key::<Self>(Sql::new(format!("DELETE FROM {table} WHERE ")), schema)
            .text(&format!("{} RETURNING {all}", Self::pop_condition(schema)))
    }

    /// Removes the rows of a section: those whose first `fixed` key columns have the values bound.
    fn clear_section(schema: &Schema, fixed: usize) -> Sql {
        in_section::<Self>(format!("DELETE FROM {}", Self::quote(&schema.table)), schema, fixed)
    }

    /// Writes that also give the row they replace, where the engine does both in one statement.
    fn updates(schema: &Schema) -> Option<Updates> {
        let _ = schema;
        None
    }

    /// The statements of batches, where they are of fixed sizes.
    fn batches(schema: &Schema) -> Option<Batches> {
        let _ = schema;
        None
    }
}
