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
    pub(super) core: Arc<Core>,
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

    /// Returns the schema of the scope.
    pub fn schema(&self) -> &Schema {
        &self.core.schema
    }

    /// Returns whether there is a record for the key.
    ///
    /// # Errors
    ///
    /// Any error of the backend.
    #[doc(alias = "contains_key")]
    pub fn exists(&self, key: impl IntoKey<R::Key>) -> Result<bool> {
        self.core.exists(key.into_key())
    }

    /// Returns the record of the key, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData) if the stored row is not a valid
    /// record, and any error of the backend.
    #[doc(alias = "get")]
    pub fn fetch(&self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        self.core.fetch(key.into_key())?.map(R::from_row).transpose()
    }

    /// Returns the records of the keys, in their order, in as few round trips as the backend
    /// allows.
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
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a value is outside its
    /// column's type, [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the backend
    /// cannot store it, and any error of the backend.
    #[doc(alias("insert", "put"))]
    pub fn set(&self, record: &R) -> Result<()> {
        self.core.set(record.to_row(), None)
    }

    /// Inserts or overwrites records atomically. If two have the same key, the last one applies.
    ///
    /// # Errors
    ///
    /// As [`set`](Scope::set).
    pub fn set_many<T: Borrow<R>>(&self, records: impl IntoIterator<Item = T>) -> Result<()> {
        let rows = records.into_iter().map(|record| record.borrow().to_row());
        self.core.set_many(rows, None).map(drop)
    }

    /// Inserts or overwrites a record with a time to live that replaces the scope's `ttl`.
    ///
    /// # Errors
    ///
    /// As [`set`](Scope::set); [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the
    /// records of the scope carry no expiry, and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a field of the record is the
    /// expiry or `ttl` is less than a millisecond.
    pub fn set_with_ttl(&self, record: &R, ttl: Duration) -> Result<()> {
        self.core.set(record.to_row(), Some(ttl))
    }

    /// Inserts or overwrites records atomically, with a time to live that replaces the scope's
    /// `ttl`.
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

    /// Restarts the scope's `ttl` for a record without rewriting it. Returns `false` if the record
    /// is missing or expired.
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
    /// Any error of the backend; the batches before it stay removed.
    pub fn purge(&self) -> Result<u64> {
        self.core.purge()
    }

    /// Inserts or overwrites a record, and returns the replaced one, if any.
    ///
    /// # Errors
    ///
    /// As [`set`](Scope::set) and [`fetch`](Scope::fetch).
    #[doc(alias = "replace")]
    pub fn update(&self, record: &R) -> Result<Option<R>> {
        self.core.update(record.to_row())?.map(R::from_row).transpose()
    }

    /// Returns the stored record, or computes and stores it.
    ///
    /// Concurrent calls for one key in this process compute once: one caller computes, and the
    /// others wait for its result. If `compute` panics, nothing is stored and the next caller
    /// computes.
    ///
    /// The computed record never overwrites a newer write. A write of the key in this process, by
    /// [`set`](Scope::set), [`pop`](Scope::pop) or any other call, voids the computation: its
    /// record is returned to the callers that already wait for it, but is not stored, and a later
    /// `get` computes again. If a different process stores a record meanwhile, that record is kept
    /// and returned. A removal by a different process is not detected. If the outcome of storing
    /// the record is unknown ([`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable)), the
    /// record may still appear afterwards.
    ///
    /// The returned record equals what a later call returns: skipped fields have their default.
    ///
    /// # Errors
    ///
    /// As [`set`](Scope::set) and [`fetch`](Scope::fetch).
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the computed record has a
    /// different key. [`ErrorKind::ComputeCycle`](crate::ErrorKind::ComputeCycle) if `compute`
    /// calls `get` for the same key.
    #[doc(alias("get_with", "get_or_insert_with"))]
    pub fn get(&self, key: impl IntoKey<R::Key>, compute: impl FnOnce() -> R) -> Result<R> {
        R::from_row(self.core.get(key.into_key(), || compute().to_row())?)
    }

    /// Like [`get`](Scope::get), for a fallible computation. If it fails, nothing is stored.
    ///
    /// # Errors
    ///
    /// As [`get`](Scope::get), and [`ErrorKind::Compute`](crate::ErrorKind::Compute) with the error
    /// of `compute` as its source.
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

    /// Returns the stored record, or computes and stores it; `None` if `compute` returns `None`.
    ///
    /// If the scope has a `negative_ttl`, the absence is remembered for this time: `compute` is not
    /// called again, unless the key is written or removed meanwhile.
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

    /// Computes the record even if one is stored, and stores it.
    ///
    /// A `get` of the missing key waits for the result, and a concurrent refresh joins it. If the
    /// key was written or removed since the computation began, the computed record is not stored,
    /// and the stored one is returned.
    ///
    /// # Errors
    ///
    /// As [`get`](Scope::get).
    pub fn refresh(&self, key: impl IntoKey<R::Key>, compute: impl FnOnce() -> R) -> Result<R> {
        R::from_row(self.core.refresh(key.into_key(), || compute().to_row())?)
    }

    /// Like [`get`](Scope::get), but returns a record that is stale within `stale_while_revalidate`
    /// immediately, to every caller, and computes the new one in a background thread.
    ///
    /// # Errors
    ///
    /// As [`get`](Scope::get). If the background computation fails, the stale record stays.
    pub fn get_in_background(
        &self,
        key: impl IntoKey<R::Key>,
        compute: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R> {
        R::from_row(self.core.get_in_background(key.into_key(), move || compute().to_row())?)
    }

    /// Returns the records of the keys, in their order.
    ///
    /// Stored records are fetched together. Missing ones are computed in one call and stored
    /// together.
    ///
    /// # Errors
    ///
    /// As [`get`](Scope::get), and if `compute` returns no record for one of the missing keys; the
    /// records that it returned are stored.
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

    /// Removes a record and returns it, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Scope::fetch).
    #[doc(alias("remove", "invalidate"))]
    pub fn pop(&self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        self.core.pop(key.into_key())?.map(R::from_row).transpose()
    }

    /// Removes records atomically and returns them, in the order of the keys.
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

    /// Returns all keys in no particular order, streamed in bounded memory.
    ///
    /// # Errors
    ///
    /// Any error of the backend at the start. Later errors are items of the iterator.
    pub fn keys(&self) -> Result<impl Iterator<Item = Result<R::Key>> + Send + use<R>> {
        Ok(self.core.keys()?.map(|key| R::Key::from_key(key?)))
    }

    /// Returns all records in no particular order, streamed in bounded memory.
    ///
    /// # Errors
    ///
    /// As [`keys`](Scope::keys).
    pub fn iter(&self) -> Result<impl Iterator<Item = Result<R>> + Send + use<R>> {
        Ok(self.core.rows()?.map(|row| R::from_row(row?)))
    }

    /// Returns the number of records.
    ///
    /// # Errors
    ///
    /// Any error of the backend.
    #[expect(clippy::len_without_is_empty, reason = "the length is read from the backend")]
    pub fn len(&self) -> Result<u64> {
        self.core.len()
    }

    /// Removes all records.
    ///
    /// # Errors
    ///
    /// Any error of the backend.
    #[doc(alias = "invalidate_all")]
    pub fn clear(&self) -> Result<()> {
        self.core.clear()
    }
}
