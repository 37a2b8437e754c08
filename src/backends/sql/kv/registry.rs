//! The registry: the scopes of a file, and the schemas of their records.

use crate::backends::sql::dialect::{ColumnTypes, Tables};
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;

use super::Engine;
use crate::backends::sql::dialect::statements::{create_index, definition};
use crate::backends::sql::error::{CallError, ErrorClass, classify};
use crate::backends::sql::statement::{Sql, execute, find, load};
use crate::freshness::EXPIRES_AT;
use crate::schema::{ExistingColumn, merged, table_of_another};
use crate::{ColumnType, Error, Result, Schema, Value};

/// The table's name.
pub(super) const TABLE: &str = "hilcat_kv";

const TEXT: ColumnType = ColumnType::Text;

/// The statements on the registry.
#[derive(Debug)]
pub(super) struct Registry {
    find: Sql,
    by_table: Sql,
    all: Sql,
    store: Sql,
}

impl Registry {
    pub(super) fn new() -> Self {
        let select = |what: &str| Sql::new(format!("SELECT {what} FROM {TABLE}"));
        let insert = Sql::new(format!(
            "INSERT INTO {TABLE} (scope, table_name, fingerprint, definition) VALUES ("
        ));
        let update = [
            ("table_name", "excluded.table_name"),
            ("fingerprint", "excluded.fingerprint"),
            ("definition", "excluded.definition"),
        ];
        let update = update.map(|(name, value)| format!("{name} = {value}")).join(", ");
        Self {
            find: select("definition").text(" WHERE scope = ").bind(TEXT),
            by_table: select("scope, table_name").text(" WHERE table_name = ").bind(TEXT),
            all: select("scope").text(" ORDER BY scope"),
            store: insert
                .list(", ", 0..4, |sql, _| sql.bind(TEXT))
                .text(&format!(") ON CONFLICT (scope) DO UPDATE SET {update}")),
        }
    }

    /// Creates the registry unless it exists. Like SQLite it compares table names without regard to
    /// case.
    pub(super) fn create(&self, connection: &mut SqliteConnection) -> Result<(), CallError> {
        Ok(connection.batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS {TABLE} (
                scope TEXT NOT NULL PRIMARY KEY,
                table_name TEXT NOT NULL UNIQUE COLLATE NOCASE,
                fingerprint TEXT NOT NULL,
                definition TEXT NOT NULL
            ) WITHOUT ROWID"
        ))?)
    }

    /// Returns the stored schema of a scope.
    pub(super) fn find(
        &self,
        connection: &mut SqliteConnection,
        scope: &str,
    ) -> Result<Option<Schema>, CallError> {
        let row = find::<Engine>(connection, self.find.with(&[scope.into()]), &[TEXT])?;
        match row.as_deref() {
            None => Ok(None),
            Some([Value::Text(toml)]) => Ok(Some(Schema::from_stored(toml)?)),
            Some(_) => Err(Error::invalid_data(
                "the table `hilcat_kv` of scopes holds an entry that hilcat did not write",
            )
            .into()),
        }
    }

    /// Returns the stored schema of a scope, also in a file without a registry.
    pub(super) fn find_if_exists(
        &self,
        connection: &mut SqliteConnection,
        scope: &str,
    ) -> Result<Option<Schema>, CallError> {
        match self.find(connection, scope) {
            Err(CallError::Diesel(error)) if classify::<Engine>(&error) == ErrorClass::NoTable => {
                Ok(None)
            }
            result => result,
        }
    }

    /// Returns the stored schema of a scope, in a transaction that writes. If another program dropped
    /// the registry, it is created again with this schema.
    pub(super) fn find_or_create(
        &self,
        connection: &mut SqliteConnection,
        schema: &Schema,
    ) -> Result<Option<Schema>, CallError> {
        match self.find(connection, &schema.name) {
            Err(CallError::Diesel(error)) if classify::<Engine>(&error) == ErrorClass::NoTable => {
                self.create(connection)?;
                self.store(connection, &merged(None, schema))?;
                self.find(connection, &schema.name)
            }
            result => result,
        }
    }

    /// Checks that no other scope has the table of a schema, or one whose name differs only in case.
    pub(super) fn check_table(
        &self,
        connection: &mut SqliteConnection,
        schema: &Schema,
    ) -> Result<(), CallError> {
        let values = [schema.table.as_str().into()];
        let row = match find::<Engine>(connection, self.by_table.with(&values), &[TEXT, TEXT]) {
            Err(error) if classify::<Engine>(&error) == ErrorClass::NoTable => return Ok(()),
            row => row?,
        };
        match row.as_deref() {
            Some([Value::Text(scope), _]) if *scope == schema.name => Ok(()),
            Some([Value::Text(scope), Value::Text(table)]) if *table == schema.table => {
                Err(table_of_another(schema, scope).into())
            }
            Some([Value::Text(scope), _]) => Err(Error::unsupported(format!(
                "the table `{}` is that of the scope `{scope}`, since SQLite ignores case in table names; choose another one by `table`",
                schema.table
            ))
            .into()),
            _ => Ok(()),
        }
    }

    /// Stores the schema of a scope.
    pub(super) fn store(
        &self,
        connection: &mut SqliteConnection,
        schema: &Schema,
    ) -> Result<(), CallError> {
        let values = [
            schema.name.as_str().into(),
            schema.table.as_str().into(),
            schema.fingerprint().into(),
            schema.to_toml().into(),
        ];
        execute::<Engine>(connection, self.store.with(&values))?;
        Ok(())
    }

    pub(super) fn scopes(
        &self,
        connection: &mut SqliteConnection,
    ) -> diesel::QueryResult<Vec<String>> {
        let mut scopes = Vec::new();
        let loaded = load::<Engine>(connection, self.all.with(&[]), &[TEXT], |row| {
            scopes.extend(row.into_iter().map(|value| value.to_text().into_owned()));
            Ok(())
        });
        match loaded {
            Err(error) if classify::<Engine>(&error) == ErrorClass::NoTable => Ok(scopes),
            Err(error) => Err(error),
            Ok(()) => Ok(scopes),
        }
    }
}

