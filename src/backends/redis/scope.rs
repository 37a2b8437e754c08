//! The store of one scope.

use std::fmt;
use std::sync::Arc;

use redis::Value;

use super::Inner;
use super::call_error::CallError;
use super::command::Commands;
use super::connection::{Connection, into_result, unexpected};
use super::listing::Listing;
use super::names::Names;
use super::record_layout::RecordLayout;
use super::registry::Entry;
use super::schema_check::SchemaCheck;
use super::servers::Call;
use crate::store::{Keys, Leases, Rows, ScopeStore};
use crate::{Key, Result, Row, Schema};

/// The maximum number of records in one read command.
const READ: usize = 100;

/// Access to the records of a scope, shared by its handle and its listings.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) inner: Arc<Inner>,
    pub(super) schema: Arc<Schema>,
    pub(super) names: Names,
    pub(super) layout: RecordLayout,
    /// The position of the column that holds the expiry.
    pub(super) expiry: Option<usize>,
}

/// A handle on the records of a scope.
pub(super) struct RedisScope {
    pub(super) records: Arc<Records>,
    /// Tracks the stored schema; `None` in the plain layout and without a stored schema.
    pub(super) schema_check: Option<SchemaCheck>,
}

impl fmt::Debug for RedisScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisScope").field("scope", &self.schema().name).finish_non_exhaustive()
    }
}

impl Records {
    pub(super) fn new(inner: &Arc<Inner>, schema: &Arc<Schema>) -> Result<Self> {
        Ok(Self {
            names: Names::new(&inner.prefix, inner.naming, schema),
            layout: inner.layout(schema)?,
            inner: inner.clone(),
            schema: schema.clone(),
            expiry: schema.expiry_column(),
        })
    }

    /// Takes columns of the stored schema into account that the schema of the handle lacks.
    pub(super) fn with_stored_schema(self, entry: &Entry) -> Result<Self> {
        match entry.is_known_to(&self.schema)? {
            true => Ok(self),
            false => Ok(Self { layout: self.layout.with_stored_schema(&entry.schema()?), ..self }),
        }
    }

    /// Whether all records share a slot, so that one command or transaction can access several.
    pub(super) fn in_one_slot(&self) -> bool {
        !self.inner.servers.is_cluster() || self.names.in_one_slot()
    }

    pub(super) fn slot(&self, name: &[u8]) -> u16 {
        self.inner.servers.slot(name)
    }

    /// Reads the records with these names.
    pub(super) fn read(&self, names: &[Vec<u8>], call: Call) -> Result<Vec<Option<Vec<u8>>>> {
        self.read_with(names, call, |_, stored| Ok(stored))
    }

    /// Reads the records with these names and maps each of them, with its position, through `read`.
    pub(super) fn read_with<T>(
        &self,
        names: &[Vec<u8>],
        call: Call,
        read: impl Fn(usize, Option<Vec<u8>>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let servers = &self.inner.servers;
        let Some(first) = names.first() else { return Ok(Vec::new()) };
        if self.in_one_slot() {
            return servers
                .run(self.slot(first), call, |connection| self.read_on(connection, names, &read));
        }
        let unit = |name: &Vec<u8>| {
            let mut commands = Commands::default();
            self.layout.read(&mut commands, name);
            (self.slot(name), commands)
        };
        let replies = servers.run_each(call, &names.iter().map(unit).collect::<Vec<_>>())?;
        let replies = replies.into_iter().enumerate();
        replies.map(|(at, reply)| read(at, self.layout.stored(reply)?)).collect()
    }

    /// Reads records on a connection to the server that owns them, decoding replies while further
    /// ones arrive.
    pub(super) fn read_on<T>(
        &self,
        connection: &mut Connection,
        names: &[Vec<u8>],
        read: impl Fn(usize, Option<Vec<u8>>) -> Result<T>,
    ) -> Result<Vec<T>, CallError> {
        if self.layout.is_string() {
            return self.read_strings(connection, names, read);
        }
        connection.send_each(names.len(), |at, commands| self.layout.read(commands, &names[at]))?;
        let mut all = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            let stored =
                into_result(connection.reply_of_each()?).and_then(|got| self.layout.stored(got));
            all.push(read(at, stored.map_err(|failed| self.of_key(name, failed))?)?);
        }
        Ok(all)
    }

    /// Reads strings with `MGET`. It returns nil for a key that holds another type as well, so the
    /// missing keys are looked up once more.
    fn read_strings<T>(
        &self,
        connection: &mut Connection,
        names: &[Vec<u8>],
        read: impl Fn(usize, Option<Vec<u8>>) -> Result<T>,
    ) -> Result<Vec<T>, CallError> {
        let pages: Vec<&[Vec<u8>]> = names.chunks(READ).collect();
        connection
            .send_each(pages.len(), |at, commands| command_of(commands, b"MGET", pages[at]))?;
        let (mut all, mut missing) = (Vec::with_capacity(names.len()), Vec::new());
        for _ in &pages {
            let reply = into_result(connection.reply_of_each()?)?;
            let Value::Array(values) = reply else { return Err(unexpected()) };
            for value in values {
                if value == Value::Nil {
                    missing.push(all.len());
                }
                all.push(read(all.len(), self.layout.stored(value)?)?);
            }
        }
        for (at, stored) in self.read_others(connection, names, &missing)? {
            all[at] = read(at, stored)?;
        }
        Ok(all)
    }

