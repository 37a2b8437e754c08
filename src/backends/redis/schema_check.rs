//! Tracking of the stored schema by the handles of a scope.
//!
//! Another process may extend the stored schema while a handle is open. The handle must not
//! overwrite records with columns that it does not know, but reading the registry before each write
//! would cost a round trip.
//!
//! Invariant: a handle trusts what it read for [`MAX_AGE`], and a process that changes a schema
//! waits for [`SETTLE_TIME`], which is longer, before it opens the scope. Therefore no handle
//! overwrites a record that already has the new columns.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::registry::Entry;
use super::scope::Records;
use super::servers::Call;
use crate::{Error, ErrorKind, Result, Schema};

/// How long a handle trusts the entry that it read.
const MAX_AGE: Duration = Duration::from_millis(100);
/// How long a process waits after it changed a stored schema.
pub(super) const SETTLE_TIME: Duration = Duration::from_millis(200);

/// The last known entry of a scope, and the time when it was read.
#[derive(Debug)]
pub(super) struct SchemaCheck(Mutex<State>);

#[derive(Debug)]
struct State {
    read_at: Option<Instant>,
    entry: Entry,
    /// Whether the handle's schema has all columns of the stored schema.
    is_current: bool,
}

impl SchemaCheck {
    /// Starts with the entry that was read when the scope was opened.
    pub(super) fn new(entry: Entry, schema: &Schema) -> Result<Self> {
        let is_current = entry.is_known_to(schema)?;
        Ok(Self(Mutex::new(State { read_at: None, entry, is_current })))
    }

    /// Whether the handle's schema has all columns of the stored schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`] if the scope was recreated under another schema, and errors of
    /// the server.
    pub(super) fn is_current(&self, records: &Records, call: Call) -> Result<bool> {
        let now = Instant::now();
        let deadline = call.deadline.instant();
        let mut state = self.0.try_lock_until(deadline).ok_or_else(super::lock_timeout)?;
        if state.read_at.is_none_or(|read_at| now.duration_since(read_at) >= MAX_AGE) {
            refresh(&mut state, records, call)?;
            state.read_at = Some(now);
        }
        Ok(state.is_current)
    }
}

fn refresh(state: &mut State, records: &Records, call: Call) -> Result<()> {
    let (inner, schema) = (&records.inner, &records.schema);
    let call = Call { idempotent: true, replicas: 0, ..call };
    let Some(entry) = inner.registry.entry(&inner.servers, &schema.name, call)? else {
        // The registry was emptied, as by `FLUSHDB`: it gets the entry again before the next write.
        inner.registry.replace(&inner.servers, &schema.name, None, &state.entry, call)?;
        return Ok(());
    };
    if entry == state.entry {
        return Ok(());
    }
    if entry.generation != state.entry.generation {
        return Err(Error::new(
            ErrorKind::SchemaChange,
            "the scope was recreated under another schema after this handle was opened; open the scope again",
        ));
    }
    state.is_current = entry.is_known_to(schema)?;
    state.entry = entry;
    Ok(())
}
