//! What a backend is: the two traits that every engine and every layer implements.
//!
//! A [`Store`] is an opened engine; [`Store::open`] gives the [`ScopeStore`] of one scope, which
//! does the work. Both are blocking and object-safe, and see nothing but [`Row`]s and [`Key`]s:
//! records, JSON, single flight and the context of errors are above them.

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

/// The prefix of the names of the scopes that remember which keys have no record.
pub(crate) const ABSENT: &str = "hilcat_absent_";

/// The keys of a scope, streaming.
pub type Keys = Box<dyn Iterator<Item = Result<Key>> + Send>;

/// The rows of a scope, streaming.
pub type Rows = Box<dyn Iterator<Item = Result<Row>> + Send>;

/// Decides, when a scope is opened, about a schema whose records stand under another: what is to be
/// done in a backend that keeps its rows by a [`Codec`].
///
/// # Errors
///
/// [`ErrorKind::SchemaChange`](crate::ErrorKind::SchemaChange) with the plan where the schema's
/// policy does not allow it.
pub fn upgrade(current: &Schema, schema: &Schema) -> Result<Upgrade> {
    crate::schema::upgrade(current, schema, Apply::OnOpen)
}

/// Checks, when a scope is opened to be read, that records which are stored under one schema can be
/// read under another as they are.
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
/// - Rows have a value for each column of the schema, in its order, already of the column's type;
///   keys have a value for each unique column, in key order. A row that is read never holds
///   [`Value::Absent`](crate::Value::Absent); one that is written may, outside its key: such a
///   column stays as it was, and a new record has its default, or NULL, or the write is an error.
/// - Keys are exact, and values come back as they went in. What the engine cannot hold is an error
///   before anything is changed.
/// - A batch of writes is all or nothing. Of two rows with one key the last one counts.
/// - What was acknowledged is seen by every later call.
/// - The bodies that some methods have here are right for any backend that has the others; one
///   that can do better does.
/// - Freshness is decided above the store: a record whose expiry has passed is read, replaced and
///   removed as any other, except by the methods that are given a time. All times are
///   microseconds since 1970-01-01 00:00:00 UTC, as [`Value::Timestamp`](crate::Value::Timestamp)
///   holds them. The expiry is in the column [`Schema::expiry_column`]; NULL is never, and a
///   record is expired from that very microsecond on.
/// - Every call ends by the deadline of the store. A failure says whether the call was not done or
///   whether that is unknown ([`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable)).
#[expect(clippy::len_without_is_empty, reason = "the number is asked of a server")]
pub trait ScopeStore: Send + Sync + fmt::Debug {
    /// The schema that the scope was opened with.
    fn schema(&self) -> &Arc<Schema>;

    /// Whether there is a record of this key.
    ///
    /// # Errors
    ///
    /// Where the engine fails.
    fn exists(&self, key: &Key) -> Result<bool> {
        Ok(self.fetch(key)?.is_some())
    }

    /// The record of this key.
    ///
    /// # Errors
    ///
    /// Where the engine fails or what it has is not of the schema.
    fn fetch(&self, key: &Key) -> Result<Option<Row>>;

    /// The records of these keys, in the order asked.
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
    /// Where the engine fails or cannot hold the row.
    fn set(&self, row: Row) -> Result<()> {
        self.update(row).map(drop)
    }

    /// Inserts or overwrites a record, and gives the one that it replaced.
    ///
    /// # Errors
    ///
    /// As [`set`](ScopeStore::set).
    fn update(&self, row: Row) -> Result<Option<Row>>;

    /// Inserts a record if its key has none. Returns `None` if the record was inserted; otherwise
    /// the stored record, which is left as it is.
    ///
    /// The check and the insertion are one atomic step: of any number of concurrent calls for one
    /// key, in one process or in many, exactly one inserts. A column that the row leaves
    /// [`Absent`](crate::Value::Absent) has its default.
    ///
    /// # Errors
    ///
    /// As [`set`](ScopeStore::set); as [`fetch`](ScopeStore::fetch) if the stored record cannot be
    /// read.
    fn insert(&self, row: Row) -> Result<Option<Row>>;

