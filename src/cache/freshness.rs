//! The freshness options of a cache: the defaults of its scopes, and checks of what is supported.

use std::time::Duration;

use super::{Cache, CacheBuilder};
use crate::clock::{Clock, SharedClock};
use crate::freshness::{EXPIRES_AT, Freshness, OnUnavailable, SingleFlight, Ttl};
use crate::store::ABSENT;
use crate::store::ExpirySupport;
use crate::{Error, Result, Schema};

impl Cache {
    /// Fills options that the schema does not set with the defaults that its scope can honour here.
    pub(super) fn with_defaults(&self, mut schema: Schema) -> Schema {
        // hilcat's internal scopes set all their options.
        if schema.name.starts_with(ABSENT) {
            return schema;
        }
        let defaults = self.honoured_in(&schema);
        schema.freshness = schema.freshness.with_defaults(&defaults);
        schema
    }

    fn honoured_in(&self, schema: &Schema) -> Freshness {
        let able = self.capabilities();
        let mut defaults = self.inner.defaults.clone();
        // An error here is reported when the scope is opened.
        let expiry = match defaults.uses_expiry() {
            true => self.expiry_in(schema).unwrap_or(able.expiry),
            false => able.expiry,
        };
        if expiry == ExpirySupport::Unsupported {
            (defaults.ttl, defaults.negative_ttl) = (None, None);
        }
        if expiry != ExpirySupport::Full {
            (defaults.stale_while_revalidate, defaults.stale_if_error) = (None, None);
            defaults.negative_ttl = None;
        }
        if !able.max_records {
            defaults.max_records = None;
        }
        if !able.shared_single_flight {
            defaults.single_flight = None;
        }
        defaults
    }

    /// Returns how the expiry of records is supported in a scope. A table created by another
    /// program has no column for it.
    fn expiry_in(&self, schema: &Schema) -> Result<ExpirySupport> {
        let by_column = schema.freshness.expires_at.is_some();
        match self.inner.store.expiry_of(schema)? {
            ExpirySupport::Removal | ExpirySupport::ByColumn if by_column => {
                Ok(ExpirySupport::Full)
            }
            ExpirySupport::ByColumn => Ok(ExpirySupport::Unsupported),
            expiry => Ok(expiry),
        }
    }

    /// Returns an error if the schema sets a freshness option that its scope cannot honour.
    pub(super) fn check_freshness(&self, schema: &Schema) -> Result<()> {
        let (able, freshness) = (self.capabilities(), &schema.freshness);
        if schema.has_own_expiry_column() {
            return Err(Error::invalid_schema(format!(
                "the column name `{EXPIRES_AT}` is reserved by hilcat: rename the column"
            )));
        }
        let unsupported = |option: &str, why: &str| {
            Err(Error::unsupported(format!("`{option}` cannot be honoured: {why}")))
        };
        let needed = expiry_options(freshness);
        let unmet = |expiry| needed.iter().find(|(_, needed)| !needed.is_met_by(expiry));
        if unmet(ExpirySupport::Unsupported).is_some() {
            let expiry = self.expiry_in(schema)?;
            if let Some((option, _)) = unmet(expiry) {
                return unsupported(option, self.why_not());
            }
        }
        if freshness.max_records.is_some() && !able.max_records {
            return unsupported(
                "max_records",
                "the number of records can be bounded in tables, files and sqlite+kv; for memory, set `max_entries` in the URI",
            );
        }
        if freshness.lease().is_some() && !able.shared_single_flight {
            let why = match able.persistent {
                true => "the backend cannot store leases in this layout",
                false => "no other process uses the store",
            };
            return unsupported("single_flight = \"shared\"", why);
        }
        Ok(())
    }

