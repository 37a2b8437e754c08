//! Listings, by SCAN: page after page, server after server.
//!
//! SCAN gives each record that stays at least once, but may give one idempotent while the server's
//! table shrinks. So what was given is remembered, as a hash of 128 bits. Where that would be too
//! much, a listing goes over the servers several times, for a part of the names each time.

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

/// How many names are remembered at a time: they take about 18 MB.
const MAX_REMEMBERED: u64 = 900_000;
/// How many places of its table a server looks at for one page.
const SCAN_COUNT: &[u8] = b"1000";
/// How often a listing of a server begins anew that was lost meanwhile.
const RESTARTS: u32 = 5;

/// The names of a scope's records, as they come.
pub(super) struct Listing {
    records: Arc<Records>,
    pattern: Vec<u8>,
    /// Names of leases are listed instead of those of records.
    leases: bool,
    /// A slot of each server.
    servers: Vec<u16>,
    passes: u64,
    pass: u64,
    /// The one of the servers that is asked.
    at: usize,
    cursor: Vec<u8>,
    /// Of the connection that gave the cursor, which means nothing to another server or to this
    /// one when it was started again.
    epoch: u64,
    restarts: u32,
    seen: Seen,
}

impl Listing {
    /// # Errors
    ///
    /// Where a server cannot be asked how many records it has.
    pub(super) fn begin(records: &Arc<Records>) -> Result<Self> {
        Self::begin_at(records, records.names.pattern(), false)
    }

    /// The names of the scope's leases.
    pub(super) fn of_leases(records: &Arc<Records>) -> Result<Self> {
        Self::begin_at(records, records.names.lease_pattern(), true)
    }

    fn begin_at(records: &Arc<Records>, pattern: Vec<u8>, leases: bool) -> Result<Self> {
        let inner = &records.inner;
        let call = inner.call(true);
        let servers = inner.servers.all(call.deadline)?;
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

    /// How many there are, some perhaps counted idempotent.
    fn count_roughly(&mut self) -> Result<u64> {
        let mut count = 0;
        while let Some(names) = self.next_page()? {
            count += names.len() as u64;
        }
        (self.at, self.restarts) = (0, 0);
        Ok(count)
    }

    /// The next names, at least one; none at the end.
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

    /// What a server gives next; none when all have given everything.
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

    /// A page; none where the server has to be asked from its beginning again.
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
        // Not idempotent: the second time it might be asked of a server that was started again.
        let call = Call { idempotent: begins, ..self.records.inner.call(true) };
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

    /// What `read` makes of the names, one by one. Ends after an error.
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
    Error::new(ErrorKind::Unavailable, "the server was lost several times while it was listed")
}

/// The names that were given already in this pass.
#[derive(Default)]
struct Seen {
    hashes: HashSet<u128>,
    /// Of a pass over a part of the names the same in all passes: which part it is is told by
    /// a hash that does not change.
    states: [RandomState; 2],
}

impl Seen {
    /// Whether a name is one of this pass and was not given before.
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
    fn each_name_is_new_once_in_one_of_the_passes() {
        let names: Vec<Vec<u8>> = (0..10_000).map(|n| format!("hilcat:a:{n}").into()).collect();
        for passes in [1, 3] {
            let mut counts = vec![0; names.len()];
            let mut most = 0;
            for pass in 0..passes {
                let mut seen = Seen::default();
                // As a server gives them whose table shrinks.
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
