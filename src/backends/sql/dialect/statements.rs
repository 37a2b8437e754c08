//! The statements of a scope, whose text is rendered once.

use std::sync::Arc;

use super::expiry::Expiring;
use crate::backends::sql::dialect::{ColumnTypes, StatementText, Tables};
use crate::backends::sql::statement::Sql;
use crate::schema::fnv1a;
use crate::{Column, ColumnType, Schema};

/// The number of rows in a page of a listing.
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
    /// Fetches a row and locks it until the transaction ends.
    pub(crate) lock: Sql,
    /// Fetches many keys, if the engine can bind them all at once.
    #[cfg(any(feature = "sqlite", feature = "postgresql"))]
    pub(crate) fetch_many: Option<Sql>,
    pub(crate) set: Sql,
    /// Writes several rows.
    #[cfg(any(feature = "sqlite", feature = "postgresql"))]
    pub(crate) set_rows: Sql,
    /// Inserts a row unless its key has one.
    pub(crate) insert: Sql,
    /// Inserts many rows unless their keys have one, if the engine can bind them all at once. Returns
    /// the keys of the inserted rows.
    #[cfg(feature = "postgresql")]
    pub(crate) insert_many: Option<Sql>,
    /// Writes a row with absent columns.
    pub(crate) merge: Sql,
    /// Changes an existing record by a row with absent columns that cannot become a new record.
    pub(crate) patch: Sql,
    /// Variants of `set`, `merge` and `patch` that return the replaced row, if the engine has them.
    #[cfg(feature = "postgresql")]
    pub(crate) updates: Option<Updates>,
    pub(crate) pop: Sql,
    /// Removes many keys, if the engine can bind them all at once.
    #[cfg(feature = "postgresql")]
    pub(crate) pop_many: Option<Sql>,
    pub(crate) keys: Listing,
    pub(crate) rows: Listing,
    /// Selects all rows.
    pub(crate) all: Sql,
    pub(crate) len: Sql,
    pub(crate) clear: Sql,
    /// The statements of batches, if the engine needs statements of fixed sizes.
    #[cfg(feature = "mysql")]
    pub(crate) batches: Option<super::sized::Batches>,
    /// The statements on the expiry, if records expire.
    pub(crate) expiring: Option<Expiring>,
}

/// The statements that write a row and return the number of written rows, followed by the columns of
/// the replaced row, which are NULL if there was none. The binds are those of the key, followed by
/// those of the statement that only writes.
#[cfg(feature = "postgresql")]
#[derive(Debug)]
pub(crate) struct Updates {
    pub(crate) set: Sql,
    pub(crate) merge: Sql,
    pub(crate) patch: Sql,
}

/// The statements for the first page of a listing and for the pages after it, each of which begins
/// after the last key of the page before.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) first: Sql,
    pub(crate) next: Sql,
}

impl Statements {
    pub(crate) fn new<D: StatementText>(schema: &Arc<Schema>) -> Self {
        Self::in_sections::<D>(schema, 0)
    }

    /// Renders the statements of a table of sections. The listings are restricted to a section: the
    /// rows with the bound values in their first `section_len` key columns. These binds come first.
    pub(crate) fn in_sections<D: StatementText>(schema: &Arc<Schema>, section_len: usize) -> Self {
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
            #[cfg(any(feature = "sqlite", feature = "postgresql"))]
            fetch_many: D::fetch_listed(schema),
            set: D::upsert(schema),
            #[cfg(any(feature = "sqlite", feature = "postgresql"))]
            set_rows: D::upsert_rows(schema),
            insert: D::insert(schema),
            #[cfg(feature = "postgresql")]
            insert_many: D::insert_listed(schema),
            merge: D::merge(schema),
            patch: patch::<D>(Sql::new(""), schema),
            #[cfg(feature = "postgresql")]
            updates: D::updates(schema),
            #[cfg(feature = "postgresql")]
            pop_many: D::pop_listed(schema),
            pop: D::pop_one(schema),
            keys: Listing::new::<D>(schema, &keys, section_len),
            rows: Listing::new::<D>(schema, &all, section_len),
            all: in_section::<D>(format!("SELECT {all} FROM {table}"), schema, section_len),
            len: in_section::<D>(format!("SELECT count(*) FROM {table}"), schema, section_len),
            clear: D::clear_section(schema, section_len),
            #[cfg(feature = "mysql")]
            batches: D::batches(schema),
            expiring: Expiring::new::<D>(schema, section_len),
            schema: schema.clone(),
        }
    }
}

