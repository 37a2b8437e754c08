//! How records are written and removed, one or many.
//!
//! A row that has all columns is set blindly, in one round trip, while the records stand under the
//! very schema of the handle. Any other is written over what stands there, which is watched
//! meanwhile; so is one that is written by an update, since what it replaces has to be readable.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use redis::Value;

use super::PAGE;
use super::call_error::CallError;
use super::command::Commands;
use super::connection::Connection;
use super::listing::Listing;
use super::record_layout::{Content, Replaced, Written};
use super::scope::{Records, RedisScope, command_of};
use super::servers::Call;
use crate::backoff::BackOff;
use crate::{Error, ErrorKind, Key, Result, Row};

/// Rows that are written together, with their keys, and the names that these have, each once.
struct Batch {
    names: Vec<Vec<u8>>,
    /// Of each row the position of its name.
    places: Vec<usize>,
    keys: Vec<Key>,
    rows: Vec<Row>,
}

/// A record that was read in order to be removed.
struct Found<'a> {
    /// The position of its key.
    at: usize,
    name: &'a [u8],
    reply: Value,
    row: Row,
}

impl Found<'_> {
    fn record(&self) -> (&[u8], &Value) {
        (self.name, &self.reply)
    }
}

impl Batch {
    fn new(records: &Records, rows: Vec<Row>) -> Self {
        let keys: Vec<Key> = rows.iter().map(|row| records.schema.key_of(row)).collect();
        let (mut names, mut known) = (Vec::new(), HashMap::new());
        let place = |key| {
            *known.entry(key).or_insert_with(|| {
                names.push(records.names.name(key));
                names.len() - 1
            })
        };
        let places = keys.iter().map(place).collect();
        Self { names, places, keys, rows }
    }

    /// The rows of each name by themselves.
    fn apart(self) -> impl Iterator<Item = Self> {
        let mut apart: Vec<Self> = self.names.into_iter().map(Self::of).collect();
        for ((place, key), row) in self.places.into_iter().zip(self.keys).zip(self.rows) {
            apart[place].places.push(0);
            apart[place].keys.push(key);
            apart[place].rows.push(row);
        }
        apart.into_iter()
    }

    fn of(name: Vec<u8>) -> Self {
        Self { names: vec![name], places: Vec::new(), keys: Vec::new(), rows: Vec::new() }
    }
}

impl RedisScope {
    /// Whether rows can be written without a look at what they are written over: they have all
    /// columns, and the records stand under the very schema of this handle.
    fn is_blind(&self, rows: &[Row], call: Call) -> Result<bool> {
        let current = match &self.lease {
            Some(lease) => lease.is_current(&self.records, call)?,
            None => true,
        };
        Ok(current && rows.iter().flatten().all(|value| !value.is_absent()))
    }

    /// Writes a row.
    pub(super) fn put(&self, row: Row) -> Result<()> {
        let call = self.records.inner.writing(true);
        let rows = [row];
        if !self.is_blind(&rows, call)? {
            return self.replace(&Batch::new(&self.records, rows.into()), call).map(drop);
        }
        let records = &*self.records;
        let name = records.names.name(&records.schema.key_of(&rows[0]));
        let unit = records.write_unit(&name, &records.encode(&rows[0])?);
        records
            .inner
            .servers
            .run(records.slot(&name), call, |connection| connection.write(&unit, call))?;
        Ok(())
    }

    /// Writes a row and gives the one that it replaces.
    pub(super) fn exchange(&self, row: Row) -> Result<Option<Row>> {
        // What it gave the second time would not be what was there before the first.
        let call = self.records.inner.writing(false);
        let rows = vec![row];
        // Asked for its errors: the old record is read, whatever the schema is.
        self.is_blind(&rows, call)?;
        let replaced = self.replace(&Batch::new(&self.records, rows), call)?;
        Ok(replaced.into_iter().next().flatten())
    }

