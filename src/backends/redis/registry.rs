//! The registry of a cache's scopes: a hash in the server that maps each scope to its schema as
//! TOML.

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

/// The entry of a scope.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The stored bytes.
    pub(super) raw: Vec<u8>,
    pub(super) fingerprint: String,
    /// How many times the records of the scope were dropped for an incompatible schema.
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
        let broken = || Error::invalid_data("the stored registry of scopes is malformed");
        let text = std::str::from_utf8(&raw).map_err(|_| broken())?;
        let (head, definition) = text.split_once('\n').ok_or_else(broken)?;
        let (fingerprint, generation) =
            head.strip_prefix("# ").and_then(|head| head.split_once(' ')).ok_or_else(broken)?;
        let generation = generation.parse().map_err(|_| broken())?;
        let (fingerprint, definition) = (fingerprint.to_owned(), definition.to_owned());
        Ok(Self { fingerprint, generation, definition, raw })
    }

    /// Parses the stored schema.
    pub(super) fn schema(&self) -> Result<Schema> {
        Schema::from_stored(&self.definition)
    }

    /// Whether `schema` has all columns of the stored schema, so that a write needs not read the
    /// record.
    pub(super) fn is_known_to(&self, schema: &Schema) -> Result<bool> {
        match self.fingerprint == schema.fingerprint() {
            true => Ok(true),
            // Every write sets or clears the expiry.
            false => {
                Ok(unknown_columns(&self.schema()?, schema).all(|column| column.name == EXPIRES_AT))
            }
        }
    }

    /// Whether the stored schema already includes `schema`.
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

    /// Reads all entries, by scope.
    pub(super) fn load(&self, servers: &Servers, call: Call) -> Result<BTreeMap<String, Entry>> {
        let command = Commands::one(&[b"HGETALL", &self.name]);
        let reply = servers.run(self.slot, call, |connection| connection.query_unit(&command))?;
        entries(reply)
    }

    /// Reads the stored bytes of a scope's entry.
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

    /// Reads the entry of a scope.
    pub(super) fn entry(
        &self,
        servers: &Servers,
        scope: &str,
        call: Call,
    ) -> Result<Option<Entry>> {
        self.find(servers, scope, call)?.map(Entry::read).transpose()
    }

    /// Checks that no other scope uses the table of a schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema), naming the other scope, and
    /// errors of the server.
    pub(super) fn check_table(&self, servers: &Servers, schema: &Schema, call: Call) -> Result<()> {
        check_free(&self.load(servers, call)?, &schema.name, schema)
    }

    /// Replaces the entry `old` by `new`. Returns `false` if the stored entry is not `old`.
    ///
    /// Invariant: no two scopes use the same table. The whole registry is watched while the entry
    /// of a new table is compared with all others. If two clients add entries for one table
    /// concurrently, one of them finds the other's entry, or its transaction is not executed.
    ///
    /// # Errors
    ///
    /// As [`check_table`](Registry::check_table), if the table of the entry is new.
    pub(super) fn replace(
        &self,
        servers: &Servers,
        scope: &str,
        old: Option<&Entry>,
        new: &Entry,
        call: Call,
    ) -> Result<bool> {
        let name = self.name.as_slice();
        let read = [Commands::one(&[b"WATCH", name]), Commands::one(&[b"HGETALL", name])];
        let put = Commands::one(&[b"HSET", name, scope.as_bytes(), &new.raw]).atomic();
        servers.run(self.slot, call, |connection| {
            let found = connection.query_each(&read)?.pop().unwrap_or(Value::Nil);
            match check_replacement(found, scope, old, new) {
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

/// Decides about a replacement from the current entries: `None` if it is to be done, else whether
/// the entry is stored already.
fn check_replacement(
    found: Value,
    scope: &str,
    old: Option<&Entry>,
    new: &Entry,
) -> Result<Option<bool>> {
    let entries = entries(found)?;
    let stored = entries.get(scope).map(|entry| &entry.raw);
    if stored != old.map(|old| &old.raw) {
        // This call stored the entry itself, but lost the reply.
        return Ok(Some(stored == Some(&new.raw)));
    }
    let schema = new.schema()?;
    let is_new_table = match old {
        Some(old) => old.schema()?.table != schema.table,
        None => true,
    };
    if is_new_table {
        check_free(&entries, scope, &schema)?;
    }
    Ok(None)
}

/// Checks that no other scope uses the table of `schema`.
fn check_free(entries: &BTreeMap<String, Entry>, scope: &str, schema: &Schema) -> Result<()> {
    let mut others = entries.iter().filter(|(other, _)| *other != scope);
    let has = |entry: &Entry| entry.schema().is_ok_and(|other| other.table == schema.table);
    match others.find(|(_, entry)| has(entry)) {
        Some((other, _)) => Err(table_of_another(schema, other)),
        None => Ok(()),
    }
}

/// Parses the reply to the command that reads all entries.
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
            let scope = String::from_utf8(scope).map_err(|_| {
                Error::invalid_data("the registry has a scope whose name is not valid UTF-8")
            })?;
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
    fn entries_round_trip() {
        let schema = Schema::new("a:b")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("n", ColumnType::Int));
        let entry = Entry::new(&schema, 3);
        assert_eq!(Entry::read(entry.raw.clone()).unwrap(), entry);
        assert_eq!(entry.schema().unwrap(), schema);
        assert!(Entry::read(b"x".to_vec()).is_err());
    }
}