impl Listing {
    fn new<D: StatementText>(schema: &Schema, selected: &str, section_len: usize) -> Self {
        let table = D::quote(&schema.table);
        let end = Self::end::<D>(schema, section_len);
        let all = || Sql::new(format!("SELECT {selected} FROM {table}"));
        let section = || of_section::<D>(all(), schema, section_len);
        let listed: Vec<&Column> = schema.key_columns().skip(section_len).collect();
        let next = match section_len {
            0 => D::key_after(section().text(" WHERE "), &listed),
            _ => D::key_after(section().text(" AND ("), &listed).text(")"),
        };
        Self { first: section().text(&end), next: next.text(&end) }
    }

    /// Returns the order and the limit of a page.
    pub(crate) fn end<D: StatementText>(schema: &Schema, section_len: usize) -> String {
        let table = D::quote(&schema.table);
        // Qualified, so as not to refer to a selected expression of the same name.
        let keys = schema.key_columns().skip(section_len);
        let keys = keys.map(|key| format!("{table}.{}", D::quote(&key.name)));
        format!(" ORDER BY {} LIMIT {PAGE}", keys.collect::<Vec<_>>().join(", "))
    }
}

/// Returns the selected expressions of columns, separated by commas.
pub(crate) fn selected<'a, D: StatementText>(
    schema: &Schema,
    columns: impl IntoIterator<Item = &'a Column>,
) -> String {
    let selected = columns.into_iter().map(|column| D::selected(schema, column));
    selected.collect::<Vec<_>>().join(", ")
}

/// Returns the quoted names of columns, separated by commas.
pub(crate) fn columns<'a, D: ColumnTypes>(columns: impl IntoIterator<Item = &'a Column>) -> String {
    let names = columns.into_iter().map(|column| D::quote(&column.name));
    names.collect::<Vec<_>>().join(", ")
}

/// Returns a statement on the rows of a section, or on all rows if `section_len` is 0.
pub(crate) fn in_section<D: ColumnTypes>(text: String, schema: &Schema, section_len: usize) -> Sql {
    of_section::<D>(Sql::new(text), schema, section_len)
}

/// Appends the condition that a row is in the bound section.
pub(crate) fn of_section<D: ColumnTypes>(sql: Sql, schema: &Schema, section_len: usize) -> Sql {
    match section_len {
        0 => sql,
        _ => matching::<D>(sql.text(" WHERE "), schema.key_columns().take(section_len)),
    }
}

/// Appends the condition that the key equals the bound one.
pub(crate) fn matching_key<D: ColumnTypes>(sql: Sql, schema: &Schema) -> Sql {
    matching::<D>(sql, schema.key_columns())
}

fn matching<'a, D: ColumnTypes>(sql: Sql, columns: impl Iterator<Item = &'a Column>) -> Sql {
    sql.list(" AND ", columns, |sql, column| {
        sql.text(&format!("{} = ", D::quote(&column.name))).bind(column.ty)
    })
}