    /// Writes rows: all or none where they are in one slot. In others nothing is written before
    /// all of them were found to be such as can be, and every server has been connected to.
    pub(super) fn put_many(&self, rows: Vec<Row>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let call = self.records.inner.writing(true);
        let blind = self.is_blind(&rows, call)?;
        let batch = Batch::new(&self.records, rows);
        match (blind, self.records.share_a_slot()) {
            (true, together) => self.records.write_many(&batch, together, call),
            (false, true) => self.replace(&batch, call).map(drop),
            (false, false) => {
                let standing = self.records.read(&batch.names, self.records.inner.call(true))?;
                self.records.replaced(standing, &batch)?;
                batch.apart().try_for_each(|batch| self.replace(&batch, call).map(drop))
            }
        }
    }

    /// Writes rows in place of all that stand, in one transaction.
    pub(super) fn put_all(&self, mut rows: Vec<Row>) -> Result<()> {
        let records = &self.records;
        if !records.share_a_slot() {
            return Err(Error::unsupported(
                "the records of the scope are spread over the cluster, and cannot be replaced all or nothing; with `slots=scope` they are in one slot",
            ));
        }
        let call = records.inner.writing(true);
        rows.iter_mut().try_for_each(|row| records.schema.fill_absent(row))?;
        // Asked for its errors: all columns are written, whatever others know.
        self.is_blind(&rows, call)?;
        let batch = Batch::new(records, rows);
        let standing = records.all_names()?;
        let Some(name) = standing.first().or(batch.names.first()) else { return Ok(()) };
        let mut unit = Commands::default();
        for names in standing.chunks(PAGE) {
            command_of(&mut unit, b"UNLINK", names);
        }
        let written = records.encoded(&batch)?;
        unit.append(&records.write_together(batch.names.iter().zip(&written)));
        let unit = unit.atomic();
        records
            .inner
            .servers
            .run(records.slot(name), call, |connection| connection.write(&unit, call))?;
        Ok(())
    }

    /// Removes records and returns them, in the order asked; of a key that is asked idempotent the first
    /// gets the record.
    ///
    /// Invariant: a record is removed only while the server holds the very bytes that were decoded.
    /// So one that cannot be read is never removed, and each record is returned by one call only.
    /// In one slot all are removed or none; in several ones none is before all were found readable.
    pub(super) fn take(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let call = self.records.inner.writing(false);
        let names = self.names(keys);
        self.records.revoke(&names)?;
        let mut taken = vec![None; keys.len()];
        let mut seen = HashSet::new();
        let mut open: Vec<usize> = (0..keys.len()).filter(|&at| seen.insert(&names[at])).collect();
        let mut back_off = BackOff::until(call.deadline);
        loop {
            let found = self.found(keys, &names, &open, call)?;
            let removed = self.records.remove(&found, call)?;
            open.clear();
            for (found, removed) in found.into_iter().zip(removed) {
                match removed {
                    true => taken[found.at] = Some(found.row),
                    false => open.push(found.at),
                }
            }
            if open.is_empty() {
                return Ok(taken);
            }
            if !back_off.pause() {
                return Err(busy().into_error());
            }
        }
    }

    /// Those of the records that exist, decoded.
    fn found<'a>(
        &self,
        keys: &[Key],
        names: &'a [Vec<u8>],
        open: &[usize],
        call: Call,
    ) -> Result<Vec<Found<'a>>> {
        let asked: Vec<&[u8]> = open.iter().map(|&at| names[at].as_slice()).collect();
        let replies = self.records.lookup(&asked, call)?;
        let mut found = Vec::with_capacity(open.len());
        for (&at, reply) in open.iter().zip(replies) {
            let stored = self.records.layout.stored(reply.clone()).map_err(CallError::into_error);
            let row = stored.and_then(|stored| self.decode(&keys[at], stored));
            if let Some(row) = row.map_err(|error| error.with_key(&keys[at]))? {
                found.push(Found { at, name: &names[at], reply, row });
            }
        }
        Ok(found)
    }

    /// Writes rows over what stands in one slot, one after the other and in one transaction: what
    /// they leave out stays, and so does what a newer schema has. Gives what each found.
    fn replace(&self, batch: &Batch, call: Call) -> Result<Vec<Option<Row>>> {
        let records = &*self.records;
        records.inner.servers.run(records.slot(&batch.names[0]), call, |connection| {
            let mut back_off = BackOff::until(call.deadline);
            loop {
                if let Some(found) = records.try_replace(connection, batch, call)? {
                    return Ok(found);
                }
                if !back_off.pause() {
                    return Err(busy());
                }
            }
        })
    }
}

