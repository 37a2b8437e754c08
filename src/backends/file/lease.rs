//! Leases: a file for each key that is being computed, with its holder and when that ends.
//!
//! All of this happens under the lock of the scope, and so does the writing of records: a record
//! that was computed is stored only while the lease is its holder's, and a removal of the record
//! removes the lease in the same turn.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dir::Dir;
use super::walk::Walk;
use crate::clock::{after, micros};
use crate::codec::key::to_text;
use crate::{Key, Result};

#[derive(Debug, Serialize, Deserialize)]
struct Lease {
    holder: String,
    /// Since when it is held, by real time.
    since: i64,
    until: i64,
}

impl Lease {
    /// A clock that was set back does not make a lease longer.
    fn is_over(&self) -> bool {
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
        // A file that a crash left incomplete is no lease.
        let lease = self.0.read(name)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(lease.filter(|lease: &Lease| !lease.is_over()))
    }

    fn write(&self, name: &str, holder: &str, time: Duration) -> Result<()> {
        let since = micros(SystemTime::now());
        let lease = Lease { holder: holder.to_owned(), since, until: after(since, time) };
        // Text and numbers can be written.
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

/// The name of the file of a key's lease.
fn name(key: &Key) -> String {
    let digest = Sha256::digest(to_text(key).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
