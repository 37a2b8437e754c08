//! Leases: each is a string in the slot of its record, whose value is the holder and which the
//! server removes when the lease expires.
//!
//! Invariant: a script stores a computed record only if the lease still belongs to its holder, and
//! removes the lease. A removal of the record first removes the lease. Therefore a record computed
//! under a lease is never stored after a removal that revoked this lease.

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
    /// Whether computations of this scope use leases, so that removals must revoke them.
    pub(super) fn are_leased(&self) -> bool {
        self.schema.freshness.lease().is_some()
    }

    /// Checks that the lease of a record has the slot of the record.
    pub(super) fn check_leases(&self) -> Result<()> {
        let servers = &self.inner.servers;
        if !self.are_leased() || !servers.is_cluster() {
            return Ok(());
        }
        let name = self.names.sample();
        match servers.slot(&name) == servers.slot(&Names::lease_of(&name)) {
            true => Ok(()),
            false => Err(Error::unsupported(
                "`single_flight = \"shared\"` is not possible in a cluster with this prefix; use a prefix without braces, or with a non-empty pair of braces",
            )),
        }
    }

    /// Revokes the leases of records that are about to be removed.
    pub(super) fn revoke(&self, names: &[Vec<u8>]) -> Result<()> {
        if !self.are_leased() {
            return Ok(());
        }
        let unit =
            |name: &Vec<u8>| (self.slot(name), Commands::one(&[b"UNLINK", &Names::lease_of(name)]));
        let units: Vec<_> = names.iter().map(unit).collect();
        self.inner.servers.run_each(self.inner.write_call(true), &units).map(drop)
    }

    /// Revokes all leases of the scope.
    pub(super) fn revoke_all(self: &std::sync::Arc<Self>) -> Result<()> {
        if !self.are_leased() {
            return Ok(());
        }
        let mut listing = Listing::of_leases(self)?;
        while let Some(names) = listing.page()? {
            let unit = |name: &Vec<u8>| (self.slot(name), Commands::one(&[b"UNLINK", name]));
            let units: Vec<_> = names.iter().map(unit).collect();
            self.inner.servers.run_each(self.inner.write_call(true), &units)?;
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
        // Idempotent: repeated by the same holder, the scripts have the same effect and reply.
        let call = records.inner.read_call();
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
        let call = records.inner.write_call(false);
        if let Some(check) = &self.schema_check {
            check.is_current(records, call)?;
        }
        let key = records.schema.key_of(&row);
        let name = records.names.name(&key);
        records.schema.fill_absent(&mut row)?;
        let written = records.encode(&row)?;
        // The first attempt does not read the record, since usually there is none.
        let mut seen = Seen { reply: Reply::Nil, row: None };
        let mut back_off = BackOff::until(call.deadline.instant());
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
