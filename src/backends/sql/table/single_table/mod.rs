//! All scopes of a cache in one table: the scope is the first part of every key.
//!
//! A scope is a section of the table: the rows whose scope columns have its values. Every
//! operation is the one of a [`Table`], with these values in front of the key, so that it costs
//! what it costs there; listings are bound to them.

mod layout;
mod name;
mod options;
mod section;

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use self::layout::Layout;
pub(crate) use self::options::{OPTIONS, take};
use self::section::Section;
use crate::backends::sql::database::Database;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::{CallError, ErrorClass};
use crate::backends::sql::migration::Readable;
use crate::backends::sql::statement::render::{columns, selected};
use crate::backends::sql::statement::{Sql, load};
use crate::backends::sql::table::{Found, Table, check_comes_back};
use crate::store::{ABSENT, Adopted, Capabilities, ExpirySupport, Projected, ScopeStore, Store};
use crate::{Column, ColumnType, DynKey, Error, Plan, Result, Schema};

/// A database in which all scopes are kept in one table: its primary key is the columns that say
/// the scope and then those of the key.
///
/// All scopes are of one schema, and none needs to be declared: any name is a scope. A typed scope
/// or map must have the columns of the table, by name and type.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use hilcat::backend::{SingleTable, Sqlite};
/// use hilcat::{Cache, Column, ColumnType, Schema};
/// use serde_json::json;
///
/// let records = Schema::new("cache")
///     .unique(Column::new("id", ColumnType::Text).key_only())
///     .column(Column::new("name", ColumnType::Text).nullable(true))
///     .column(Column::new("count", ColumnType::Int).nullable(true));
/// let cache = Cache::from_store(SingleTable::new(Sqlite::in_memory().open()?, records)?);
/// cache.dynamic("a")?.set("x", json!({"name": "jii", "count": 1}))?;
/// cache.dynamic("b")?.set("x", json!({"count": 2}))?;
/// assert_eq!(cache.scopes()?, ["a", "b"]);
/// assert_eq!(cache.dynamic("b")?.fetch("x")?, Some(json!({"name": null, "count": 2})));
/// # }
/// # Ok::<(), hilcat::Error>(())
/// ```
///
/// The same by a URI, with lists by commas: `sqlite:///c.db?single_table=cache&key_columns=id&
/// columns=name,count&column_types=count:int`. What is left out is as in the Python package:
///
/// | option | what it says | left out |
/// | --- | --- | --- |
/// | `single_table` | the name of the table | |
/// | `scope_columns` | the columns that say the scope | `scope` |
/// | `key_columns` | the columns of a scope's keys | `id` |
/// | `columns` | the columns of a value | `data` |
/// | `column_types` | types of columns, as `count:int,price:decimal(9,2)` | |
/// | `default_column_type` | the type of all other columns | `text` |
/// | `value` | the shape of a value, as [`Schemas`](crate::Schemas) has it | `default` |
/// | `migrate` | `safe`, `recreate` or `manual`, see [`Migrate`](crate::Migrate) | `safe` |
///
/// # The names of scopes
///
/// Where one column says the scope, its value is the name. Where several do, the name is their
/// values with `/` in between, as [`SingleTable::scope`] writes it; a `/` or `%` in a value stands
/// there as `%2F` or `%25`.
#[derive(Debug)]
pub struct SingleTable(Arc<dyn Store>);

impl SingleTable {
    /// Keeps all scopes in one table that has the column `scope` of type `text` and those of this
    /// schema, whose table it is and whose policy for migrations holds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema) where the schema is not a
    /// valid one or has a column `scope` itself.
    pub fn new(store: impl Tables, records: Schema) -> Result<Self> {
        Self::with_scope_columns(store, [Column::new("scope", ColumnType::Text)], records)
    }

    /// The same where these columns say the scope.
    ///
    /// # Errors
    ///
    /// As [`new`](SingleTable::new); and where no column is given.
    pub fn with_scope_columns(
        store: impl Tables,
        scope_columns: impl IntoIterator<Item = Column>,
        records: Schema,
    ) -> Result<Self> {
        Ok(Self(store.single_table(Layout::new(scope_columns, records)?)))
    }

    /// The name of the scope whose columns have these values: one value, or a tuple.
    ///
    /// ```
    /// use hilcat::backend::SingleTable;
    ///
    /// assert_eq!(SingleTable::scope("a/b"), "a/b");
    /// assert_eq!(SingleTable::scope(("eu", 7)), "eu/7");
    /// assert_eq!(SingleTable::scope(("a/b", "100%")), "a%2Fb/100%25");
    /// ```
    pub fn scope(values: impl DynKey) -> String {
        name::of(values.into_dyn_key().values())
    }
}

store_of_tables!(SingleTable);

