//! How records are written where there are none.
//!
//! A record that is a string is one `SET .. NX`. A hash is watched, looked at, and written in a
//! transaction, which the server does not execute if another client wrote the key in between. A
//! record that is there is never changed.

use std::slice;

use redis::Value;

use super::call_error::CallError;
use super::command::Commands;
use super::connection::{Connection, left};
use super::record_layout::{Content, RecordLayout, Written};
use super::scope::{Records, RedisScope};
use super::servers::Call;
use super::write::busy;
use crate::backoff::BackOff;
use crate::store::ScopeStore;
use crate::{Key, Result, Row};

/// A record to be written, under the name of its key.
struct New {
    /// The position of its row.
    at: usize,
    key: Key,
    name: Vec<u8>,
    written: Written,
}

impl RedisScope {
    /// Writes those rows whose keys have no record, and gives the records of the others.
    pub(super) fn insert_rows(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let records = &*self.records;
        // An insert that is repeated finds its own record, and gives that.
        let call = records.inner.writing(true);
        if let Some(lease) = &self.lease {
            // Asked for its errors: no record is overwritten, whatever others know of it.
            lease.is_current(records, call)?;
        }
        let (mut stored, mut new) = (vec![None; rows.len()], Vec::new());
        for (at, mut row) in rows.into_iter().enumerate() {
            let key = records.schema.key_of(&row);
            match records.schema.fill_absent(&mut row) {
                Ok(()) => new.push(records.new_record(at, key, &row)?),
                Err(lacks) => match self.fetch(&key)? {
                    None => return Err(lacks.with_key(&key)),
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

    /// Writes records, each if there is none, and gives what is there of the others.
    fn insert(&self, new: &[New], call: Call) -> Result<Vec<Option<Vec<u8>>>> {
        match (&self.layout, self.share_a_slot()) {
            (RecordLayout::Hash(_), true) => self.insert_watched(new, call),
            (RecordLayout::Hash(_), false) => {
                let each = new.iter().map(|new| self.insert_watched(slice::from_ref(new), call));
                Ok(each.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
            }
            _ => self.insert_strings(new, call),
        }
    }

    /// Writes strings, each if there is none, and gives what is there of the others.
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
                units => self.inner.servers.spread(call, units)?,
            };
            let refused = open.into_iter().zip(replies);
            let refused = refused.filter(|(_, reply)| *reply == Value::Nil).map(|(at, _)| at);
            open = self.read_refused(new, refused.collect(), call, &mut stored)?;
        }
        Ok(stored)
    }

    /// Reads the records that are there already, and gives those that are gone again.
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
        // Each by itself, so that a key that holds something else is the error that `fetch` gives.
        let replies = self.inner.servers.spread(Call { replicas: 0, ..call }, &units)?;
        for (&at, reply) in refused.iter().zip(replies) {
            stored[at] = self.layout.stored(reply)?;
        }
        let gone: Vec<usize> = refused.into_iter().filter(|&at| stored[at].is_none()).collect();
        match gone.is_empty() || left(call.deadline).is_ok() {
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

    /// Writes hashes of one slot, each if there is none, and gives what is there of the others.
    fn insert_watched(&self, new: &[New], call: Call) -> Result<Vec<Option<Vec<u8>>>> {
        let Some(first) = new.first() else { return Ok(Vec::new()) };
        self.inner.servers.run(self.slot(&first.name), call, |connection| {
            let mut back_off = BackOff::until(call.deadline);
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

    /// The same once; nothing if another client wrote one of the records meanwhile.
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
