//! Validation of the options of a scope.

use std::time::Duration;

use super::{Freshness, Ttl};
use crate::{Error, Result};

/// The shortest lease. A process renews a lease at intervals of one third of its duration.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

impl Freshness {
    /// Checks each option by itself, independent of a schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSchema`](crate::ErrorKind::InvalidSchema), naming the option.
    pub(crate) fn validate(&self) -> Result<()> {
        let ttl = match self.ttl {
            Some(Ttl::After(ttl)) => Some(ttl),
            _ => None,
        };
        let durations = [
            ("ttl", ttl),
            ("stale_while_revalidate", self.stale_while_revalidate),
            ("stale_if_error", self.stale_if_error),
            ("negative_ttl", self.negative_ttl),
            ("lease", self.lease()),
        ];
        durations.into_iter().try_for_each(|(name, duration)| check_duration(name, duration))?;
        if self.lease().is_some_and(|lease| lease < SHORTEST_LEASE) {
            return invalid(
                "`lease` must be at least 100ms: it is renewed at intervals of one third of it"
                    .into(),
            );
        }
        if self.jitter.is_some_and(|jitter| !(jitter > 0.0 && jitter < 1.0)) {
            return invalid(
                "`jitter` must be a fraction of the time to live: more than 0 and less than 1, or 100%"
                    .into(),
            );
        }
        match self.max_records {
            Some(0) => invalid("`max_records` must be at least 1".into()),
            _ => Ok(()),
        }
    }
}

pub(crate) fn invalid(message: String) -> Result<()> {
    Err(Error::invalid_schema(message))
}

fn check_duration(name: &str, duration: Option<Duration>) -> Result<()> {
    match duration {
        Some(time) if time.is_zero() || time.subsec_nanos() % 1_000_000 != 0 => {
            invalid(format!("`{name}` must be in whole milliseconds, at least 1"))
        }
        _ => Ok(()),
    }
}
