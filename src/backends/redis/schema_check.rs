//! What a handle knows of the schema that its scope's records stand under.
//!
//! Another process may have opened the scope with more columns. A handle that does not know them
//! must not write over them blindly, and asking the registry at each write would cost a round trip.
//! So what a handle was told is good for a moment, and who changes a schema waits for longer than
//! that before the scope is opened.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::registry::Entry;
use super::scope::Records;
use super::servers::Call;
use crate::{Error, ErrorKind, Result, Schema};

/// How long it is good.
const MAX_AGE: Duration = Duration::from_millis(100);
/// How long one waits who changed a schema.
pub(super) const SETTLE_TIME: Duration = Duration::from_millis(200);

/// What was last known, and when.
#[derive(Debug)]
pub(super) struct SchemaCheck(Mutex<State>);

#[derive(Debug)]
struct State {
    asked: Option<Instant>,
    /// What stood in the registry.
    entry: Entry,
    standing: ExistingTable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExistingTable {
    /// One of which the handle's schema knows all columns.
    Current,
    /// One with columns that it does not know.
    Other,
}

impl ExistingTable {
    fn of(entry: &Entry, schema: &Schema) -> Result<Self> {
        Ok(if entry.is_known_to(schema)? { Self::Current } else { Self::Other })
    }
}

impl SchemaCheck {
    /// Of a scope whose entry was this when it was last looked at.
    pub(super) fn new(entry: Entry, schema: &Schema) -> Result<Self> {
        let standing = ExistingTable::of(&entry, schema)?;
        Ok(Self(Mutex::new(State { asked: None, entry, standing })))
    }

    /// Whether the schema of the handle knows every column of the stored schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SchemaChange`] where they were dropped for another schema; and where the
    /// server fails.
    pub(super) fn is_current(&self, records: &Records, call: Call) -> Result<bool> {
        let now = Instant::now();
        let mut state = self.0.try_lock_until(call.deadline).ok_or_else(super::lock_timeout)?;
        if state.asked.is_none_or(|asked| now.duration_since(asked) >= MAX_AGE) {
            ask(&mut state, records, call)?;
            state.asked = Some(now);
        }
        Ok(state.standing == ExistingTable::Current)
    }
}

fn ask(state: &mut State, records: &Records, call: Call) -> Result<()> {
    let (inner, schema) = (&records.inner, &records.schema);
    let call = Call { idempotent: true, replicas: 0, ..call };
    let Some(entry) = inner.registry.entry(&inner.servers, &schema.name, call)? else {
        // Somebody emptied the server: the scope is there from its next write on.
        inner.registry.replace(&inner.servers, &schema.name, None, &state.entry, call)?;
        return Ok(());
    };
    if entry == state.entry {
        return Ok(());
    }
    if entry.generation != state.entry.generation {
        return Err(Error::new(
            ErrorKind::SchemaChange,
            "the scope was made anew under another schema since this handle was opened; open it again",
        ));
    }
    state.standing = ExistingTable::of(&entry, schema)?;
    state.entry = entry;
    Ok(())
}
