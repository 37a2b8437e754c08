//! The registry: hilcat's own table of the scopes in a database and the schemas of their tables.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::backends::sql::dialect::statements::Statements;
use crate::backends::sql::dialect::{Dialect, REGISTRY_TABLE};
use crate::backends::sql::error::{CallError, ErrorClass};
use crate::backends::sql::migration::TableProperties;
use crate::backends::sql::statement::{Sql, execute, find, load};
use crate::schema::{fnv1a, merged, plan, table_of_another};
use crate::{Column, ColumnType, Key, Migrate, Result, Schema, Schemas, Value};

/// The registry's entry of a scope.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    table: String,
    fingerprint: String,
    /// The schema as TOML: that of the program that opened the scope last, with the further columns
    /// of other programs.
    definition: String,
    /// Whether another program created the table. Such a table gets no expiry column.
    foreign: bool,
    /// Whether the table has hilcat's own expiry column. The definition omits it, since it describes
    /// the records as programs see them.
    has_expiry: bool,
}

impl Entry {
    /// Returns the schema of the scope's table, or `None` if the definition cannot be read.
    pub(crate) fn schema(&self, scope: &str) -> Option<Schema> {
        self.record_schema(scope).map(|records| self.with_own_expiry(records))
    }

    /// Returns the schema of the scope's records, without hilcat's own expiry column.
    pub(crate) fn record_schema(&self, scope: &str) -> Option<Schema> {
        Schemas::from_str(&self.definition).ok()?.get(scope).cloned()
    }

    fn with_own_expiry(&self, records: Schema) -> Schema {
        match self.has_expiry {
            true => records.with_expiry_column(),
            false => records,
        }
    }

    /// Whether the entry belongs to the table of a schema.
    pub(crate) fn is_of(&self, schema: &Schema) -> bool {
        self.table == schema.table
    }

    /// Whether another program created the table of a schema.
    pub(crate) fn is_foreign(&self, schema: &Schema) -> bool {
        self.foreign && self.table == schema.table
    }

    /// Adds hilcat's own expiry column to a schema if the entry says that its table has it.
    pub(crate) fn with_expiry<'a>(&self, schema: &'a Schema) -> Cow<'a, Schema> {
        match self.has_expiry && self.is_of(schema) && !schema.has_own_expiry_column() {
            true => Cow::Owned(schema.with_expiry_column()),
            false => Cow::Borrowed(schema),
        }
    }

    /// Whether opening the scope would leave the stored freshness options unchanged.
    fn has_freshness_of(&self, schema: &Schema) -> bool {
        let stored = || self.schema(&schema.name);
        schema.migrate == Migrate::Manual
            || !schema.freshness.uses_expiry()
            || stored().is_some_and(|stored| stored.freshness == schema.freshness)
    }

    /// Returns whether the keys of the table are stored in clear, if the entry shows that the table
    /// matches a schema: it was migrated to that very schema, or to one with more columns. Returns
    /// `None` if the table has to be inspected.
    pub(crate) fn is_for<D: Dialect>(&self, schema: &Schema) -> Option<bool> {
        self.keys_in_clear_for::<D>(schema).filter(|_| self.has_freshness_of(schema))
    }

    fn keys_in_clear_for<D: Dialect>(&self, schema: &Schema) -> Option<bool> {
        let (dropped, wanted) = (self.dropped(), dropped_suffix(&schema.dropped));
        self.layout::<D>(schema, &wanted).or_else(|| {
            // A column to be dropped may be in the table although no schema has it.
            let is_dropped = schema.dropped.is_empty() || dropped == wanted;
            let stored = self.schema(&schema.name).filter(|_| is_dropped)?;
            let covers = stored.table == schema.table && plan(&stored, schema).is_empty();
            covers.then(|| self.layout::<D>(&stored, dropped)).flatten()
        })
    }

    fn parse(table: String, mut fingerprint: String, definition: String) -> Self {
        let foreign = take_mark(&mut fingerprint, FOREIGN);
        let has_expiry = take_mark(&mut fingerprint, EXPIRY);
        Self { table, fingerprint, definition, foreign, has_expiry }
    }

    /// Returns the part of the fingerprint that identifies the dropped columns.
    fn dropped(&self) -> &str {
        self.fingerprint.find(DROPPED).map_or("", |at| &self.fingerprint[at..])
    }

    /// Returns whether the keys are stored in clear, if the fingerprint is that of this very schema.
    fn layout<D: Dialect>(&self, schema: &Schema, dropped: &str) -> Option<bool> {
        [false, true].into_iter().find(|verbatim_keys| {
            let schema = schema.clone().with_verbatim_keys(*verbatim_keys);
            self.fingerprint == fingerprint::<D>(&schema) + dropped
        })
    }
}

/// Precedes a hash of the dropped columns in a fingerprint.
const DROPPED: &str = ", without ";

/// Marks the stored fingerprint of a table that another program created.
const FOREIGN: &str = ", foreign";

/// Marks the stored fingerprint of a table that has hilcat's own expiry column.
const EXPIRY: &str = ", expiry";

/// Removes a mark from the end of a fingerprint, and returns whether it was there.
fn take_mark(fingerprint: &mut String, mark: &str) -> bool {
    let length = fingerprint.strip_suffix(mark).map(str::len);
    length.inspect(|length| fingerprint.truncate(*length)).is_some()
}

/// Returns the end of the fingerprint of a table from which these columns were dropped.
fn dropped_suffix(dropped: &[String]) -> String {
    match dropped {
        [] => String::new(),
        dropped => format!("{DROPPED}{:016x}", fnv1a(format!("{dropped:?}").as_bytes())),
    }
}

