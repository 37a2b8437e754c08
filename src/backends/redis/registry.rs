//! The scopes of a cache: a hash in the server, with the schema of each as TOML.

use std::collections::BTreeMap;

use redis::Value;

use super::call_error::CallError;
use super::command::Commands;
use super::connection::unexpected;
use super::servers::{Call, Servers};
use crate::freshness::EXPIRES_AT;
use crate::schema::{plan, stored_freshness, table_of_another, unknown_columns};
use crate::{Error, Result, Schema};

/// The registry of a cache.
#[derive(Debug)]
pub(super) struct Registry {
    name: Vec<u8>,
    slot: u16,
}

/// What the registry has of a scope.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// As it stands there.
    pub(super) raw: Vec<u8>,
    pub(super) fingerprint: String,
    /// How often the scope's records were dropped for a schema that does not go with the one
    /// before.
    pub(super) generation: u64,
    definition: String,
}

impl Entry {
    pub(super) fn new(schema: &Schema, generation: u64) -> Self {
        let (fingerprint, definition) = (schema.fingerprint(), schema.to_toml());
        let raw = format!("# {fingerprint} {generation}\n{definition}").into_bytes();
        Self { raw, fingerprint, generation, definition }
    }

    fn read(raw: Vec<u8>) -> Result<Self> {
        let broken = || Error::invalid_data("the registry of the cache's scopes was damaged");
        let text = std::str::from_utf8(&raw).map_err(|_| broken())?;
        let (head, definition) = text.split_once('\n').ok_or_else(broken)?;
        let (fingerprint, generation) =
            head.strip_prefix("# ").and_then(|head| head.split_once(' ')).ok_or_else(broken)?;
        let generation = generation.parse().map_err(|_| broken())?;
        let (fingerprint, definition) = (fingerprint.to_owned(), definition.to_owned());
        Ok(Self { fingerprint, generation, definition, raw })
    }

    /// The schema that the scope's records stand under.
    pub(super) fn schema(&self) -> Result<Schema> {
        Schema::from_stored(&self.definition)
    }

    /// Whether a schema knows all columns of its own, so that records can be written over without
    /// a look at them.
    pub(super) fn is_known_to(&self, schema: &Schema) -> Result<bool> {
        match self.fingerprint == schema.fingerprint() {
            true => Ok(true),
            // The expiry is set anew, or ended, by every write.
            false => {
                Ok(unknown_columns(&self.schema()?, schema).all(|column| column.name == EXPIRES_AT))
            }
        }
    }

    /// Whether the stored schema covers a schema, so that nothing has to be written.
    pub(super) fn covers(&self, schema: &Schema) -> bool {
        self.schema().is_ok_and(|stored| {
            let schema = schema.with_expiry_of(&stored);
            stored.table == schema.table
                && stored.freshness == stored_freshness(&stored, &schema)
                && (self.fingerprint == schema.fingerprint() || plan(&stored, &schema).is_empty())
        })
    }
}

impl Registry {
    pub(super) fn new(prefix: &str, servers: &Servers) -> Self {
        let name = super::names::of_registry(prefix);
        Self { slot: servers.slot(&name), name }
    }

    /// All entries by scope.
    pub(super) fn load(&self, servers: &Servers, call: Call) -> Result<BTreeMap<String, Entry>> {
        let command = Commands::one(&[b"HGETALL", &self.name]);
        let reply = servers.run(self.slot, call, |connection| connection.query_unit(&command))?;
        entries(reply)
    }

    /// What stands there of a scope.
    pub(super) fn find(
        &self,
        servers: &Servers,
        scope: &str,
        call: Call,
    ) -> Result<Option<Vec<u8>>> {
        let command = Commands::one(&[b"HGET", &self.name, scope.as_bytes()]);
        match servers.run(self.slot, call, |connection| connection.query_unit(&command))? {
            Value::Nil => Ok(None),
            Value::BulkString(raw) => Ok(Some(raw)),
            _ => Err(unexpected().into_error()),
        }
    }

    /// The entry of a scope.
    pub(super) fn entry(
        &self,
        servers: &Servers,
        scope: &str,
        call: Call,
    ) -> Result<Option<Entry>> {
        self.find(servers, scope, call)?.map(Entry::read).transpose()
    }