/// Appends a statement that changes the given columns of a record. Its binds are, for each non-key
/// column, whether it is given and its value, followed by the key.
pub(crate) fn patch<D: ColumnTypes>(sql: Sql, schema: &Schema) -> Sql {
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

/// Appends to an `INSERT` that an existing record of the key is overwritten, with the assignment that
/// `change` appends for each non-key column.
#[cfg(any(feature = "sqlite", feature = "postgresql"))]
pub(crate) fn on_conflict<D: ColumnTypes>(
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

/// Appends to an `INSERT` that nothing is done if the key has a record.
#[cfg(any(feature = "sqlite", feature = "postgresql"))]
pub(crate) fn unless_stored<D: ColumnTypes>(sql: Sql, schema: &Schema) -> Sql {
    let keys = columns::<D>(schema.key_columns());
    sql.text(&format!(" ON CONFLICT ({keys}) DO NOTHING"))
}

/// Returns the non-key columns, in schema order.
pub(crate) fn non_key(schema: &Schema) -> impl Iterator<Item = &Column> {
    let columns = schema.columns.iter().enumerate();
    columns.filter(|(at, _)| !schema.is_key(*at)).map(|(_, column)| column)
}

/// Returns the columns of the index on the expiry, if records expire.
pub(crate) fn expiry_index(schema: &Schema) -> Option<Vec<String>> {
    let expiry = &schema.columns[schema.expiry_column()?];
    let section = schema.key_columns().take(schema.sections);
    Some(section.chain([expiry]).map(|column| column.name.clone()).collect())
}

/// Returns the name of an index that hilcat creates, which is unique in the database.
pub(crate) fn index_name(table: &str, columns: &[String]) -> String {
    format!("hilcat_ix_{:016x}", fnv1a(format!("{table:?} {columns:?}").as_bytes()))
}

/// Returns `CREATE INDEX` on columns of a table.
pub(crate) fn create_index<D: ColumnTypes>(table: &str, columns: &[String]) -> String {
    let name = D::quote_in_definition(&index_name(table, columns));
    let quoted: Vec<String> = columns.iter().map(|column| D::quote_in_definition(column)).collect();
    format!("CREATE INDEX {name} ON {} ({})", D::quote_in_definition(table), quoted.join(", "))
}

/// Returns the statements that create a table and its indexes.
pub(crate) fn create<D: Tables>(schema: &Schema) -> Vec<String> {
    let index = expiry_index(schema).filter(|_| !D::INDEXES_IN_TABLE);
    let index = index.map(|columns| create_index::<D>(&schema.table, &columns));
    [create_table::<D>(schema, &schema.table)].into_iter().chain(index).collect()
}

/// Returns the definition of the index on the expiry within that of its table, if the engine has it
/// there.
fn index_in_table<D: Tables>(schema: &Schema) -> Option<String> {
    let columns = expiry_index(schema).filter(|_| D::INDEXES_IN_TABLE)?;
    let name = D::quote(&index_name(&schema.table, &columns));
    let quoted: Vec<String> = columns.iter().map(|column| D::quote(column)).collect();
    Some(format!(",\n  INDEX {name} ({})", quoted.join(", ")))
}

/// Returns `CREATE TABLE` for a table of this name.
pub(crate) fn create_table<D: Tables>(schema: &Schema, table: &str) -> String {
    let columns = schema.columns.iter().enumerate().map(|(at, column)| {
        let ty = match schema.is_key(at) {
            true => D::key_type_in(schema, column),
            false => D::column_type(column.ty),
        };
        format!("  {}", define::<D>(column, &ty))
    });
    let auxiliary =
        D::auxiliary_columns(schema).into_iter().map(|definition| format!("  {definition}"));
    let columns = columns.chain(auxiliary).collect::<Vec<_>>().join(",\n");
    let keys = schema.key_columns().map(|column| D::quote_in_definition(&column.name));
    let keys = keys.collect::<Vec<_>>().join(", ");
    let (table, options) = (D::quote_in_definition(table), D::TABLE_OPTIONS);
    let index = index_in_table::<D>(schema).unwrap_or_default();
    format!("CREATE TABLE {table} (\n{columns},\n  PRIMARY KEY ({keys}){index}\n){options}")
}

/// Returns the definition of a non-key column, for `CREATE TABLE` and `ADD COLUMN`.
pub(crate) fn definition<D: ColumnTypes>(column: &Column) -> String {
    define::<D>(column, &D::column_type(column.ty))
}

fn define<D: ColumnTypes>(column: &Column, ty: &str) -> String {
    let mut text = format!("{} {ty}", D::quote_in_definition(&column.name));
    if !column.nullable {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        text.push_str(&format!(" DEFAULT {}", D::default_of(column, default)));
    }
    text
}
