//! The statements on the expiry of records.
//!
//! Each checks and changes rows in one statement. So a record that is written concurrently is either
//! seen as it is or left unchanged. Listings and counts use the primary key, removals the index on
//! the expiry.

use super::statements::{Listing, columns, matching_key, non_key, of_section, selected};
use crate::backends::sql::dialect::StatementText;
use crate::backends::sql::statement::Sql;
use crate::{Column, ColumnType, Schema};

/// The statements of a scope whose records expire, with their binds.
#[derive(Debug)]
pub(crate) struct Expiring {
    /// Inserts a row or overwrites an expired one, if the engine has such a statement. Binds: those of
    /// a write, a time.
    pub(crate) replace: Option<Sql>,
    /// Inserts several rows or overwrites expired ones.
    #[cfg(feature = "postgresql")]
    pub(crate) replace_rows: Option<Sql>,
    /// Overwrites an expired row. Binds: the non-key columns, the key, a time.
    pub(crate) overwrite: Sql,
    /// Removes an expired row. Binds: the key, a time.
    pub(crate) remove: Sql,
    /// Removes the expired rows of many keys, if the engine can bind them all at once.
    #[cfg(feature = "postgresql")]
    pub(crate) remove_many: Option<Sql>,
    /// Sets the expiry of a row that is not expired. Binds: the expiry, the key, a time.
    pub(crate) touch: Sql,
    /// Lists what is not expired. Binds: the section, a time, the key of the last row.
    pub(crate) keys: Listing,
    pub(crate) rows: Listing,
    /// Counts what is not expired. Binds: the section, the section, a time.
    pub(crate) len: Sql,
    /// Removes up to a number of expired rows. Binds: the section, a time, the number.
    pub(crate) purge: Sql,
    /// Removes a number of the rows that expire first. Binds: the section, the number.
    pub(crate) trim: Sql,
    /// Removes a number of rows that never expire. Binds: the section, the number.
    pub(crate) trim_rest: Sql,
}

impl Expiring {
    /// Renders the statements. Returns `None` if records of the schema do not expire.
    pub(crate) fn new<D: StatementText>(schema: &Schema, section_len: usize) -> Option<Self> {
        let expiry = &schema.columns[schema.expiry_column()?];
        let name = D::quote(&expiry.name);
        let (all, keys) =
            (selected::<D>(schema, &schema.columns), selected::<D>(schema, schema.key_columns()));
        let table = D::quote(&schema.table);
        let live = |sql: Sql| not_expired::<D>(sql, schema, &name);
        let expired = |sql: Sql| expired::<D>(sql, schema, &name);
        let by_key = |text: String| matching_key::<D>(Sql::new(text), schema);
        let conditional = |write: Sql| {
            let existing = D::existing_row(&schema.table)?;
            let sql = write.text(" WHERE ");
            Some(self::expired::<D>(sql, schema, &format!("{existing}.{name}")))
        };
        let by_expiry = format!(" ORDER BY {name}");
        Some(Self {
            replace: conditional(D::upsert(schema)),
            #[cfg(feature = "postgresql")]
            replace_rows: conditional(D::upsert_rows(schema))
                .map(|sql| sql.text(&format!(" RETURNING {keys}"))),
            overwrite: expired(overwrite::<D>(schema).text(" AND ")),
            remove: expired(by_key(format!("DELETE FROM {table} WHERE ")).text(" AND ")),
            #[cfg(feature = "postgresql")]
            remove_many: D::remove_listed(schema, &name),
            touch: live(
                matching_key::<D>(
                    Sql::new(format!("UPDATE {table} SET {name} = "))
                        .bind(expiry.ty)
                        .text(" WHERE "),
                    schema,
                )
                .text(" AND "),
            ),
            keys: Listing::live::<D>(schema, &keys, section_len, live),
            rows: Listing::live::<D>(schema, &all, section_len, live),
            len: count_live::<D>(schema, section_len, expired),
            purge: remove_some::<D>(schema, section_len, &by_expiry, expired),
            trim: remove_some::<D>(schema, section_len, &by_expiry, |sql| {
                sql.text(&format!("{name} IS NOT NULL"))
            }),
            trim_rest: remove_some::<D>(schema, section_len, "", |sql| {
                sql.text(&format!("{name} IS NULL"))
            }),
        })
    }
}

/// Appends the condition that a record is expired at the bound time.
fn expired<D: StatementText>(sql: Sql, schema: &Schema, name: &str) -> Sql {
    let sql = sql.text(&format!("{name} <= ")).bind(ColumnType::Timestamp);
    // Another program may have written a value that does not compare as a time.
    match schema.freshness.expires_at {
        Some(_) => sql.text(&D::comparable_time(name)),
        None => sql,
    }
}

/// Appends the condition that a record is not expired at the bound time.
fn not_expired<D: StatementText>(sql: Sql, schema: &Schema, name: &str) -> Sql {
    let sql = sql.text(&format!("({name} IS NULL OR {name} > ")).bind(ColumnType::Timestamp);
    match schema.freshness.expires_at.as_ref().map(|_| D::comparable_time(name)) {
        Some(comparable) if !comparable.is_empty() => {
            sql.text(&format!(" OR NOT (1 = 1{comparable}))"))
        }
        _ => sql.text(")"),
    }
}

