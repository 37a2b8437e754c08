//! Whether the options of a scope go together.

use std::time::Duration;

use super::{Freshness, Ttl};
use crate::{Error, Result};

/// The shortest lease: a process renews it every third of it.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

impl Freshness {
    /// Checks the options by themselves, as those of a cache are.
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
            return invalid("`lease` is at least 100ms: it is renewed every third of it".into());
        }
        if self.jitter.is_some_and(|jitter| !(jitter > 0.0 && jitter < 1.0)) {
            return invalid(
                "`jitter` is a part of the time to live: more than 0 and less than 1, or 100%"
                    .into(),
            );
        }
        match self.max_records {
            Some(0) => invalid("`max_records` is a number from 1".into()),
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
            invalid(format!("`{name}` is in whole milliseconds, from 1"))
        }
        _ => Ok(()),
    }
}
