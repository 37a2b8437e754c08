//! The statements of a scope, their text made once.

use std::sync::{Arc, OnceLock};

use super::expiry::Expiring;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::statement::Sql;
use crate::schema::fnv1a;
use crate::{Column, ColumnType, Schema};

/// How many rows one page of a listing has.
pub(crate) const PAGE: usize = 1000;

/// The statements of one scope.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) schema: Arc<Schema>,
    /// The types of all columns, in schema order.
    pub(crate) types: Vec<ColumnType>,
    /// The types of the unique columns, in key order.
    pub(crate) key_types: Vec<ColumnType>,
    pub(crate) exists: Sql,
    pub(crate) fetch: Sql,
    /// The same for a row that is not changed by others until the transaction ends.
    pub(crate) lock: Sql,
    /// Fetches many keys, where the engine can be given them at once.
    pub(crate) fetch_many: Option<Sql>,
    pub(crate) set: Sql,
    /// The same for several rows.
    pub(crate) set_rows: Sql,
    /// For a row whose key has none; what there is of the key is left as it is.
    pub(crate) insert: Sql,
    /// The same for many rows, where the engine can be given them at once: gives the keys of those
    /// that were inserted.
    pub(crate) insert_many: Option<Sql>,
    /// For a row of which some columns are absent.
    pub(crate) merge: Sql,
    /// The same where a new record could not be made: changes the record that there is.
    pub(crate) patch: Sql,
    /// The three of them where they also give the row that they replace.
    pub(crate) updates: Option<Updates>,
    pub(crate) pop: Sql,
    /// Removes many keys, where the engine can be given them at once.
    pub(crate) pop_many: Option<Sql>,
    pub(crate) keys: Listing,
    pub(crate) rows: Listing,
    /// All rows at one moment.
    pub(crate) all: Sql,
    pub(crate) len: Sql,
    pub(crate) clear: Sql,
    /// Those of batches, where they are of fixed sizes.
    pub(crate) batches: Option<Batches>,
    /// Those of records that expire.
    pub(crate) expiring: Option<Expiring>,
}

/// The statements for many rows of an engine that takes them in fixed sizes only.
#[derive(Debug)]
pub(crate) struct Batches {
    pub(crate) fetch: Buckets,
    /// As `fetch`, and nobody else changes the rows until the transaction ends.
    pub(crate) lock: Buckets,
    pub(crate) remove: Buckets,
    pub(crate) set: Buckets,
    /// Removes the rows of keys that are expired: the keys, and then a time.
    pub(crate) remove_expired: Buckets,
    /// Inserts rows of keys that have none; fails where one has.
    pub(crate) insert: Buckets,
}

/// One statement in several sizes, each made when it is first needed.
#[derive(Debug)]
pub(crate) struct Buckets {
    sizes: Vec<(usize, OnceLock<Sql>)>,
    make: fn(&Schema, usize) -> Sql,
    /// Whether an item may be repeated to fill a statement.
    padded: bool,
}

impl Buckets {
    /// A statement of these sizes, the smallest first, which is 1.
    pub(crate) fn new(
        sizes: impl IntoIterator<Item = usize>,
        make: fn(&Schema, usize) -> Sql,
    ) -> Self {
        let sizes = sizes.into_iter().map(|size| (size, OnceLock::new())).collect();
        Self { sizes, make, padded: true }
    }

    /// The same where no item may be repeated.
    pub(crate) fn exact(
        sizes: impl IntoIterator<Item = usize>,
        make: fn(&Schema, usize) -> Sql,
    ) -> Self {
        Self { padded: false, ..Self::new(sizes, make) }
    }

    /// The size and the statement that so many items begin with. It may have room for more of them
    /// where they fill more than half of it: the last item is repeated then.
    pub(crate) fn begin(&self, schema: &Schema, items: usize) -> (usize, &Sql) {
        let most = if self.padded { items * 2 - 1 } else { items };
        let roomy = self.sizes.iter().find(|(size, _)| *size >= items && *size <= most);
        let full = || self.sizes.iter().rev().find(|(size, _)| *size <= items);
        let (size, sql) = roomy.or_else(full).unwrap_or(&self.sizes[0]);
        (*size, sql.get_or_init(|| (self.make)(schema, *size)))
    }
}

/// The statements that write a row and give how many they wrote and, beside it, the columns of the
/// row that was replaced, NULL where there was none. They have the binds of the key before those
/// of the statement that only writes.
#[derive(Debug)]
pub(crate) struct Updates {
    pub(crate) set: Sql,
    pub(crate) merge: Sql,
    pub(crate) patch: Sql,
}

/// The two statements of a listing by pages, each of which begins after the last key of the page
/// before.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) first: Sql,
    pub(crate) next: Sql,
}

impl Statements {
    pub(crate) fn new<D: Dialect>(schema: &Arc<Schema>) -> Self {
        Self::in_sections::<D>(schema, 0)
    }

