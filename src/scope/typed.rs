//! The handle on a scope of typed records.

use std::borrow::Borrow;
use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::{Core, Entry};
use crate::{Error, IntoKey, RecordKey, Result, Schema, ScopeRecord};

/// A scope of records of type `R`. Cheap to clone; every clone is a handle on the same records.
///
/// ```
/// # #[cfg(feature = "derive")] {
/// use hilcat::{Cache, ScopeRecord};
///
/// #[derive(Debug, Clone, PartialEq, ScopeRecord)]
/// #[scope(name = "routes")]
/// struct Route {
///     #[scope(unique)]
///     origin: String,
///     #[scope(unique)]
///     dest: String,
///     miles: i32,
/// }
///
/// let cache = Cache::from_uri("memory:")?;
/// let routes = cache.scope::<Route>()?;
/// routes.set(&Route { origin: "JFK".into(), dest: "LAX".into(), miles: 2475 })?;
/// assert_eq!(routes.fetch(("JFK", "LAX"))?.map(|route| route.miles), Some(2475));
/// # }
/// # Ok::<(), hilcat::Error>(())
/// ```
pub struct Scope<R> {
    core: Arc<Core>,
    record: PhantomData<fn() -> R>,
}

impl<R> Clone for Scope<R> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), record: PhantomData }
    }
}

impl<R> fmt::Debug for Scope<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("name", &self.core.schema.name).finish_non_exhaustive()
    }
}

