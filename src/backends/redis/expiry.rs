//! Records that expire: how long a server keeps them, and the calls that are given a time.
//!
//! A record carries its expiry as any other column. The server is told as well, so that it removes
//! the record once no window of the scope reaches it any more; nothing else depends on that.
//!
//! Invariant: a record is replaced or removed here only while the server holds the very bytes that
//! were decoded, which a script compares. So a record that is written at the same time stays.

use redis::Value as Reply;

use super::record_layout::Written;
use super::scope::{Records, RedisScope};
use super::servers::Call;
use super::write::busy;
use crate::backoff::BackOff;
use crate::clock::after;
use crate::store::is_live;
use crate::{Key, Result, Row, Value};

/// A record as the server holds it, and decoded.
pub(super) struct Seen {
    pub(super) reply: Reply,
    pub(super) row: Option<Row>,
}

impl Records {
    /// For how many milliseconds from now the server is to keep a row; `None` for ever. One that is
    /// past its last window gets the shortest time there is, so that it is removed.
    pub(super) fn lifetime(&self, row: &[Value]) -> Option<String> {
        self.lifetime_until(&row[self.expiry?])
    }

    pub(super) fn lifetime_until(&self, expires: &Value) -> Option<String> {
        let Value::Timestamp(expires) = expires else { return None };
        let end = after(*expires, self.schema.freshness.stale_window());
        let micros = end.saturating_sub(self.inner.clock.micros()).max(1);
        Some((micros as u64).div_ceil(1_000).to_string())
    }

    /// The same for a row over another one, which keeps the columns that it leaves out.
    pub(super) fn lifetime_over(&self, row: &[Value], old: Option<&Row>) -> Option<String> {
        let column = self.expiry?;
        let kept = || match old {
            Some(old) => Some(&old[column]),
            None => self.schema.columns[column].default.as_ref(),
        };
        let expires = if row[column].is_absent() { kept()? } else { &row[column] };
        self.lifetime_until(expires)
    }

    /// What is written for a complete row.
    pub(super) fn encode(&self, row: &Row) -> Result<Written> {
        Ok(Written { content: self.layout.encode(row)?, lifetime: self.lifetime(row) })
    }
}

impl RedisScope {
    /// The record of a name as the server holds it.
    pub(super) fn lookup_record(&self, key: &Key, name: &[u8], call: Call) -> Result<Seen> {
        let reply = self.records.lookup(&[name], call)?.pop().unwrap_or(Reply::Nil);
        let stored = self.records.layout.stored(reply.clone())?;
        Ok(Seen { reply, row: self.decode(key, stored)? })
    }

    /// Stores a row in place of what was seen. `false` if that has changed.
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

    /// A row over the one that was seen, as it is written.
    fn written_over(&self, key: &Key, seen: &Seen, row: &Row) -> Result<Written> {
        let records = &self.records;
        let old = records.layout.stored(seen.reply.clone())?;
        let replaced = records.layout.replace(key, old.as_deref(), row.clone())?;
        let lifetime = records.lifetime_over(row, replaced.old.as_ref());
        Ok(Written { content: replaced.new, lifetime })
    }

    /// Writes rows whose keys have no record, or one that is expired.
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
        let call = self.records.inner.writing(false);
        let name = self.records.names.name(key);
        let mut new = row.clone();
        self.records.schema.fill_absent(&mut new)?;
        let written = self.records.encode(&new)?;
        let mut back_off = BackOff::until(call.deadline);
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

    /// Removes those of the records that are expired. One that changes meanwhile was written or
    /// removed by another call, and stays.
    pub(super) fn take_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        let records = &self.records;
        let call = records.inner.writing(true);
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
        records.inner.servers.spread(call, &units).map(drop)
    }

    pub(super) fn put_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        if old.is_none() {
            return Ok(self.insert_rows(vec![row])?.pop().flatten().is_none());
        }
        let call = self.records.inner.writing(false);
        if let Some(lease) = &self.lease {
            // Asked for its errors: what others know is kept.
            lease.is_current(&self.records, call)?;
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
        let call = records.inner.writing(false);
        let name = records.names.name(key);
        if records.layout.is_plain() {
            return self.touch_plain(&name, &expires, call);
        }
        let Some(column) = records.expiry else { return Ok(false) };
        let mut back_off = BackOff::until(call.deadline);
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

    /// The server alone knows when a bare value expires.
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
