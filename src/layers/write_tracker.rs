//! Tracks the calls in progress on one scope of a near store.
//!
//! Invariant: for each key, the near store holds the current row of the far store or nothing.
//! Two races could break it. A read may find its row in the far store before a write changes it,
//! and fill the near store afterwards. Two concurrent writes of a key have an unknown order in the
//! far store. So each call registers before it reaches the far store ([`WriteTracker::enter`]).
//! When it leaves, it learns whether a write overlapped it ([`WriteGuard::leave_keys`]). After an
//! overlap, a read does not fill the near store, and a write removes the key from it instead of
//! setting it. The near store is changed under the lock that guards the key's state. A hit in the
//! near store does none of this.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::stripes::{Held, Stripes};
use crate::store::ScopeStore;
use crate::{ColumnType, ErrorKind, Key, Result, Schema};

/// How long a write with an unknown outcome may still take effect.
const UNCERTAIN_FOR: Duration = Duration::from_secs(10);

/// The pause between two attempts to repair a near store that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The trackers of the scopes of a near store, by scope name.
#[derive(Debug, Default)]
pub(crate) struct Tiers(Mutex<HashMap<String, Arc<WriteTracker>>>);

impl Tiers {
    pub(super) fn of(&self, scope: &str) -> Arc<WriteTracker> {
        self.0.lock().entry(scope.to_owned()).or_default().clone()
    }

    /// Returns the trackers of the named scopes, or of all scopes if `scopes` is `None`.
    pub(super) fn among(&self, scopes: Option<&[String]>) -> Vec<Arc<WriteTracker>> {
        let tiers = self.0.lock();
        let wanted = |name: &String| scopes.is_none_or(|scopes| scopes.contains(name));
        tiers.iter().filter(|(name, _)| wanted(name)).map(|(_, tier)| tier.clone()).collect()
    }
}

/// The calls in progress on one scope of a near store, shared by all handles on it.
#[derive(Debug, Default)]
pub(super) struct WriteTracker {
    stripes: Stripes<Notes>,
    layout: Mutex<Option<Layout>>,
    /// Counts the changes of the layout.
    generation: AtomicU64,
    /// Whether the near store may hold outdated rows. It is not read until it was emptied.
    distrusted: AtomicBool,
    tried: Mutex<Option<Instant>>,
}

/// The layout of rows, and the near store whose rows have it.
#[derive(Debug)]
struct Layout {
    columns: Vec<(String, ColumnType)>,
    key: Vec<usize>,
    near: Arc<dyn ScopeStore>,
}

/// The states of the keys of one stripe.
#[derive(Debug, Default)]
struct Notes {
    keys: HashMap<Key, KeyState, foldhash::fast::RandomState>,
    /// The state of calls that change all keys.
    all: KeyState,
}

/// The calls in progress on a key.
#[derive(Debug, Default, Clone, Copy)]
struct KeyState {
    /// Calls that have entered and not left.
    active: u32,
    /// The writes among `active`.
    writing: u32,
    /// Counts the writes that began. The state is never removed while `active > 0`, so an active
    /// call sees every write that began after it.
    begun: u64,
    /// Until when a write with an unknown outcome may still take effect.
    uncertain_until: Option<Instant>,
}

impl KeyState {
    fn is_uncertain(&self) -> bool {
        self.uncertain_until.is_some_and(|until| Instant::now() < until)
    }

    fn enter(&mut self, access: Access) {
        self.active += 1;
        if access == Access::Write {
            self.writing += 1;
            self.begun += 1;
        }
    }

    fn leave(&mut self, access: Access, outcome: Outcome) {
        self.active -= 1;
        if access == Access::Write {
            self.writing -= 1;
            if outcome == Outcome::Unknown {
                self.uncertain_until = Some(Instant::now() + UNCERTAIN_FOR);
            }
        }
    }
}

/// What a call does to a key in the far store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// How a call of the far store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed,
    /// The call may have taken effect, or may still do so.
    Unknown,
}

impl Outcome {
    pub(super) fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) if error.kind() == ErrorKind::Unavailable => Self::Unknown,
            Err(_) => Self::Failed,
        }
    }
}

/// The state of a key when a call entered.
#[derive(Debug, Clone, Copy)]
struct Ticket {
    alone: bool,
    begun: (u64, u64),
}

/// A call that has entered. It leaves when the guard is dropped, also during a panic.
pub(super) struct WriteGuard<'a> {
    tier: &'a WriteTracker,
    access: Access,
    /// The distinct keys, or `None` for all keys.
    keys: Option<&'a [Key]>,
    tickets: Vec<Ticket>,
    left: bool,
}

impl WriteTracker {
    /// Registers a call on distinct keys.
    pub(super) fn enter<'a>(&'a self, access: Access, keys: &'a [Key]) -> WriteGuard<'a> {
        let mut held = self.stripes.lock(keys);
        let tickets = keys.iter().filter_map(|key| {
            let notes = held.of(key)?;
            let all = notes.all;
            let note = notes.keys.entry(key.clone()).or_default();
            let alone = note.writing == 0
                && all.writing == 0
                && !note.is_uncertain()
                && !all.is_uncertain();
            note.enter(access);
            Some(Ticket { alone, begun: (note.begun, all.begun) })
        });
        let tickets = tickets.collect();
        WriteGuard { tier: self, access, keys: Some(keys), tickets, left: false }
    }

