//! Connections of a cache's pool for Diesel queries.

use std::error::Error as StdError;

use super::Cache;
use crate::backend::{Engine, Pooled};
use crate::backends::sql::diesel::checkout::Access;
use crate::compute::TransactionWrites;
use crate::{Error, Result};

impl Cache {
    /// Runs Diesel queries over the cached rows on a connection of the cache's pool.
    ///
    /// The type of the closure's argument selects the engine: `diesel::SqliteConnection`,
    /// `PostgresConnection` or `MysqlConnection` (the latter two are in
    /// [`backend`](crate::backend)).
    ///
    /// In SQLite it is the only connection that writes, and every other write to the cache waits
    /// until the closure returns. A write to the cache from within the closure would wait until its
    /// deadline: use [`Scope::on`](crate::Scope::on) instead. On a server, all queries of the
    /// closure have to end by the deadline of one call. An open transaction is rolled back when the
    /// closure returns. The closure must not change settings of the connection.
    ///
    /// ```
    /// # #[cfg(all(feature = "derive", feature = "sqlite"))] {
    /// use diesel::prelude::*;
    /// use hilcat::{Cache, ScopeRecord};
    ///
    /// #[derive(Debug, PartialEq, ScopeRecord)]
    /// #[scope(name = "articles", diesel)]
    /// struct Article {
    ///     #[scope(unique)]
    ///     id: String,
    ///     count: i32,
    /// }
    ///
    /// let cache = Cache::from_uri("sqlite::memory:")?;
    /// let stored = cache.scope::<Article>()?;
    /// stored.set_many(&[Article { id: "a1".into(), count: 1 }, Article { id: "a2".into(), count: 5 }])?;
    ///
    /// let popular = cache.diesel_read(|connection: &mut SqliteConnection| {
    ///     articles::table.filter(articles::count.gt(3)).load::<Article>(connection)
    /// })?;
    /// assert_eq!(popular, [Article { id: "a2".into(), count: 5 }]);
    ///
    /// cache.diesel(|connection: &mut SqliteConnection| {
    ///     diesel::update(articles::table).set(articles::count.eq(0)).execute(connection)
    /// })?;
    /// assert_eq!(stored.fetch("a2")?.map(|article| article.count), Some(0));
    /// # }
    /// # Ok::<(), hilcat::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the cache uses a different
    /// engine; the message names both. [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if no
    /// connection is free before the deadline.
    ///
    /// An error of hilcat that the closure returns is passed on. An error of Diesel is mapped to
    /// the matching kind, and any other error to [`ErrorKind::Compute`](crate::ErrorKind::Compute),
    /// both with the original as the [source](StdError::source).
    pub fn diesel<C, T, E>(&self, call: impl FnOnce(&mut C) -> Result<T, E>) -> Result<T>
    where
        C: Pooled,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.checkout("diesel", Access::Write, call)
    }

    /// Like [`diesel`](Cache::diesel), for queries that only read. In SQLite it uses one of the
    /// read connections, so writes do not wait for it.
    ///
    /// # Errors
    ///
    /// As [`diesel`](Cache::diesel).
    pub fn diesel_read<C, T, E>(&self, call: impl FnOnce(&mut C) -> Result<T, E>) -> Result<T>
    where
        C: Pooled,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.checkout("diesel_read", Access::Read, call)
    }

    fn checkout<C, T, E>(
        &self,
        operation: &'static str,
        access: Access,
        call: impl FnOnce(&mut C) -> Result<T, E>,
    ) -> Result<T>
    where
        C: Pooled,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let backend = self.inner.store.name();
        if access == Access::Write && self.capabilities().read_only {
            return Err(Error::read_only().in_operation(backend, operation));
        }
        let _writes = TransactionWrites::begin();
        if self.inner.store.database().is_none() {
            // A lazy cache has no database until it has connected.
            self.inner.store.ping().map_err(|error| error.in_operation(backend, operation))?;
        }
        let result = C::checkout(&*self.inner.store, access, call).unwrap_or_else(|| {
            Err(Error::unsupported(format!(
                "the cache uses `{backend}`, and the closure takes a connection to `{}`",
                <C::Backend as Engine>::NAME
            )))
        });
        result.map_err(|error| error.in_operation(backend, operation))
    }
}
