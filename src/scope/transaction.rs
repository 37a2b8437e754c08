//! The handle on a scope of typed records in a Diesel transaction of the caller.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use diesel::connection::LoadConnection;

use super::{Core, Entry, Scope};
use crate::backend::Engine;
use crate::backends::sql::diesel::engine::sealed::Engine as _;
use crate::backends::sql::diesel::transaction::TransactionStore;
use crate::{Error, IntoKey, Key, Result, Row, ScopeRecord, Value};

/// A scope on a Diesel connection that the caller owns. Created by [`Scope::on`].
///
/// Writes are committed and rolled back with the transaction that is open on the connection.
#[doc(alias = "Joined")]
pub struct TransactionScope<'a, R> {
    core: &'a Core,
    store: Box<dyn TransactionStore + 'a>,
    record: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for TransactionScope<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionScope")
            .field("name", &self.core.schema.name)
            .finish_non_exhaustive()
    }
}

impl<R: ScopeRecord> Scope<R> {
    /// Returns the scope on a Diesel connection that you own, to the database of its cache.
    ///
    /// Its calls are part of the transaction that is open on the connection: they see its writes,
    /// and are committed and rolled back with it. A call that writes several records is atomic
    /// within the transaction. In PostgreSQL, as usual, an error of the engine in any other call
    /// aborts the transaction.
    ///
    /// Any Diesel connection to SQLite or PostgreSQL can be used. In MySQL, use a connection from
    /// [`Cache::diesel`](crate::Cache::diesel), of this cache or a different one. Open the scope
    /// before the transaction begins: its table is created on a connection of the cache. There is
    /// no `get`, since other transactions must not see a computed record before the commit. In
    /// SQLite, begin a transaction that writes with `immediate_transaction`.
    ///
    /// A write voids the computations of its keys in this process: `get` returns their results and
    /// does not store them. In [`Cache::diesel`](crate::Cache::diesel) the keys are voided again
    /// when the closure has returned. The commit of your own transaction cannot be detected: a
    /// `get` that begins between the write and the commit may store its result, if the key is
    /// missing then. So may a `get` that is storing its result while a `pop` runs here. If a
    /// computation reads data that your transaction changes, `pop` the key through the [`Scope`]
    /// after the commit.
    ///
    /// ```
    /// # #[cfg(all(feature = "derive", feature = "sqlite"))] {
    /// use diesel::{Connection, SqliteConnection};
    /// use hilcat::{Cache, ScopeRecord};
    ///
    /// #[derive(Debug, PartialEq, ScopeRecord)]
    /// struct Page {
    ///     #[scope(unique)]
    ///     path: String,
    ///     hits: i32,
    /// }
    ///
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("pages.db");
    /// # let path = path.to_str().unwrap();
    /// let cache = Cache::from_uri(&format!("sqlite:///{path}"))?;
    /// let pages = cache.scope::<Page>()?;
    ///
    /// let mut connection = SqliteConnection::establish(path)?;
    /// let failed = connection.immediate_transaction(|connection| {
    ///     pages.on(connection)?.set(&Page { path: "/".into(), hits: 1 })?;
    ///     assert!(pages.on(connection)?.exists("/")?);
    ///     Err::<(), Box<dyn std::error::Error>>("something else went wrong".into())
    /// });
    /// assert!(failed.is_err());
    /// assert_eq!(pages.fetch("/")?, None);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the database of the scope has a
    /// different engine; the message names both.
    pub fn on<'a, C>(&'a self, connection: &'a mut C) -> Result<TransactionScope<'a, R>>
    where
        C: diesel::Connection<Backend: Engine> + LoadConnection + 'static,
    {
        let core = self.core();
        Ok(TransactionScope {
            core,
            store: core.transaction_store(connection)?,
            record: PhantomData,
        })
    }
}

impl Core {
    fn transaction_store<'a, C>(
        &'a self,
        connection: &'a mut C,
    ) -> Result<Box<dyn TransactionStore + 'a>>
    where
        C: diesel::Connection<Backend: Engine> + LoadConnection + 'static,
    {
        if self.store().table().is_none() {
            // A lazy scope has no table before its first call; an empty fetch opens it.
            let opened = self.store().fetch_many(&[]);
            opened.map_err(|error| self.with_context("on", None, error))?;
        }
        C::Backend::transaction_store(&**self.store(), connection).ok_or_else(|| {
            let (stored_in, engine) = (self.backend(), <C::Backend as Engine>::NAME);
            let message = match stored_in == engine {
                true => "the scope is stored in the single table that all scopes share".to_owned(),
                false => format!(
                    "the scope is stored in `{stored_in}`, and the connection is to `{engine}`: use a connection to the database of its cache",
                ),
            };
            self.with_context("on", None, Error::unsupported(message))
        })
    }

    /// Voids the computations of the keys of rows that are about to be written in a transaction.
    fn void_in_transaction<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) {
        let keys = rows.into_iter().map(|row| self.schema.key_of(row));
        self.flights().void_in_transaction(keys);
    }
}

