//! Writes of records.
//!
//! A row with all columns overwrites the stored record without reading it, in one round trip, if
//! the stored schema is that of the handle. Any other row is merged into the stored record under
//! `WATCH`. Updates always do this, since they return the replaced record.

use std::collections::HashMap;
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

/// Rows of one write, with their keys and the distinct names of these keys.
struct Batch {
    names: Vec<Vec<u8>>,
    /// For each row, the position of its name.
    positions: Vec<usize>,
    keys: Vec<Key>,
    rows: Vec<Row>,
}

impl Batch {
    fn new(records: &Records, rows: Vec<Row>) -> Self {
        let keys: Vec<Key> = rows.iter().map(|row| records.schema.key_of(row)).collect();
        let (mut names, mut known) = (Vec::new(), HashMap::new());
        let position = |key| {
            *known.entry(key).or_insert_with(|| {
                names.push(records.names.name(key));
                names.len() - 1
            })
        };
        let positions = keys.iter().map(position).collect();
        Self { names, positions, keys, rows }
    }

    /// Splits the batch into one batch for each name.
    fn split_by_name(self) -> impl Iterator<Item = Self> {
        let mut batches: Vec<Self> = self.names.into_iter().map(Self::of).collect();
        for ((position, key), row) in self.positions.into_iter().zip(self.keys).zip(self.rows) {
            batches[position].positions.push(0);
            batches[position].keys.push(key);
            batches[position].rows.push(row);
        }
        batches.into_iter()
    }

    fn of(name: Vec<u8>) -> Self {
        Self { names: vec![name], positions: Vec::new(), keys: Vec::new(), rows: Vec::new() }
    }
}

impl RedisScope {
    /// Whether rows can overwrite the stored records without reading them: they have all columns,
    /// and the stored schema has no columns that this handle does not know.
    fn is_blind(&self, rows: &[Row], call: Call) -> Result<bool> {
        let current = match &self.schema_check {
            Some(check) => check.is_current(&self.records, call)?,
            None => true,
        };
        Ok(current && rows.iter().flatten().all(|value| !value.is_absent()))
    }

