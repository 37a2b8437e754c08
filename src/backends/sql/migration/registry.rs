//! hilcat's own table: which scopes a database has, and the schemas that their tables were given.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::{CallError, ErrorClass};
use crate::backends::sql::statement::render::Statements;
use crate::backends::sql::statement::{execute, find, load};
use crate::backends::sql::table::Found;
use crate::schema::{fnv1a, merged, plan, table_of_another};
use crate::{Column, ColumnType, Key, Migrate, Result, Schema, Schemas, Value};

/// The table's name.
pub(crate) const TABLE: &str = "hilcat_scopes";

/// What the registry has of a scope.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    table: String,
    fingerprint: String,
    /// The schema as TOML: what the program that opened the scope last has, and what other programs
    /// have besides.
    definition: String,
    /// Whether another program made the table: it is given no column for the expiry.
    foreign: bool,
    /// Whether the table has hilcat's own column for the expiry, which the definition leaves out: it
    /// is of the records as programs have them.
    has_expiry: bool,
}

impl Entry {
    /// The schema that the scope's table was given.
    pub(crate) fn schema(&self, scope: &str) -> Option<Schema> {
        self.records(scope).map(|records| self.stored(records))
    }

    /// The same as programs have it.
    pub(crate) fn records(&self, scope: &str) -> Option<Schema> {
        Schemas::from_str(&self.definition).ok()?.get(scope).cloned()
    }

    fn stored(&self, records: Schema) -> Schema {
        match self.has_expiry {
            true => records.with_expiry_column(),
            false => records,
        }
    }

    /// Whether the entry is of the table of a schema.
    pub(crate) fn is_of(&self, schema: &Schema) -> bool {
        self.table == schema.table
    }

    /// Whether another program made the table of a schema.
    pub(crate) fn is_foreign(&self, schema: &Schema) -> bool {
        self.foreign && self.table == schema.table
    }

    /// A schema with hilcat's own column for the expiry if its table is known to have it.
    pub(crate) fn with_expiry<'a>(&self, schema: &'a Schema) -> Cow<'a, Schema> {
        match self.has_expiry && self.is_of(schema) && !schema.has_own_expiry_column() {
            true => Cow::Owned(schema.with_expiry_column()),
            false => Cow::Borrowed(schema),
        }
    }

    /// Whether the stored options of freshness are those that opening the scope stores.
    fn has_freshness_of(&self, schema: &Schema) -> bool {
        let stored = || self.schema(&schema.name);
        schema.migrate == Migrate::Manual
            || !schema.freshness.uses_expiry()
            || stored().is_some_and(|stored| stored.freshness == schema.freshness)
    }

    /// Whether the table is known to be such as a schema needs it, and if so, whether its keys
    /// stand in clear: it was made for that very schema, or for one that has more columns.
    pub(crate) fn is_for<D: Dialect>(&self, schema: &Schema) -> Option<bool> {
        self.keys_in_clear_for::<D>(schema).filter(|_| self.has_freshness_of(schema))
    }

    fn keys_in_clear_for<D: Dialect>(&self, schema: &Schema) -> Option<bool> {
        let (dropped, without) = (self.dropped(), without(&schema.dropped));
        self.layout::<D>(schema, &without).or_else(|| {
            // What is to be dropped may be in the table though no schema has it.
            let is_dropped = schema.dropped.is_empty() || dropped == without;
            let stored = self.schema(&schema.name).filter(|_| is_dropped)?;
            let covers = stored.table == schema.table && plan(&stored, schema).is_empty();
            covers.then(|| self.layout::<D>(&stored, dropped)).flatten()
        })
    }

    fn read(table: String, mut fingerprint: String, definition: String) -> Self {
        let foreign = take_mark(&mut fingerprint, FOREIGN);
        let has_expiry = take_mark(&mut fingerprint, EXPIRY);
        Self { table, fingerprint, definition, foreign, has_expiry }
    }

    /// The end of the fingerprint that says what was dropped.
    fn dropped(&self) -> &str {
        self.fingerprint.find(DROPPED).map_or("", |at| &self.fingerprint[at..])
    }

    /// Whether the keys stand in clear of a table of this very schema.
    fn layout<D: Dialect>(&self, schema: &Schema, dropped: &str) -> Option<bool> {
        [false, true].into_iter().find(|keys_in_clear| {
            let schema = schema.clone().with_keys_in_clear(*keys_in_clear);
            self.fingerprint == fingerprint::<D>(&schema) + dropped
        })
    }
}

/// What the fingerprint ends with of a table from which columns were dropped.
const DROPPED: &str = ", without ";

/// What is stored at the end of the fingerprint of a table that another program made.
const FOREIGN: &str = ", foreign";

/// The same of a table that has hilcat's own column for the expiry.
const EXPIRY: &str = ", expiry";

