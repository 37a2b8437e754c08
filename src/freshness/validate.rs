//! Whether the options of a scope go together.

use std::time::Duration;

use super::{EXPIRES_AT, Freshness, Ttl};
use crate::{ColumnType, Error, Result, Schema};

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

    /// Checks the options as those of a scope.
    ///
    /// # Errors
    ///
    /// As [`validate`](Freshness::validate).
    pub(crate) fn validate_in(&self, schema: &Schema) -> Result<()> {
        self.validate()?;
        if let Some(column) = &self.expires_at {
            check_column(schema, column)?;
            if self.ttl.is_some() {
                return invalid(
                    "`ttl` and `expires_at` both say when a record expires: give one of them"
                        .into(),
                );
            }
            if self.jitter.is_some() {
                return invalid(
                    "`jitter` shortens a `ttl`, and the scope has `expires_at` instead".into(),
                );
            }
        }
        let needs = [
            ("stale_while_revalidate", self.stale_while_revalidate.is_some()),
            ("stale_if_error", self.stale_if_error.is_some()),
            ("jitter", self.jitter.is_some()),
            ("max_records", self.max_records.is_some()),
        ];
        match needs.into_iter().find(|(_, given)| *given && !self.expires()) {
            Some((name, _)) => invalid(format!(
                "`{name}` needs records that expire: give the scope a `ttl` or `expires_at`"
            )),
            None => Ok(()),
        }
    }
}

fn invalid(message: String) -> Result<()> {
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

fn check_column(schema: &Schema, name: &str) -> Result<()> {
    let at = schema.position(name).map_err(|error| {
        Error::invalid_schema(format!("`expires_at` names a column: {}", error.message()))
    })?;
    let column = &schema.columns[at];
    if column.ty != ColumnType::Timestamp {
        return invalid(format!(
            "`expires_at` names the column `{name}` of type {}: it is to be a timestamp",
            column.ty
        ));
    }
    match schema.is_key(at) || name == EXPIRES_AT {
        true => invalid(format!("`expires_at` cannot name the column `{name}`")),
        false => Ok(()),
    }
}
