//! Leases: one file for each key that is being computed, with the holder and the expiry.
//!
//! Leases and records are written under the lock of the scope. Therefore a computed record is
//! stored only while its lease is held, and a removal of a record revokes the lease in the same
//! critical section.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dir::Dir;
use super::scope::{FileScope, Inner};
use super::walk::Walk;
use crate::clock::{after, micros};
use crate::codec::key::to_text;
use crate::store::{LeasedFill, Leases};
use crate::{Key, Result, Row};

#[derive(Debug, Serialize, Deserialize)]
struct Lease {
    holder: String,
    /// The start of the lease, in real time.
    since: i64,
    until: i64,
}

impl Lease {
    /// Whether the lease has expired. A lease from the future has, too: setting the clock back must
    /// not prolong it.
    fn is_expired(&self) -> bool {
        let now = micros(SystemTime::now());
        now >= self.until || now < self.since
    }
}

/// The leases of a scope.
#[derive(Debug)]
pub(super) struct LeaseFiles(Dir);

impl LeaseFiles {
    pub(super) fn new(at: Dir) -> Self {
        Self(at)
    }

    fn read(&self, name: &str) -> Result<Option<Lease>> {
        // A file left incomplete by a crash is not a lease.
        let lease = self.0.read(name)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(lease.filter(|lease: &Lease| !lease.is_expired()))
    }

    fn write(&self, name: &str, holder: &str, time: Duration) -> Result<()> {
        let since = micros(SystemTime::now());
        let lease = Lease { holder: holder.to_owned(), since, until: after(since, time) };
        // Cannot fail for strings and numbers.
        self.0.write(name, &serde_json::to_vec(&lease).unwrap_or_default(), false)
    }

    pub(super) fn is_held(&self, key: &Key, holder: &str) -> Result<bool> {
        Ok(self.read(&name(key))?.is_some_and(|lease| lease.holder == holder))
    }

    pub(super) fn acquire(&self, key: &Key, holder: &str, time: Duration) -> Result<bool> {
        let name = name(key);
        let free = self.read(&name)?.is_none_or(|lease| lease.holder == holder);
        if free {
            self.write(&name, holder, time)?;
        }
        Ok(free)
    }

    pub(super) fn renew(&self, key: &Key, holder: &str, time: Duration) -> Result<bool> {
        let held = self.is_held(key, holder)?;
        if held {
            self.write(&name(key), holder, time)?;
        }
        Ok(held)
    }

    pub(super) fn revoke(&self, key: &Key) -> Result<()> {
        self.0.remove(&name(key)).map(drop)
    }

    pub(super) fn clear(&self) -> Result<()> {
        for found in Walk::all(self.0.clone()) {
            self.0.remove(&found?.file)?;
        }
        Ok(())
    }
}

/// Returns the file name of a key's lease.
fn name(key: &Key) -> String {
    let digest = Sha256::digest(to_text(key).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Inner {
    /// Revokes leases. The caller holds the lock.
    pub(super) fn revoke<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> Result<()> {
        match self.leases.as_ref().filter(|_| self.schema.freshness.lease().is_some()) {
            Some(leases) => keys.into_iter().try_for_each(|key| leases.revoke(key)),
            None => Ok(()),
        }
    }
}

impl Leases for FileScope {
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        let _held = self.inner().write_lock()?;
        self.inner().leases()?.acquire(key, holder, lease)
    }

    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        let _held = self.inner().write_lock()?;
        self.inner().leases()?.renew(key, holder, lease)
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        let _held = self.inner().write_lock()?;
        let leases = self.inner().leases()?;
        match leases.is_held(key, holder)? {
            true => leases.revoke(key),
            false => Ok(()),
        }
    }

    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        let inner = self.inner();
        let key = inner.schema.key_of(&row);
        let _held = inner.write_lock()?;
        let leases = inner.leases()?;
        if !leases.is_held(&key, holder)? {
            return Ok(LeasedFill::Lost);
        }
        let (mut stored, files) = inner.prepare_expired(vec![row], at)?;
        inner.put_all(&files)?;
        leases.revoke(&key)?;
        Ok(stored.pop().flatten().map_or(LeasedFill::Stored, LeasedFill::Existing))
    }
}