/// A database whose scopes are tables, and that can keep all scopes in one.
pub trait Tables: Store + sealed::Tables {}

impl<T: Store + sealed::Tables> Tables for T {}

/// What no other crate can implement.
pub(crate) mod sealed {
    use super::{Arc, Layout, Store};

    pub trait Tables {
        fn single_table(self, layout: Layout) -> Arc<dyn Store>;
    }
}

/// The store of a URI: with a layout, all its scopes are in one table.
pub(crate) fn store(store: impl Tables + 'static, layout: Option<Layout>) -> Arc<dyn Store> {
    match layout {
        Some(layout) => store.single_table(layout),
        None => Arc::new(store),
    }
}

/// A database of one table, as a store.
pub(crate) struct Single<D: Dialect> {
    database: Database<D>,
    layout: Layout,
    /// As hilcat makes the table, and where its keys stand in clear.
    scopes: [Sql; 2],
    /// The table and what is known of it, once it was found or made as the layout says.
    made: Mutex<Option<Made>>,
    /// The table, as the schemas use it that scopes were opened with: many scopes, few schemas.
    used: Mutex<Vec<(Schema, Arc<Table<D>>)>>,
}

/// The one table as it was opened, with hilcat's own column for the expiry if it has that.
type Made = (Arc<Schema>, Arc<Found>);

impl<D: Dialect> fmt::Debug for Single<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Single")
            .field("backend", &D::NAME)
            .field("table", &self.layout.table.table)
            .finish_non_exhaustive()
    }
}

impl<D: Dialect> Single<D> {
    pub(crate) fn new(database: Database<D>, layout: Layout) -> Self {
        let table = D::quote(&layout.table.table);
        let scopes = [
            selected::<D>(&layout.table, layout.scope_columns()),
            columns::<D>(layout.scope_columns()),
        ];
        let scopes = scopes.map(|scope| Sql::new(format!("SELECT DISTINCT {scope} FROM {table}")));
        let (made, used) = (Mutex::default(), Mutex::default());
        Self { database, layout, scopes, made, used }
    }

    /// The one table, with the column for the expiry that the records of a scope carry.
    fn ensure(&self, scope: &Schema) -> Result<Made> {
        let wanted = self.layout.table_for(scope);
        let is_enough =
            |(table, _): &&Made| table.has_own_expiry_column() || !wanted.has_own_expiry_column();
        if let Some(made) = self.made.lock().as_ref().filter(is_enough) {
            return Ok(made.clone());
        }
        let (table, found) = self.database.inner.ensure(&Arc::new(wanted))?;
        let made = (table, Arc::new(found));
        *self.made.lock() = Some(made.clone());
        Ok(made)
    }

    fn used_as(&self, schema: Schema, made: &Made) -> Arc<Table<D>> {
        let mut used = self.used.lock();
        if let Some((_, table)) = used.iter().find(|(known, _)| *known == schema) {
            return table.clone();
        }
        let fixed = self.layout.scope_columns;
        let database = self.database.inner.clone();
        let shared = Arc::new(schema.clone());
        let table = Table::in_sections(database, &shared, &made.0, fixed, &made.1);
        let table = Arc::new(table);
        used.push((schema, table.clone()));
        table
    }
}

/// Whether a scope is one of hilcat's own beside another one: it has a table of its own.
fn is_beside(scope: &str) -> bool {
    scope.starts_with(ABSENT)
}

/// The names of the scopes that a statement gives.
fn names<D: Dialect>(
    connection: &mut D::Connection,
    scopes: &Sql,
    types: &[ColumnType],
) -> Result<BTreeSet<String>, CallError> {
    let mut names = BTreeSet::new();
    load::<D>(connection, scopes.with(&[]), types, |values| {
        // Another program may have left a scope open: no name is that of such rows.
        if !values.iter().any(crate::Value::is_null) {
            names.insert(name::of(&values));
        }
        Ok(())
    })?;
    Ok(names)
}

