//! What is under way in one scope of a near store.
//!
//! The near store may hold what the far one has and nothing older. Two things could put something
//! older there: a read that found its row in the far store before a write changed it, and one of
//! two writes of a key, whose order in the far store nobody knows. So each of them notes itself
//! before it asks the far store ([`WriteTracker::enter`]) and is told, when it is about to change the near
//! one, whether a write was under way at the same time ([`WriteGuard::leave`]): then a read leaves the
//! near store alone, and a write empties it of the key instead of setting it. The near store is
//! changed under the lock that the notes are under. A hit does none of this.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::stripes::{Held, Stripes};
use crate::store::ScopeStore;
use crate::{ColumnType, ErrorKind, Key, Result, Schema};

/// How long a write of which nobody knows whether it happened may still happen.
const DOUBT: Duration = Duration::from_secs(10);

/// How long a near store that failed is left alone before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is under way in the scopes of a near store, by their names.
#[derive(Debug, Default)]
pub(crate) struct Tiers(Mutex<HashMap<String, Arc<WriteTracker>>>);

impl Tiers {
    pub(super) fn of(&self, scope: &str) -> Arc<WriteTracker> {
        self.0.lock().entry(scope.to_owned()).or_default().clone()
    }

    /// Those of the named scopes, of all where none is named.
    pub(super) fn among(&self, scopes: Option<&[String]>) -> Vec<Arc<WriteTracker>> {
        let tiers = self.0.lock();
        let wanted = |name: &String| scopes.is_none_or(|scopes| scopes.contains(name));
        tiers.iter().filter(|(name, _)| wanted(name)).map(|(_, tier)| tier.clone()).collect()
    }
}

/// One scope of a near store, shared by all handles on it.
#[derive(Debug, Default)]
pub(super) struct WriteTracker {
    stripes: Stripes<Notes>,
    layout: Mutex<Option<Layout>>,
    /// How often the layout changed.
    generation: AtomicU64,
    /// The near store may have what is not so any more: nothing of it is used until it is empty.
    distrusted: AtomicBool,
    tried: Mutex<Option<Instant>>,
}

/// What rows look like, and the near store that has them so.
#[derive(Debug)]
struct Layout {
    columns: Vec<(String, ColumnType)>,
    key: Vec<usize>,
    near: Arc<dyn ScopeStore>,
}

/// The notes of the keys of one stripe.
#[derive(Debug, Default)]
struct Notes {
    keys: HashMap<Key, KeyState, foldhash::fast::RandomState>,
    /// Those of calls that change all keys.
    all: KeyState,
}

/// Who is at a key.
#[derive(Debug, Default, Clone, Copy)]
struct KeyState {
    /// Calls that have entered and not left.
    here: u32,
    /// Those of them that write.
    writing: u32,
    /// The writes that ever began, as long as somebody is here.
    begun: u64,
    /// Until when a write may still happen whose end is not known.
    doubt: Option<Instant>,
}

impl KeyState {
    fn in_doubt(&self) -> bool {
        self.doubt.is_some_and(|until| Instant::now() < until)
    }

    fn enter(&mut self, what: What) {
        self.here += 1;
        if what == What::Write {
            self.writing += 1;
            self.begun += 1;
        }
    }

    fn leave(&mut self, what: What, call: Call) {
        self.here -= 1;
        if what == What::Write {
            self.writing -= 1;
            if call == Call::Unknown {
                self.doubt = Some(Instant::now() + DOUBT);
            }
        }
    }
}

/// What a call does to a key in the far store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Read,
    Write,
}

/// How a call of the far store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Done,
    Failed,
    /// It may have been done, and may be done yet.
    Unknown,
}

impl Call {
    pub(super) fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) if error.kind() == ErrorKind::Unavailable => Self::Unknown,
            Err(_) => Self::Failed,
        }
    }
}

/// What a key's notes said when a call entered.
#[derive(Debug, Clone, Copy)]
struct Ticket {
    alone: bool,
    begun: (u64, u64),
}

/// A call that has entered: it leaves when this is dropped, whatever happens.
pub(super) struct WriteGuard<'a> {
    tier: &'a WriteTracker,
    what: What,
    /// The keys, each once; none where it is all of them.
    keys: Option<&'a [Key]>,
    tickets: Vec<Ticket>,
    left: bool,
}

