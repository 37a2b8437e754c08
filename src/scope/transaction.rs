//! The handle on a scope of typed records in a Diesel transaction of the caller's own.

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

/// A scope on a Diesel connection that the caller owns: what is written is committed and rolled
/// back with the transaction that is open there. Made by [`Scope::on`].
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
    /// The scope on a Diesel connection that you own, to the database of its cache: its calls are
    /// part of the transaction that is open there, see what that has written, and are committed
    /// and rolled back with it. A call that writes several records is all or nothing, in the
    /// transaction as well. (In PostgreSQL, an error of the engine in any other call ends the
    /// transaction, as there every error does.)
    ///
    /// Any Diesel connection to SQLite or PostgreSQL will do, and in MySQL one that
    /// [`Cache::diesel`](crate::Cache::diesel) lends, of this cache or of another one. Open the
    /// scope before the transaction begins: its table is made on a connection of the cache's own.
    /// There is no `get` here: what one transaction computes is not for others before it is
    /// committed. In SQLite, begin a transaction that is going to write as
    /// `immediate_transaction`.
    ///
    /// A write voids the computations of its keys that run in this process, as every write does:
    /// `get` returns what they compute, and does not store it. Inside
    /// [`Cache::diesel`](crate::Cache::diesel) it does so again when the closure has ended. When a
    /// transaction of your own is committed cannot be known: a `get` that begins after the write
    /// and before the commit may store what it computes, if the key is missing then. So may one
    /// whose value is on its way to the database while a `pop` runs here. If a computation reads
    /// what your transaction changes, `pop` the key through the [`Scope`] after the commit.
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
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), naming both, where the scope is
    /// not in a database of the connection's engine.
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
            // A scope that is opened when it is first used has none before; this asks for nothing else.
            let opened = self.store().fetch_many(&[]);
            opened.map_err(|error| self.with_context("on", None, error))?;
        }
        C::Backend::transaction_store(&**self.store(), connection).ok_or_else(|| {
            let (kept_by, engine) = (self.backend(), <C::Backend as Engine>::NAME);
            let message = match kept_by == engine {
                true => "the scope has no table of its own, but is in one with all others".to_owned(),
                false => format!(
                    "the scope is kept by `{kept_by}`, and the connection is to `{engine}`: give it one to the database of its cache",
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
    /// Runs one call on one key.
    fn with_key<T>(
        &mut self,
        operation: &'static str,
        key: Result<Key>,
        call: impl FnOnce(&mut dyn TransactionStore, &Key) -> Result<T>,
    ) -> Result<T> {
        let store = &mut *self.store;
        self.core.with_key(operation, key, |key| call(store, key))
    }

    /// Whether there is a record of this key.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    #[doc(alias = "contains_key")]
    pub fn exists(&mut self, key: impl IntoKey<R::Key>) -> Result<bool> {
        let core = self.core;
        self.with_key("exists", key.into_key(), |store, key| match &core.expiry {
            Some(_) => Ok(core.live(store.fetch(key)?).is_some()),
            None => store.exists(key),
        })
    }

    /// The record of this key, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`].
    #[doc(alias = "get")]
    pub fn fetch(&mut self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        let row = self.with_key("fetch", key.into_key(), |store, key| store.fetch(key))?;
        self.core.live(row).map(R::from_row).transpose()
    }

    /// The records of these keys, in the order asked.
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

    /// Inserts a record, or overwrites the one with its key, that is fresh for this time.
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

    /// Removes the expired records of rows that are written in part: they count as missing.
    fn end_expired<'r>(&mut self, rows: impl IntoIterator<Item = &'r Row>) -> Result<()> {
        let Some(expiry) = &self.core.expiry else { return Ok(()) };
        let partial = rows.into_iter().filter(|row| row.iter().any(Value::is_absent));
        let partial: Vec<Key> = partial.map(|row| self.core.schema.key_of(row)).collect();
        match partial.is_empty() {
            true => Ok(()),
            false => self.store.remove_expired(&partial, expiry.now()),
        }
    }

    /// Restarts the time to live of a record. Returns `false` if there is none that is fresh.
    ///
    /// # Errors
    ///
    /// As [`Scope::touch`].
    pub fn touch(&mut self, key: impl IntoKey<R::Key>) -> Result<bool> {
        let expiry = self.core.own_expiry("touch")?;
        let (now, expires) = (expiry.now(), expiry.expiry_of_write(None));
        self.with_key("touch", key.into_key(), |store, key| store.touch(key, now, expires))
    }

    /// The record of this key, fresh or stale, with its expiry.
    ///
    /// # Errors
    ///
    /// As [`Scope::fetch`].
    pub fn entry(&mut self, key: impl IntoKey<R::Key>) -> Result<Option<Entry<R>>> {
        let row = self.with_key("entry", key.into_key(), |store, key| store.fetch(key))?;
        let entry = self.core.entry_of(row);
        entry.map(|entry| Entry::read(entry, R::from_row)).transpose()
    }

    /// Inserts or overwrites records, all or none. Of two with one key the last one counts.
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

    /// Inserts a record, or overwrites the one with its key and gives that one.
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

    /// Removes a record and gives it.
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

    /// Removes records and gives them, in the order asked; all or none.
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

    /// Runs one call on many keys.
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
