//! The two traits that every backend and every layer implements.
//!
//! A [`Store`] is an opened engine. [`Store::open`] returns the [`ScopeStore`] of one scope, which
//! reads and writes records. Both traits are blocking and object-safe, and work on [`Row`]s and
//! [`Key`]s only. Typed records, JSON, single flight and the context of errors belong to the layers
//! above them.

mod expiry;
mod lease;
mod pointers;
#[cfg(feature = "sql")]
mod projected;
mod store_trait;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

pub use self::expiry::ExpirySupport;
#[allow(unused_imports, reason = "not every choice of features has a backend for it")]
pub(crate) use self::expiry::{is_expired, is_live};
pub(crate) use self::lease::no_leases;
pub use self::lease::{LeasedFill, Leases};
#[cfg(feature = "sql")]
pub(crate) use self::projected::Projected;
pub use self::store_trait::{Adopted, Capabilities, Store};
pub use crate::clock::SharedClock;
pub use crate::codec::key::{from_text as key_from_text, to_text as key_to_text};
pub use crate::codec::{Codec, CodecOptions, Replaced};
pub use crate::freshness::EXPIRES_AT;
pub use crate::options::Options;
#[cfg(any(feature = "sql", feature = "redis", feature = "elasticsearch"))]
pub(crate) use crate::options::pool_option_methods;
use crate::schema::Apply;
pub use crate::schema::{Upgrade, plan, table_of_another};
pub(crate) use crate::uri;
pub use crate::uri::Uri;
use crate::{Key, Result, Row, Schema};

/// The name prefix of the scopes that remember keys without a record.
pub(crate) const ABSENT: &str = "hilcat_absent_";

/// An iterator over the keys of a scope, read in pages.
pub type Keys = Box<dyn Iterator<Item = Result<Key>> + Send>;

/// An iterator over the rows of a scope, read in pages.
pub type Rows = Box<dyn Iterator<Item = Result<Row>> + Send>;

/// Returns how to change the stored schema of a scope that is opened with `schema`, in a backend that
/// stores its rows by a [`Codec`].
///
/// # Errors
///
/// [`ErrorKind::SchemaChange`](crate::ErrorKind::SchemaChange) with the plan if the policy of
/// `schema` does not allow the change.
pub fn upgrade(current: &Schema, schema: &Schema) -> Result<Upgrade> {
    crate::schema::upgrade(current, schema, Apply::OnOpen)
}

/// Checks that records that are stored under one schema can be read under another without a
/// migration.
///
/// # Errors
///
/// [`ErrorKind::SchemaChange`](crate::ErrorKind::SchemaChange) with the plan if they cannot.
pub fn check_readable(stored: &Schema, schema: &Schema) -> Result<()> {
    crate::schema::check_readable(stored, schema)
}

/// One scope of an engine: the records of one schema.
///
/// # Contract
///
/// - Rows have a value for each column of the schema, in its order, already of the column's type.
///   Keys have a value for each unique column, in key order.
/// - A returned row never contains [`Value::Absent`](crate::Value::Absent). A written row may, outside
///   its key: an existing record keeps its value in such a column. A new record gets the default or
///   NULL; if the column has no default and cannot be NULL, the write is an error.
/// - Keys are compared exactly, and values are returned as they were written. A value that the
///   engine cannot hold is an error before anything is changed.
/// - A batch of writes is all or nothing. If two rows have the same key, the last one is stored.
/// - Every call sees all writes that were acknowledged before it began.
/// - The default implementations are correct for any backend that implements the other methods. A
///   backend overrides them to be faster or stricter.
/// - Freshness is decided above the store. An expired record is read, replaced and removed as any
///   other, except by the methods with a time parameter. All times are microseconds since
///   1970-01-01 00:00:00 UTC, as in [`Value::Timestamp`](crate::Value::Timestamp). The expiry is in
///   the column [`Schema::expiry_column`]; NULL means never, and a record is expired if its expiry
///   is at or before the time.
/// - Every call ends by the deadline of the store. An error means that the call was not done, or,
///   for [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), that this is unknown.
#[expect(clippy::len_without_is_empty, reason = "the number is requested from a server")]
pub trait ScopeStore: Send + Sync + fmt::Debug {
    /// Returns the schema that the scope was opened with.
    fn schema(&self) -> &Arc<Schema>;

