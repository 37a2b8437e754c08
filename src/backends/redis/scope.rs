//! One scope of a cache.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use redis::Value;

use super::command::Commands;
use super::failed::Failed;
use super::form::{Form, Replaced};
use super::lease::Lease;
use super::link::{Link, left, unexpected};
use super::list::Listing;
use super::names::Names;
use super::servers::Call;
use super::Inner;
use crate::store::{Keys, Rows, ScopeStore};
use crate::{Key, Result, Row, Schema};

/// The records of a scope, as those that list them have them, too.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) inner: Arc<Inner>,
    pub(super) schema: Arc<Schema>,
    pub(super) names: Names,
    pub(super) form: Form,
    /// The milliseconds that a record is good for.
    ttl: Option<String>,
}

/// A handle on the records of a scope.
pub(super) struct RedisScope {
    pub(super) records: Arc<Records>,
    /// What is known of the schema that the records stand under.
    pub(super) lease: Option<Lease>,
}

impl fmt::Debug for RedisScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisScope").field("scope", &self.schema().name).finish_non_exhaustive()
    }
}

impl Records {
    pub(super) fn new(inner: &Arc<Inner>, schema: &Arc<Schema>) -> Result<Self> {
        let ttl = schema.ttl.map(|ttl| ttl.as_millis().to_string());
        Ok(Self {
            names: Names::new(&inner.prefix, inner.naming, schema),
            form: inner.form(schema)?,
            inner: inner.clone(),
            schema: schema.clone(),
            ttl,
        })
    }

    /// The time to live as it is sent.
    pub(super) fn ttl(&self) -> Option<&[u8]> {
        self.ttl.as_deref().map(str::as_bytes)
    }

    /// Whether all records are in one slot, so that they can be read and written together.
    pub(super) fn are_together(&self) -> bool {
        !self.inner.servers.is_cluster() || self.names.are_together()
    }

    pub(super) fn slot(&self, name: &[u8]) -> u16 {
        self.inner.servers.slot(name)
    }

    /// Reads the records of these names; all of one slot where they are together.
    pub(super) fn read(&self, names: &[Vec<u8>], call: Call) -> Result<Vec<Option<Vec<u8>>>> {
        let servers = &self.inner.servers;
        let Some(first) = names.first() else { return Ok(Vec::new()) };
        if self.are_together() {
            return servers.run(self.slot(first), call, |link| self.read_on(link, names));
        }
        let unit = |name: &Vec<u8>| {
            let mut commands = Commands::default();
            self.form.read(&mut commands, name);
            (self.slot(name), commands)
        };
        let answers = servers.spread(call, &names.iter().map(unit).collect::<Vec<_>>())?;
        answers.into_iter().map(|answer| Ok(self.form.stored(answer)?)).collect()
    }

    /// Reads records on the connection to who has them.
    pub(super) fn read_on(
        &self,
        link: &mut Link,
        names: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, Failed> {
        let mut commands = Commands::default();
        if !self.form.is_string() {
            names.iter().for_each(|name| self.form.read(&mut commands, name));
            link.send(&commands)?;
            let one = Commands::one(&[b"HGETALL", b""]);
            return names.iter().map(|_| self.form.stored(link.answer_to(&one)?)).collect();
        }
        for names in names.chunks(super::PAGE) {
            commands.begin(1 + names.len());
            commands.part(b"MGET");
            names.iter().for_each(|name| commands.part(name));
        }
        let mut stored = Vec::with_capacity(names.len());
        for answer in link.ask(&commands)? {
            let Value::Array(values) = super::link::accepted(answer)? else {
                return Err(unexpected());
            };
            for value in values {
                stored.push(self.form.stored(value)?);
            }
        }
        Ok(stored)
    }
}

impl RedisScope {
    fn call(&self, twice: bool) -> Call {
        self.records.inner.call(twice)
    }

    /// Whether a row can be written without a look at what it is written over: it has all
    /// columns, and the records stand under the very schema of this handle.
    fn is_blind(&self, rows: &[Row], call: Call) -> Result<bool> {
        let current = match &self.lease {
            Some(lease) => lease.is_current(&self.records, call)?,
            None => true,
        };
        Ok(current && rows.iter().flatten().all(|value| !value.is_absent()))
    }

    fn names(&self, keys: &[Key]) -> Vec<Vec<u8>> {
        keys.iter().map(|key| self.records.names.name(key)).collect()
    }

