//! The freshness options of a schema, and the column that holds the expiry of a record.

use std::time::Duration;

use super::{Column, ColumnType, Schema, Shape};
use crate::freshness::{EXPIRES_AT, OnUnavailable, SingleFlight, Ttl};

impl Schema {
    /// Sets how long a record is fresh after each write.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.freshness.ttl = Some(Ttl::After(ttl));
        self
    }

    /// Lets records have an expiry without a time to live of the scope: only writes with a time to
    /// live of their own set one.
    pub fn ttl_never(mut self) -> Self {
        self.freshness.ttl = Some(Ttl::Never);
        self
    }

    /// Sets how long after a record's expiry `get` may serve it while one caller computes a new one.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.freshness.stale_while_revalidate = Some(window);
        self
    }

    /// Sets how long after a record's expiry it is served if the computation fails.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.freshness.stale_if_error = Some(window);
        self
    }

    /// Sets the part of the time to live, more than 0 and less than 1, by which each write shortens
    /// it at random at the most.
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.freshness.jitter = Some(jitter);
        self
    }

    /// Sets how long `get_optional` remembers that there is no record.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.freshness.negative_ttl = Some(ttl);
        self
    }

    /// Names the timestamp column that holds the end of a record's freshness; NULL means never.
    pub fn expires_at(mut self, column: impl Into<String>) -> Self {
        self.freshness.expires_at = Some(column.into());
        self
    }

    /// Sets the maximum number of records. It may be exceeded temporarily, by at most a half; the
    /// records that expire first are removed first.
    pub fn max_records(mut self, records: u64) -> Self {
        self.freshness.max_records = Some(records);
        self
    }

    /// Sets whether writes remove expired records in small steps. The default is `true`.
    pub fn auto_purge(mut self, on: bool) -> Self {
        self.freshness.auto_purge = Some(on);
        self
    }

    /// Sets which callers share the computation of a missing record.
    pub fn single_flight(mut self, single_flight: SingleFlight) -> Self {
        self.freshness.single_flight = Some(single_flight);
        self
    }

    /// Sets what `get` and `try_get` do while the store cannot be reached.
    pub fn on_unavailable(mut self, on_unavailable: OnUnavailable) -> Self {
        self.freshness.on_unavailable = Some(on_unavailable);
        self
    }

    /// Returns the position of the column that holds the expiry of a record, or `None` if records do
    /// not expire. The column is the one that `expires_at` names, or hilcat's own.
    pub fn expiry_column(&self) -> Option<usize> {
        let name = self.freshness.expires_at.as_deref().unwrap_or(EXPIRES_AT);
        self.columns.iter().position(|column| column.name == name)
    }

    /// Returns the schema to open in a store: with hilcat's own expiry column if records can expire
    /// and no column of the schema holds the expiry.
    pub(crate) fn stored_form(&self) -> Self {
        match self.freshness.uses_expiry() && self.freshness.expires_at.is_none() {
            true => self.with_expiry_column(),
            false => self.clone(),
        }
    }

    /// Returns the schema with hilcat's own expiry column.
    pub(crate) fn with_expiry_column(&self) -> Self {
        let mut schema = self.clone();
        if !schema.has_own_expiry_column() {
            let column = Column::new(EXPIRES_AT, ColumnType::Timestamp).nullable(true);
            // The values of a dynamic scope are built above the store, without the column.
            schema.shape_of_records = Some(schema.shape);
            schema.shape = Shape::Record;
            schema.columns.push(column);
        }
        schema
    }

    /// Returns the schema of a program for records that are stored under this one.
    pub(crate) fn without_expiry_column(&self) -> Self {
        let mut schema = self.without_own_expiry();
        if !schema.freshness.uses_expiry() {
            schema.freshness.ttl = Some(Ttl::Never);
        }
        schema
    }

    /// Returns the schema without hilcat's own expiry column.
    pub(crate) fn without_own_expiry(&self) -> Self {
        let mut schema = self.clone();
        if let Some(own) = self.columns.iter().position(|column| column.name == EXPIRES_AT) {
            schema.columns.remove(own);
            schema.shape = schema.shape_of_records.take().unwrap_or(schema.shape);
            schema.key.iter_mut().filter(|at| **at > own).for_each(|at| *at -= 1);
        }
        schema
    }

    /// Returns the schema with hilcat's own expiry column if the stored schema has it. A
    /// [`Store`](crate::store::Store) opens a scope with this schema: a program without a time to
    /// live must still read and clear the expiries that other programs set.
    pub fn with_expiry_of(&self, stored: &Self) -> Self {
        match stored.has_own_expiry_column() {
            true => self.with_expiry_column(),
            false => self.clone(),
        }
    }

    /// Returns whether hilcat's own expiry column is among the columns.
    pub(crate) fn has_own_expiry_column(&self) -> bool {
        self.columns.iter().any(|column| column.name == EXPIRES_AT)
    }
}
