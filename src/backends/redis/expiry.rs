//! Expiring records: their time to live in the server, and the operations that compare it with a
//! given time.
//!
//! A record stores its expiry in a column. The server gets a time to live as well, so that it
//! removes the record after the last stale window of the scope. Nothing else depends on that
//! removal.
//!
//! Invariant: the operations of this module replace or remove a record only while the server holds
//! exactly the bytes that were decoded, which a script compares. Therefore a record written
//! concurrently is kept.

use redis::Value as Reply;

use super::record_layout::Written;
use super::scope::{Records, RedisScope};
use super::servers::Call;
use super::write::busy;
use crate::backoff::BackOff;
use crate::clock::after;
use crate::store::is_live;
use crate::{Key, Result, Row, Value};

/// A record, both as stored and decoded.
pub(super) struct Seen {
    pub(super) reply: Reply,
    pub(super) row: Option<Row>,
}

impl Records {
    /// Returns how many milliseconds the server keeps a row; `None` for no limit. For a row past
    /// its last stale window this is the minimum, so that the server removes it at once.
    pub(super) fn lifetime(&self, row: &[Value]) -> Option<String> {
        self.lifetime_until(&row[self.expiry?])
    }

    pub(super) fn lifetime_until(&self, expires: &Value) -> Option<String> {
        let Value::Timestamp(expires) = expires else { return None };
        let end = after(*expires, self.schema.freshness.stale_window());
        let micros = end.saturating_sub(self.inner.clock.micros()).max(1);
        Some((micros as u64).div_ceil(1_000).to_string())
    }

    /// Like [`lifetime`](Records::lifetime), for a row that keeps the absent columns of the stored
    /// record.
    pub(super) fn lifetime_over(&self, row: &[Value], old: Option<&Row>) -> Option<String> {
        let column = self.expiry?;
        let kept = || match old {
            Some(old) => Some(&old[column]),
            None => self.schema.columns[column].default.as_ref(),
        };
        let expires = if row[column].is_absent() { kept()? } else { &row[column] };
        self.lifetime_until(expires)
    }

    /// Encodes a complete row.
    pub(super) fn encode(&self, row: &Row) -> Result<Written> {
        Ok(Written { content: self.layout.encode(row)?, lifetime: self.lifetime(row) })
    }
}

impl RedisScope {
    /// Reads the record of a name.
    pub(super) fn lookup_record(&self, key: &Key, name: &[u8], call: Call) -> Result<Seen> {
        let reply = self.records.lookup(&[name], call)?.pop().unwrap_or(Reply::Nil);
        let stored = self.records.layout.stored(reply.clone())?;
        Ok(Seen { reply, row: self.decode(key, stored)? })
    }

    /// Replaces the record that was read. Returns `false` if it has changed since.
    fn swap(
        &self,
        name: &[u8],
        seen: &Reply,
        new: &Written,
        kept: bool,
        call: Call,
    ) -> Result<bool> {
        let records = &self.records;
        let unit = records.layout.swap(name, seen, new, kept, None);
        let call = Call { idempotent: false, ..call };
        let slot = records.slot(name);
        let reply =
            records.inner.servers.run(slot, call, |connection| connection.write(&unit, call))?;
        Ok(reply == Reply::Int(1))
    }

    /// Merges a row into the record that was read.
    fn written_over(&self, key: &Key, seen: &Seen, row: &Row) -> Result<Written> {
        let records = &self.records;
        let old = records.layout.stored(seen.reply.clone())?;
        let replaced = records.layout.replace(key, old.as_deref(), row.clone())?;
        let lifetime = records.lifetime_over(row, replaced.old.as_ref());
        Ok(Written { content: replaced.new, lifetime })
    }