    /// Registers a call that changes all keys.
    pub(super) fn enter_all(&self) -> WriteGuard<'_> {
        self.stripes.lock_all().values().for_each(|notes| notes.all.enter(Access::Write));
        WriteGuard {
            tier: self,
            access: Access::Write,
            keys: None,
            tickets: Vec::new(),
            left: false,
        }
    }

    /// Opens the scope under a schema and returns the generation of its layout. The near store is
    /// emptied if the layout changed or the records were dropped, since its rows may lack a column
    /// of the far store.
    pub(super) fn enter_layout(
        &self,
        schema: &Schema,
        near: &Arc<dyn ScopeStore>,
        dropped: bool,
    ) -> u64 {
        let columns = schema.columns.iter().map(|column| (column.name.clone(), column.ty));
        let columns: Vec<_> = columns.collect();
        let mut layout = self.layout.lock();
        let before =
            layout.replace(Layout { columns, key: schema.key.clone(), near: near.clone() });
        let same = match (&before, &*layout) {
            (Some(old), Some(new)) => old.columns == new.columns && old.key == new.key,
            _ => true,
        };
        drop(layout);
        if same && !dropped {
            return self.generation.load(Ordering::Acquire);
        }
        // Counts as a write of every key, so calls under the old layout do not fill the near store.
        let guard = self.enter_all();
        let mut generation = 0;
        guard.leave(Outcome::Done, || {
            generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
            self.empty();
        });
        generation
    }

    /// Returns whether a handle of this generation may read the near store; tries to repair it
    /// first if it is distrusted.
    pub(super) fn trusts(&self, generation: u64) -> bool {
        if self.distrusted.load(Ordering::Acquire) {
            self.try_repair();
        }
        self.is_trusted(generation)
    }

    /// Returns the same without a repair, which would lock stripes: callers hold the lock of a key.
    pub(super) fn is_trusted(&self, generation: u64) -> bool {
        !self.distrusted.load(Ordering::Acquire)
            && self.generation.load(Ordering::Acquire) == generation
    }

    /// Marks the near store as possibly outdated, since a row in it could not be removed or changed.
    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
    }

    /// Empties the near store. The caller holds the locks of all keys.
    pub(super) fn empty(&self) {
        let near = self.layout.lock().as_ref().map(|layout| layout.near.clone());
        let emptied = near.is_none_or(|near| near.clear().is_ok());
        self.distrusted.store(!emptied, Ordering::Release);
    }

    /// Empties the near store so that it can be trusted again, at most once per [`RETRY_PAUSE`].
    fn try_repair(&self) {
        let Some(mut tried) = self.tried.try_lock() else { return };
        if tried.is_none_or(|tried| tried.elapsed() > RETRY_PAUSE) {
            let _held = self.stripes.lock_all();
            self.empty();
            *tried = Some(Instant::now());
        }
    }
}

impl WriteGuard<'_> {
    /// Ends the call. `settle` changes the near store under the locks of the keys; its argument says
    /// for each key whether no write overlapped the call.
    pub(super) fn leave_keys(mut self, outcome: Outcome, settle: impl FnOnce(&[bool])) {
        let Some(keys) = self.keys else { return };
        let mut held = self.tier.stripes.lock(keys);
        let alone = keys.iter().zip(&self.tickets).map(|(key, ticket)| {
            held.of(key).is_some_and(|notes| {
                let begun = notes.keys.get(key).map_or(0, |note| note.begun);
                ticket.alone && ticket.begun == (begun, notes.all.begun)
            })
        });
        let alone: Vec<bool> = alone.collect();
        settle(&alone);
        self.left = true;
        leave_locked(&mut held, keys, self.access, outcome);
    }

    /// Ends a call on all keys.
    pub(super) fn leave(mut self, outcome: Outcome, settle: impl FnOnce()) {
        let mut held = self.tier.stripes.lock_all();
        settle();
        self.left = true;
        held.values().for_each(|notes| notes.all.leave(self.access, outcome));
    }
}

fn leave_locked(held: &mut Held<'_, Notes>, keys: &[Key], access: Access, outcome: Outcome) {
    for key in keys {
        let Some(notes) = held.of(key) else { continue };
        if let Some(note) = notes.keys.get_mut(key) {
            note.leave(access, outcome);
            if note.active == 0 && !note.is_uncertain() {
                notes.keys.remove(key);
            }
        }
        if outcome == Outcome::Unknown {
            notes.keys.retain(|_, note| note.active > 0 || note.is_uncertain());
        }
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // A write that ended in a panic may have taken effect.
        let outcome = if self.access == Access::Write { Outcome::Unknown } else { Outcome::Failed };
        match self.keys {
            Some(keys) => {
                leave_locked(&mut self.tier.stripes.lock(keys), keys, self.access, outcome)
            }
            None => {
                let mut held = self.tier.stripes.lock_all();
                held.values().for_each(|notes| notes.all.leave(self.access, outcome));
            }
        }
        if self.access == Access::Write {
            self.tier.distrust();
        }
    }
}