/// Checks that no other scope uses the table of a schema. Each scope would see the columns and
/// records of the other.
///
/// # Errors
///
/// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema), naming the other scope.
pub(crate) fn check_table(entries: &BTreeMap<String, Entry>, schema: &Schema) -> Result<()> {
    let others = entries.iter().filter(|(scope, _)| **scope != schema.name);
    match others.into_iter().find(|(_, entry)| entry.table == schema.table) {
        None => Ok(()),
        Some((other, _)) => Err(table_of_another(schema, other)),
    }
}

/// Returns the registered schema of the table of `schema`.
pub(crate) fn registered_schema(entry: Option<&Entry>, schema: &Schema) -> Option<Schema> {
    let registered = entry?.schema(&schema.name);
    registered.filter(|registered| registered.table == schema.table)
}

/// Returns the fingerprint of a schema and of the layout of its table.
fn fingerprint<D: Dialect>(schema: &Schema) -> String {
    schema.fingerprint() + D::layout(schema)
}

/// The schema of the registry, which is stored like the table of a scope.
static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let text = |name| Column::new(name, ColumnType::Text);
    Arc::new(
        Schema::new(REGISTRY_TABLE)
            .unique(text("scope"))
            .column(text("table_name"))
            .column(text("fingerprint"))
            .column(text("definition")),
    )
});

/// The registry of one database.
#[derive(Debug)]
pub(crate) struct Registry {
    schema: Arc<Schema>,
    statements: Statements,
    /// Selects all entries.
    all: Sql,
}

impl Registry {
    pub(crate) fn new<D: Dialect>() -> Self {
        let schema = match D::LONG_SCOPES {
            true => SCHEMA.clone(),
            false => Arc::new(Schema::clone(&SCHEMA).with_verbatim_keys(true)),
        };
        let columns = schema.columns.iter().map(|column| match column.name.as_str() {
            "fingerprint" => D::noted_fingerprint(),
            _ => D::selected(&schema, column),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let all = Sql::new(format!("SELECT {columns} FROM {}", D::quote(REGISTRY_TABLE)));
        Self { statements: Statements::new::<D>(&schema), all, schema }
    }

    /// Loads all entries by scope. The result is empty if the registry does not exist.
    pub(crate) fn load<D: Dialect>(
        &self,
        connection: &mut D::Connection,
    ) -> Result<BTreeMap<String, Entry>, CallError> {
        let mut entries = BTreeMap::new();
        let loaded = load::<D>(connection, self.all.with(&[]), &self.statements.types, |row| {
            if let Ok(
                [
                    Value::Text(scope),
                    Value::Text(table),
                    Value::Text(fingerprint),
                    Value::Text(definition),
                ],
            ) = <[Value; 4]>::try_from(row)
            {
                entries.insert(scope, Entry::parse(table, fingerprint, definition));
            }
            Ok(())
        });
        match loaded.map_err(CallError::from) {
            Ok(()) => Ok(entries),
            Err(error) if error.class::<D>() == ErrorClass::NoTable => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    /// Loads the schema of the table of one scope.
    pub(crate) fn stored_schema<D: Dialect>(
        &self,
        connection: &mut D::Connection,
        scope: &str,
    ) -> Result<Option<Schema>, CallError> {
        let key = Key::single(Value::Text(scope.to_owned()));
        let key = D::stored_key(&self.schema, &key);
        let fetch = self.statements.fetch.with(key.values());
        match find::<D>(connection, fetch, &self.statements.types).map_err(CallError::from) {
            Err(error) if error.class::<D>() == ErrorClass::NoTable => Ok(None),
            row => match row?.as_deref() {
                Some(
                    [_, Value::Text(table), Value::Text(fingerprint), Value::Text(definition)],
                ) => {
                    let entry =
                        Entry::parse(table.clone(), fingerprint.clone(), definition.clone());
                    Ok(Some(entry.with_own_expiry(Schema::from_stored(definition)?)))
                }
                _ => Ok(None),
            },
        }
    }

    /// Stores the entry of a scope's table that has the columns of `schema` and of `registered`, and
    /// these properties.
    pub(crate) fn store<D: Dialect>(
        &self,
        connection: &mut D::Connection,
        schema: &Schema,
        registered: Option<&Schema>,
        properties: &TableProperties,
    ) -> Result<Entry, CallError> {
        let stored = merged(registered, schema).with_verbatim_keys(properties.verbatim_keys);
        let has_expiry = stored.has_own_expiry_column();
        // In the order of columns that a later read of the entry yields.
        let records = if has_expiry { stored.without_expiry_column() } else { stored };
        let stored = match has_expiry {
            true => records.with_expiry_column(),
            false => records.clone(),
        };
        let mut fingerprint = fingerprint::<D>(&stored) + &dropped_suffix(&schema.dropped);
        if !properties.lossy_columns.is_empty() {
            // No schema has this fingerprint, so the table is inspected each time it is opened.
            fingerprint.push_str(", narrow");
        }
        let (table, definition) = (schema.table.clone(), records.to_toml());
        let foreign = properties.foreign;
        let marks =
            [if has_expiry { EXPIRY } else { "" }, if foreign { FOREIGN } else { "" }].concat();
        let stored = format!("{fingerprint}{marks}");
        let entry = Entry { table, fingerprint, definition, foreign, has_expiry };
        let row = [&schema.name, &entry.table, &stored, &entry.definition];
        let row = row.map(|text| Value::Text(text.clone()));
        let row = row.into();
        D::check_row(&self.schema, &row)?;
        let row = D::stored_row(&self.schema, row);
        execute::<D>(connection, self.statements.set.with(&row))?;
        Ok(entry)
    }
}