impl<R: ScopeRecord> TransactionScope<'_, R> {
    /// Runs a call on a validated key.
    fn with_key<T>(
        &mut self,
        operation: &'static str,
        key: Result<Key>,
        call: impl FnOnce(&mut dyn TransactionStore, &Key) -> Result<T>,
    ) -> Result<T> {
        let store = &mut *self.store;
        self.core.with_key(operation, key, |key| call(store, key))
    }

    /// Returns whether there is a record for the key.
    ///
    /// # Errors
    ///
    /// Any error of the backend.
    #[doc(alias = "contains_key")]
    pub fn exists(&mut self, key: impl IntoKey<R::Key>) -> Result<bool> {
        let core = self.core;
        self.with_key("exists", key.into_key(), |store, key| match &core.expiry {
            Some(_) => Ok(core.live(store.fetch(key)?).is_some()),
            None => store.exists(key),
        })
    }

    /// Returns the record of the key, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`].
    #[doc(alias = "get")]
    pub fn fetch(&mut self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        let row = self.with_key("fetch", key.into_key(), |store, key| store.fetch(key))?;
        self.core.live(row).map(R::from_row).transpose()
    }

    /// Returns the records of the keys, in their order.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`].
    pub fn fetch_many<K: IntoKey<R::Key>>(
        &mut self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<R>>> {
        self.many("fetch_many", keys, |store, keys| store.fetch_many(keys))
    }

    /// Inserts a record, or overwrites the one with its key.
    ///
    /// # Errors
    ///
    /// As [`Scope::set`].
    #[doc(alias("insert", "put"))]
    pub fn set(&mut self, record: &R) -> Result<()> {
        self.write_one("set", record, None)
    }

    /// Inserts or overwrites a record with a time to live that replaces the scope's `ttl`.
    ///
    /// # Errors
    ///
    /// As [`Scope::set_with_ttl`].
    pub fn set_with_ttl(&mut self, record: &R, ttl: Duration) -> Result<()> {
        self.core.check_ttl("set_with_ttl", Some(ttl))?;
        self.write_one("set_with_ttl", record, Some(ttl))
    }

    fn write_one(
        &mut self,
        operation: &'static str,
        record: &R,
        ttl: Option<Duration>,
    ) -> Result<()> {
        self.core.write(operation, record.to_row(), ttl, |row| {
            self.core.void_in_transaction([&row]);
            self.end_expired([&row])?;
            self.store.set(row)
        })
    }

    /// Removes expired records that a partial row would otherwise be merged into.
    fn end_expired<'r>(&mut self, rows: impl IntoIterator<Item = &'r Row>) -> Result<()> {
        let Some(expiry) = &self.core.expiry else { return Ok(()) };
        let partial = rows.into_iter().filter(|row| row.iter().any(Value::is_absent));
        let partial: Vec<Key> = partial.map(|row| self.core.schema.key_of(row)).collect();
        match partial.is_empty() {
            true => Ok(()),
            false => self.store.remove_expired(&partial, expiry.now()),
        }
    }

    /// Restarts the time to live of a record. Returns `false` if the record is missing or expired.
    ///
    /// # Errors
    ///
    /// As [`Scope::touch`].
    pub fn touch(&mut self, key: impl IntoKey<R::Key>) -> Result<bool> {
        let expiry = self.core.own_expiry("touch")?;
        let (now, expires) = (expiry.now(), expiry.expiry_of_write(None));
        self.with_key("touch", key.into_key(), |store, key| store.touch(key, now, expires))
    }

    /// Returns the record with its expiry if it is fresh, or expired and within a stale window.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`].
    pub fn entry(&mut self, key: impl IntoKey<R::Key>) -> Result<Option<Entry<R>>> {
        let row = self.with_key("entry", key.into_key(), |store, key| store.fetch(key))?;
        let entry = self.core.entry_of(row);
        entry.map(|entry| Entry::read(entry, R::from_row)).transpose()
    }

    /// Inserts or overwrites records atomically. If two have the same key, the last one applies.
    ///
    /// # Errors
    ///
    /// As [`Scope::set`].
    pub fn set_many<T: Borrow<R>>(&mut self, records: impl IntoIterator<Item = T>) -> Result<()> {
        let rows = records.into_iter().map(|record| record.borrow().to_row());
        let written = self.core.write_many("set_many", rows, None, |rows| {
            self.core.void_in_transaction(&rows);
            self.end_expired(&rows)?;
            self.store.set_many(rows)
        });
        written.map(drop)
    }

    /// Inserts or overwrites a record, and returns the replaced one, if any.
    ///
    /// # Errors
    ///
    /// As [`Scope::update`].
    #[doc(alias = "replace")]
    pub fn update(&mut self, record: &R) -> Result<Option<R>> {
        let old = self.core.write("update", record.to_row(), None, |row| {
            self.core.void_in_transaction([&row]);
            self.end_expired([&row])?;
            self.store.update(row)
        })?;
        self.core.live(old).map(R::from_row).transpose()
    }

    /// Removes a record and returns it, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`].
    #[doc(alias("remove", "invalidate"))]
    pub fn pop(&mut self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        let flights = self.core.flights();
        let row = self.with_key("pop", key.into_key(), |store, key| {
            flights.void_in_transaction([key.clone()]);
            store.pop(key)
        })?;
        self.core.live(row).map(R::from_row).transpose()
    }

    /// Removes records atomically and returns them, in the order of the keys.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`].
    pub fn pop_many<K: IntoKey<R::Key>>(
        &mut self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<R>>> {
        let flights = self.core.flights();
        self.many("pop_many", keys, |store, keys| {
            flights.void_in_transaction(keys.iter().cloned());
            store.pop_many(keys)
        })
    }

    /// Runs a call on validated keys.
    fn many<K: IntoKey<R::Key>>(
        &mut self,
        operation: &'static str,
        keys: impl IntoIterator<Item = K>,
        call: impl FnOnce(&mut dyn TransactionStore, &[Key]) -> Result<Vec<Option<Row>>>,
    ) -> Result<Vec<Option<R>>> {
        let store = &mut *self.store;
        let keys = keys.into_iter().map(IntoKey::into_key);
        let rows = self.core.with_keys(operation, keys, |keys| call(store, keys))?;
        let rows = self.core.live_each(rows);
        rows.into_iter().map(|row| row.map(R::from_row).transpose()).collect()
    }
}