    /// Writes one row.
    pub(super) fn put(&self, row: Row) -> Result<()> {
        let call = self.records.inner.write_call(true);
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

    /// Writes a row and returns the record that it replaced.
    pub(super) fn exchange(&self, row: Row) -> Result<Option<Row>> {
        // Not idempotent: a repeated call would return the row that the first one wrote.
        let call = self.records.inner.write_call(false);
        let rows = vec![row];
        // Only its errors matter here: the old record is read in any case.
        self.is_blind(&rows, call)?;
        let replaced = self.replace(&Batch::new(&self.records, rows), call)?;
        Ok(replaced.into_iter().next().flatten())
    }

    /// Writes rows, all or none if they share a slot. Otherwise nothing is written before all rows
    /// have been checked and all servers connected to.
    pub(super) fn put_many(&self, rows: Vec<Row>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let call = self.records.inner.write_call(true);
        let blind = self.is_blind(&rows, call)?;
        let batch = Batch::new(&self.records, rows);
        match (blind, self.records.in_one_slot()) {
            (true, together) => self.records.write_many(&batch, together, call),
            (false, true) => self.replace(&batch, call).map(drop),
            (false, false) => {
                let stored = self.records.read(&batch.names, self.records.inner.read_call())?;
                self.records.replaced(stored, &batch)?;
                batch.split_by_name().try_for_each(|batch| self.replace(&batch, call).map(drop))
            }
        }
    }

    /// Replaces all records by these rows, in one transaction.
    pub(super) fn put_all(&self, mut rows: Vec<Row>) -> Result<()> {
        let records = &self.records;
        if !records.in_one_slot() {
            return Err(Error::unsupported(
                "the records of the scope are spread over the cluster and cannot be replaced in one transaction; set `slots=scope` to store them in one slot",
            ));
        }
        let call = records.inner.write_call(true);
        rows.iter_mut().try_for_each(|row| records.schema.fill_absent(row))?;
        // Only its errors matter here: all columns are written in any case.
        self.is_blind(&rows, call)?;
        let batch = Batch::new(records, rows);
        let stored = records.all_names()?;
        let Some(name) = stored.first().or(batch.names.first()) else { return Ok(()) };
        let mut unit = Commands::default();
        for names in stored.chunks(PAGE) {
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

    /// Merges rows of one slot into the stored records, in order and in one transaction. Columns
    /// that the rows leave out are kept, and so are those of a newer schema. Returns the record
    /// that each row replaced.
    fn replace(&self, batch: &Batch, call: Call) -> Result<Vec<Option<Row>>> {
        let records = &*self.records;
        records.inner.servers.run(records.slot(&batch.names[0]), call, |connection| {
            let mut back_off = BackOff::until(call.deadline.instant());
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
    /// Returns the unit that writes a record.
    fn write_unit(&self, name: &[u8], written: &Written) -> Commands {
        let mut commands = Commands::default();
        self.layout.write(&mut commands, name, written, false);
        if commands.count() == 1 { commands } else { commands.atomic() }
    }

    /// Encodes the last row of each name.
    fn encoded(&self, batch: &Batch) -> Result<Vec<Written>> {
        let mut last: Vec<Option<&Row>> = vec![None; batch.names.len()];
        batch
            .positions
            .iter()
            .zip(&batch.rows)
            .for_each(|(&position, row)| last[position] = Some(row));
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
            servers.run_each(call, &records.map(unit).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Returns the commands that write records of one slot.
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

    /// Lists the names of all stored records.
    fn all_names(self: &Arc<Self>) -> Result<Vec<Vec<u8>>> {
        let mut listing = Listing::begin(self)?;
        let mut all = Vec::new();
        while let Some(names) = listing.page()? {
            all.extend(names);
        }
        Ok(all)
    }

    /// Makes one attempt to merge rows into the stored records. Returns `None` if another client
    /// wrote one of them meanwhile.
    fn try_replace(
        &self,
        connection: &mut Connection,
        batch: &Batch,
        call: Call,
    ) -> Result<Option<Vec<Option<Row>>>, CallError> {
        let names: Vec<&[u8]> = batch.names.iter().map(Vec::as_slice).collect();
        let stored = self.watch(connection, &names);
        let replaced = stored.and_then(|stored| Ok(self.replaced(stored, batch)?));
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

    /// Watches records and reads them, in one round trip.
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

    /// Returns the command that reads one record. It is not `MGET`, which treats a key of another
    /// type as missing.
    pub(super) fn read_unit(&self, name: &[u8]) -> Commands {
        let mut commands = Commands::default();
        self.layout.read(&mut commands, name);
        commands
    }

    /// Merges rows into the stored records. Returns the record that each row replaces, and the
    /// final record of each name with its bytes.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn replaced(
        &self,
        stored: Vec<Option<Vec<u8>>>,
        batch: &Batch,
    ) -> Result<(Vec<Option<Row>>, Vec<Option<(Written, Vec<u8>)>>)> {
        let mut last: Vec<Option<(Written, Vec<u8>)>> = stored.iter().map(|_| None).collect();
        let mut found = Vec::with_capacity(batch.rows.len());
        for ((&position, key), row) in batch.positions.iter().zip(&batch.keys).zip(&batch.rows) {
            let old = match &last[position] {
                Some((_, bytes)) => Some(bytes.as_slice()),
                None => stored[position].as_deref(),
            };
            let Replaced { new, bytes, old } = self.layout.replace(key, old, row.clone())?;
            let lifetime = self.lifetime_over(row, old.as_ref());
            found.push(old);
            last[position] = Some((Written { content: new, lifetime }, bytes));
        }
        Ok((found, last))
    }
}

pub(super) fn busy() -> CallError {
    let message = "other clients kept writing the same records until the deadline passed; nothing was changed";
    CallError::Final(Error::new(ErrorKind::Timeout, message).while_waiting())
}
