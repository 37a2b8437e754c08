//! Listing of names with `SCAN`, page by page and server by server.
//!
//! `SCAN` returns each name at least once, but may return a name again while the server's hash
//! table shrinks. A listing therefore remembers a 128-bit hash of each name that it returned. If
//! there are too many names for that, it scans the servers several times and returns a part of the
//! names in each pass.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use redis::Value;

use super::call_error::CallError;
use super::command::Commands;
use super::connection::unexpected;
use super::scope::Records;
use super::servers::Call;
use crate::{Error, ErrorKind, Result};

/// The maximum number of remembered names, which take about 18 MB.
const MAX_REMEMBERED: u64 = 900_000;
/// How many entries of its hash table a server visits for one page.
const SCAN_COUNT: &[u8] = b"1000";
/// How many times the listing of a server starts over after a lost connection.
const RESTARTS: u32 = 5;

/// An ongoing listing of the names of a scope.
pub(super) struct Listing {
    records: Arc<Records>,
    pattern: Vec<u8>,
    /// Whether the listing returns the names of leases instead of records.
    leases: bool,
    /// One slot of each server.
    servers: Vec<u16>,
    passes: u64,
    pass: u64,
    /// The position of the server being scanned.
    at: usize,
    cursor: Vec<u8>,
    /// The epoch of the connection that returned the cursor. A cursor is meaningless to another
    /// server, and to the same one after a restart.
    epoch: u64,
    restarts: u32,
    seen: Seen,
}

impl Listing {
    /// Starts a listing of the records.
    ///
    /// # Errors
    ///
    /// Fails if a server does not return its number of keys.
    pub(super) fn begin(records: &Arc<Records>) -> Result<Self> {
        Self::begin_at(records, records.names.pattern(), false)
    }

    /// Starts a listing of the scope's leases.
    pub(super) fn of_leases(records: &Arc<Records>) -> Result<Self> {
        Self::begin_at(records, records.names.lease_pattern(), true)
    }

    fn begin_at(records: &Arc<Records>, pattern: Vec<u8>, leases: bool) -> Result<Self> {
        let inner = &records.inner;
        let call = inner.read_call();
        let servers = inner.servers.all_slots(call.deadline)?;
        let mut total = 0;
        for &slot in &servers {
            let size = Commands::one(&[b"DBSIZE"]);
            match inner.servers.run(slot, call, |connection| connection.query_unit(&size))? {
                Value::Int(size) => total += size.unsigned_abs(),
                _ => return Err(unexpected().into_error()),
            }
        }
        let mut listing = Self {
            records: records.clone(),
            pattern,
            leases,
            servers,
            passes: 1,
            pass: 0,
            at: 0,
            cursor: b"0".to_vec(),
            epoch: 0,
            restarts: 0,
            seen: Seen::default(),
        };
        if total > MAX_REMEMBERED {
            listing.passes = listing.count_roughly()?.div_ceil(MAX_REMEMBERED).max(1);
        }
        Ok(listing)
    }

    /// Counts the names; duplicates may be counted.
    fn count_roughly(&mut self) -> Result<u64> {
        let mut count = 0;
        while let Some(names) = self.next_page()? {
            count += names.len() as u64;
        }
        (self.at, self.restarts) = (0, 0);
        Ok(count)
    }

    /// Returns the next names, at least one; `None` at the end.
    pub(super) fn page(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        loop {
            let Some(mut names) = self.next_page()? else {
                self.pass += 1;
                if self.pass >= self.passes {
                    return Ok(None);
                }
                (self.at, self.seen) = (0, Seen::default());
                continue;
            };
            names.retain(|name| self.seen.is_new(name, self.pass, self.passes));
            if !names.is_empty() {
                return Ok(Some(names));
            }
        }
    }

    /// Returns the next page of a server, including duplicates; `None` after the last server.
    fn next_page(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        while let Some(&slot) = self.servers.get(self.at) {
            let Some((cursor, mut names)) = self.scan(slot)? else {
                self.cursor = b"0".to_vec();
                continue;
            };
            if cursor == b"0" {
                self.at += 1;
            }
            self.cursor = cursor;
            names.retain(|name| self.is_listed(name));
            return Ok(Some(names));
        }
        Ok(None)
    }

    fn is_listed(&self, name: &[u8]) -> bool {
        match self.leases {
            true => self.records.names.has_lease(name),
            false => self.records.names.has(name),
        }
    }

