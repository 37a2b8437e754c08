//! Checks the freshness options against the columns of a scope.

use super::{ColumnType, Schema};
use crate::freshness::{EXPIRES_AT, Freshness, invalid};
use crate::{Error, Result};

impl Freshness {
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
                    "`ttl` and `expires_at` both set the expiry of a record: keep one of them"
                        .into(),
                );
            }
            if self.jitter.is_some() {
                return invalid(
                    "`jitter` shortens a `ttl`, but the scope has `expires_at`: remove `jitter`"
                        .into(),
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

fn check_column(schema: &Schema, name: &str) -> Result<()> {
    let at = schema.position(name).map_err(|error| {
        Error::invalid_schema(format!("`expires_at` names a column: {}", error.message()))
    })?;
    let column = &schema.columns[at];
    if column.ty != ColumnType::Timestamp {
        return invalid(format!(
            "`expires_at` names the column `{name}` of type {}: it must be a timestamp",
            column.ty
        ));
    }
    match schema.is_key(at) || name == EXPIRES_AT {
        true => invalid(format!("`expires_at` cannot name the column `{name}`")),
        false => Ok(()),
    }
}
