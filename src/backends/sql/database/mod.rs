//! An open database: its connection pools, its registry of scopes, and how calls are run on it.

mod leases;
mod run;
mod schemas;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub(crate) use self::leases::LeaseKey;
use self::leases::LeaseTable;
use super::connection::pool::Pool;
use super::migration::registry::{Entry, Registry};
use crate::Result;
use crate::backends::sql::dialect::Dialect;
#[cfg(feature = "server")]
use crate::remote::Retry;
use crate::remote::{Deadline, MAX_TIMEOUT};
use crate::store::{Capabilities, Options};

/// Fails if a file is no longer the one that was opened.
pub(crate) type UnchangedCheck = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// A handle on an open database. Clones share it.
pub(crate) struct Database<D: Dialect> {
    pub(crate) inner: Arc<DatabaseInner<D>>,
}

/// The state that a database shares with its open tables.
pub(crate) struct DatabaseInner<D: Dialect> {
    readers: Pool<D>,
    writers: Pool<D>,
    timeout: Duration,
    capabilities: Capabilities,
    /// The maximum depth of JSON, if it depends on the server.
    pub(crate) max_json_depth: Option<usize>,
    /// Whether an idempotent write whose connection was lost is sent again.
    retries_writes: bool,
    pub(crate) registry: Registry,
    leases: LeaseTable,
    /// Validates each result of a database that is read without locks.
    unchanged: Option<UnchangedCheck>,
    /// The registry's entries by scope, as far as this process has seen them. Read on first use.
    entries: Mutex<Option<BTreeMap<String, Entry>>>,
    /// For each table without a registry entry, whether it can store the expiry of records.
    expiry_support: Mutex<BTreeMap<String, bool>>,
}

impl<D: Dialect> Clone for Database<D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<D: Dialect> fmt::Debug for Database<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("backend", &D::NAME).finish_non_exhaustive()
    }
}

impl<D: Dialect> Database<D> {
    #[cfg(any(feature = "sqlite", feature = "postgresql"))]
    pub(crate) fn new(
        readers: Pool<D>,
        writers: Pool<D>,
        options: Options,
        capabilities: Capabilities,
    ) -> Self {
        Self::with_json_depth(readers, writers, options, capabilities, None)
    }

    /// Creates a database whose server limits the depth of JSON.
    pub(crate) fn with_json_depth(
        readers: Pool<D>,
        writers: Pool<D>,
        options: Options,
        capabilities: Capabilities,
        max_json_depth: Option<usize>,
    ) -> Self {
        Self::build(readers, writers, options, capabilities, max_json_depth, None)
    }

    /// Creates a database that is only read, through one pool. A result is valid only if
    /// `unchanged` succeeds after it was read.
    #[cfg(feature = "sqlite")]
    pub(crate) fn read_only(
        readers: Pool<D>,
        options: Options,
        capabilities: Capabilities,
        unchanged: Option<UnchangedCheck>,
    ) -> Self {
        Self::build(readers.clone(), readers, options, capabilities, None, unchanged)
    }

    fn build(
        readers: Pool<D>,
        writers: Pool<D>,
        options: Options,
        capabilities: Capabilities,
        max_json_depth: Option<usize>,
        unchanged: Option<UnchangedCheck>,
    ) -> Self {
        let inner = DatabaseInner {
            readers,
            writers,
            timeout: options.timeout.min(MAX_TIMEOUT),
            capabilities,
            max_json_depth,
            retries_writes: true,
            unchanged,
            registry: Registry::new::<D>(),
            leases: LeaseTable::new::<D>(),
            entries: Mutex::new(None),
            expiry_support: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Sets whether idempotent writes whose connection was lost are sent again.
    #[cfg(feature = "server")]
    pub(crate) fn with_retry(mut self, retry: Retry) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.retries_writes = retry != Retry::Never;
        }
        self
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn into_inner(self) -> Arc<DatabaseInner<D>> {
        self.inner
    }
}

impl<D: Dialect> DatabaseInner<D> {
    pub(crate) fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Returns the number of connections that read at the same time.
    pub(crate) fn reader_count(&self) -> u32 {
        self.readers.size()
    }

    /// Returns the maximum duration of a call.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the deadline of a step that begins now: that of the public call it is a part of.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::of_call(self.timeout)
    }
}