    /// Refuses a table that another scope has.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema), naming the other scope; and
    /// where the server fails.
    pub(super) fn check_table(&self, servers: &Servers, schema: &Schema, call: Call) -> Result<()> {
        check_free(&self.load(servers, call)?, &schema.name, schema)
    }

    /// Puts an entry where another stands, or none, and says whether that is what stood there.
    ///
    /// Invariant: no two scopes claim one table. The registry is watched as a whole while an entry
    /// that claims a table is compared with all others, so that of two that claim it at once one
    /// finds the other, or its transaction is not executed.
    ///
    /// # Errors
    ///
    /// As [`check_table`](Registry::check_table), for an entry that claims a table.
    pub(super) fn replace(
        &self,
        servers: &Servers,
        scope: &str,
        old: Option<&Entry>,
        new: &Entry,
        call: Call,
    ) -> Result<bool> {
        let name = self.name.as_slice();
        let look = [Commands::one(&[b"WATCH", name]), Commands::one(&[b"HGETALL", name])];
        let put = Commands::one(&[b"HSET", name, scope.as_bytes(), &new.raw]).atomic();
        servers.run(self.slot, call, |connection| {
            let found = connection.query_each(&look)?.pop().unwrap_or(Value::Nil);
            match comes_after(found, scope, old, new) {
                Ok(None) => {
                    let mut unit = connection.asking();
                    unit.append(&put);
                    Ok(connection.query_unit(&unit)? != Value::Nil)
                }
                settled => {
                    connection.query_unit(&Commands::one(&[b"UNWATCH"]))?;
                    Ok(settled?.unwrap_or_default())
                }
            }
        })
    }
}

/// Whether an entry is there by now, by the reply to the command that reads all; `None` where it
/// is to be put there.
fn comes_after(
    found: Value,
    scope: &str,
    old: Option<&Entry>,
    new: &Entry,
) -> Result<Option<bool>> {
    let entries = entries(found)?;
    let stored = entries.get(scope).map(|entry| &entry.raw);
    if stored != old.map(|old| &old.raw) {
        // It was put there by this very call, when its reply was lost.
        return Ok(Some(stored == Some(&new.raw)));
    }
    let schema = new.schema()?;
    let claims = match old {
        Some(old) => old.schema()?.table != schema.table,
        None => true,
    };
    if claims {
        check_free(&entries, scope, &schema)?;
    }
    Ok(None)
}

/// Refuses a table that another of the scopes has.
fn check_free(entries: &BTreeMap<String, Entry>, scope: &str, schema: &Schema) -> Result<()> {
    let mut others = entries.iter().filter(|(other, _)| *other != scope);
    let has = |entry: &Entry| entry.schema().is_ok_and(|other| other.table == schema.table);
    match others.find(|(_, entry)| has(entry)) {
        Some((other, _)) => Err(table_of_another(schema, other)),
        None => Ok(()),
    }
}

/// All entries by scope, in the reply to the command that reads them.
fn entries(reply: Value) -> Result<BTreeMap<String, Entry>> {
    let pairs: Vec<(Value, Value)> = match reply {
        Value::Map(pairs) => pairs,
        Value::Array(flat) => {
            let mut flat = flat.into_iter();
            std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
        }
        _ => return Err(unexpected().into_error()),
    };
    let entry = |(scope, raw)| match (scope, raw) {
        (Value::BulkString(scope), Value::BulkString(raw)) => {
            let scope = String::from_utf8(scope)
                .map_err(|_| Error::invalid_data("a scope's name is not UTF-8"))?;
            Ok((scope, Entry::read(raw)?))
        }
        _ => Err(unexpected().into_error()),
    };
    pairs.into_iter().map(entry).collect()
}

impl From<CallError> for Error {
    fn from(failed: CallError) -> Self {
        failed.into_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, ColumnType};

    #[test]
    fn an_entry_comes_back() {
        let schema = Schema::new("a:b")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("n", ColumnType::Int));
        let entry = Entry::new(&schema, 3);
        assert_eq!(Entry::read(entry.raw.clone()).unwrap(), entry);
        assert_eq!(entry.schema().unwrap(), schema);
        assert!(Entry::read(b"x".to_vec()).is_err());
    }
}
