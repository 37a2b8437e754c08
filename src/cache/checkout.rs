//! Connections of a cache's pool for Diesel queries.

use std::error::Error as StdError;

use super::Cache;
use crate::backend::{Engine, Pooled};
use crate::backends::sql::diesel::checkout::Access;
use crate::compute::TransactionWrites;
use crate::{Error, Result};

impl Cache {
    /// Lends a connection of the cache's pool, for Diesel queries of your own over the cached rows.
    ///
    /// The closure says which engine's: `|connection: &mut diesel::SqliteConnection|`, `PostgresConnection` or
    /// `MysqlConnection` (in [`backend`](crate::backend)). In SQLite it is the one connection that
    /// writes, and meanwhile every other write to the cache waits, one from within the closure
    /// until its deadline: use [`Scope::on`](crate::Scope::on) there. On a server all that the closure asks has to
    /// end by the deadline of one call. A transaction that is left open is rolled back; leave
    /// settings of the connection as they were.
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
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), naming both, where the cache is not on the connection's engine;
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) where no connection is free until the deadline. What the closure
    /// gives: an error of hilcat's as it is, one of Diesel's as the kind that it is, and any other
    /// as [`ErrorKind::Compute`](crate::ErrorKind::Compute); the latter two as the [source](StdError::source).
    pub fn diesel<C, T, E>(&self, call: impl FnOnce(&mut C) -> Result<T, E>) -> Result<T>
    where
        C: Pooled,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.checkout("diesel", Access::Write, call)
    }

    /// The same as [`diesel`](Cache::diesel) for queries that only read: in SQLite it is one of
    /// the connections that read beside the one that writes.
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
            // A lazy cache has none while its server cannot be reached.
            self.inner.store.ping().map_err(|error| error.in_operation(backend, operation))?;
        }
        let result = C::checkout(&*self.inner.store, access, call).unwrap_or_else(|| {
            Err(Error::unsupported(format!(
                "the cache is on `{backend}`, and the closure wants a connection to `{}`",
                <C::Backend as Engine>::NAME
            )))
        });
        result.map_err(|error| error.in_operation(backend, operation))
    }
}
