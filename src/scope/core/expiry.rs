//! Converts between the rows that handles see and stored rows, which have an expiry.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use crate::clock::{SharedClock, after, before, from_micros};
use crate::freshness::{Freshness, Ttl};
use crate::{Row, Schema, Value};

/// The state of a key in the store at the current time.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// A record that every read returns.
    Fresh(Row),
    /// An expired record that `get` may still serve within a stale window.
    Stale(Stale),
    /// No record, or one past all stale windows.
    Missing,
}

/// An expired record.
#[derive(Debug, Clone)]
pub(crate) struct Stale {
    pub(crate) row: Row,
    expires: i64,
}

/// How the records of a scope expire.
#[derive(Debug, Clone)]
pub(crate) struct Expiry {
    clock: SharedClock,
    freshness: Freshness,
    /// The column of the schema that has the expiry.
    column: Option<usize>,
    /// Stored rows end with hilcat's own expiry column.
    own: bool,
}

impl Expiry {
    /// Returns how records of `schema`, stored as `stored`, expire; `None` if they do not.
    pub(crate) fn new(schema: &Schema, stored: &Schema, clock: &SharedClock) -> Option<Self> {
        let freshness = schema.freshness.clone();
        let column = freshness.expires_at.as_ref().and_then(|_| schema.expiry_column());
        let own = stored.has_own_expiry_column();
        let clock = clock.clone();
        (own || column.is_some()).then_some(Self { clock, freshness, column, own })
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.micros()
    }

    /// Returns whether a column of the schema has the expiry.
    pub(crate) fn is_by_column(&self) -> bool {
        self.column.is_some()
    }

    /// Returns the time before which an expired record is past all stale windows.
    pub(crate) fn horizon(&self) -> i64 {
        before(self.now(), self.freshness.stale_window())
    }

    /// Adds the expiry to a row that is to be stored, from `ttl` or the scope's time to live.
    pub(crate) fn stamp(&self, mut row: Row, ttl: Option<Duration>) -> Row {
        if self.own {
            row.push(self.expiry_of_write(ttl));
        }
        row
    }

    /// Returns the expiry of a record written now.
    pub(crate) fn expiry_of_write(&self, ttl: Option<Duration>) -> Value {
        let ttl = ttl.or(match self.freshness.ttl {
            Some(Ttl::After(ttl)) => Some(self.jittered(ttl)),
            _ => None,
        });
        ttl.map_or(Value::Null, |ttl| Value::Timestamp(after(self.now(), ttl)))
    }

    /// Shortens a time to live by a random fraction, up to the jitter.
    fn jittered(&self, ttl: Duration) -> Duration {
        match self.freshness.jitter {
            Some(jitter) => ttl.mul_f64(1.0 - jitter * random_unit()),
            None => ttl,
        }
    }

    /// Splits a stored row into the handle's row and its expiry.
    fn split(&self, mut row: Row) -> (Row, Option<i64>) {
        let own = if self.own { row.pop() } else { None };
        let named = self.column.map(|column| row[column].clone());
        let timestamp = |value: Value| match value {
            Value::Timestamp(expires) => Some(expires),
            _ => None,
        };
        // The record may have been written before the schema named an expiry column.
        let expires = [own, named].into_iter().flatten().filter_map(timestamp).min();
        (row, expires)
    }

    /// Returns the state of a stored row at the current time.
    pub(crate) fn judge(&self, row: Row) -> Found {
        let (row, expires) = self.split(row);
        match expires {
            None => Found::Fresh(row),
            Some(expires) if self.clock.is_before(expires) => Found::Fresh(row),
            Some(expires) => {
                match self.clock.is_before(after(expires, self.freshness.stale_window())) {
                    true => Found::Stale(Stale { row, expires }),
                    false => Found::Missing,
                }
            }
        }
    }

    /// Converts a stored row for a read: `None` if it is expired.
    pub(crate) fn live(&self, row: Row) -> Option<Row> {
        let (row, expires) = self.split(row);
        expires.is_none_or(|expires| self.clock.is_before(expires)).then_some(row)
    }

    pub(crate) fn live_at(&self, row: Row, now: i64) -> Option<Row> {
        let (row, expires) = self.split(row);
        expires.is_none_or(|expires| now < expires).then_some(row)
    }

    /// Returns the row, whether it is stale, and when it expires; `None` if past all windows.
    pub(crate) fn entry(&self, row: Row) -> Option<(Row, bool, Option<SystemTime>)> {
        let (row, expires) = self.split(row);
        let now = self.now();
        let gone = |expires: i64| now >= after(expires, self.freshness.stale_window());
        let stale = expires.is_some_and(|expires| now >= expires);
        (!stale || !expires.is_some_and(gone)).then(|| (row, stale, expires.map(from_micros)))
    }

    /// Returns whether a stale record is served while a new one is computed.
    pub(crate) fn serves_while_computed(&self, stale: &Stale) -> bool {
        self.is_within(stale, self.freshness.stale_while_revalidate)
    }

    /// Returns whether a stale record is served if the computation fails.
    pub(crate) fn serves_after_error(&self, stale: &Stale) -> bool {
        self.is_within(stale, Some(self.freshness.stale_window()))
    }

    /// Returns whether a stale record is served if the computed one cannot be stored.
    pub(crate) fn serves_if_unstored(&self, stale: &Stale) -> bool {
        self.is_within(stale, self.freshness.stale_if_error)
    }

    fn is_within(&self, stale: &Stale, window: Option<Duration>) -> bool {
        self.now() < after(stale.expires, window.unwrap_or_default())
    }
}

/// Returns a random number in `0.0..1.0`.
fn random_unit() -> f64 {
    let random = RandomState::new().build_hasher().finish() >> 11;
    random as f64 / (1_u64 << 53) as f64
}