    /// The statements where listings are of the rows whose first `fixed` key columns have values
    /// that are given: their binds come before all others.
    pub(crate) fn in_sections<D: Dialect>(schema: &Arc<Schema>, fixed: usize) -> Self {
        let table = D::quote(&schema.table);
        let all = selected::<D>(schema, &schema.columns);
        let keys = selected::<D>(schema, schema.key_columns());
        let by_key = |text: String| matching_key::<D>(Sql::new(text), schema);
        Self {
            types: schema.columns.iter().map(|column| column.ty).collect(),
            key_types: schema.key_columns().map(|column| column.ty).collect(),
            exists: by_key(format!("SELECT 1 FROM {table} WHERE ")),
            fetch: by_key(format!("SELECT {all} FROM {table} WHERE ")),
            lock: by_key(format!("SELECT {all} FROM {table} WHERE ")).text(D::LOCKING),
            fetch_many: D::fetch_listed(schema),
            set: D::upsert(schema),
            set_rows: D::upsert_rows(schema),
            insert: D::insert(schema),
            insert_many: D::insert_listed(schema),
            merge: D::merge(schema),
            patch: patch::<D>(schema),
            updates: D::updates(schema),
            pop_many: D::pop_listed(schema),
            pop: D::pop_one(schema),
            keys: Listing::new::<D>(schema, &keys, fixed),
            rows: Listing::new::<D>(schema, &all, fixed),
            all: in_section::<D>(format!("SELECT {all} FROM {table}"), schema, fixed),
            len: in_section::<D>(format!("SELECT count(*) FROM {table}"), schema, fixed),
            clear: D::clear_section(schema, fixed),
            batches: D::batches(schema),
            expiring: Expiring::new::<D>(schema, fixed),
            schema: schema.clone(),
        }
    }
}

impl Listing {
    fn new<D: Dialect>(schema: &Schema, selected: &str, fixed: usize) -> Self {
        let table = D::quote(&schema.table);
        let end = Self::end::<D>(schema, fixed);
        let all = || Sql::new(format!("SELECT {selected} FROM {table}"));
        let section = || of_section::<D>(all(), schema, fixed);
        let listed: Vec<&Column> = schema.key_columns().skip(fixed).collect();
        let next = match fixed {
            0 => D::after(section().text(" WHERE "), &listed),
            _ => D::after(section().text(" AND ("), &listed).text(")"),
        };
        Self { first: section().text(&end), next: next.text(&end) }
    }

    /// The order and the size of a page.
    pub(crate) fn end<D: Dialect>(schema: &Schema, fixed: usize) -> String {
        let table = D::quote(&schema.table);
        // Of the table, not what is selected under the same name.
        let keys = schema.key_columns().skip(fixed);
        let keys = keys.map(|key| format!("{table}.{}", D::quote(&key.name)));
        format!(" ORDER BY {} LIMIT {PAGE}", keys.collect::<Vec<_>>().join(", "))
    }
}

/// What is selected for columns, separated by commas.
pub(crate) fn selected<'a, D: Dialect>(
    schema: &Schema,
    columns: impl IntoIterator<Item = &'a Column>,
) -> String {
    let selected = columns.into_iter().map(|column| D::selected(schema, column));
    selected.collect::<Vec<_>>().join(", ")
}

/// The quoted names of columns, separated by commas.
pub(crate) fn columns<'a, D: Dialect>(columns: impl IntoIterator<Item = &'a Column>) -> String {
    let names = columns.into_iter().map(|column| D::quote(&column.name));
    names.collect::<Vec<_>>().join(", ")
}

/// A statement on the rows whose first key columns have the values that are bound; on all rows
/// where none is fixed.
pub(crate) fn in_section<D: Dialect>(text: String, schema: &Schema, fixed: usize) -> Sql {
    of_section::<D>(Sql::new(text), schema, fixed)
}

/// Adds the same condition.
pub(crate) fn of_section<D: Dialect>(sql: Sql, schema: &Schema, fixed: usize) -> Sql {
    match fixed {
        0 => sql,
        _ => matching::<D>(sql.text(" WHERE "), schema.key_columns().take(fixed)),
    }
}

/// Adds the condition that the key is the one bound.
pub(crate) fn matching_key<D: Dialect>(sql: Sql, schema: &Schema) -> Sql {
    matching::<D>(sql, schema.key_columns())
}

fn matching<'a, D: Dialect>(sql: Sql, columns: impl Iterator<Item = &'a Column>) -> Sql {
    sql.list(" AND ", columns, |sql, column| {
        sql.text(&format!("{} = ", D::quote(&column.name))).bind(column.ty)
    })
}

/// Changes the given columns of a record: its binds are, for each column that is not unique,
/// whether it is given and its value, and then the key.
fn patch<D: Dialect>(schema: &Schema) -> Sql {
    patching::<D>(Sql::new(""), schema)
}