impl Records {
    /// The unit of commands that writes a record.
    fn write_unit(&self, name: &[u8], written: &Written) -> Commands {
        let mut commands = Commands::default();
        self.layout.write(&mut commands, name, written, false);
        if commands.count() == 1 { commands } else { commands.atomic() }
    }

    /// The last row of each name, as it is written.
    fn encoded(&self, batch: &Batch) -> Result<Vec<Written>> {
        let mut last: Vec<Option<&Row>> = vec![None; batch.names.len()];
        batch.places.iter().zip(&batch.rows).for_each(|(&place, row)| last[place] = Some(row));
        last.into_iter().flatten().map(|row| self.encode(row)).collect()
    }

    /// Writes the last row of each name.
    fn write_many(&self, batch: &Batch, together: bool, call: Call) -> Result<()> {
        let written = self.encoded(batch)?;
        let records = batch.names.iter().zip(&written);
        let servers = &self.inner.servers;
        if together {
            let unit = self.write_together(records);
            let unit = if unit.count() == 1 { unit } else { unit.atomic() };
            servers.run(self.slot(&batch.names[0]), call, |connection| {
                connection.write(&unit, call)
            })?;
        } else {
            let unit = |(name, written): (&Vec<u8>, &Written)| {
                (self.slot(name), self.write_unit(name, written))
            };
            servers.spread(call, &records.map(unit).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// The commands that write records of one slot.
    fn write_together<'a>(
        &self,
        records: impl ExactSizeIterator<Item = (&'a Vec<u8>, &'a Written)>,
    ) -> Commands {
        let mut commands = Commands::default();
        let mut plain: Vec<(&[u8], &[u8])> = Vec::with_capacity(records.len());
        for (name, written) in records {
            match written {
                Written { content: Content::Bytes(bytes), lifetime: None } => {
                    plain.push((name, bytes));
                }
                written => self.layout.write(&mut commands, name, written, false),
            }
        }
        for page in plain.chunks(PAGE) {
            commands.begin(1 + 2 * page.len());
            commands.part(b"MSET");
            for (name, bytes) in page {
                commands.part(name);
                commands.part(bytes);
            }
        }
        commands
    }

    /// The names of all records that stand.
    fn all_names(self: &Arc<Self>) -> Result<Vec<Vec<u8>>> {
        let mut listing = Listing::begin(self)?;
        let mut all = Vec::new();
        while let Some(names) = listing.page()? {
            all.extend(names);
        }
        Ok(all)
    }

    /// Writes rows over what stands; not where somebody else writes one of the records meanwhile.
    fn try_replace(
        &self,
        connection: &mut Connection,
        batch: &Batch,
        call: Call,
    ) -> Result<Option<Vec<Option<Row>>>, CallError> {
        let names: Vec<&[u8]> = batch.names.iter().map(Vec::as_slice).collect();
        let standing = self.watch(connection, &names);
        let replaced = standing.and_then(|standing| Ok(self.replaced(standing, batch)?));
        let (found, last) = match replaced {
            Ok(replaced) => replaced,
            Err(failed) if connection.is_unusable() => return Err(failed),
            Err(failed) => {
                connection.query_unit(&Commands::one(&[b"UNWATCH"]))?;
                return Err(failed);
            }
        };
        let mut commands = Commands::default();
        for (name, written) in batch.names.iter().zip(&last) {
            if let Some((written, _)) = written {
                self.layout.write(&mut commands, name, written, true);
            }
        }
        let mut unit = connection.asking();
        unit.append(&commands.atomic());
        Ok((connection.write(&unit, call)? != Value::Nil).then_some(found))
    }

    /// Has the server watch records, and reads them, in one round trip.
    pub(super) fn watch(
        &self,
        connection: &mut Connection,
        names: &[&[u8]],
    ) -> Result<Vec<Option<Vec<u8>>>, CallError> {
        let mut watch = Commands::default();
        command_of(&mut watch, b"WATCH", names);
        let units: Vec<_> =
            [watch].into_iter().chain(names.iter().map(|name| self.read_unit(name))).collect();
        let replies = connection.query_each(&units)?.into_iter().skip(1);
        replies.map(|reply| self.layout.stored(reply)).collect()
    }

    /// The command that reads one record. (`MGET` takes a key of another type for a missing one.)
    fn read_unit(&self, name: &[u8]) -> Commands {
        let mut commands = Commands::default();
        self.layout.read(&mut commands, name);
        commands
    }

    /// What each row finds, and what is written for each name at the end, with its bytes.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn replaced(
        &self,
        standing: Vec<Option<Vec<u8>>>,
        batch: &Batch,
    ) -> Result<(Vec<Option<Row>>, Vec<Option<(Written, Vec<u8>)>>)> {
        let mut last: Vec<Option<(Written, Vec<u8>)>> = standing.iter().map(|_| None).collect();
        let mut found = Vec::with_capacity(batch.rows.len());
        for ((&place, key), row) in batch.places.iter().zip(&batch.keys).zip(&batch.rows) {
            let old = match &last[place] {
                Some((_, bytes)) => Some(bytes.as_slice()),
                None => standing[place].as_deref(),
            };
            let Replaced { new, bytes, old } = self.layout.replace(key, old, row.clone())?;
            let lifetime = self.lifetime_over(row, old.as_ref());
            found.push(old);
            last[place] = Some((Written { content: new, lifetime }, bytes));
        }
        Ok((found, last))
    }

    /// The replies to the commands that read these names, which are not decoded.
    pub(super) fn lookup(&self, names: &[&[u8]], call: Call) -> Result<Vec<Value>> {
        let Some(first) = names.first() else { return Ok(Vec::new()) };
        let call = Call { idempotent: true, replicas: 0, ..call };
        let servers = &self.inner.servers;
        if self.share_a_slot() {
            let units: Vec<_> = names.iter().map(|name| self.read_unit(name)).collect();
            return servers.run(self.slot(first), call, |connection| connection.query_each(&units));
        }
        let unit = |name: &&[u8]| (self.slot(name), self.read_unit(name));
        servers.spread(call, &names.iter().map(unit).collect::<Vec<_>>())
    }

    /// Removes records that are still as they were read, and says of which that holds. In one slot
    /// it holds of all or none.
    fn remove(&self, found: &[Found<'_>], call: Call) -> Result<Vec<bool>> {
        let Some(first) = found.first() else { return Ok(Vec::new()) };
        let servers = &self.inner.servers;
        if self.share_a_slot() {
            let records: Vec<_> = found.iter().map(Found::record).collect();
            let unit = self.layout.remove(&records);
            let reply = servers
                .run(self.slot(first.name), call, |connection| connection.write(&unit, call))?;
            return Ok(vec![reply == Value::Int(1); found.len()]);
        }
        let unit =
            |found: &Found<'_>| (self.slot(found.name), self.layout.remove(&[found.record()]));
        let replies = servers.spread(call, &found.iter().map(unit).collect::<Vec<_>>())?;
        Ok(replies.into_iter().map(|reply| reply == Value::Int(1)).collect())
    }

    /// Removes all records of the scope, and nothing else.
    pub(super) fn clear(self: &Arc<Self>) -> Result<()> {
        let mut listing = Listing::begin(self)?;
        while let Some(names) = listing.page()? {
            let call = self.inner.writing(true);
            let servers = &self.inner.servers;
            if self.share_a_slot() {
                let parts: Vec<&[u8]> =
                    [&b"UNLINK"[..]].into_iter().chain(names.iter().map(Vec::as_slice)).collect();
                let unit = Commands::one(&parts);
                servers
                    .run(self.slot(&names[0]), call, |connection| connection.write(&unit, call))?;
            } else {
                let unit = |name: &Vec<u8>| (self.slot(name), Commands::one(&[b"UNLINK", name]));
                servers.spread(call, &names.iter().map(unit).collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }
}

pub(super) fn busy() -> CallError {
    let message =
        "others kept writing the same records until the deadline passed; nothing was written";
    CallError::Final(Error::new(ErrorKind::Timeout, message).while_waiting())
}