    fn why_not(&self) -> &'static str {
        match self.capabilities().expiry {
            ExpirySupport::Full => {
                "the table was created by another program and has no column for the expiry; name one of its columns with `expires_at`"
            }
            ExpirySupport::ByColumn => {
                "in this layout the expiry of a record can only be stored in one of its own columns; name one with `expires_at`"
            }
            ExpirySupport::Removal => {
                "in this layout the server removes expired records, and their expiry is not stored: only `ttl` is supported; the other layouts and backends support all options"
            }
            ExpirySupport::Unsupported => "the backend does not support the expiry of records",
        }
    }

    /// Removes the records that are past their last stale window, and returns how many.
    ///
    /// It covers all scopes of the store, opened or not. Records are removed in batches of up to
    /// 1,000. Each batch has its own deadline, and no lock is held from one batch to the next.
    /// After an error, the batches before it stay removed.
    ///
    /// # Errors
    ///
    /// Any error of the backend.
    pub fn purge(&self) -> Result<u64> {
        let store = &self.inner.store;
        let scopes = store.scopes();
        let scopes = scopes.map_err(|error| error.in_operation(store.name(), "purge"))?;
        scopes.iter().try_fold(0, |removed, scope| Ok(removed + self.purge_scope(scope)?))
    }

    /// Like [`purge`](Cache::purge), for one scope, opened or not.
    ///
    /// # Errors
    ///
    /// As [`purge`](Cache::purge).
    pub fn purge_scope(&self, scope: &str) -> Result<u64> {
        let opened = self.inner.opened.lock().get(scope).cloned().unwrap_or_default();
        if !opened.is_empty() {
            return opened.iter().try_fold(0, |removed, core| Ok(removed + core.purge()?));
        }
        let store = &self.inner.store;
        let stored = store.stored_schema(scope);
        let stored = stored.map_err(|error| error.in_operation(store.name(), "purge"))?;
        match stored {
            Some(schema) if schema.expiry_column().is_some() => {
                self.open(schema.without_expiry_column())?.purge()
            }
            _ => Ok(0),
        }
    }
}

/// The support for expiry that an option needs.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    Removal,
    Full,
}

impl Needs {
    fn is_met_by(self, expiry: ExpirySupport) -> bool {
        match self {
            Self::Nothing => true,
            Self::Removal => expiry != ExpirySupport::Unsupported,
            Self::Full => expiry == ExpirySupport::Full,
        }
    }
}

fn expiry_options(freshness: &Freshness) -> [(&'static str, Needs); 5] {
    let needs = |given: bool, needs: Needs| if given { needs } else { Needs::Nothing };
    [
        ("ttl", needs(freshness.ttl.is_some(), Needs::Removal)),
        ("stale_while_revalidate", needs(freshness.stale_while_revalidate.is_some(), Needs::Full)),
        ("stale_if_error", needs(freshness.stale_if_error.is_some(), Needs::Full)),
        ("negative_ttl", needs(freshness.negative_ttl.is_some(), Needs::Full)),
        ("expires_at", needs(freshness.expires_at.is_some(), Needs::Full)),
    ]
}

/// Freshness options of scopes that do not set them, applied where the scope can honour them. An
/// option in the URI takes precedence.
impl CacheBuilder {
    /// Sets how long records are fresh after each write.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.freshness.ttl = Some(Ttl::After(ttl));
        self
    }

    /// Sets how long after a record's expiry `get` may serve it while one caller computes a new
    /// one.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.options.freshness.stale_while_revalidate = Some(window);
        self
    }

    /// Sets how long after a record's expiry it is served if the computation fails.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.options.freshness.stale_if_error = Some(window);
        self
    }

    /// Sets the maximum fraction, more than 0 and less than 1, by which each write randomly
    /// shortens the time to live.
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.options.freshness.jitter = Some(jitter);
        self
    }

    /// Sets how long `get_optional` remembers that there is no record.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.options.freshness.negative_ttl = Some(ttl);
        self
    }

    /// Sets how many records each scope keeps; those that expire first are removed first.
    pub fn max_records(mut self, records: u64) -> Self {
        self.options.freshness.max_records = Some(records);
        self
    }

    /// Sets whether writes remove expired records in small steps; they do by default.
    pub fn auto_purge(mut self, on: bool) -> Self {
        self.options.freshness.auto_purge = Some(on);
        self
    }

    /// Sets which callers share the computation of a missing record.
    pub fn single_flight(mut self, single_flight: SingleFlight) -> Self {
        self.options.freshness.single_flight = Some(single_flight);
        self
    }

    /// Sets what `get` and its variants do while the store cannot be reached; they fail by default.
    ///
    /// With either setting, a cache on a server has a circuit breaker. It opens after five
    /// consecutive calls that ended as [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`Timeout`](crate::ErrorKind::Timeout): calls then fail or compute immediately, until the
    /// server answers a probe. Probes are sent after 100 ms, and then with pauses that grow to 2 s.
    /// Waiting for a connection of the pool or for a lock does not count as a failure.
    pub fn on_unavailable(mut self, on_unavailable: OnUnavailable) -> Self {
        self.options.freshness.on_unavailable = Some(on_unavailable);
        self
    }

    /// Sets the clock that decides when records expire; the system clock by default.
    ///
    /// It also applies to the members of layers in the URI. See
    /// [`ManualClock`](crate::testing::ManualClock).
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.options.clock = SharedClock::new(clock);
        self
    }
}
