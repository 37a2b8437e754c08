//! The freshness options of a scope.

use std::time::Duration;

/// The time to live: how long a record is fresh after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ttl {
    /// For this duration.
    After(Duration),
    /// For ever, unless a write sets a time to live for its record.
    Never,
}

/// Which callers share the computation of a missing record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SingleFlight {
    /// The callers in one process.
    Process,
    /// The callers in all processes that use the store.
    Shared {
        /// The duration of the lease on a computation. It is renewed at intervals of one third of
        /// this time. If the process dies, a different one computes after the lease has ended.
        lease: Duration,
    },
}

impl SingleFlight {
    /// The default lease of [`SingleFlight::Shared`]: 30 seconds.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);
}

/// What calls with a computation (`get`, its variants and cached functions) do while the store
/// cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnUnavailable {
    /// Return an error.
    Fail,
    /// Compute and return the result without storing it. A scope that cannot be opened is opened by
    /// a later call. `fetch` and writes still return the error.
    Compute,
}

/// The freshness options of a scope, or the defaults that a cache has for its scopes. An option
/// that is `None` is not set.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Freshness {
    /// How long a record is fresh after each write.
    pub ttl: Option<Ttl>,
    /// How long after the expiry `get` may serve the old record while one caller computes a new
    /// one.
    pub stale_while_revalidate: Option<Duration>,
    /// How long after the expiry the old record is served if the computation fails.
    pub stale_if_error: Option<Duration>,
    /// The maximum fraction, from 0 to 1, by which each write randomly shortens the time to live.
    pub jitter: Option<f64>,
    /// How long `get_optional` remembers that there is no record.
    pub negative_ttl: Option<Duration>,
    /// The column that has the expiry of a record.
    pub expires_at: Option<String>,
    /// About how many records are kept; those that expire first are removed first.
    pub max_records: Option<u64>,
    /// Whether writes remove expired records in small steps.
    pub auto_purge: Option<bool>,
    /// Which callers share a computation.
    pub single_flight: Option<SingleFlight>,
    /// What calls with a computation do while the store cannot be reached.
    pub on_unavailable: Option<OnUnavailable>,
}

impl Freshness {
    /// No option is set.
    pub(crate) const NONE: Self = Self {
        ttl: None,
        stale_while_revalidate: None,
        stale_if_error: None,
        jitter: None,
        negative_ttl: None,
        expires_at: None,
        max_records: None,
        auto_purge: None,
        single_flight: None,
        on_unavailable: None,
    };

    /// Returns whether records can expire. If so, they are stored with their expiry.
    pub fn uses_expiry(&self) -> bool {
        self.ttl.is_some() || self.expires_at.is_some() || self.negative_ttl.is_some()
    }

    /// Returns whether records have an expiry: by a `ttl` or a column.
    pub(crate) fn expires(&self) -> bool {
        matches!(self.ttl, Some(Ttl::After(_))) || self.expires_at.is_some()
    }

    /// Returns how long after its expiry a record may be served: the longer of the stale windows.
    pub fn stale_window(&self) -> Duration {
        let windows = [self.stale_while_revalidate, self.stale_if_error];
        windows.into_iter().flatten().max().unwrap_or_default()
    }

    /// Returns the lease of a shared single flight; `None` if processes do not share computations.
    pub fn lease(&self) -> Option<Duration> {
        match self.single_flight {
            Some(SingleFlight::Shared { lease }) => Some(lease),
            _ => None,
        }
    }

    /// Returns these options, with those that are not set taken from `others`.
    pub(crate) fn or(&self, others: &Self) -> Self {
        let (own, given) = (self.clone(), others.clone());
        Self {
            ttl: own.ttl.or(given.ttl),
            stale_while_revalidate: own.stale_while_revalidate.or(given.stale_while_revalidate),
            stale_if_error: own.stale_if_error.or(given.stale_if_error),
            jitter: own.jitter.or(given.jitter),
            negative_ttl: own.negative_ttl.or(given.negative_ttl),
            expires_at: own.expires_at.or(given.expires_at),
            max_records: own.max_records.or(given.max_records),
            auto_purge: own.auto_purge.or(given.auto_purge),
            single_flight: own.single_flight.or(given.single_flight),
            on_unavailable: own.on_unavailable.or(given.on_unavailable),
        }
    }

    /// Returns the options of a scope, with those that are not set taken from the defaults of its
    /// cache where they apply. Windows and jitter apply only to records that expire. A time to live
    /// does not apply to a scope with an expiry column.
    pub(crate) fn with_defaults(&self, defaults: &Self) -> Self {
        let mut merged = self.clone();
        if merged.expires_at.is_none() {
            merged.ttl = merged.ttl.or(defaults.ttl);
        }
        merged.negative_ttl = merged.negative_ttl.or(defaults.negative_ttl);
        merged.single_flight = merged.single_flight.or(defaults.single_flight);
        merged.on_unavailable = merged.on_unavailable.or(defaults.on_unavailable);
        merged.auto_purge = merged.auto_purge.or(defaults.auto_purge);
        if merged.expires() {
            let (own, given) = (merged.stale_while_revalidate, defaults.stale_while_revalidate);
            merged.stale_while_revalidate = own.or(given);
            merged.stale_if_error = merged.stale_if_error.or(defaults.stale_if_error);
            merged.max_records = merged.max_records.or(defaults.max_records);
        }
        if merged.expires_at.is_none() && merged.expires() {
            merged.jitter = merged.jitter.or(defaults.jitter);
        }
        merged
    }
}