/// Takes a mark off the end of a fingerprint, and gives whether it was there.
fn take_mark(fingerprint: &mut String, mark: &str) -> bool {
    let length = fingerprint.strip_suffix(mark).map(str::len);
    length.inspect(|length| fingerprint.truncate(*length)).is_some()
}

/// The end of the fingerprint of a table that is known to be without these columns.
fn without(dropped: &[String]) -> String {
    match dropped {
        [] => String::new(),
        dropped => format!("{DROPPED}{:016x}", fnv1a(format!("{dropped:?}").as_bytes())),
    }
}

/// Refuses a table that another scope has: each would see the columns and the records of the other.
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

/// The schema that the table of `schema` was given.
pub(crate) fn of_entry(entry: Option<&Entry>, schema: &Schema) -> Option<Schema> {
    let registered = entry?.schema(&schema.name);
    registered.filter(|registered| registered.table == schema.table)
}

/// The fingerprint of a schema and of how its table stands.
fn fingerprint<D: Dialect>(schema: &Schema) -> String {
    schema.fingerprint() + D::layout(schema)
}

/// The registry is a table as those of scopes are.
static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let text = |name| Column::new(name, ColumnType::Text);
    Arc::new(
        Schema::new(TABLE)
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
    /// What stands in it, to be read in one statement.
    all: crate::backends::sql::statement::Sql,
}

impl Registry {
    pub(crate) fn new<D: Dialect>() -> Self {
        let schema = match D::LONG_SCOPES {
            true => SCHEMA.clone(),
            false => Arc::new(Schema::clone(&SCHEMA).with_keys_in_clear(true)),
        };
        let columns = schema.columns.iter().map(|column| match column.name.as_str() {
            "fingerprint" => D::noted_fingerprint(),
            _ => D::selected(&schema, column),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let all = crate::backends::sql::statement::Sql::new(format!(
            "SELECT {columns} FROM {}",
            D::quote(TABLE)
        ));
        Self { statements: Statements::new::<D>(&schema), all, schema }
    }

    /// All entries by scope; none where the registry was not made yet.
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
                entries.insert(scope, Entry::read(table, fingerprint, definition));
            }
            Ok(())
        });
        match loaded.map_err(CallError::from) {
            Ok(()) => Ok(entries),
            Err(failed) if failed.class::<D>() == ErrorClass::NoTable => Ok(BTreeMap::new()),
            Err(failed) => Err(failed),
        }
    }

    /// What is noted of one scope.
    pub(crate) fn stored_schema<D: Dialect>(
        &self,
        connection: &mut D::Connection,
        scope: &str,
    ) -> Result<Option<Schema>, CallError> {
        let key = Key::single(Value::Text(scope.to_owned()));
        let key = D::stored_key(&self.schema, &key);
        let fetch = self.statements.fetch.with(key.values());
        match find::<D>(connection, fetch, &self.statements.types).map_err(CallError::from) {
            Err(failed) if failed.class::<D>() == ErrorClass::NoTable => Ok(None),
            row => match row?.as_deref() {
                Some(
                    [_, Value::Text(table), Value::Text(fingerprint), Value::Text(definition)],
                ) => {
                    let entry = Entry::read(table.clone(), fingerprint.clone(), definition.clone());
                    Ok(Some(entry.stored(Schema::from_stored(definition)?)))
                }
                _ => Ok(None),
            },
        }
    }

    /// Notes that a scope's table has this schema besides what is `registered`, and stands as it is
    /// said there.
    pub(crate) fn note<D: Dialect>(
        &self,
        connection: &mut D::Connection,
        schema: &Schema,
        registered: Option<&Schema>,
        found: &Found,
    ) -> Result<Entry, CallError> {
        let stored = merged(registered, schema).with_keys_in_clear(found.keys_in_clear);
        let has_expiry = stored.has_own_expiry_column();
        // In the order in which it is read again.
        let records = if has_expiry { stored.without_expiry_column() } else { stored };
        let stored = match has_expiry {
            true => records.with_expiry_column(),
            false => records.clone(),
        };
        let mut fingerprint = fingerprint::<D>(&stored) + &without(&schema.dropped);
        if !found.narrow.is_empty() {
            // None that is computed: the table is looked at whenever it is opened.
            fingerprint.push_str(", narrow");
        }
        let (table, definition) = (schema.table.clone(), records.to_toml());
        let foreign = found.foreign;
        let marks =
            [if has_expiry { EXPIRY } else { "" }, if foreign { FOREIGN } else { "" }].concat();
        let noted = format!("{fingerprint}{marks}");
        let entry = Entry { table, fingerprint, definition, foreign, has_expiry };
        let row = [&schema.name, &entry.table, &noted, &entry.definition];
        let row = row.map(|text| Value::Text(text.clone()));
        let row = row.into();
        D::check_row(&self.schema, &row)?;
        let row = D::stored_row(&self.schema, row);
        execute::<D>(connection, self.statements.set.with(&row))?;
        Ok(entry)
    }
}