impl<R: ScopeRecord> Scope<R> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, record: PhantomData }
    }

    #[cfg(feature = "sql")]
    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    /// The schema of the scope.
    pub fn schema(&self) -> &Schema {
        &self.core.schema
    }

    /// Whether there is a record of this key.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    #[doc(alias = "contains_key")]
    pub fn exists(&self, key: impl IntoKey<R::Key>) -> Result<bool> {
        self.core.exists(key.into_key())
    }

    /// The record of this key, if there is one.
    ///
    /// # Errors
    ///
    /// Where the backend fails, or with [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData)
    /// where what is stored is not such a record.
    #[doc(alias = "get")]
    pub fn fetch(&self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        self.core.fetch(key.into_key())?.map(R::from_row).transpose()
    }

    /// The records of these keys, in the order asked, in as few round trips as the backend allows.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Scope::fetch).
    pub fn fetch_many<K: IntoKey<R::Key>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<R>>> {
        let rows = self.core.fetch_many(keys.into_iter().map(IntoKey::into_key))?;
        rows.into_iter().map(|row| row.map(R::from_row).transpose()).collect()
    }

    /// Inserts a record, or overwrites the one with its key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) where a value is outside its
    /// column's type, [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the backend
    /// cannot hold it, and where the backend fails.
    #[doc(alias("insert", "put"))]
    pub fn set(&self, record: &R) -> Result<()> {
        self.core.set(record.to_row(), None)
    }

    /// Inserts or overwrites records, all or none. Of two with one key the last one counts.
    ///
    /// # Errors
    ///
    /// As [`set`](Scope::set).
    pub fn set_many<T: Borrow<R>>(&self, records: impl IntoIterator<Item = T>) -> Result<()> {
        let rows = records.into_iter().map(|record| record.borrow().to_row());
        self.core.set_many(rows, None).map(drop)
    }

    /// Inserts or overwrites a record that is fresh for this long, whatever the scope's `ttl`.
    ///
    /// # Errors
    ///
    /// As [`set`](Scope::set); [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the
    /// records of the scope carry no expiry, and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a field says when a record
    /// expires or `ttl` is less than a millisecond.
    pub fn set_with_ttl(&self, record: &R, ttl: Duration) -> Result<()> {
        self.core.set(record.to_row(), Some(ttl))
    }

    /// Inserts or overwrites records that are fresh for this long, all or none.
    ///
    /// # Errors
    ///
    /// As [`set_with_ttl`](Scope::set_with_ttl).
    pub fn set_many_with_ttl<T: Borrow<R>>(
        &self,
        records: impl IntoIterator<Item = T>,
        ttl: Duration,
    ) -> Result<()> {
        let rows = records.into_iter().map(|record| record.borrow().to_row());
        self.core.set_many(rows, Some(ttl)).map(drop)
    }

    /// Restarts the scope's `ttl` for a record without writing it anew. Returns `false` if there is
    /// no such record, or it is expired.
    ///
    /// # Errors
    ///
    /// As [`set_with_ttl`](Scope::set_with_ttl).
    pub fn touch(&self, key: impl IntoKey<R::Key>) -> Result<bool> {
        self.core.touch(key.into_key())
    }

    /// Returns the record with its expiry if it is fresh, or expired and within a stale window.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Scope::fetch).
    pub fn entry(&self, key: impl IntoKey<R::Key>) -> Result<Option<Entry<R>>> {
        let entry = self.core.entry(key.into_key())?;
        entry.map(|entry| Entry::read(entry, R::from_row)).transpose()
    }

    /// Removes the records that are past their last stale window, in batches, and returns how many.
    ///
    /// # Errors
    ///
    /// Where the backend fails; what was removed before stays removed.
    pub fn purge(&self) -> Result<u64> {
        self.core.purge()
    }

    /// Inserts a record, or overwrites the one with its key and gives that one.
    ///
    /// # Errors
    ///
    /// As [`set`](Scope::set) and [`fetch`](Scope::fetch).
    #[doc(alias = "replace")]
    pub fn update(&self, record: &R) -> Result<Option<R>> {
        self.core.update(record.to_row())?.map(R::from_row).transpose()
    }

    /// The stored record, or the one that `compute` gives, which is stored.
    ///
    /// However many threads of the process ask for one key at once, one of them computes and the
    /// others wait for it. A panic in `compute` stores nothing and lets the next caller compute.
    ///
    /// The computed record never overwrites what is written meanwhile. A write of the key in this
    /// process, be it by [`set`](Scope::set), [`pop`](Scope::pop) or any other call, makes the
    /// computation void: its record is returned to the callers that wait for it, and is not
    /// stored, and a later `get` begins anew. If another process stores a record meanwhile, that
    /// one is kept and returned. A removal in another process is not noticed. If the outcome of
    /// storing the record is unknown ([`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable)),
    /// the record may still appear afterwards.
    ///
    /// What is returned is as a later call would return it: skipped fields have their default.
    ///
    /// # Errors
    ///
    /// As [`set`](Scope::set) and [`fetch`](Scope::fetch);
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) where the computed record has
    /// another key; [`ErrorKind::ComputeCycle`](crate::ErrorKind::ComputeCycle) where `compute` asks for
    /// the very same key.
    #[doc(alias("get_with", "get_or_insert_with"))]
    pub fn get(&self, key: impl IntoKey<R::Key>, compute: impl FnOnce() -> R) -> Result<R> {
        R::from_row(self.core.get(key.into_key(), || compute().to_row())?)
    }

    /// The same as [`get`](Scope::get) for a computation that can fail: then nothing is stored.
    ///
    /// # Errors
    ///
    /// As [`get`](Scope::get); [`ErrorKind::Compute`](crate::ErrorKind::Compute) with the error of
    /// `compute` as its source.
    pub fn try_get<E>(
        &self,
        key: impl IntoKey<R::Key>,
        compute: impl FnOnce() -> Result<R, E>,
    ) -> Result<R>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let compute = || compute().map_err(Error::of_closure)?.to_row();
        R::from_row(self.core.get(key.into_key(), compute)?)
    }

    /// The stored record, or the one that `compute` gives, which is stored; `None` if there is
    /// neither. If the scope has a `negative_ttl`, that there is none is remembered for this long:
    /// then `compute` is not called again, unless the key is written or removed meanwhile.
    ///
    /// # Errors
    ///
    /// As [`get`](Scope::get).
    pub fn get_optional(
        &self,
        key: impl IntoKey<R::Key>,
        compute: impl FnOnce() -> Option<R>,
    ) -> Result<Option<R>> {
        let compute = || compute().map(|record| record.to_row()).transpose();
        self.core.get_optional(key.into_key(), compute)?.map(R::from_row).transpose()
    }

    /// Computes the record whatever is stored, and stores it. Callers that ask for the key
    /// meanwhile wait for it, and a refresh that is under way is joined.
    ///
    /// If the record was written or removed since the computation began, what was computed is not
    /// stored, and the stored record is returned.
    ///
    /// # Errors
    ///
    /// As [`get`](Scope::get).
    pub fn refresh(&self, key: impl IntoKey<R::Key>, compute: impl FnOnce() -> R) -> Result<R> {
        R::from_row(self.core.refresh(key.into_key(), || compute().to_row())?)
    }

    /// As [`get`](Scope::get), but a record that is stale within `stale_while_revalidate` is
    /// returned at once to every caller: a thread of its own computes the new one.
    ///
    /// # Errors
    ///
    /// As [`get`](Scope::get). A computation in the background that fails leaves the stale record.
    pub fn get_in_background(
        &self,
        key: impl IntoKey<R::Key>,
        compute: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R> {
        R::from_row(self.core.get_in_background(key.into_key(), move || compute().to_row())?)
    }

    /// The records of these keys, in the order asked: those that are stored are fetched together,
    /// those that are missing are computed in one call and stored together.
    ///
    /// # Errors
    ///
    /// As [`get`](Scope::get); also where `compute` gives no record for a key that was missing (the
    /// ones that it gives are stored).
    pub fn get_many<K, I>(
        &self,
        keys: impl IntoIterator<Item = K>,
        mut compute: impl FnMut(Vec<R::Key>) -> I,
    ) -> Result<Vec<R>>
    where
        K: IntoKey<R::Key>,
        I: IntoIterator<Item = R>,
    {
        let rows = self.core.get_many(keys.into_iter().map(IntoKey::into_key), |missing| {
            let missing = missing.into_iter().map(R::Key::from_key).collect::<Result<Vec<_>>>()?;
            Ok(compute(missing).into_iter().map(|record| record.to_row()))
        })?;
        rows.into_iter().map(R::from_row).collect()
    }

    /// Removes a record and gives it.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Scope::fetch).
    #[doc(alias("remove", "invalidate"))]
    pub fn pop(&self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        self.core.pop(key.into_key())?.map(R::from_row).transpose()
    }

    /// Removes records and gives them, in the order asked; all or none.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Scope::fetch).
    pub fn pop_many<K: IntoKey<R::Key>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<R>>> {
        let rows = self.core.pop_many(keys.into_iter().map(IntoKey::into_key))?;
        rows.into_iter().map(|row| row.map(R::from_row).transpose()).collect()
    }

    /// All keys, streaming in bounded memory, in no promised order.
    ///
    /// # Errors
    ///
    /// Where the backend fails at the start; later failures are items.
    pub fn keys(&self) -> Result<impl Iterator<Item = Result<R::Key>> + Send + use<R>> {
        Ok(self.core.keys()?.map(|key| R::Key::from_key(key?)))
    }

    /// All records, streaming in bounded memory, in no promised order.
    ///
    /// # Errors
    ///
    /// As [`keys`](Scope::keys).
    pub fn iter(&self) -> Result<impl Iterator<Item = Result<R>> + Send + use<R>> {
        Ok(self.core.rows()?.map(|row| R::from_row(row?)))
    }

    /// How many records there are.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    #[expect(clippy::len_without_is_empty, reason = "the number is asked of a server")]
    pub fn len(&self) -> Result<u64> {
        self.core.len()
    }

    /// Removes all records.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    #[doc(alias = "invalidate_all")]
    pub fn clear(&self) -> Result<()> {
        self.core.clear()
    }
}
