//! Removals of records.

use std::collections::HashSet;
use std::sync::Arc;

use redis::Value;

use super::call_error::CallError;
use super::command::Commands;
use super::listing::Listing;
use super::scope::{Records, RedisScope};
use super::servers::Call;
use super::write::busy;
use crate::backoff::BackOff;
use crate::{Key, Result, Row};

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

impl RedisScope {
    /// Removes records and returns them in the order of `keys`. If a key occurs several times, its
    /// first position has the record.
    ///
    /// Invariant: a record is removed only while the server holds exactly the bytes that were
    /// decoded. Therefore an unreadable record is never removed, and each record is returned by one
    /// call only. In one slot, either all records are removed or none; across slots, none is
    /// removed before all have been decoded.
    pub(super) fn take(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let call = self.records.inner.write_call(false);
        let names = self.names(keys);
        self.records.revoke(&names)?;
        let mut taken = vec![None; keys.len()];
        let mut seen = HashSet::new();
        let mut open: Vec<usize> = (0..keys.len()).filter(|&at| seen.insert(&names[at])).collect();
        let mut back_off = BackOff::until(call.deadline.instant());
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

    /// Reads and decodes those of the records that exist.
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
}

impl Records {
    /// Returns the undecoded replies to the commands that read these names.
    pub(super) fn lookup(&self, names: &[&[u8]], call: Call) -> Result<Vec<Value>> {
        let Some(first) = names.first() else { return Ok(Vec::new()) };
        let call = Call { idempotent: true, replicas: 0, ..call };
        let servers = &self.inner.servers;
        if self.in_one_slot() {
            let units: Vec<_> = names.iter().map(|name| self.read_unit(name)).collect();
            return servers.run(self.slot(first), call, |connection| connection.query_each(&units));
        }
        let unit = |name: &&[u8]| (self.slot(name), self.read_unit(name));
        servers.run_each(call, &names.iter().map(unit).collect::<Vec<_>>())
    }

    /// Removes records that have not changed since they were read. Returns for each whether it was
    /// removed; in one slot, all or none are.
    fn remove(&self, found: &[Found<'_>], call: Call) -> Result<Vec<bool>> {
        let Some(first) = found.first() else { return Ok(Vec::new()) };
        let servers = &self.inner.servers;
        if self.in_one_slot() {
            let records: Vec<_> = found.iter().map(Found::record).collect();
            let unit = self.layout.remove(&records);
            let reply = servers
                .run(self.slot(first.name), call, |connection| connection.write(&unit, call))?;
            return Ok(vec![reply == Value::Int(1); found.len()]);
        }
        let unit =
            |found: &Found<'_>| (self.slot(found.name), self.layout.remove(&[found.record()]));
        let replies = servers.run_each(call, &found.iter().map(unit).collect::<Vec<_>>())?;
        Ok(replies.into_iter().map(|reply| reply == Value::Int(1)).collect())
    }

    /// Removes all records of the scope.
    pub(super) fn clear(self: &Arc<Self>) -> Result<()> {
        let mut listing = Listing::begin(self)?;
        while let Some(names) = listing.page()? {
            let call = self.inner.write_call(true);
            let servers = &self.inner.servers;
            if self.in_one_slot() {
                let parts: Vec<&[u8]> =
                    [&b"UNLINK"[..]].into_iter().chain(names.iter().map(Vec::as_slice)).collect();
                let unit = Commands::one(&parts);
                servers
                    .run(self.slot(&names[0]), call, |connection| connection.write(&unit, call))?;
            } else {
                let unit = |name: &Vec<u8>| (self.slot(name), Commands::one(&[b"UNLINK", name]));
                servers.run_each(call, &names.iter().map(unit).collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }
}
