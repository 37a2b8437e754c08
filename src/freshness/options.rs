//! The options of a scope that say how long its records are fresh.

use std::time::Duration;

/// How long a record is fresh after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ttl {
    /// For this long.
    After(Duration),
    /// For ever, unless a write gives the record a time to live of its own.
    Never,
}

/// Which callers share the computation of a missing record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SingleFlight {
    /// Those of one process.
    Process,
    /// Those of all processes that use the store.
    Shared {
        /// How long a process that computes keeps the right to do so without renewing it. It renews
        /// it every third of this time; if it dies, another process takes over afterwards.
        lease: Duration,
    },
}

impl SingleFlight {
    /// The lease of a shared single flight that names none: 30 seconds.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);
}

/// What `get` and its kin do while the store cannot be reached: the calls that are given a
/// computation, and cached functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnUnavailable {
    /// They fail.
    Fail,
    /// They compute and return, without storing. A scope that cannot be opened is opened by a later
    /// call. `fetch` and what writes report the error nonetheless.
    Compute,
}

/// What a scope says about the freshness of its records, or what a cache says for all scopes that
/// say nothing themselves. Whatever is `None` is not said.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Freshness {
    /// How long a record is fresh after each write.
    pub ttl: Option<Ttl>,
    /// After that, how long `get` may serve the old record while one caller computes a new one.
    pub stale_while_revalidate: Option<Duration>,
    /// After that, how long the old record is served if the computation fails.
    pub stale_if_error: Option<Duration>,
    /// The part of the time to live, from 0 to 1, by which each write shortens it at random at the
    /// most.
    pub jitter: Option<f64>,
    /// How long `get_optional` remembers that there is no record.
    pub negative_ttl: Option<Duration>,
    /// The column that says when a record stops being fresh.
    pub expires_at: Option<String>,
    /// How many records are kept about; those that expire first go first.
    pub max_records: Option<u64>,
    /// Whether writes remove expired records in small steps.
    pub auto_purge: Option<bool>,
    /// Which callers share a computation.
    pub single_flight: Option<SingleFlight>,
    /// What is done while the store cannot be reached.
    pub on_unavailable: Option<OnUnavailable>,
}

impl Freshness {
    /// Nothing is said.
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

    /// Whether records can expire: then they carry when.
    pub fn uses_expiry(&self) -> bool {
        self.ttl.is_some() || self.expires_at.is_some() || self.negative_ttl.is_some()
    }

    /// Whether something says when a record stops being fresh.
    pub(crate) fn expires(&self) -> bool {
        matches!(self.ttl, Some(Ttl::After(_))) || self.expires_at.is_some()
    }

    /// How long after its expiry a record may still be served: the longer of the stale windows.
    pub fn stale_window(&self) -> Duration {
        let windows = [self.stale_while_revalidate, self.stale_if_error];
        windows.into_iter().flatten().max().unwrap_or_default()
    }

    /// The lease of a shared single flight; `None` if computations are not shared by processes.
    pub fn lease(&self) -> Option<Duration> {
        match self.single_flight {
            Some(SingleFlight::Shared { lease }) => Some(lease),
            _ => None,
        }
    }

    /// These options, and what they leave out from others.
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

    /// The options of a scope with those of its cache: what the scope leaves out and what of that
    /// applies. Windows and jitter need something that expires, and a column that says when records
    /// expire leaves no room for a time to live.
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
