//! The store of one scope.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use parking_lot::RwLock;

use super::bulk::{Outcome, Write};
use super::call_error::CallError;
use super::cluster::{Cluster, ExistingIndex};
use super::id;
use super::leases::Observed;
use super::listing::{Id, Listing};
use super::single::Document;
use super::target::Target;
use crate::schema::Apply;
use crate::store::{Keys, Leases, Rows, ScopeStore};
use crate::{Error, ErrorKind, Key, Result, Row, Schema, Value};

/// A handle on the documents of a scope.
#[derive(Debug)]
pub(super) struct Scope {
    cluster: Arc<Cluster>,
    schema: Arc<Schema>,
    target: RwLock<Arc<Target>>,
    read_only: bool,
    /// The leases of other holders that this process has seen.
    pub(super) observed: Observed,
    /// The earliest expiry that this handle has written since it last refreshed the index. Purges
    /// up to that time need no refresh, except for the first one. Writes of other handles become
    /// visible with the regular refresh of the index.
    unrefreshed: AtomicI64,
}

/// A purge of at least this many records refreshes the index first.
const LARGE_STEP: usize = 1_000;

/// One call on a scope.
pub(super) struct Session<'a> {
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) schema: &'a Arc<Schema>,
    pub(super) target: &'a Arc<Target>,
    pub(super) deadline: Instant,
}

impl Session<'_> {
    /// Returns the id of a key's document.
    pub(super) fn id(&self, key: &Key) -> Result<String> {
        match self.target.foreign {
            true => id::plain(key),
            false => Ok(id::of_key(key)),
        }
    }
}

impl Scope {
    pub(super) fn new(cluster: Arc<Cluster>, schema: Arc<Schema>, target: Target) -> Self {
        let (target, observed) = (RwLock::new(Arc::new(target)), Observed::default());
        let unrefreshed = AtomicI64::new(i64::MIN);
        Self { cluster, schema, target, read_only: false, observed, unrefreshed }
    }

    /// Returns a handle that never creates or changes the index.
    pub(super) fn read_only(cluster: Arc<Cluster>, schema: Arc<Schema>, target: Target) -> Self {
        Self { read_only: true, ..Self::new(cluster, schema, target) }
    }

    /// Makes a call. If the index is missing or lacks fields, as after another program deleted it,
    /// it is created or migrated as on opening, and the call is made again.
    pub(super) fn call<T>(&self, call: impl Fn(&Session<'_>) -> Result<T, CallError>) -> Result<T> {
        let deadline = self.cluster.deadline();
        let once = || {
            let target = self.target.read().clone();
            let (cluster, schema) = (&self.cluster, &self.schema);
            call(&Session { cluster, schema, target: &target, deadline })
        };
        let done = match once() {
            Err(CallError::IndexMissing | CallError::MappingOutdated) if self.read_only => {
                return Err(Error::changed_table("its index was deleted"));
            }
            Err(CallError::IndexMissing | CallError::MappingOutdated) => {
                let (target, ..) = self.cluster.ensure(&self.schema, Apply::OnOpen, deadline)?;
                *self.target.write() = Arc::new(target);
                once()
            }
            done => done,
        };
        done.map_err(|failed| match failed {
            CallError::BadRequest(error) => self.explain(error, deadline),
            failed => failed.into_error(),
        })
    }

    /// Records the expiry of rows that are about to be written.
    pub(super) fn note_expiries<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) {
        let Some(column) = self.schema.expiry_column() else { return };
        rows.into_iter().for_each(|row| self.note_expiry(&row[column]));
    }

    fn note_expiry(&self, expires: &Value) {
        if let Value::Timestamp(expires) = expires {
            self.unrefreshed.fetch_min(*expires, Ordering::Relaxed);
        }
    }

    /// Explains a rejected request: if the name of the scope no longer denotes a usable index,
    /// returns that error instead.
    fn explain(&self, error: Error, deadline: Instant) -> Error {
        let name = self.target.read().name.clone();
        match self.cluster.lookup(&name, deadline) {
            Err(CallError::Final(found)) if found.kind() == ErrorKind::Unsupported => found,
            _ => error,
        }
    }
}