/// Returns an `UPDATE` of the non-key columns.
fn overwrite<D: StatementText>(schema: &Schema) -> Sql {
    let sql = Sql::new(format!("UPDATE {} SET ", D::quote(&schema.table)));
    let sql = sql.list(", ", non_key(schema), |sql, column| {
        sql.text(&format!("{} = ", D::quote(&column.name))).bind(column.ty)
    });
    matching_key::<D>(sql.text(" WHERE "), schema)
}

/// Returns a statement that subtracts the expired records from all: both counts use an index.
fn count_live<D: StatementText>(
    schema: &Schema,
    section_len: usize,
    expired: impl Fn(Sql) -> Sql,
) -> Sql {
    let count = format!("(SELECT count(*) FROM {}", D::quote(&schema.table));
    let sql = of_section::<D>(Sql::new(format!("SELECT {count}")), schema, section_len);
    let sql = of_section::<D>(sql.text(&format!(") - {count}")), schema, section_len);
    expired(sql.text(if section_len == 0 { " WHERE " } else { " AND " })).text(")")
}

/// Returns a `DELETE` of a bound number of rows of a section that meet a condition.
fn remove_some<D: StatementText>(
    schema: &Schema,
    section_len: usize,
    order: &str,
    condition: impl Fn(Sql) -> Sql,
) -> Sql {
    let table = D::quote(&schema.table);
    let keys = columns::<D>(schema.key_columns());
    let (before, after) = D::limited_delete(&table, &keys, schema.key.len());
    let sql = of_section::<D>(Sql::new(before), schema, section_len);
    let sql = condition(sql.text(if section_len == 0 { " WHERE " } else { " AND " }));
    sql.text(order).text(" LIMIT ").bind(ColumnType::BigInt).text(&after)
}

impl Listing {
    /// Renders the listing of the rows that are not expired.
    fn live<D: StatementText>(
        schema: &Schema,
        selected: &str,
        section_len: usize,
        live: impl Fn(Sql) -> Sql,
    ) -> Self {
        let table = D::quote(&schema.table);
        let listed: Vec<&Column> = schema.key_columns().skip(section_len).collect();
        let end = Self::end::<D>(schema, section_len);
        let all = || {
            let sql = Sql::new(format!("SELECT {selected} FROM {table}"));
            let sql = of_section::<D>(sql, schema, section_len);
            live(sql.text(if section_len == 0 { " WHERE " } else { " AND " }))
        };
        let next = D::key_after(all().text(" AND ("), &listed).text(")");
        Self { first: all().text(&end), next: next.text(&end) }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use std::sync::Arc;

    use diesel::connection::SimpleConnection;
    use diesel::sql_types::Text;
    use diesel::sqlite::Sqlite;
    use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

    use crate::backends::sql::dialect::statements::{Statements, create};
    use crate::backends::sql::statement::Statement;
    use crate::{Column, ColumnType, Schema, Value};

    #[derive(QueryableByName)]
    struct Plan {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    #[test]
    fn removals_use_the_index_on_the_expiry() {
        for sections in [0, 1] {
            let text = |name| Column::new(name, ColumnType::Text);
            let mut schema = Schema::new("t").unique(text("s")).unique(text("k")).column(text("v"));
            schema.sections = sections;
            let schema = schema.with_expiry_column();
            let mut connection = SqliteConnection::establish(":memory:").unwrap();
            connection.batch_execute(&create::<Sqlite>(&schema).join(";")).unwrap();
            let statements = Statements::in_sections::<Sqlite>(&Arc::new(schema), sections);
            let expiring = statements.expiring.as_ref().unwrap();
            let mut plan = |statement: Statement<'_>| -> String {
                let text = diesel::debug_query::<Sqlite, _>(&statement).to_string();
                let text = text.split(" -- binds").next().unwrap().to_owned();
                let plan: Vec<Plan> =
                    sql_query(format!("EXPLAIN QUERY PLAN {text}")).load(&mut connection).unwrap();
                plan.into_iter().map(|line| line.detail + "\n").collect()
            };
            let section = &[Value::from("x")][..sections];
            let (at, limit) = ([Value::Timestamp(0)], [Value::Int(10)]);
            let purge = [section, &at, &limit].concat();
            let trim = [section, &limit].concat();
            let len = [section, section, &at].concat();
            for (sql, values) in [
                (&expiring.purge, purge),
                (&expiring.trim, trim.clone()),
                (&expiring.trim_rest, trim),
                (&expiring.len, len),
            ] {
                let plan = plan(sql.with(&values));
                assert!(plan.contains("INDEX hilcat_ix_"), "{plan}");
                assert!(!plan.contains("TEMP B-TREE"), "{plan}");
                assert!(!plan.contains("SCAN t\n"), "{plan}");
            }
        }
    }
}
