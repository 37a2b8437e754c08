//! What the expiry of records needs: statements that are given a time.
//!
//! Each is one statement that checks and changes a row at once, so that a record that is written at
//! the same time is either seen or left alone. The listings and counts go by the key; whatever
//! removes goes by the index on the expiry.

use super::render::{Listing, columns, matching_key, non_key, of_section, selected};
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::statement::Sql;
use crate::{Column, ColumnType, Schema};

/// The statements of a scope whose records expire.
#[derive(Debug)]
pub(crate) struct Expiring {
    /// `INSERT` of a row, in place of one that is expired, where the engine has such a statement:
    /// the binds of a write and a time.
    pub(crate) replace: Option<Sql>,
    /// The same for several rows.
    pub(crate) replace_rows: Option<Sql>,
    /// Overwrites a row that is expired: the columns that are not unique, the key and a time.
    pub(crate) overwrite: Sql,
    /// Removes a row that is expired: the key and a time.
    pub(crate) remove: Sql,
    /// The same for many keys, where the engine can be given them at once.
    pub(crate) remove_many: Option<Sql>,
    /// Gives a row that is not expired another expiry: that, the key and a time.
    pub(crate) touch: Sql,
    /// The listings of what is not expired: the section, a time and the key of the last row.
    pub(crate) keys: Listing,
    pub(crate) rows: Listing,
    /// Counts what is not expired: the section, the section and a time.
    pub(crate) len: Sql,
    /// Removes what is expired: the section, a time and a number.
    pub(crate) purge: Sql,
    /// Removes what expires first: the section and a number.
    pub(crate) trim: Sql,
    /// Removes what never expires: the section and a number.
    pub(crate) trim_rest: Sql,
}

impl Expiring {
    /// `None` if records of the schema do not expire.
    pub(crate) fn new<D: Dialect>(schema: &Schema, fixed: usize) -> Option<Self> {
        let expiry = &schema.columns[schema.expiry_column()?];
        let name = D::quote(&expiry.name);
        let (all, keys) =
            (selected::<D>(schema, &schema.columns), selected::<D>(schema, schema.key_columns()));
        let table = D::quote(&schema.table);
        let live = |sql: Sql| not_expired::<D>(sql, schema, &name);
        let expired = |sql: Sql| expired::<D>(sql, schema, &name);
        let by_key = |text: String| matching_key::<D>(Sql::new(text), schema);
        let conditional = |write: Sql| {
            let standing = D::existing_row(&schema.table)?;
            let sql = write.text(" WHERE ");
            Some(self::expired::<D>(sql, schema, &format!("{standing}.{name}")))
        };
        let by_expiry = format!(" ORDER BY {name}");
        Some(Self {
            replace: conditional(D::upsert(schema)),
            replace_rows: conditional(D::upsert_rows(schema))
                .map(|sql| sql.text(&format!(" RETURNING {keys}"))),
            overwrite: expired(overwriting::<D>(schema).text(" AND ")),
            remove: expired(by_key(format!("DELETE FROM {table} WHERE ")).text(" AND ")),
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
            keys: Listing::live::<D>(schema, &keys, fixed, live),
            rows: Listing::live::<D>(schema, &all, fixed, live),
            len: counting::<D>(schema, fixed, expired),
            purge: purging::<D>(schema, fixed, &by_expiry, expired),
            trim: purging::<D>(schema, fixed, &by_expiry, |sql| {
                sql.text(&format!("{name} IS NOT NULL"))
            }),
            trim_rest: purging::<D>(schema, fixed, "", |sql| sql.text(&format!("{name} IS NULL"))),
        })
    }
}

/// Adds the condition that a record is expired at the time bound.
fn expired<D: Dialect>(sql: Sql, schema: &Schema, name: &str) -> Sql {
    let sql = sql.text(&format!("{name} <= ")).bind(ColumnType::Timestamp);
    // What another program wrote may not compare as a time.
    match schema.freshness.expires_at {
        Some(_) => sql.text(&D::comparable_time(name)),
        None => sql,
    }
}

/// Adds the condition that it is not.
fn not_expired<D: Dialect>(sql: Sql, schema: &Schema, name: &str) -> Sql {
    let sql = sql.text(&format!("({name} IS NULL OR {name} > ")).bind(ColumnType::Timestamp);
    match schema.freshness.expires_at.as_ref().map(|_| D::comparable_time(name)) {
        Some(comparable) if !comparable.is_empty() => {
            sql.text(&format!(" OR NOT (1 = 1{comparable}))"))
        }
        _ => sql.text(")"),
    }
}

/// `UPDATE` of the columns that are not unique.
fn overwriting<D: Dialect>(schema: &Schema) -> Sql {
    let sql = Sql::new(format!("UPDATE {} SET ", D::quote(&schema.table)));
    let sql = sql.list(", ", non_key(schema), |sql, column| {
        sql.text(&format!("{} = ", D::quote(&column.name))).bind(column.ty)
    });
    matching_key::<D>(sql.text(" WHERE "), schema)
}

/// All records less those that are expired: both counts go by an index.
fn counting<D: Dialect>(schema: &Schema, fixed: usize, expired: impl Fn(Sql) -> Sql) -> Sql {
    let count = format!("(SELECT count(*) FROM {}", D::quote(&schema.table));
    let sql = of_section::<D>(Sql::new(format!("SELECT {count}")), schema, fixed);
    let sql = of_section::<D>(sql.text(&format!(") - {count}")), schema, fixed);
    expired(sql.text(if fixed == 0 { " WHERE " } else { " AND " })).text(")")
}

/// `DELETE` of up to so many rows of a section that meet a condition.
fn purging<D: Dialect>(
    schema: &Schema,
    fixed: usize,
    order: &str,
    condition: impl Fn(Sql) -> Sql,
) -> Sql {
    let table = D::quote(&schema.table);
    let keys = columns::<D>(schema.key_columns());
    let (before, after) = D::purging(&table, &keys, schema.key.len());
    let sql = of_section::<D>(Sql::new(before), schema, fixed);
    let sql = condition(sql.text(if fixed == 0 { " WHERE " } else { " AND " }));
    sql.text(order).text(" LIMIT ").bind(ColumnType::BigInt).text(&after)
}

impl Listing {
    /// The listing of the rows that are not expired.
    fn live<D: Dialect>(
        schema: &Schema,
        selected: &str,
        fixed: usize,
        live: impl Fn(Sql) -> Sql,
    ) -> Self {
        let table = D::quote(&schema.table);
        let listed: Vec<&Column> = schema.key_columns().skip(fixed).collect();
        let end = Self::end::<D>(schema, fixed);
        let all = || {
            let sql = Sql::new(format!("SELECT {selected} FROM {table}"));
            let sql = of_section::<D>(sql, schema, fixed);
            live(sql.text(if fixed == 0 { " WHERE " } else { " AND " }))
        };
        let next = D::after(all().text(" AND ("), &listed).text(")");
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

    use crate::backends::sql::statement::Statement;
    use crate::backends::sql::statement::render::{Statements, create};
    use crate::{Column, ColumnType, Schema, Value};

    #[derive(QueryableByName)]
    struct Plan {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    #[test]
    fn what_removes_goes_by_the_index() {
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
