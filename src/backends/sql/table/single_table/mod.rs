//! All scopes of a cache in one table, whose primary key begins with the scope.
//!
//! A scope is a section of the table: the rows with its values in the scope columns. Each operation
//! is that of a [`Table`] with these values before the key, at the same cost. Listings are
//! restricted to them.

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
use crate::backends::sql::dialect::statements::{columns, selected};
use crate::backends::sql::error::{CallError, ErrorClass};
use crate::backends::sql::migration::{ReadableTable, TableProperties};
use crate::backends::sql::statement::{Sql, load};
use crate::backends::sql::table::{Table, check_numeric_affinity};
use crate::store::{ABSENT, Adopted, Capabilities, ExpirySupport, Projected, ScopeStore, Store};
use crate::{Column, ColumnType, DynKey, Error, Plan, Result, Schema};

/// A database that stores all scopes in one table. Its primary key consists of the scope columns,
/// which identify the scope, and the key columns.
///
/// All scopes have one schema. None needs to be declared: any name is a scope. A typed scope or map
/// must have the columns of the table, by name and type.
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
/// A URI has the same options, with comma-separated lists: `sqlite:///c.db?single_table=cache&
/// key_columns=id&columns=name,count&column_types=count:int`. The defaults are those of the Python
/// package:
///
/// | option | meaning | default |
/// | --- | --- | --- |
/// | `single_table` | the name of the table | |
/// | `scope_columns` | the columns that identify the scope | `scope` |
/// | `key_columns` | the columns of a key | `id` |
/// | `columns` | the columns of a value | `data` |
/// | `column_types` | the types of columns, such as `count:int,price:decimal(9,2)` | |
/// | `default_column_type` | the type of all other columns | `text` |
/// | `value` | the shape of a value, as in [`Schemas`](crate::Schemas) | `default` |
/// | `migrate` | `safe`, `recreate` or `manual`, see [`Migrate`](crate::Migrate) | `safe` |
///
/// # The names of scopes
///
/// With one scope column, its value is the name of the scope. With several, the name consists of
/// their values separated by `/`, as [`SingleTable::scope`] returns it. A `/` or `%` in a value is
/// escaped as `%2F` or `%25`.
#[derive(Debug)]
pub struct SingleTable(Arc<dyn Store>);

impl SingleTable {
    /// Stores all scopes in the table of the schema `records`, which has its columns and a text
    /// column `scope`. The schema's policy for migrations applies to the table.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema) if the schema is invalid or has
    /// a column `scope` itself.
    pub fn new(store: impl Tables, records: Schema) -> Result<Self> {
        Self::with_scope_columns(store, [Column::new("scope", ColumnType::Text)], records)
    }

    /// Stores all scopes in one table, like [`new`](SingleTable::new), with these scope columns.
    ///
    /// # Errors
    ///
    /// Those of [`new`](SingleTable::new), and
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema) if there is no scope column.
    pub fn with_scope_columns(
        store: impl Tables,
        scope_columns: impl IntoIterator<Item = Column>,
        records: Schema,
    ) -> Result<Self> {
        Ok(Self(store.single_table(Layout::new(scope_columns, records)?)))
    }

    /// Returns the name of the scope with these values in its columns: one value, or a tuple.
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

/// A database that stores each scope in a table, and can store all scopes in one.
pub trait Tables: Store + sealed::Tables {}

impl<T: Store + sealed::Tables> Tables for T {}

/// The supertrait that no other crate can implement.
pub(crate) mod sealed {
    use super::{Arc, Layout, Store};

    pub trait Tables {
        fn single_table(self, layout: Layout) -> Arc<dyn Store>;
    }
}

/// Returns the store of a URI. With a layout it stores all scopes in one table.
pub(crate) fn store(store: impl Tables + 'static, layout: Option<Layout>) -> Arc<dyn Store> {
    match layout {
        Some(layout) => store.single_table(layout),
        None => Arc::new(store),
    }
}

/// A database with all scopes in one table, as a store.
pub(crate) struct SingleTableStore<D: Dialect> {
    database: Database<D>,
    layout: Layout,
    /// Select the values of the scope columns: in a table that hilcat created, and in one whose keys
    /// are stored in clear.
    scopes: [Sql; 2],
    /// The table, once it was opened.
    opened: Mutex<Option<OpenedTable>>,
    /// The stores of the table by the schema that a scope uses it with. There are many scopes, but
    /// few schemas.
    tables: Mutex<Vec<(Schema, Arc<Table<D>>)>>,
}

/// The schema of the table, with hilcat's own expiry column if it has that, and its properties.
type OpenedTable = (Arc<Schema>, Arc<TableProperties>);

impl<D: Dialect> fmt::Debug for SingleTableStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleTableStore")
            .field("backend", &D::NAME)
            .field("table", &self.layout.table.table)
            .finish_non_exhaustive()
    }
}

impl<D: Dialect> SingleTableStore<D> {
    pub(crate) fn new(database: Database<D>, layout: Layout) -> Self {
        let table = D::quote(&layout.table.table);
        let scopes = [
            selected::<D>(&layout.table, layout.scope_columns()),
            columns::<D>(layout.scope_columns()),
        ];
        let scopes = scopes.map(|scope| Sql::new(format!("SELECT DISTINCT {scope} FROM {table}")));
        let (opened, tables) = (Mutex::default(), Mutex::default());
        Self { database, layout, scopes, opened, tables }
    }