    fn decode(&self, key: &Key, stored: Option<Vec<u8>>) -> Result<Option<Row>> {
        stored.map(|bytes| self.records.form.decode(key, &bytes)).transpose()
    }

    /// Writes a row, with what it is written over given or not.
    fn put(&self, row: Row, wanted: bool) -> Result<Option<Row>> {
        // What an update gives the second time is not what was there before the first.
        let call = self.call(!wanted);
        let Records { schema, names, form, .. } = &*self.records;
        let key = schema.key_of(&row);
        let name = names.name(&key);
        if !self.is_blind(std::slice::from_ref(&row), call)? {
            let slot = self.records.slot(&name);
            let old = self.replace(slot, &[name], &[(0, key)], &[row], call)?;
            return Ok(old.into_iter().next().flatten());
        }
        let written = form.encode(&row)?;
        let servers = &self.records.inner.servers;
        let unit = match wanted {
            true => self.exchange(&name, &written),
            false => self.write_unit(&name, &written),
        };
        let answer =
            servers.run(self.records.slot(&name), call, |link| link.ask_one(&unit))?;
        match wanted {
            true => self.decode(&key, form.taken(answer)?),
            false => Ok(None),
        }
    }

    /// The unit of commands that writes a record.
    fn write_unit(&self, name: &[u8], written: &super::form::Written) -> Commands {
        let mut commands = Commands::default();
        self.records.form.write(&mut commands, name, written, self.records.ttl(), false);
        if commands.count() == 1 { commands } else { commands.atomic() }
    }

    /// The unit of commands that writes a record and gives the one that it replaces.
    fn exchange(&self, name: &[u8], written: &super::form::Written) -> Commands {
        let ttl = self.records.ttl();
        match written {
            super::form::Written::Bytes(bytes) => match ttl {
                Some(ttl) => Commands::one(&[b"SET", name, bytes, b"GET", b"PX", ttl]),
                None => Commands::one(&[b"SET", name, bytes, b"GET"]),
            },
            super::form::Written::Fields(_) => {
                let mut commands = Commands::default();
                self.records.form.read(&mut commands, name);
                self.records.form.write(&mut commands, name, written, ttl, false);
                commands.atomic()
            }
        }
    }

    /// Writes rows over what stands, one after the other, all in one transaction: what they leave
    /// out stays, and so does what a newer schema has. Gives what each found. `rows` are of the
    /// names at the positions that stand with their keys.
    fn replace(
        &self,
        slot: u16,
        names: &[Vec<u8>],
        keys: &[(usize, Key)],
        rows: &[Row],
        call: Call,
    ) -> Result<Vec<Option<Row>>> {
        let servers = &self.records.inner.servers;
        servers.run(slot, call, |link| {
            loop {
                let mut watch = Commands::default();
                watch.begin(1 + names.len());
                watch.part(b"WATCH");
                names.iter().for_each(|name| watch.part(name));
                link.ask_one(&watch)?;
                let standing = self.records.read_on(link, names);
                let replaced = standing.and_then(|standing| {
                    Ok(self.replaced(standing, keys, rows)?)
                });
                let (found, last) = match replaced {
                    Ok(replaced) => replaced,
                    Err(failed) => {
                        if !link.is_broken() {
                            link.ask_one(&Commands::one(&[b"UNWATCH"]))?;
                        }
                        return Err(failed);
                    }
                };
                let mut commands = Commands::default();
                for (name, new) in names.iter().zip(&last) {
                    if let Some(new) = new {
                        let (form, ttl) = (&self.records.form, self.records.ttl());
                        form.write(&mut commands, name, &new.new, ttl, true);
                    }
                }
                if link.ask_one(&commands.atomic())? != Value::Nil {
                    return Ok(found);
                }
                // Somebody else wrote one of them meanwhile.
                left(call.deadline).map_err(|_| busy())?;
            }
        })
    }