impl ScopeStore for Scope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.call(|session| session.exists(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.call(|session| session.fetch(key))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        match keys {
            [] => Ok(Vec::new()),
            keys => self.call(|session| session.fetch_many(keys)),
        }
    }

    fn set(&self, row: Row) -> Result<()> {
        self.note_expiries([&row]);
        let set = self.call(|session| session.set(&row));
        set.map_err(|error| error.with_key(self.schema.key_of(&row)))
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.note_expiries([&row]);
        let updated = self.call(|session| session.replace(&row, true));
        updated.map_err(|error| error.with_key(self.schema.key_of(&row)))
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        self.note_expiries([&row]);
        let inserted = self.call(|session| session.insert(&row, None));
        inserted.map_err(|error| error.with_key(self.schema.key_of(&row)))
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        self.note_expiries(&rows);
        match rows.is_empty() {
            true => Ok(Vec::new()),
            false => self.call(|session| session.insert_many(&rows, None)),
        }
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.note_expiries(&rows);
        match rows.is_empty() {
            true => Ok(()),
            false => self.call(|session| session.set_many(&rows)),
        }
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        self.call(|session| session.pop(key))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        match keys {
            [] => Ok(Vec::new()),
            keys => self.call(|session| session.pop_many(keys)),
        }
    }

    fn keys(&self) -> Result<Keys> {
        Ok(Box::new(self.call(|session| session.list::<Key>())?))
    }

    fn rows(&self) -> Result<Rows> {
        Ok(Box::new(self.call(|session| session.list::<Row>())?))
    }

    fn len(&self) -> Result<u64> {
        self.call(|session| session.count())
    }

    fn clear(&self) -> Result<()> {
        self.call(|session| match session.target.foreign {
            true => session.remove_all(),
            false => session.replace_index(|_| Ok(())),
        })
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        self.note_expiries(&rows);
        self.call(|session| session.replace_all(&rows))
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        self.note_expiries(&rows);
        match &rows[..] {
            [] => Ok(Vec::new()),
            [row] => {
                let stored = self.call(|session| session.insert(row, Some(at)));
                let stored = stored.map_err(|error| error.with_key(self.schema.key_of(row)));
                Ok(vec![stored?])
            }
            rows => self.call(|session| session.insert_many(rows, Some(at))),
        }
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        match keys {
            [] => Ok(()),
            keys => self.call(|session| session.remove_expired(keys, at).map(drop)),
        }
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        self.note_expiries([&row]);
        self.call(|session| session.replace_unchanged(old, &row))
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.note_expiry(&expires);
        self.call(|session| session.touch(key, at, &expires))
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        // A large purge can afford a refresh, which shows recent writes of other handles.
        let refresh = limit >= LARGE_STEP || self.unrefreshed.load(Ordering::Relaxed) <= before;
        if refresh {
            self.unrefreshed.store(i64::MAX, Ordering::Relaxed);
        }
        self.call(|session| session.purge(before, limit, refresh))
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        Ok(Box::new(self.call(|session| session.list_live::<Key>(at))?))
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        Ok(Box::new(self.call(|session| session.list_live::<Row>(at))?))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        self.call(|session| session.count_live(at))
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.target.read().leases.then_some(self)
    }
}

impl Session<'_> {
    /// Replaces the index by a new one with the same mapping, after `fill` has filled it. All old
    /// records disappear at once.
    pub(super) fn replace_index(
        &self,
        fill: impl FnOnce(&str) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let alias = &self.target.name;
        let ExistingIndex::Own(own) = self.cluster.lookup(alias, self.deadline)? else {
            return Err(CallError::IndexMissing);
        };
        let mut body = self.cluster.body(&own.mappings, None);
        for setting in ["number_of_shards", "number_of_replicas"] {
            if !own.settings[setting].is_null() {
                body["settings"][setting] = own.settings[setting].clone();
            }
        }
        self.cluster.swap(alias, &own.index, &body, self.deadline, fill)
    }

    /// Removes all documents of another program's index, whose mapping and settings must be kept.
    fn remove_all(&self) -> Result<(), CallError> {
        let listing: Listing<Id> = self.list()?;
        let mut listing = listing.peekable();
        while listing.peek().is_some() {
            let ids: Vec<Id> = listing.by_ref().take(1_000).collect::<Result<_>>()?;
            let mut writes = Vec::new();
            for Id(id) in &ids {
                if let Some(Document { version, .. }) = self.get(id)? {
                    writes.push((id.as_str(), Write::Remove { version }));
                }
            }
            let sent: Vec<_> = writes.iter().map(|(id, write)| (*id, write)).collect();
            let progress = self.cluster.bulk(self.target, &sent, self.deadline);
            if let Some(error) = progress.failed {
                return Err(error.into());
            }
            for outcome in progress.outcomes.into_iter().flatten() {
                if let Outcome::Refused(server_error) = outcome {
                    return Err(server_error.into_call_error());
                }
            }
        }
        Ok(())
    }
}