impl<D: Dialect> Store for Single<D> {
    fn name(&self) -> &'static str {
        self.database.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.database.capabilities()
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        if is_beside(&schema.name) {
            return self.database.open(schema);
        }
        self.layout.check_columns(schema)?;
        let fixed = self.layout.values_of(&schema.name)?;
        let made = self.ensure(schema)?;
        if schema.freshness.lease().is_some() {
            self.database.inner.ensure_leases()?;
        }
        let schema = Arc::new(schema.with_expiry_of(&made.0));
        for (column, value) in self.layout.scope_columns().zip(&fixed) {
            D::check_value(value)
                .and_then(|()| match made.1.numbers.contains(&column.name) {
                    true => check_comes_back::<D>(value),
                    false => Ok(()),
                })
                .map_err(|error| error.with_column(&column.name))?;
        }
        let table = self.used_as(self.layout.used_as(&schema)?, &made).section(&fixed);
        Ok(Arc::new(Section::new(schema, table, fixed)))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        if is_beside(&schema.name) {
            return self.database.open_read_only(schema);
        }
        self.layout.check_columns(schema)?;
        let fixed = self.layout.values_of(&schema.name)?;
        let readable = self.database.inner.readable(&self.layout.table_for(schema))?;
        let Some((Readable { schema: table, stored, .. }, found)) = readable else {
            return Ok(None);
        };
        let schema = Arc::new(schema.with_expiry_of(&table));
        let used_as = Arc::new(self.layout.stored_as(self.layout.used_as(&schema)?, &stored));
        let scope = Arc::new(self.layout.without_scope(&used_as, &schema.name));
        let count = self.layout.scope_columns;
        let table = Table::read_only(self.database.inner.clone(), &used_as, count, &found);
        let section = Section::new(scope, table.section(&fixed), fixed);
        Ok(Some(Projected::wrap(&schema, Arc::new(section))))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.layout.check_columns(schema)?;
        self.database.plan(&self.layout.table_for(schema))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.layout.check_columns(schema)?;
        let plan = self.database.migrate(&self.layout.table_for(schema))?;
        self.used.lock().clear();
        *self.made.lock() = None;
        Ok(plan)
    }

    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        let table =
            Schema { freshness: schema.freshness.clone(), ..Schema::clone(&self.layout.table) };
        self.database.expiry_of(&table)
    }

    /// The options are those of the scope that was opened last: they are stored for the table.
    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        if is_beside(scope) {
            return self.database.stored_schema(scope);
        }
        let stored = self.database.stored_schema(&self.layout.table.name)?;
        Ok(stored.map(|table| {
            let records = self.layout.records(scope).with_expiry_of(&table);
            Schema { freshness: table.freshness, ..records }
        }))
    }

    fn scopes(&self) -> Result<Vec<String>> {
        let types: Vec<ColumnType> = self.layout.scope_columns().map(|column| column.ty).collect();
        self.database.inner.read(|connection| {
            let [stands, in_clear] = &self.scopes;
            let names = match names::<D>(connection, stands, &types) {
                Err(failed) if failed.class::<D>() == ErrorClass::NoColumn => {
                    names::<D>(connection, in_clear, &types)
                }
                names => names,
            };
            match names {
                Err(failed) if failed.class::<D>() == ErrorClass::NoTable => Ok(Vec::new()),
                names => Ok(names?.into_iter().collect()),
            }
        })
    }

    fn implicit_schema(&self, scope: &str) -> Option<Schema> {
        Some(self.layout.records(scope))
    }

    fn database(&self) -> Option<&dyn Any> {
        self.database.database()
    }

    fn adopt(&self) -> Result<Adopted> {
        Err(Error::unsupported(
            "all scopes are in one table, and none has to be declared; open the database without `single_table` to adopt its tables",
        ))
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use diesel::connection::SimpleConnection;
    use diesel::sql_types::Text;
    use diesel::sqlite::Sqlite;
    use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

    use super::*;
    use crate::Value;
    use crate::backends::sql::statement::Statement;
    use crate::backends::sql::statement::render::{Statements, create_table};

    #[derive(QueryableByName)]
    struct Plan {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    #[test]
    fn every_statement_searches_by_the_key() {
        let column = |name| Column::new(name, ColumnType::Text);
        let records = Schema::new("t").unique(column("a")).unique(column("b")).column(column("v"));
        let layout = Layout::new([column("r"), column("s")], records).unwrap();
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection.batch_execute(&create_table::<Sqlite>(&layout.table, "t")).unwrap();
        let statements = Statements::in_sections::<Sqlite>(&layout.table, 2);
        let values: Vec<Value> = ["x"; 4].map(Value::from).into();
        let (scope, key) = (&values[..2], &values[..]);
        let mut searches = |statement: Statement<'_>, by: &str| {
            let text = diesel::debug_query::<Sqlite, _>(&statement).to_string();
            let plan: Vec<Plan> =
                sql_query(format!("EXPLAIN QUERY PLAN {text}")).load(&mut connection).unwrap();
            let plan: Vec<String> = plan.into_iter().map(|line| line.detail).collect();
            assert_eq!(plan, [format!("SEARCH t USING PRIMARY KEY ({by})")], "{text}");
        };
        let (section, after) = ("r=? AND s=?", "r=? AND s=? AND (a,b)>(?,?)");
        for listing in [&statements.keys, &statements.rows] {
            searches(listing.first.with(scope), section);
            searches(listing.next.with(key), after);
        }
        searches(statements.len.with(scope), section);
        searches(statements.clear.with(scope), section);
        for statement in [&statements.exists, &statements.fetch, &statements.pop] {
            searches(statement.with(key), "r=? AND s=? AND a=? AND b=?");
        }
    }
}