    /// Reads the keys at these positions one by one if any of them exists: the reply is the error
    /// that `fetch` returns, or a record that was written in the meantime.
    #[expect(clippy::type_complexity, reason = "positions, each with what is there")]
    fn read_others(
        &self,
        connection: &mut Connection,
        names: &[Vec<u8>],
        missing: &[usize],
    ) -> Result<Vec<(usize, Option<Vec<u8>>)>, CallError> {
        let names_of = |at: &usize| names[*at].as_slice();
        let pages: Vec<Vec<&[u8]>> =
            missing.chunks(READ).map(|page| page.iter().map(names_of).collect()).collect();
        connection
            .send_each(pages.len(), |at, commands| command_of(commands, b"EXISTS", &pages[at]))?;
        let counts: Result<Vec<_>, _> = pages.iter().map(|_| connection.reply_of_each()).collect();
        if counts?.iter().all(|count| *count == Value::Int(0)) {
            return Ok(Vec::new());
        }
        connection.send_each(missing.len(), |at, commands| {
            self.layout.read(commands, &names[missing[at]]);
        })?;
        let replies: Result<Vec<_>, _> =
            missing.iter().map(|_| connection.reply_of_each()).collect();
        let read = |(&at, reply): (&usize, Value)| {
            let stored = into_result(reply).and_then(|reply| self.layout.stored(reply));
            Ok((at, stored.map_err(|failed| self.of_key(names[at].as_slice(), failed))?))
        };
        missing.iter().zip(replies?).map(read).collect()
    }

    /// Adds the key to an error about the record of this name.
    fn of_key(&self, name: &[u8], failed: CallError) -> CallError {
        match (failed, self.names.key(name)) {
            (CallError::Final(error), Ok(key)) => CallError::Final(error.with_key(&key)),
            (failed, _) => failed,
        }
    }
}

/// Appends a command with these names as arguments.
pub(super) fn command_of(commands: &mut Commands, command: &[u8], names: &[impl AsRef<[u8]>]) {
    commands.begin(1 + names.len());
    commands.part(command);
    names.iter().for_each(|name| commands.part(name.as_ref()));
}

impl RedisScope {
    fn call(&self) -> Call {
        self.records.inner.read_call()
    }

    pub(super) fn names(&self, keys: &[Key]) -> Vec<Vec<u8>> {
        keys.iter().map(|key| self.records.names.name(key)).collect()
    }

    pub(super) fn decode(&self, key: &Key, stored: Option<Vec<u8>>) -> Result<Option<Row>> {
        stored.map(|bytes| self.records.layout.decode(key, &bytes)).transpose()
    }

    /// Sends a unit to the server that owns a name.
    fn query(&self, name: &[u8], unit: &Commands, call: Call) -> Result<Value> {
        let servers = &self.records.inner.servers;
        servers.run(self.records.slot(name), call, |connection| connection.write(unit, call))
    }
}

impl ScopeStore for RedisScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.records.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        let name = self.records.names.name(key);
        let command = Commands::one(&[b"EXISTS", &name]);
        match self.query(&name, &command, self.call())? {
            Value::Int(count) => Ok(count > 0),
            _ => Err(unexpected().into_error()),
        }
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let name = self.records.names.name(key);
        let mut command = Commands::default();
        self.records.layout.read(&mut command, &name);
        let reply = self.query(&name, &command, self.call())?;
        self.decode(key, self.records.layout.stored(reply)?)
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let names = self.names(keys);
        self.records.read_with(&names, self.call(), |at, stored| self.decode(&keys[at], stored))
    }

    fn set(&self, row: Row) -> Result<()> {
        self.put(row)
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.exchange(row)
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        Ok(self.insert_rows(vec![row])?.pop().flatten())
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        self.insert_rows(rows)
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.put_many(rows)
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        Ok(self.take(std::slice::from_ref(key))?.pop().flatten())
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.take(keys)
    }

    fn keys(&self) -> Result<Keys> {
        let records = self.records.clone();
        let listing = Listing::begin(&self.records)?;
        Ok(Box::new(
            listing
                .items(move |names| Ok(names.iter().map(|name| records.names.key(name)).collect())),
        ))
    }

    fn rows(&self) -> Result<Rows> {
        let records = self.records.clone();
        let listing = Listing::begin(&self.records)?;
        Ok(Box::new(listing.items(move |names| {
            let stored = records.read(&names, records.inner.read_call())?;
            let rows = names.iter().zip(stored).filter_map(|(name, stored)| {
                let bytes = stored?;
                let key = records.names.key(name);
                Some(key.and_then(|key| records.layout.decode(&key, &bytes)))
            });
            Ok(rows.collect())
        })))
    }

    fn len(&self) -> Result<u64> {
        let mut listing = Listing::begin(&self.records)?;
        let mut count = 0;
        while let Some(names) = listing.page()? {
            count += names.len() as u64;
        }
        Ok(count)
    }

    fn clear(&self) -> Result<()> {
        self.records.revoke_all()?;
        self.records.clear()
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        self.put_expired(rows, at)
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.take_expired(keys, at)
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        self.put_unchanged(old, row)
    }

    fn touch(&self, key: &Key, at: i64, expires: crate::Value) -> Result<bool> {
        self.touch_one(key, at, expires)
    }

    /// The server removes expired records itself.
    fn purge(&self, _: i64, _: usize) -> Result<usize> {
        Ok(0)
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        if self.records.layout.is_plain() && self.records.schema.has_own_expiry_column() {
            return self.keys();
        }
        let schema = self.records.schema.clone();
        Ok(Box::new(self.live_rows(at)?.map(move |row| row.map(|row| schema.key_of(&row)))))
    }

    fn leases(&self) -> Option<&dyn Leases> {
        (!self.records.layout.is_plain()).then_some(self)
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        self.put_all(rows)
    }
}
