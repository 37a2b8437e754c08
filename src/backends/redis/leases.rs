//! Leases: a string beside the record, in the same slot, whose value is the holder and which the
//! server removes when its time is over.
//!
//! Invariant: a computed record is stored by a script that finds the lease with its holder, and
//! removes it. A removal of the record removes the lease first. So a removal that took the lease
//! away is never followed by the record that was computed under it.

use std::time::Duration;

use redis::Value as Reply;

use super::command::Commands;
use super::connection::unexpected;
use super::expiry::Seen;
use super::listing::Listing;
use super::names::Names;
use super::scope::{Records, RedisScope};
use super::write::busy;
use crate::backoff::BackOff;
use crate::store::{LeasedFill, Leases, is_live};
use crate::{Error, Key, Result, Row};

const ACQUIRE: &str = "\
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";

const RENEW: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1";

const RELEASE: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])";

impl Records {
    /// Whether computations of this scope are shared, so that removals revoke leases.
    pub(super) fn are_leased(&self) -> bool {
        self.schema.freshness.lease().is_some()
    }

    /// Checks that the lease of a record is in the record's slot.
    pub(super) fn check_leases(&self) -> Result<()> {
        let servers = &self.inner.servers;
        if !self.are_leased() || !servers.is_cluster() {
            return Ok(());
        }
        let name = self.names.sample();
        match servers.slot(&name) == servers.slot(&Names::lease_of(&name)) {
            true => Ok(()),
            false => Err(Error::unsupported(
                "`single_flight = \"shared\"` cannot be honoured in a cluster with this prefix: give the cache a prefix without braces, or with a pair of them that holds something",
            )),
        }
    }

    /// Takes the leases of records away that are about to be removed.
    pub(super) fn revoke(&self, names: &[Vec<u8>]) -> Result<()> {
        if !self.are_leased() {
            return Ok(());
        }
        let unit =
            |name: &Vec<u8>| (self.slot(name), Commands::one(&[b"UNLINK", &Names::lease_of(name)]));
        let units: Vec<_> = names.iter().map(unit).collect();
        self.inner.servers.spread(self.inner.writing(true), &units).map(drop)
    }

    /// Takes all leases of the scope away.
    pub(super) fn revoke_all(self: &std::sync::Arc<Self>) -> Result<()> {
        if !self.are_leased() {
            return Ok(());
        }
        let mut listing = Listing::of_leases(self)?;
        while let Some(names) = listing.page()? {
            let unit = |name: &Vec<u8>| (self.slot(name), Commands::one(&[b"UNLINK", name]));
            let units: Vec<_> = names.iter().map(unit).collect();
            self.inner.servers.spread(self.inner.writing(true), &units)?;
        }
        Ok(())
    }
}

impl RedisScope {
    /// Runs a script on the lease of a key.
    fn on_lease(
        &self,
        script: &str,
        key: &Key,
        holder: &str,
        lease: Option<Duration>,
    ) -> Result<bool> {
        let records = &self.records;
        let name = records.names.name(key);
        let lease = lease.map(|lease| lease.as_millis().max(1).to_string());
        let lease_name = Names::lease_of(&name);
        let mut parts: Vec<&[u8]> =
            vec![b"EVAL", script.as_bytes(), b"1", &lease_name, holder.as_bytes()];
        parts.extend(lease.as_ref().map(|lease| lease.as_bytes()));
        // A holder is told the same when it asks idempotent.
        let call = records.inner.call(true);
        let unit = Commands::one(&parts);
        let slot = records.slot(&name);
        match records.inner.servers.run(slot, call, |connection| connection.query_unit(&unit))? {
            Reply::Int(done) => Ok(done == 1),
            _ => Err(unexpected().into_error()),
        }
    }
}

impl Leases for RedisScope {
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.on_lease(ACQUIRE, key, holder, Some(lease))
    }

    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.on_lease(RENEW, key, holder, Some(lease))
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        self.on_lease(RELEASE, key, holder, None).map(drop)
    }

    fn fill(&self, mut row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        let records = &self.records;
        let call = records.inner.writing(false);
        if let Some(lease) = &self.lease {
            lease.is_current(records, call)?;
        }
        let key = records.schema.key_of(&row);
        let name = records.names.name(&key);
        records.schema.fill_absent(&mut row)?;
        let written = records.encode(&row)?;
        // Most often there is no record: the first attempt does not look.
        let mut seen = Seen { reply: Reply::Nil, row: None };
        let mut back_off = BackOff::until(call.deadline);
        loop {
            let lease = Names::lease_of(&name);
            let lease = Some((lease.as_slice(), holder));
            let unit = records.layout.swap(&name, &seen.reply, &written, false, lease);
            let slot = records.slot(&name);
            match records
                .inner
                .servers
                .run(slot, call, |connection| connection.write(&unit, call))?
            {
                Reply::Int(1) => return Ok(LeasedFill::Stored),
                Reply::Int(-1) => return Ok(LeasedFill::Lost),
                _ => {}
            }
            seen = self.lookup_record(&key, &name, call)?;
            if let Some(live) = seen.row.take_if(|row| is_live(&records.schema, row, at)) {
                self.release(&key, holder)?;
                return Ok(LeasedFill::Existing(live));
            }
            if !back_off.pause() {
                return Err(busy().into_error());
            }
        }
    }
}