    /// Returns whether there is a record with this key.
    ///
    /// # Errors
    ///
    /// If the engine fails.
    fn exists(&self, key: &Key) -> Result<bool> {
        Ok(self.fetch(key)?.is_some())
    }

    /// Returns the record with this key, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the engine fails or the stored record does not fit the schema.
    fn fetch(&self, key: &Key) -> Result<Option<Row>>;

    /// Returns the records with these keys, in the order of the keys.
    ///
    /// # Errors
    ///
    /// As [`fetch`](ScopeStore::fetch).
    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        keys.iter().map(|key| self.fetch(key)).collect()
    }

    /// Inserts or overwrites a record.
    ///
    /// # Errors
    ///
    /// If the engine fails or cannot hold the row.
    fn set(&self, row: Row) -> Result<()> {
        self.update(row).map(drop)
    }

    /// Inserts or overwrites a record. Returns the replaced record, or `None` if there was none.
    ///
    /// # Errors
    ///
    /// As [`set`](ScopeStore::set).
    fn update(&self, row: Row) -> Result<Option<Row>>;

    /// Inserts a record if its key has none. Returns `None` if the record was inserted, and otherwise
    /// the stored record, which is not changed.
    ///
    /// The check and the insertion are one atomic step: of any number of concurrent calls with the
    /// same key, in one process or in many, exactly one inserts. An
    /// [`Absent`](crate::Value::Absent) column gets its default.
    ///
    /// # Errors
    ///
    /// As [`set`](ScopeStore::set); as [`fetch`](ScopeStore::fetch) if the stored record cannot be
    /// read.
    fn insert(&self, row: Row) -> Result<Option<Row>>;

    /// Inserts those records whose keys have none, each as [`insert`](ScopeStore::insert) does.
    /// Returns, in the order of the rows, `None` for each inserted row and the stored record for
    /// each other row. The keys are distinct.
    ///
    /// # Errors
    ///
    /// As [`insert`](ScopeStore::insert).
    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        rows.into_iter().map(|row| self.insert(row)).collect()
    }

    /// Inserts or overwrites records, all or nothing.
    ///
    /// # Errors
    ///
    /// As [`set`](ScopeStore::set).
    fn set_many(&self, rows: Vec<Row>) -> Result<()>;

    /// Removes a record. Returns it, or `None` if there was none.
    ///
    /// # Errors
    ///
    /// As [`fetch`](ScopeStore::fetch).
    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        Ok(self.pop_many(std::slice::from_ref(key))?.pop().flatten())
    }

    /// Removes records, all or nothing, and returns them in the order of the keys. If a key is
    /// repeated, only its first occurrence returns the record.
    ///
    /// # Errors
    ///
    /// As [`fetch`](ScopeStore::fetch).
    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>>;

    /// Returns all keys, in unspecified order and bounded memory. A record that is written or
    /// removed meanwhile may or may not be listed; every other record is listed once.
    ///
    /// # Errors
    ///
    /// If the engine fails at the start. Later failures are items; after an error of a single
    /// record, the listing may continue.
    fn keys(&self) -> Result<Keys> {
        let schema = self.schema().clone();
        Ok(Box::new(self.rows()?.map(move |row| row.map(|row| schema.key_of(&row)))))
    }

    /// Returns all records, with the guarantees of [`keys`](ScopeStore::keys).
    ///
    /// # Errors
    ///
    /// As [`keys`](ScopeStore::keys).
    fn rows(&self) -> Result<Rows>;

    /// Returns the number of records.
    ///
    /// # Errors
    ///
    /// If the engine fails.
    fn len(&self) -> Result<u64> {
        self.keys()?.try_fold(0, |count, key| key.map(|_| count + 1))
    }

    /// Removes all records.
    ///
    /// # Errors
    ///
    /// If the engine fails.
    fn clear(&self) -> Result<()> {
        let keys = self.keys()?.collect::<Result<Vec<_>>>()?;
        self.pop_many(&keys).map(drop)
    }

    /// Returns all records in memory. If the engine supports it, they are a consistent snapshot: a
    /// concurrent [`replace_all`](ScopeStore::replace_all) is visible completely or not at all.
    ///
    /// # Errors
    ///
    /// As [`keys`](ScopeStore::keys).
    fn snapshot(&self) -> Result<Vec<Row>> {
        self.rows()?.collect()
    }

    /// Replaces all records by these, all or nothing. Later calls see either the old records or the
    /// new ones, even if the process is killed meanwhile.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), with nothing changed, if the
    /// engine cannot do that; and as [`set`](ScopeStore::set).
    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        let _ = rows;
        Err(crate::Error::unsupported(
            "the backend cannot replace the records of a scope all or nothing",
        ))
    }

    /// Inserts records as [`insert_many`](ScopeStore::insert_many) does. Stored records with an
    /// expiry at or before `at` count as missing and are replaced.
    ///
    /// Each record is checked and written in one atomic step, or a record that was written meanwhile
    /// is at least never removed. The default implementation removes the expired record, and inserts
    /// the new one if the key is still free.
    ///
    /// # Errors
    ///
    /// As [`insert`](ScopeStore::insert).
    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        expiry::replace_expired(self, rows, at)
    }

    /// Removes the records with these keys and an expiry at or before `at`. Each is checked and
    /// removed in one atomic step, so a record that is written meanwhile is kept.
    ///
    /// # Errors
    ///
    /// If the engine fails; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if
    /// [`Capabilities::expiry`] is [`ExpirySupport::Unsupported`].
    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        let _ = (keys, at);
        Err(expiry::unsupported())
    }

    /// Stores a record if the stored record of its key equals `old`, or if there is none and `old`
    /// is `None`. Returns whether it was stored.
    ///
    /// The default implementation compares before it writes, so it overwrites a write of another
    /// process in between.
    ///
    /// # Errors
    ///
    /// As [`set`](ScopeStore::set).
    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        expiry::replace_unchanged(self, old, row)
    }

    /// Sets the expiry of a record, [`Value::Timestamp`](crate::Value::Timestamp) or NULL, in one
    /// atomic step if it is not expired at `at`. Returns whether there was such a record.
    ///
    /// # Errors
    ///
    /// As [`remove_expired`](ScopeStore::remove_expired).
    fn touch(&self, key: &Key, at: i64, expires: crate::Value) -> Result<bool> {
        let _ = (key, at, expires);
        Err(expiry::unsupported())
    }

    /// Removes up to `limit` records with an expiry at or before `before`, and returns the number of
    /// removed records. It is less than `limit` only if there are no more. If the engine supports it,
    /// the earliest ones are removed, and the other records are not read.
    ///
    /// # Errors
    ///
    /// As [`remove_expired`](ScopeStore::remove_expired).
    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        expiry::purge(self, before, limit)
    }

    /// Removes the records that expire first until `records` are left, but at most `limit`, and
    /// returns the number of removed records. Records without an expiry are removed last.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if
    /// [`Capabilities::max_records`] is `false`.
    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        let _ = (records, limit);
        Err(crate::Error::unsupported("the backend cannot bound the number of records in a scope"))
    }

    /// Returns the keys of the records that are not expired at `at`, as [`keys`](ScopeStore::keys).
    ///
    /// # Errors
    ///
    /// As [`keys`](ScopeStore::keys).
    fn live_keys(&self, at: i64) -> Result<Keys> {
        let schema = self.schema().clone();
        Ok(Box::new(self.live_rows(at)?.map(move |row| row.map(|row| schema.key_of(&row)))))
    }

    /// Returns the records that are not expired at `at`, as [`rows`](ScopeStore::rows).
    ///
    /// # Errors
    ///
    /// As [`keys`](ScopeStore::keys).
    fn live_rows(&self, at: i64) -> Result<Rows> {
        let schema = self.schema().clone();
        Ok(Box::new(self.rows()?.filter(move |row| match row {
            Ok(row) => is_live(&schema, row, at),
            Err(_) => true,
        })))
    }

    /// Returns the number of records that are not expired at `at`.
    ///
    /// # Errors
    ///
    /// If the engine fails.
    fn live_len(&self, at: i64) -> Result<u64> {
        self.live_keys(at)?.try_fold(0, |count, key| key.map(|_| count + 1))
    }

    /// Returns the leases by which processes share computations, or `None` if
    /// [`Capabilities::shared_single_flight`] is `false`.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// Returns the table of the scope for calls on a Diesel connection, or `None` if there is none.
    #[doc(hidden)]
    fn table(&self) -> Option<&dyn Any> {
        None
    }
}