impl WriteTracker {
    /// Notes a call on keys, of which none stands twice.
    pub(super) fn enter<'a>(&'a self, what: What, keys: &'a [Key]) -> WriteGuard<'a> {
        let mut held = self.stripes.lock(keys);
        let tickets = keys.iter().filter_map(|key| {
            let notes = held.of(key)?;
            let all = notes.all;
            let note = notes.keys.entry(key.clone()).or_default();
            let alone =
                note.writing == 0 && all.writing == 0 && !note.in_doubt() && !all.in_doubt();
            note.enter(what);
            Some(Ticket { alone, begun: (note.begun, all.begun) })
        });
        let tickets = tickets.collect();
        WriteGuard { tier: self, what, keys: Some(keys), tickets, left: false }
    }

    /// Notes a call that changes all keys.
    pub(super) fn enter_all(&self) -> WriteGuard<'_> {
        self.stripes.lock_all().values().for_each(|notes| notes.all.enter(What::Write));
        WriteGuard { tier: self, what: What::Write, keys: None, tickets: Vec::new(), left: false }
    }

    /// Opens the scope under a schema: the number of its layout. Where that is another one than
    /// before, or the records were dropped, the near store is emptied: it may have rows that say
    /// nothing of a column which the far store knows of.
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
        // Who is at work under the old layout is told that he was not alone.
        let pass = self.enter_all();
        let mut generation = 0;
        pass.leave(Call::Done, || {
            generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
            self.empty();
        });
        generation
    }

    /// Whether a handle of this generation may use what the near store has.
    pub(super) fn trusts(&self, generation: u64) -> bool {
        if self.distrusted.load(Ordering::Acquire) {
            self.mend();
        }
        self.is_trusted(generation)
    }

    /// The same, asked under the lock of a key.
    pub(super) fn is_trusted(&self, generation: u64) -> bool {
        !self.distrusted.load(Ordering::Acquire)
            && self.generation.load(Ordering::Acquire) == generation
    }

    /// Something that should be gone from the near store, or changed, could not be.
    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
    }

    /// Empties the near store; under the locks of all keys.
    pub(super) fn empty(&self) {
        let near = self.layout.lock().as_ref().map(|layout| layout.near.clone());
        let emptied = near.is_none_or(|near| near.clear().is_ok());
        self.distrusted.store(!emptied, Ordering::Release);
    }

    /// Tries to make the near store one to trust again, once in a while.
    fn mend(&self) {
        let Some(mut tried) = self.tried.try_lock() else { return };
        if tried.is_none_or(|tried| tried.elapsed() > PAUSE) {
            let _held = self.stripes.lock_all();
            self.empty();
            *tried = Some(Instant::now());
        }
    }
}

impl WriteGuard<'_> {
    /// Leaves; `settle` changes the near store for each key that is alone, or not. It is called
    /// under the locks of the keys.
    pub(super) fn leave_keys(mut self, call: Call, settle: impl FnOnce(&[bool])) {
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
        sign_off(&mut held, keys, self.what, call);
    }

    /// The same for a call on all keys.
    pub(super) fn leave(mut self, call: Call, settle: impl FnOnce()) {
        let mut held = self.tier.stripes.lock_all();
        settle();
        self.left = true;
        held.values().for_each(|notes| notes.all.leave(self.what, call));
    }
}

fn sign_off(held: &mut Held<'_, Notes>, keys: &[Key], what: What, call: Call) {
    for key in keys {
        let Some(notes) = held.of(key) else { continue };
        if let Some(note) = notes.keys.get_mut(key) {
            note.leave(what, call);
            if note.here == 0 && !note.in_doubt() {
                notes.keys.remove(key);
            }
        }
        if call == Call::Unknown {
            notes.keys.retain(|_, note| note.here > 0 || note.in_doubt());
        }
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // A write that did not come to its end, by a panic, may have been done.
        let call = if self.what == What::Write { Call::Unknown } else { Call::Failed };
        match self.keys {
            Some(keys) => sign_off(&mut self.tier.stripes.lock(keys), keys, self.what, call),
            None => {
                let mut held = self.tier.stripes.lock_all();
                held.values().for_each(|notes| notes.all.leave(self.what, call));
            }
        }
        if self.what == What::Write {
            self.tier.distrust();
        }
    }
}