    /// What each row makes of what stands, and what is written for each name at the end.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn replaced(
        &self,
        standing: Vec<Option<Vec<u8>>>,
        keys: &[(usize, Key)],
        rows: &[Row],
    ) -> Result<(Vec<Option<Row>>, Vec<Option<Replaced>>)> {
        let mut last: Vec<Option<Replaced>> = standing.iter().map(|_| None).collect();
        let mut found = Vec::with_capacity(rows.len());
        for ((at, key), row) in keys.iter().zip(rows) {
            let old = match &last[*at] {
                Some(replaced) => Some(replaced.bytes.as_slice()),
                None => standing[*at].as_deref(),
            };
            let mut replaced = self.records.form.replace(key, old, row.clone())?;
            found.push(replaced.old.take());
            last[*at] = Some(replaced);
        }
        Ok((found, last))
    }
}

fn busy() -> Failed {
    Failed::Own(crate::Error::new(
        crate::ErrorKind::Timeout,
        "others kept writing the same records until the deadline passed; nothing was written",
    ))
}

impl ScopeStore for RedisScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.records.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        let name = self.records.names.name(key);
        let command = Commands::one(&[b"EXISTS", &name]);
        let servers = &self.records.inner.servers;
        let slot = self.records.slot(&name);
        match servers.run(slot, self.call(true), |link| link.ask_one(&command))? {
            Value::Int(count) => Ok(count > 0),
            _ => Err(unexpected().into_error()),
        }
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let name = self.records.names.name(key);
        let mut command = Commands::default();
        self.records.form.read(&mut command, &name);
        let servers = &self.records.inner.servers;
        let slot = self.records.slot(&name);
        let answer = servers.run(slot, self.call(true), |link| link.ask_one(&command))?;
        self.decode(key, self.records.form.stored(answer)?)
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let stored = self.records.read(&self.names(keys), self.call(true))?;
        keys.iter().zip(stored).map(|(key, stored)| self.decode(key, stored)).collect()
    }

    fn set(&self, row: Row) -> Result<()> {
        self.put(row, false).map(drop)
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.put(row, true)
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        super::batch::set(self, rows)
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        let name = self.records.names.name(key);
        let (form, servers) = (&self.records.form, &self.records.inner.servers);
        let (unit, slot) = (form.take(&name), self.records.slot(&name));
        let answer = servers.run(slot, self.call(false), |link| link.ask_one(&unit))?;
        self.decode(key, form.taken(answer)?)
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let stored = super::batch::pop(&self.records, &self.names(keys), self.call(false))?;
        keys.iter().zip(stored).map(|(key, stored)| self.decode(key, stored)).collect()
    }

    fn keys(&self) -> Result<Keys> {
        let records = self.records.clone();
        let listing = Listing::begin(&self.records)?;
        Ok(Box::new(listing.items(move |names| {
            Ok(names.iter().map(|name| records.names.key(name)).collect())
        })))
    }

    fn rows(&self) -> Result<Rows> {
        let records = self.records.clone();
        let listing = Listing::begin(&self.records)?;
        Ok(Box::new(listing.items(move |names| {
            let stored = records.read(&names, records.inner.call(true))?;
            let rows = names.iter().zip(stored).filter_map(|(name, stored)| {
                let bytes = stored?;
                let key = records.names.key(name);
                Some(key.and_then(|key| records.form.decode(&key, &bytes)))
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
        super::batch::clear(&self.records)
    }
}

impl RedisScope {
    pub(super) fn replace_together(
        &self,
        slot: u16,
        names: &[Vec<u8>],
        keys: &[(usize, Key)],
        rows: &[Row],
        call: Call,
    ) -> Result<()> {
        self.replace(slot, names, keys, rows, call).map(drop)
    }

    pub(super) fn can_write_blind(&self, rows: &[Row], call: Call) -> Result<bool> {
        self.is_blind(rows, call)
    }

    pub(super) fn check_replaceable(
        &self,
        standing: Vec<Option<Vec<u8>>>,
        keys: &[(usize, Key)],
        rows: &[Row],
    ) -> Result<()> {
        self.replaced(standing, keys, rows).map(drop)
    }

    pub(super) fn unit(&self, name: &[u8], written: &super::form::Written) -> Commands {
        self.write_unit(name, written)
    }

    pub(super) fn new_call(&self) -> Call {
        Call { twice: true, deadline: self.call(true).deadline }
    }
}

/// A deadline that has not passed for an `Instant` that overflowed.
pub(super) fn deadline(timeout: std::time::Duration) -> Instant {
    let now = Instant::now();
    // A hundred years are as good as for ever.
    now.checked_add(timeout).unwrap_or(now + std::time::Duration::from_secs(3_153_600_000))
}