/// Creates the table of a scope, as the Python package does, unless it exists. If records expire,
/// adds the expiry column and its index.
pub(super) fn create_table(
    connection: &mut SqliteConnection,
    table: &Schema,
) -> Result<(), CallError> {
    let name = Engine::quote_in_definition(&table.table);
    let text = format!("CREATE TABLE IF NOT EXISTS {name} (key TEXT PRIMARY KEY, value BLOB)");
    connection.batch_execute(&text)?;
    let Some(expiry) = table.expiry_column().map(|column| &table.columns[column]) else {
        return Ok(());
    };
    let existing = Engine::table(connection, &table.table)?;
    let has_it = |have: &ExistingColumn| have.name == expiry.name;
    if !existing.is_some_and(|existing| existing.columns.iter().any(has_it)) {
        let column = definition::<Engine>(expiry);
        connection.batch_execute(&format!("ALTER TABLE {name} ADD COLUMN {column}"))?;
    }
    let columns = [expiry.name.clone()];
    if !Engine::indexes(connection, &table.table)?.iter().any(|index| index[..] == columns) {
        connection.batch_execute(&create_index::<Engine>(&table.table, &columns))?;
    }
    Ok(())
}

/// Removes all records of a scope.
pub(super) fn clear_table(
    connection: &mut SqliteConnection,
    schema: &Schema,
) -> Result<(), CallError> {
    let table = Engine::quote(&schema.table);
    Ok(connection.batch_execute(&format!("DELETE FROM {table}"))?)
}

/// Returns the statement that writes a record if the stored schema of the scope is still `stored`.
pub(super) fn put_if_current(schema: &Schema, stored: &Schema) -> Sql {
    let expires = match stored.expiry_column() {
        Some(_) => format!(", `{EXPIRES_AT}` = excluded.`{EXPIRES_AT}`"),
        None => String::new(),
    };
    write_if_current(schema, stored)
        .text(&format!("UPDATE SET `value` = excluded.`value`{expires}"))
}

/// Returns the statement that inserts a record if the stored schema of the scope is still `stored`
/// and the key has no record.
pub(super) fn insert_if_current(schema: &Schema, stored: &Schema) -> Sql {
    write_if_current(schema, stored).text("NOTHING")
}

/// Returns the statement up to the action for a key that has a record.
fn write_if_current(schema: &Schema, stored: &Schema) -> Sql {
    let literal = |text: &str| Engine::literal(&text.into());
    let table = Engine::quote(&schema.table);
    let expires = stored.expiry_column().is_some();
    let column = if expires { format!(", `{EXPIRES_AT}`") } else { String::new() };
    let sql = Sql::new(format!("INSERT INTO {table} (`key`, `value`{column}) SELECT "))
        .bind(TEXT)
        .text(", ")
        .bind(ColumnType::Bytes);
    let sql = if expires { sql.text(", ").bind(ColumnType::Timestamp) } else { sql };
    sql.text(&format!(
        " WHERE EXISTS (SELECT 1 FROM {TABLE} WHERE scope = {} AND fingerprint = {}) \
             ON CONFLICT (`key`) DO ",
        literal(&schema.name),
        literal(&stored.fingerprint()),
    ))
}