    /// Writes rows whose keys have no record, or an expired one.
    pub(super) fn put_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        let mut stored = self.insert_rows(rows.clone())?;
        let schema = &self.records.schema;
        for (row, stored) in rows.iter().zip(&mut stored) {
            if stored.as_ref().is_some_and(|stored| !is_live(schema, stored, at)) {
                let key = schema.key_of(row);
                let replaced = self.put_one_expired(&key, row, at);
                *stored = replaced.map_err(|error| error.with_key(&key))?;
            }
        }
        Ok(stored)
    }

    fn put_one_expired(&self, key: &Key, row: &Row, at: i64) -> Result<Option<Row>> {
        let call = self.records.inner.write_call(false);
        let name = self.records.names.name(key);
        let mut new = row.clone();
        self.records.schema.fill_absent(&mut new)?;
        let written = self.records.encode(&new)?;
        let mut back_off = BackOff::until(call.deadline.instant());
        loop {
            let seen = self.lookup_record(key, &name, call)?;
            if let Some(live) = seen.row.filter(|row| is_live(&self.records.schema, row, at)) {
                return Ok(Some(live));
            }
            if self.swap(&name, &seen.reply, &written, false, call)? {
                return Ok(None);
            }
            if !back_off.pause() {
                return Err(busy().into_error());
            }
        }
    }

    /// Removes the expired ones of these records. A record that changes concurrently is kept, since
    /// another call wrote it.
    pub(super) fn take_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        let records = &self.records;
        let call = records.inner.write_call(true);
        let names = self.names(keys);
        let asked: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let mut units = Vec::new();
        for ((key, name), reply) in keys.iter().zip(&names).zip(records.lookup(&asked, call)?) {
            let stored = records.layout.stored(reply.clone())?;
            let row = self.decode(key, stored).map_err(|error| error.with_key(key))?;
            if row.is_some_and(|row| !is_live(&records.schema, &row, at)) {
                units.push((records.slot(name), records.layout.remove(&[(name, &reply)])));
            }
        }
        records.inner.servers.run_each(call, &units).map(drop)
    }

    pub(super) fn put_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        if old.is_none() {
            return Ok(self.insert_rows(vec![row])?.pop().flatten().is_none());
        }
        let call = self.records.inner.write_call(false);
        if let Some(check) = &self.schema_check {
            // Only its errors matter here: unknown columns are kept in any case.
            check.is_current(&self.records, call)?;
        }
        let key = self.records.schema.key_of(&row);
        let name = self.records.names.name(&key);
        let seen = self.lookup_record(&key, &name, call)?;
        if seen.row.as_ref() != old {
            return Ok(false);
        }
        let written = self.written_over(&key, &seen, &row)?;
        self.swap(&name, &seen.reply, &written, true, call)
    }

    pub(super) fn touch_one(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        let records = &self.records;
        let call = records.inner.write_call(false);
        let name = records.names.name(key);
        if records.layout.is_plain() {
            return self.touch_plain(&name, &expires, call);
        }
        let Some(column) = records.expiry else { return Ok(false) };
        let mut back_off = BackOff::until(call.deadline.instant());
        loop {
            let seen = self.lookup_record(key, &name, call)?;
            let Some(row) = seen.row.as_ref().filter(|row| is_live(&records.schema, row, at))
            else {
                return Ok(false);
            };
            let mut row = row.clone();
            row[column] = expires.clone();
            let written = self.written_over(key, &seen, &row)?;
            if self.swap(&name, &seen.reply, &written, true, call)? {
                return Ok(true);
            }
            if !back_off.pause() {
                return Err(busy().into_error());
            }
        }
    }

    /// In the plain layout the expiry is known to the server only.
    fn touch_plain(&self, name: &[u8], expires: &Value, call: Call) -> Result<bool> {
        let records = &self.records;
        let unit = records.layout.touch_plain(name, records.lifetime_until(expires).as_deref());
        let call = Call { idempotent: true, ..call };
        let slot = records.slot(name);
        let reply =
            records.inner.servers.run(slot, call, |connection| connection.write(&unit, call))?;
        Ok(reply == Reply::Int(1))
    }
}
