//! `refresh`: computes a record whatever is stored.

use std::error::Error as StdError;
#[cfg(feature = "async")]
use std::sync::Arc;

use super::Asked;
use crate::compute::{ComputeGuard, Role};
use crate::remote::CallClock;
use crate::scope::Core;
use crate::{Error, ErrorKind, Key, Result, Row};

/// What a refresh found before it computed.
enum Seen {
    Stored(Option<Row>),
    /// The store cannot be reached: nothing is stored.
    Down,
}

impl Core {
    /// Computes a record whatever is stored, and stores it unless the key was written meanwhile;
    /// then the stored record is returned.
    pub(crate) fn refresh<E>(
        &self,
        key: Result<Key>,
        compute: impl FnOnce() -> Result<Row, E>,
    ) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let asked = self.asked("refresh", key, false)?;
        let clock = CallClock::default();
        let guard = loop {
            match self.flights.claim(&asked.key, &self.schema) {
                Ok(Role::Compute(guard)) => break guard,
                Ok(Role::Take(Some(row))) => return Ok(row),
                Ok(Role::Take(None) | Role::Retry) => {}
                Err(error) => self.void_own(&asked, error)?,
            }
        };
        let seen = clock.step(|| self.see(&asked))?;
        let row = compute().map_err(|error| self.computing_failed(&asked, error))?;
        clock.step(|| self.store_refreshed(&asked, guard, seen, row))
    }

    /// The same for a computation that is a future.
    #[cfg(feature = "async")]
    pub(crate) async fn refresh_async<E, F>(
        self: &Arc<Self>,
        key: Result<Key>,
        compute: impl FnOnce() -> F,
    ) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<Row, E>>,
    {
        let asked = Arc::new(self.asked("refresh", key, false)?);
        let clock = Arc::new(CallClock::default());
        let guard = loop {
            match self.flights.claim_async(&asked.key, &self.schema).await {
                Ok(Role::Compute(guard)) => break guard,
                Ok(Role::Take(Some(row))) => return Ok(row),
                Ok(Role::Take(None) | Role::Retry) => {}
                Err(error) => {
                    let asked = asked.clone();
                    self.run_blocking(move |core| core.void_own(&asked, error)).await?;
                }
            }
        };
        let (looks, key) = (clock.clone(), asked.clone());
        let seen = self.run_blocking(move |core| looks.step(|| core.see(&key))).await?;
        let row = guard.compute(compute).await;
        let row = row.map_err(|error| self.computing_failed(&asked, error))?;
        let store =
            move |core: &Self| clock.step(|| core.store_refreshed(&asked, guard, seen, row));
        self.finish_blocking(store).await
    }

    /// A refresh that the computation of its own key asks for would wait for itself: it makes that
    /// computation void, as every write of the key does, and takes its place.
    fn void_own(&self, asked: &Asked, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::ComputeCycle => {
                self.flights.void([asked.key.clone()]);
                Ok(())
            }
            _ => Err(self.failed(asked, error)),
        }
    }

    /// The stored record that a refresh is to replace, expired or not.
    fn see(&self, asked: &Asked) -> Result<Seen> {
        match self.store.fetch(&asked.key) {
            Ok(row) => Ok(Seen::Stored(row)),
            Err(error) if self.computes_despite(&error) => Ok(Seen::Down),
            Err(error) => Err(self.failed(asked, error)),
        }
    }

    /// Stores a refreshed row unless the key was written since the record was seen that it replaces,
    /// and gives what `refresh` returns.
    fn store_refreshed(
        &self,
        asked: &Asked,
        guard: ComputeGuard,
        seen: Seen,
        row: Row,
    ) -> Result<Row> {
        let row = self.validate_row(asked.operation, Ok(row))?;
        self.check_computed(asked, &row)?;
        let Seen::Stored(seen) = seen else {
            guard.land(&self.schema, Some(&row));
            return Ok(row);
        };
        match self.replace_seen(asked, guard, seen, &row) {
            Ok(None) => {}
            Ok(Some(stored)) => return Ok(stored),
            Err(error) if self.computes_despite(&error) => {}
            Err(error) => return Err(self.failed(asked, error)),
        }
        Ok(row)
    }

    /// Returns the stored row if it was written meanwhile.
    fn replace_seen(
        &self,
        asked: &Asked,
        guard: ComputeGuard,
        seen: Option<Row>,
        row: &Row,
    ) -> Result<Option<Row>> {
        let replaced = guard.begin_storing() && {
            match self.replace(asked, seen, row) {
                Err(error) if self.computes_despite(&error) => {
                    guard.land(&self.schema, Some(row));
                    return Ok(None);
                }
                replaced => replaced?,
            }
        };
        if replaced {
            guard.land(&self.schema, Some(row));
            self.after_writes(1);
            return Ok(None);
        }
        drop(guard);
        Ok(self.live(self.store.fetch(&asked.key)?))
    }

    fn replace(&self, asked: &Asked, seen: Option<Row>, row: &Row) -> Result<bool> {
        self.end_absence(std::slice::from_ref(&asked.key))?;
        self.store.replace_unchanged(seen.as_ref(), self.stamp(row.clone(), None))
    }
}