    /// Ensures that the table exists, and that it has an expiry column if the scope needs one.
    fn ensure(&self, scope: &Schema) -> Result<OpenedTable> {
        let wanted = self.layout.table_for(scope);
        let suffices = |(table, _): &&OpenedTable| {
            table.has_own_expiry_column() || !wanted.has_own_expiry_column()
        };
        if let Some(opened) = self.opened.lock().as_ref().filter(suffices) {
            return Ok(opened.clone());
        }
        let (table, properties) = self.database.inner.ensure(&Arc::new(wanted))?;
        let opened = (table, Arc::new(properties));
        *self.opened.lock() = Some(opened.clone());
        Ok(opened)
    }

    /// Returns the store of the table as it is used with a schema.
    fn table_as(&self, schema: Schema, opened: &OpenedTable) -> Arc<Table<D>> {
        let mut tables = self.tables.lock();
        if let Some((_, table)) = tables.iter().find(|(known, _)| *known == schema) {
            return table.clone();
        }
        let section_len = self.layout.scope_columns;
        let database = self.database.inner.clone();
        let shared = Arc::new(schema.clone());
        let table = Table::in_sections(database, &shared, &opened.0, section_len, &opened.1);
        let table = Arc::new(table);
        tables.push((schema, table.clone()));
        table
    }
}

/// Returns whether a scope holds hilcat's own data. Such a scope has a table of its own.
fn is_internal(scope: &str) -> bool {
    scope.starts_with(ABSENT)
}

/// Returns the names of the scopes whose values a statement selects.
fn names<D: Dialect>(
    connection: &mut D::Connection,
    scopes: &Sql,
    types: &[ColumnType],
) -> Result<BTreeSet<String>, CallError> {
    let mut names = BTreeSet::new();
    load::<D>(connection, scopes.with(&[]), types, |values| {
        // Another program may have written NULL, which is the value of no scope.
        if !values.iter().any(crate::Value::is_null) {
            names.insert(name::of(&values));
        }
        Ok(())
    })?;
    Ok(names)
}

impl<D: Dialect> Store for SingleTableStore<D> {
    fn name(&self) -> &'static str {
        self.database.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.database.capabilities()
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        if is_internal(&schema.name) {
            return self.database.open(schema);
        }
        self.layout.check_columns(schema)?;
        let scope = self.layout.values_of(&schema.name)?;
        let opened = self.ensure(schema)?;
        if schema.freshness.lease().is_some() {
            self.database.inner.ensure_leases()?;
        }
        let schema = Arc::new(schema.with_expiry_of(&opened.0));
        for (column, value) in self.layout.scope_columns().zip(&scope) {
            D::check_value(value)
                .and_then(|()| match opened.1.numeric_affinity.contains(&column.name) {
                    true => check_numeric_affinity::<D>(value),
                    false => Ok(()),
                })
                .map_err(|error| error.with_column(&column.name))?;
        }
        let table = self.table_as(self.layout.table_schema(&schema)?, &opened).section(&scope);
        Ok(Arc::new(Section::new(schema, table, scope)))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        if is_internal(&schema.name) {
            return self.database.open_read_only(schema);
        }
        self.layout.check_columns(schema)?;
        let scope = self.layout.values_of(&schema.name)?;
        let readable = self.database.inner.readable(&self.layout.table_for(schema))?;
        let Some((ReadableTable { schema: table, stored, .. }, properties)) = readable else {
            return Ok(None);
        };
        let schema = Arc::new(schema.with_expiry_of(&table));
        let table_schema = self.layout.table_schema(&schema)?;
        let table_schema = Arc::new(self.layout.readable_schema(table_schema, &stored));
        let records = Arc::new(self.layout.without_scope(&table_schema, &schema.name));
        let count = self.layout.scope_columns;
        let database = self.database.inner.clone();
        let table = Table::read_only(database, &table_schema, count, &properties);
        let section = Section::new(records, table.section(&scope), scope);
        Ok(Some(Projected::wrap(&schema, Arc::new(section))))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.layout.check_columns(schema)?;
        self.database.plan(&self.layout.table_for(schema))
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.layout.check_columns(schema)?;
        let plan = self.database.migrate(&self.layout.table_for(schema))?;
        self.tables.lock().clear();
        *self.opened.lock() = None;
        Ok(plan)
    }

    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        let table =
            Schema { freshness: schema.freshness.clone(), ..Schema::clone(&self.layout.table) };
        self.database.expiry_of(&table)
    }

    /// The freshness options are stored for the table, and are those of the scope that was opened
    /// last.
    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        if is_internal(scope) {
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
            let [created, in_clear] = &self.scopes;
            let names = match names::<D>(connection, created, &types) {
                Err(error) if error.class::<D>() == ErrorClass::NoColumn => {
                    names::<D>(connection, in_clear, &types)
                }
                names => names,
            };
            match names {
                Err(error) if error.class::<D>() == ErrorClass::NoTable => Ok(Vec::new()),
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
            "`single_table` stores all scopes in one table, and none has to be declared; open the database without `single_table` to adopt its tables",
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
    use crate::backends::sql::dialect::statements::{Statements, create_table};
    use crate::backends::sql::statement::Statement;

    #[derive(QueryableByName)]
    struct Plan {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    #[test]
    fn every_statement_uses_the_primary_key() {
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