/// Adds the same to a statement.
pub(crate) fn patching<D: Dialect>(sql: Sql, schema: &Schema) -> Sql {
    let sql = sql.text(&format!("UPDATE {} SET ", D::quote(&schema.table)));
    let sql = sql.list(", ", non_key(schema), |sql, column| {
        let name = D::quote(&column.name);
        sql.text(&format!("{name} = CASE WHEN "))
            .bind(ColumnType::Bool)
            .text(" THEN ")
            .bind(column.ty)
            .text(&format!(" ELSE {name} END"))
    });
    matching_key::<D>(sql.text(" WHERE "), schema)
}

/// Adds to an `INSERT` that a record that has the key is changed by what `change` says of each
/// column that is not unique.
pub(crate) fn on_conflict<D: Dialect>(
    sql: Sql,
    schema: &Schema,
    change: impl Fn(Sql, &Column) -> Sql,
) -> Sql {
    let keys = columns::<D>(schema.key_columns());
    let sql = sql.text(&format!(" ON CONFLICT ({keys}) DO "));
    match non_key(schema).next() {
        None => sql.text("NOTHING"),
        Some(_) => sql.text("UPDATE SET ").list(", ", non_key(schema), change),
    }
}

/// Adds to an `INSERT` that nothing is done where a record has the key.
pub(crate) fn unless_stored<D: Dialect>(sql: Sql, schema: &Schema) -> Sql {
    let keys = columns::<D>(schema.key_columns());
    sql.text(&format!(" ON CONFLICT ({keys}) DO NOTHING"))
}

/// The columns that are not unique, in schema order.
pub(crate) fn non_key(schema: &Schema) -> impl Iterator<Item = &Column> {
    let columns = schema.columns.iter().enumerate();
    columns.filter(|(at, _)| !schema.is_key(*at)).map(|(_, column)| column)
}

/// The columns of the index by which expired records are found, if records expire.
pub(crate) fn expiry_index(schema: &Schema) -> Option<Vec<String>> {
    let expiry = &schema.columns[schema.expiry_column()?];
    let section = schema.key_columns().take(schema.sections);
    Some(section.chain([expiry]).map(|column| column.name.clone()).collect())
}

/// The name of an index that hilcat makes: one of its own in the whole database.
pub(crate) fn index_name(table: &str, columns: &[String]) -> String {
    format!("hilcat_ix_{:016x}", fnv1a(format!("{table:?} {columns:?}").as_bytes()))
}

/// `CREATE INDEX` on columns of a table.
pub(crate) fn create_index<D: Dialect>(table: &str, columns: &[String]) -> String {
    let name = D::quote_in_definition(&index_name(table, columns));
    let quoted: Vec<String> = columns.iter().map(|column| D::quote_in_definition(column)).collect();
    format!("CREATE INDEX {name} ON {} ({})", D::quote_in_definition(table), quoted.join(", "))
}

/// The statements that make a table with its indexes.
pub(crate) fn create<D: Dialect>(schema: &Schema) -> Vec<String> {
    let index = expiry_index(schema).filter(|_| !D::INDEXES_IN_TABLE);
    let index = index.map(|columns| create_index::<D>(&schema.table, &columns));
    [create_table::<D>(schema, &schema.table)].into_iter().chain(index).collect()
}

/// The definition of the index in that of its table.
fn index_in_table<D: Dialect>(schema: &Schema) -> Option<String> {
    let columns = expiry_index(schema).filter(|_| D::INDEXES_IN_TABLE)?;
    let name = D::quote(&index_name(&schema.table, &columns));
    let quoted: Vec<String> = columns.iter().map(|column| D::quote(column)).collect();
    Some(format!(",\n  INDEX {name} ({})", quoted.join(", ")))
}

/// `CREATE TABLE` under a name.
pub(crate) fn create_table<D: Dialect>(schema: &Schema, table: &str) -> String {
    let columns = schema.columns.iter().enumerate().map(|(at, column)| {
        let ty = match schema.is_key(at) {
            true => D::key_type_in(schema, column),
            false => D::column_type(column.ty),
        };
        format!("  {}", defined::<D>(column, &ty))
    });
    let beside =
        D::auxiliary_columns(schema).into_iter().map(|definition| format!("  {definition}"));
    let columns = columns.chain(beside).collect::<Vec<_>>().join(",\n");
    let keys = schema.key_columns().map(|column| D::quote_in_definition(&column.name));
    let keys = keys.collect::<Vec<_>>().join(", ");
    let (table, options) = (D::quote_in_definition(table), D::TABLE_OPTIONS);
    let index = index_in_table::<D>(schema).unwrap_or_default();
    format!("CREATE TABLE {table} (\n{columns},\n  PRIMARY KEY ({keys}){index}\n){options}")
}

/// A column that is not unique, as `CREATE TABLE` and `ADD COLUMN` have it.
pub(crate) fn definition<D: Dialect>(column: &Column) -> String {
    defined::<D>(column, &D::column_type(column.ty))
}

fn defined<D: Dialect>(column: &Column, ty: &str) -> String {
    let mut text = format!("{} {ty}", D::quote_in_definition(&column.name));
    if !column.nullable {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        text.push_str(&format!(" DEFAULT {}", D::default_of(column, default)));
    }
    text
}
