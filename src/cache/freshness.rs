//! What a cache says of the freshness of records, and how it is honoured.

use std::time::Duration;

use super::{Cache, CacheBuilder};
use crate::clock::{Clock, SharedClock};
use crate::freshness::{EXPIRES_AT, Freshness, OnUnavailable, SingleFlight, Ttl};
use crate::store::ABSENT;
use crate::store::ExpirySupport;
use crate::{Error, Result, Schema};

impl Cache {
    /// A schema with what the cache says for those that do not say it themselves, as far as a scope
    /// of that schema can honour it here.
    pub(super) fn with_defaults(&self, mut schema: Schema) -> Schema {
        // A scope of hilcat's own says all that is to be said of it.
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
        // Where it cannot be told, opening the scope says why.
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

    /// What becomes of the expiry of records in a scope. A table of another program has no column
    /// for it.
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

    /// Refuses what a scope says of freshness and cannot have.
    pub(super) fn check_freshness(&self, schema: &Schema) -> Result<()> {
        let (able, said) = (self.capabilities(), &schema.freshness);
        if schema.has_own_expiry_column() {
            return Err(Error::invalid_schema(format!(
                "the column name `{EXPIRES_AT}` is hilcat's own: give the column another name"
            )));
        }
        let unsupported = |option: &str, why: &str| {
            Err(Error::unsupported(format!("`{option}` cannot be honoured: {why}")))
        };
        let needed = expiry_options(said);
        let unmet = |expiry| needed.iter().find(|(_, needed)| !needed.is_met_by(expiry));
        if unmet(ExpirySupport::Unsupported).is_some() {
            let expiry = self.expiry_in(schema)?;
            if let Some((option, _)) = unmet(expiry) {
                return unsupported(option, self.why_not());
            }
        }
        if said.max_records.is_some() && !able.max_records {
            return unsupported(
                "max_records",
                "the number of records can be bounded in tables, files and sqlite+kv; for memory say `max_entries` in the URI",
            );
        }
        if said.lease().is_some() && !able.shared_single_flight {
            let why = match able.persistent {
                true => "the backend, in this layout, has no place for leases",
                false => "no other process uses the store",
            };
            return unsupported("single_flight = \"shared\"", why);
        }
        Ok(())
    }

    fn why_not(&self) -> &'static str {
        match self.capabilities().expiry {
            ExpirySupport::Full => {
                "the table is that of another program and has no column for the expiry; name one of its columns by `expires_at`"
            }
            ExpirySupport::ByColumn => {
                "in this layout a record has no place for its expiry but a column of its own; name one by `expires_at`"
            }
            ExpirySupport::Removal => {
                "in this layout the server removes expired records, and there is no place for their expiry: `ttl` alone is honoured; the other layouts and backends honour all options"
            }
            ExpirySupport::Unsupported => "the backend keeps no expiry of records",
        }
    }

    /// Removes the records that are past their last stale window, in all scopes of the store, be
    /// they opened or not, and gives how many they were.
    ///
    /// They are removed in batches of up to 1,000, each in a step of its own that has its own
    /// deadline, and holds no lock longer; an error leaves what was removed before it.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    pub fn purge(&self) -> Result<u64> {
        let store = &self.inner.store;
        let scopes = store.scopes();
        let scopes = scopes.map_err(|error| error.in_operation(store.name(), "purge"))?;
        scopes.iter().try_fold(0, |removed, scope| Ok(removed + self.purge_scope(scope)?))
    }

    /// Removes the same in one scope, be it opened or not.
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

/// What an option needs of a backend.
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

fn expiry_options(said: &Freshness) -> [(&'static str, Needs); 5] {
    let needs = |given: bool, needs: Needs| if given { needs } else { Needs::Nothing };
    [
        ("ttl", needs(said.ttl.is_some(), Needs::Removal)),
        ("stale_while_revalidate", needs(said.stale_while_revalidate.is_some(), Needs::Full)),
        ("stale_if_error", needs(said.stale_if_error.is_some(), Needs::Full)),
        ("negative_ttl", needs(said.negative_ttl.is_some(), Needs::Full)),
        ("expires_at", needs(said.expires_at.is_some(), Needs::Full)),
    ]
}

/// What is said of freshness for scopes that do not say it themselves. It applies where a scope can
/// honour it. An option in the URI goes before.
impl CacheBuilder {
    /// Sets how long records are fresh after each write.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.freshness.ttl = Some(Ttl::After(ttl));
        self
    }

    /// Sets how long after a record's expiry `get` may serve it while one caller computes a new one.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.options.freshness.stale_while_revalidate = Some(window);
        self
    }

    /// Sets how long after a record's expiry it is served if the computation fails.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.options.freshness.stale_if_error = Some(window);
        self
    }

    /// Sets the part of the time to live, more than 0 and less than 1, by which each write shortens
    /// it at random at the most.
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.options.freshness.jitter = Some(jitter);
        self
    }

    /// Sets how long `get_optional` remembers that there is no record.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.options.freshness.negative_ttl = Some(ttl);
        self
    }

    /// Sets how many records each scope keeps; those that expire first go first.
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

    /// Sets what `get` and its kin do while the store cannot be reached; they fail by default.
    ///
    /// Whatever is set, a cache on a server has a circuit breaker: after five calls in a row that
    /// ended as [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`Timeout`](crate::ErrorKind::Timeout) calls fail or compute at once, until the server answers
    /// a probe, which is sent after 100 ms and then with pauses that grow to 2 s. Waiting for a
    /// connection of the pool or for a lock does not count.
    pub fn on_unavailable(mut self, on_unavailable: OnUnavailable) -> Self {
        self.options.freshness.on_unavailable = Some(on_unavailable);
        self
    }

    /// Sets the clock by which records expire, also in the members of layers that the URI names;
    /// that of the system by default. See [`ManualClock`](crate::testing::ManualClock).
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.options.clock = SharedClock::new(clock);
        self
    }
}