    /// Inserts those records whose keys have none, as [`insert`](ScopeStore::insert) does for one.
    /// Returns, in the order of the rows, `None` for each that was inserted and the stored record
    /// for each other. No key occurs twice.
    ///
    /// # Errors
    ///
    /// As [`insert`](ScopeStore::insert).
    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        rows.into_iter().map(|row| self.insert(row)).collect()
    }

    /// Inserts or overwrites records, all or none.
    ///
    /// # Errors
    ///
    /// As [`set`](ScopeStore::set).
    fn set_many(&self, rows: Vec<Row>) -> Result<()>;

    /// Removes a record and gives it.
    ///
    /// # Errors
    ///
    /// As [`fetch`](ScopeStore::fetch).
    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        Ok(self.pop_many(std::slice::from_ref(key))?.pop().flatten())
    }

    /// Removes records and gives them, in the order asked; all or none. Of a key that is asked
    /// twice the first gets the record.
    ///
    /// # Errors
    ///
    /// As [`fetch`](ScopeStore::fetch).
    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>>;

    /// All keys, in no promised order, in bounded memory. A record that is written or removed
    /// meanwhile may or may not be seen; every other is seen once.
    ///
    /// # Errors
    ///
    /// Where the engine fails at the start; later failures are items, and the listing may go on
    /// behind one that is about a single record.
    fn keys(&self) -> Result<Keys> {
        let schema = self.schema().clone();
        Ok(Box::new(self.rows()?.map(move |row| row.map(|row| schema.key_of(&row)))))
    }

    /// All records, as [`keys`](ScopeStore::keys).
    ///
    /// # Errors
    ///
    /// As [`keys`](ScopeStore::keys).
    fn rows(&self) -> Result<Rows>;

    /// How many records there are.
    ///
    /// # Errors
    ///
    /// Where the engine fails.
    fn len(&self) -> Result<u64> {
        self.keys()?.try_fold(0, |count, key| key.map(|_| count + 1))
    }

    /// Removes all records.
    ///
    /// # Errors
    ///
    /// Where the engine fails.
    fn clear(&self) -> Result<()> {
        let keys = self.keys()?.collect::<Result<Vec<_>>>()?;
        self.pop_many(&keys).map(drop)
    }

    /// All records as they stand at one moment, in memory: whoever replaces them meanwhile is seen
    /// whole or not at all where the engine can tell.
    ///
    /// # Errors
    ///
    /// As [`keys`](ScopeStore::keys).
    fn snapshot(&self) -> Result<Vec<Row>> {
        self.rows()?.collect()
    }

    /// Removes all records and writes these instead, all or nothing: whoever looks afterwards, or
    /// after the process was killed in the middle, finds the old records or the new ones, whole.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), with nothing changed, where the
    /// engine cannot do that; and as [`set`](ScopeStore::set).
    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        let _ = rows;
        Err(crate::Error::unsupported(
            "the backend cannot replace the records of a scope all or nothing",
        ))
    }

    /// Inserts records as [`insert_many`](ScopeStore::insert_many) does, and replaces those whose
    /// expiry is at or before `at`: they count as missing.
    ///
    /// Each record is checked and written in one atomic step, or is at least never removed after it
    /// was written anew. The body here removes an expired record and inserts the new one if the key
    /// is still free then.
    ///
    /// # Errors
    ///
    /// As [`insert`](ScopeStore::insert).
    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        expiry::replace_expired(self, rows, at)
    }

    /// Removes those records of these keys whose expiry is at or before `at`, each in one atomic
    /// step: a record that is written at the same time stays.
    ///
    /// # Errors
    ///
    /// Where the engine fails; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if
    /// [`Capabilities::expiry`] says so.
    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        let _ = (keys, at);
        Err(expiry::unsupported())
    }

    /// Stores a record in place of `old`, or as a new one for `None`, unless the stored record of
    /// its key is another one by now. Returns whether it was stored.
    ///
    /// The body here compares before it writes, so that a write of another process in between is
    /// overwritten.
    ///
    /// # Errors
    ///
    /// As [`set`](ScopeStore::set).
    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        expiry::replace_unchanged(self, old, row)
    }

    /// Gives the record of a key another expiry, [`Value::Timestamp`](crate::Value::Timestamp) or
    /// NULL, in one atomic step if it is not expired at `at`. Returns whether there was such a
    /// record.
    ///
    /// # Errors
    ///
    /// As [`remove_expired`](ScopeStore::remove_expired).
    fn touch(&self, key: &Key, at: i64, expires: crate::Value) -> Result<bool> {
        let _ = (key, at, expires);
        Err(expiry::unsupported())
    }

    /// Removes up to `limit` of the records whose expiry is at or before `before`, the earliest ones
    /// if the engine can tell, and returns how many it removed: fewer than `limit` only if there are
    /// no more. It finds them without reading the others where the engine can.
    ///
    /// # Errors
    ///
    /// As [`remove_expired`](ScopeStore::remove_expired).
    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        expiry::purge(self, before, limit)
    }

    /// Removes the records that expire first until there are `records` left, up to `limit` of
    /// them, and returns how many it removed. Records without an expiry go last.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if
    /// [`Capabilities::max_records`] says so.
    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        let _ = (records, limit);
        Err(crate::Error::unsupported("the backend cannot bound the number of records in a scope"))
    }

    /// The keys of the records that are not expired at `at`, as [`keys`](ScopeStore::keys).
    ///
    /// # Errors
    ///
    /// As [`keys`](ScopeStore::keys).
    fn live_keys(&self, at: i64) -> Result<Keys> {
        let schema = self.schema().clone();
        Ok(Box::new(self.live_rows(at)?.map(move |row| row.map(|row| schema.key_of(&row)))))
    }

    /// The records that are not expired at `at`, as [`rows`](ScopeStore::rows).
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

    /// How many records are not expired at `at`.
    ///
    /// # Errors
    ///
    /// Where the engine fails.
    fn live_len(&self, at: i64) -> Result<u64> {
        self.live_keys(at)?.try_fold(0, |count, key| key.map(|_| count + 1))
    }

    /// The leases by which processes share computations; `None` if
    /// [`Capabilities::shared_single_flight`] says that there are none.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// The table behind it, as calls on a Diesel connection use it; none where there is none.
    #[doc(hidden)]
    fn table(&self) -> Option<&dyn Any> {
        None
    }
}