    /// Requests one page; `None` if the listing of the server has to start over.
    #[expect(clippy::type_complexity, reason = "a cursor, and names")]
    fn scan(&mut self, slot: u16) -> Result<Option<(Vec<u8>, Vec<Vec<u8>>)>> {
        let begins = self.cursor == b"0";
        let command = Commands::one(&[
            b"SCAN",
            &self.cursor,
            b"MATCH",
            &self.pattern,
            b"COUNT",
            SCAN_COUNT,
            b"TYPE",
            if self.leases { b"string" } else { self.records.layout.server_type() },
        ]);
        // With a cursor not idempotent: the repeated command might reach a restarted server.
        let call = Call { idempotent: begins, ..self.records.inner.read_call() };
        let page = self.records.inner.servers.run(slot, call, |connection| {
            if !begins && connection.epoch != self.epoch {
                return Ok(None);
            }
            Ok(Some((connection.epoch, read_page(connection.query_unit(&command)?)?)))
        });
        match page {
            Ok(Some((epoch, page))) => {
                self.epoch = epoch;
                Ok(Some(page))
            }
            Ok(None) => self.restart(lost()),
            Err(error) if !begins && error.kind() == ErrorKind::Unavailable => self.restart(error),
            Err(error) => Err(error),
        }
    }

    fn restart<T>(&mut self, error: Error) -> Result<Option<T>> {
        self.restarts += 1;
        if self.restarts > RESTARTS { Err(error) } else { Ok(None) }
    }

    /// Returns an iterator over the items that `read` makes of each page. It ends after an error.
    pub(super) fn items<T>(
        self,
        read: impl FnMut(Vec<Vec<u8>>) -> Result<Vec<Result<T>>>,
    ) -> impl Iterator<Item = Result<T>> {
        Items { listing: Some(self), read, ready: VecDeque::new() }
    }
}

struct Items<T, F> {
    listing: Option<Listing>,
    read: F,
    ready: VecDeque<Result<T>>,
}

impl<T, F: FnMut(Vec<Vec<u8>>) -> Result<Vec<Result<T>>>> Iterator for Items<T, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            let page = self.listing.as_mut()?.page();
            match page.and_then(|names| names.map(&mut self.read).transpose()) {
                Ok(Some(items)) => self.ready.extend(items),
                Ok(None) => self.listing = None,
                Err(error) => {
                    self.listing = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

fn read_page(reply: Value) -> Result<(Vec<u8>, Vec<Vec<u8>>), CallError> {
    let Value::Array(parts) = reply else { return Err(unexpected()) };
    let Ok([Value::BulkString(cursor), Value::Array(names)]) = <[Value; 2]>::try_from(parts) else {
        return Err(unexpected());
    };
    let name = |name| match name {
        Value::BulkString(name) => Ok(name),
        _ => Err(unexpected()),
    };
    Ok((cursor, names.into_iter().map(name).collect::<Result<_, _>>()?))
}

fn lost() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the connection to the server was lost several times during the listing; run it again",
    )
}

/// The names that the current pass has returned.
#[derive(Default)]
struct Seen {
    hashes: HashSet<u128>,
    /// Random hash functions. The part of the names that belongs to a pass is selected by a fixed
    /// hash instead, which is the same in all passes.
    states: [RandomState; 2],
}

impl Seen {
    /// Whether a name belongs to the pass and has not been returned before.
    fn is_new(&mut self, name: &[u8], pass: u64, passes: u64) -> bool {
        if passes > 1 && crate::schema::fnv1a(name) % passes != pass {
            return false;
        }
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(name);
            u128::from(hasher.finish())
        };
        self.hashes.insert(half(&self.states[0]) << 64 | half(&self.states[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_returned_once_in_one_of_the_passes() {
        let names: Vec<Vec<u8>> = (0..10_000).map(|n| format!("hilcat:a:{n}").into()).collect();
        for passes in [1, 3] {
            let mut counts = vec![0; names.len()];
            let mut most = 0;
            for pass in 0..passes {
                let mut seen = Seen::default();
                // Duplicates, as from a server whose hash table shrinks.
                for at in (0..names.len()).chain(0..2_000) {
                    counts[at] += u32::from(seen.is_new(&names[at], pass, passes));
                }
                most = most.max(seen.hashes.len());
            }
            assert!(counts.iter().all(|&count| count == 1), "{passes}");
            assert!(most < 2 * names.len() / passes as usize, "{most} of {passes}");
        }
    }
}
