//! Conditional inserts, which never change an existing record.
//!
//! Strings are inserted by `SET .. NX`. Hashes are watched, read, and written in a transaction,
//! which the server does not execute if another client wrote one of the keys in between.

use std::slice;

use redis::Value;

use super::call_error::CallError;
use super::command::Commands;
use super::connection::Connection;
use super::record_layout::{Content, RecordLayout, Written};
use super::scope::{Records, RedisScope};
use super::servers::Call;
use super::write::busy;
use crate::backoff::BackOff;
use crate::store::ScopeStore;
use crate::{Key, Result, Row};

/// A record to be inserted, with the name of its key.
struct New {
    /// The position of its row.
    at: usize,
    key: Key,
    name: Vec<u8>,
    written: Written,
}

impl RedisScope {
    /// Inserts the rows whose keys have no record. Returns the existing records of the others.
    pub(super) fn insert_rows(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let records = &*self.records;
        // Idempotent, since a repeated insert finds and returns its own record.
        let call = records.inner.write_call(true);
        if let Some(check) = &self.schema_check {
            // Only its errors matter here: no record is overwritten.
            check.is_current(records, call)?;
        }
        let (mut stored, mut new) = (vec![None; rows.len()], Vec::new());
        for (at, mut row) in rows.into_iter().enumerate() {
            let key = records.schema.key_of(&row);
            match records.schema.fill_absent(&mut row) {
                Ok(()) => new.push(records.new_record(at, key, &row)?),
                Err(missing) => match self.fetch(&key)? {
                    None => return Err(missing.with_key(&key)),
                    found => stored[at] = found,
                },
            }
        }
        for (new, found) in new.iter().zip(records.insert(&new, call)?) {
            stored[new.at] = self.decode(&new.key, found)?;
        }
        Ok(stored)
    }
}

impl Records {
    fn new_record(&self, at: usize, key: Key, row: &Row) -> Result<New> {
        let written = self.encode(row).map_err(|error| error.with_key(&key))?;
        Ok(New { at, name: self.names.name(&key), key, written })
    }

    /// Inserts records. Returns the existing record of each name that had one.
    fn insert(&self, new: &[New], call: Call) -> Result<Vec<Option<Vec<u8>>>> {
        match (&self.layout, self.in_one_slot()) {
            (RecordLayout::Hash(_), true) => self.insert_watched(new, call),
            (RecordLayout::Hash(_), false) => {
                let each = new.iter().map(|new| self.insert_watched(slice::from_ref(new), call));
                Ok(each.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
            }
            _ => self.insert_strings(new, call),
        }
    }

    /// Inserts strings. Returns the existing record of each name that had one.
    fn insert_strings(&self, new: &[New], call: Call) -> Result<Vec<Option<Vec<u8>>>> {
        let mut stored: Vec<Option<Vec<u8>>> = vec![None; new.len()];
        let mut open: Vec<usize> = (0..new.len()).collect();
        while !open.is_empty() {
            let unit = |&at: &usize| (self.slot(&new[at].name), self.unit_of_new(&new[at]));
            let units: Vec<_> = open.iter().map(unit).collect();
            let replies = match &units[..] {
                [(slot, unit)] => {
                    vec![
                        self.inner
                            .servers
                            .run(*slot, call, |connection| connection.write(unit, call))?,
                    ]
                }
                units => self.inner.servers.run_each(call, units)?,
            };
            let refused = open.into_iter().zip(replies);
            let refused = refused.filter(|(_, reply)| *reply == Value::Nil).map(|(at, _)| at);
            open = self.read_refused(new, refused.collect(), call, &mut stored)?;
        }
        Ok(stored)
    }

    /// Reads the existing records. Returns the positions of those that have been removed meanwhile.
    fn read_refused(
        &self,
        new: &[New],
        refused: Vec<usize>,
        call: Call,
        stored: &mut [Option<Vec<u8>>],
    ) -> Result<Vec<usize>> {
        let unit = |&at: &usize| {
            let mut commands = Commands::default();
            self.layout.read(&mut commands, &new[at].name);
            (self.slot(&new[at].name), commands)
        };
        let units: Vec<_> = refused.iter().map(unit).collect();
        // Single reads instead of `MGET`, so that a key of another type is the same error as in
        // `fetch`.
        let replies = self.inner.servers.run_each(Call { replicas: 0, ..call }, &units)?;
        for (&at, reply) in refused.iter().zip(replies) {
            stored[at] = self.layout.stored(reply)?;
        }
        let gone: Vec<usize> = refused.into_iter().filter(|&at| stored[at].is_none()).collect();
        match gone.is_empty() || !call.deadline.has_passed() {
            true => Ok(gone),
            false => Err(busy().into_error()),
        }
    }

    fn unit_of_new(&self, new: &New) -> Commands {
        let Content::Bytes(bytes) = &new.written.content else { return Commands::default() };
        let mut parts: Vec<&[u8]> = vec![b"SET", &new.name, bytes, b"NX"];
        if let Some(lifetime) = &new.written.lifetime {
            parts.extend([b"PX", lifetime.as_bytes()]);
        }
        Commands::one(&parts)
    }

    /// Inserts hashes of one slot. Returns the existing record of each name that had one.
    fn insert_watched(&self, new: &[New], call: Call) -> Result<Vec<Option<Vec<u8>>>> {
        let Some(first) = new.first() else { return Ok(Vec::new()) };
        self.inner.servers.run(self.slot(&first.name), call, |connection| {
            let mut back_off = BackOff::until(call.deadline.instant());
            loop {
                if let Some(stored) = self.try_insert(connection, new, call)? {
                    return Ok(stored);
                }
                if !back_off.pause() {
                    return Err(busy());
                }
            }
        })
    }

    /// Makes one attempt. Returns `None` if another client wrote one of the records meanwhile.
    fn try_insert(
        &self,
        connection: &mut Connection,
        new: &[New],
        call: Call,
    ) -> Result<Option<Vec<Option<Vec<u8>>>>, CallError> {
        let names: Vec<&[u8]> = new.iter().map(|new| new.name.as_slice()).collect();
        let stored = match self.watch(connection, &names) {
            Ok(stored) => stored,
            Err(failed) if connection.is_unusable() => return Err(failed),
            Err(failed) => {
                connection.query_unit(&Commands::one(&[b"UNWATCH"]))?;
                return Err(failed);
            }
        };
        let mut commands = Commands::default();
        for (new, _) in new.iter().zip(&stored).filter(|(_, stored)| stored.is_none()) {
            self.layout.write(&mut commands, &new.name, &new.written, true);
        }
        if commands.count() == 0 {
            connection.query_unit(&Commands::one(&[b"UNWATCH"]))?;
            return Ok(Some(stored));
        }
        let mut unit = connection.asking();
        unit.append(&commands.atomic());
        Ok((connection.write(&unit, call)? != Value::Nil).then_some(stored))
    }
}
