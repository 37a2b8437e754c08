//! Listings of keys and rows, without those that are expired.

use super::{Core, in_one_step};
use crate::store::{Keys, Rows};
use crate::{Error, Result, Row};

impl Core {
    pub(crate) fn keys(&self) -> Result<Keys> {
        let keys = in_one_step(|| match &self.expiry {
            Some(expiry) => self.store.live_keys(expiry.now()),
            None => self.store.keys(),
        });
        Ok(self.listed("keys", keys.map_err(|error| self.with_context("keys", None, error))?))
    }

    pub(crate) fn rows(&self) -> Result<Rows> {
        let rows = in_one_step(|| match &self.expiry {
            Some(expiry) => {
                let (now, expiry) = (expiry.now(), expiry.clone());
                let rows = self.store.live_rows(now)?;
                let live = move |row: Result<Row>| match row {
                    Ok(row) => expiry.live_at(row, now).map(Ok),
                    Err(error) => Some(Err(error)),
                };
                Ok(Box::new(rows.filter_map(live)) as Rows)
            }
            None => self.store.rows(),
        });
        Ok(self.listed("iter", rows.map_err(|error| self.with_context("iter", None, error))?))
    }

    /// Adds context to the errors of a listing.
    fn listed<T: 'static>(
        &self,
        operation: &'static str,
        items: Box<dyn Iterator<Item = Result<T>> + Send>,
    ) -> Box<dyn Iterator<Item = Result<T>> + Send> {
        let (backend, schema) = (self.backend, self.schema.clone());
        let with_context =
            move |error: Error| error.in_operation(backend, operation).with_scope(&schema.name);
        Box::new(items.map(move |item| item.map_err(&with_context)))
    }
}
