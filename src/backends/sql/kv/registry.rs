//! Which scopes a file has, and the schemas that their records stand under.

use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;

use super::Engine;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::{CallError, ErrorClass, classify};
use crate::backends::sql::statement::render::{create_index, definition};
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
    of_table: Sql,
    all: Sql,
    note: Sql,
}

impl Registry {
    pub(super) fn new() -> Self {
        let select = |what: &str| Sql::new(format!("SELECT {what} FROM {TABLE}"));
        let note = Sql::new(format!(
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
            of_table: select("scope, table_name").text(" WHERE table_name = ").bind(TEXT),
            all: select("scope").text(" ORDER BY scope"),
            note: note
                .list(", ", 0..4, |sql, _| sql.bind(TEXT))
                .text(&format!(") ON CONFLICT (scope) DO UPDATE SET {update}")),
        }
    }

    /// Makes the table where it does not stand. Names of tables are compared as SQLite does it.
    pub(super) fn make(&self, connection: &mut SqliteConnection) -> Result<(), CallError> {
        Ok(connection.batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS {TABLE} (
                scope TEXT NOT NULL PRIMARY KEY,
                table_name TEXT NOT NULL UNIQUE COLLATE NOCASE,
                fingerprint TEXT NOT NULL,
                definition TEXT NOT NULL
            ) WITHOUT ROWID"
        ))?)
    }

    /// The schema that a scope stands under.
    pub(super) fn find(
        &self,
        connection: &mut SqliteConnection,
        scope: &str,
    ) -> Result<Option<Schema>, CallError> {
        let row = find::<Engine>(connection, self.find.with(&[scope.into()]), &[TEXT])?;
        match row.as_deref() {
            None => Ok(None),
            Some([Value::Text(toml)]) => Ok(Some(Schema::from_stored(toml)?)),
            Some(_) => {
                Err(Error::invalid_data("the registry of scopes is not as hilcat writes it").into())
            }
        }
    }

    /// The same in a file that may not have the registry yet.
    pub(super) fn find_if_any(
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

    /// The same in a transaction that writes: where another program dropped the registry, it is made
    /// again with this schema.
    pub(super) fn find_or_make(
        &self,
        connection: &mut SqliteConnection,
        schema: &Schema,
    ) -> Result<Option<Schema>, CallError> {
        match self.find(connection, &schema.name) {
            Err(CallError::Diesel(error)) if classify::<Engine>(&error) == ErrorClass::NoTable => {
                self.make(connection)?;
                self.note(connection, &merged(None, schema))?;
                self.find(connection, &schema.name)
            }
            result => result,
        }
    }

    /// Refuses a table that another scope has, or one whose name differs from it only in case.
    pub(super) fn check_table(
        &self,
        connection: &mut SqliteConnection,
        schema: &Schema,
    ) -> Result<(), CallError> {
        let values = [schema.table.as_str().into()];
        let row = match find::<Engine>(connection, self.of_table.with(&values), &[TEXT, TEXT]) {
            Err(error) if classify::<Engine>(&error) == ErrorClass::NoTable => return Ok(()),
            row => row?,
        };
        match row.as_deref() {
            Some([Value::Text(scope), _]) if *scope == schema.name => Ok(()),
            Some([Value::Text(scope), Value::Text(table)]) if *table == schema.table => {
                Err(table_of_another(schema, scope).into())
            }
            Some([Value::Text(scope), _]) => Err(Error::unsupported(format!(
                "the table `{}` is that of the scope `{scope}`: SQLite does not tell upper from lower case in names; give this one another by `table`",
                schema.table
            ))
            .into()),
            _ => Ok(()),
        }
    }

    pub(super) fn note(
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
        execute::<Engine>(connection, self.note.with(&values))?;
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

/// Creates the table of a scope, as the Python package does, unless it exists. If records expire, it
/// has the column of their expiry and its index.
pub(super) fn make_table(
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

pub(super) fn clear_table(
    connection: &mut SqliteConnection,
    schema: &Schema,
) -> Result<(), CallError> {
    let table = Engine::quote(&schema.table);
    Ok(connection.batch_execute(&format!("DELETE FROM {table}"))?)
}

/// The statement that writes a record only while the scope stands under the very schema that was
/// stored when it was opened.
pub(super) fn put_if_current(schema: &Schema, stored: &Schema) -> Sql {
    let expires = match stored.expiry_column() {
        Some(_) => format!(", `{EXPIRES_AT}` = excluded.`{EXPIRES_AT}`"),
        None => String::new(),
    };
    write_if_current(schema, stored)
        .text(&format!("UPDATE SET `value` = excluded.`value`{expires}"))
}

/// The same for a record whose key has none; what there is of the key is left as it is.
pub(super) fn insert_if_current(schema: &Schema, stored: &Schema) -> Sql {
    write_if_current(schema, stored).text("NOTHING")
}

/// The statement without what is done where a record has the key.
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
