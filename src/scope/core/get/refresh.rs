//! `refresh`: computes a record even if one is stored.

use std::error::Error as StdError;
#[cfg(feature = "async")]
use std::sync::Arc;

use super::Request;
use crate::compute::{ComputeGuard, Role};
use crate::remote::CallClock;
use crate::scope::Core;
use crate::{Error, ErrorKind, Key, Result, Row};

/// The state of the store before a refresh computed.
enum Seen {
    Stored(Option<Row>),
    /// The store cannot be reached: nothing is stored.
    Down,
}

impl Core {
    /// Computes a record even if one is stored, and stores it. If the key was written meanwhile,
    /// the stored record is kept and returned.
    pub(crate) fn refresh<E>(
        &self,
        key: Result<Key>,
        compute: impl FnOnce() -> Result<Row, E>,
    ) -> Result<Row>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let request = self.request("refresh", key, false)?;
        let clock = CallClock::default();
        let guard = loop {
            match self.flights.claim(&request.key, &self.schema) {
                Ok(Role::Compute(guard)) => break guard,
                Ok(Role::Take(Some(row))) => return Ok(row),
                Ok(Role::Take(None) | Role::Retry) => {}
                Err(error) => self.void_own(&request, error)?,
            }
        };
        let seen = clock.step(|| self.see(&request))?;
        let row = compute().map_err(|error| self.computing_failed(&request, error))?;
        clock.step(|| self.store_refreshed(&request, guard, seen, row))
    }

    /// Like [`refresh`](Core::refresh), for a future.
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
        let request = Arc::new(self.request("refresh", key, false)?);
        let clock = Arc::new(CallClock::default());
        let guard = loop {
            match self.flights.claim_async(&request.key, &self.schema).await {
                Ok(Role::Compute(guard)) => break guard,
                Ok(Role::Take(Some(row))) => return Ok(row),
                Ok(Role::Take(None) | Role::Retry) => {}
                Err(error) => {
                    let request = request.clone();
                    self.run_blocking(move |core| core.void_own(&request, error)).await?;
                }
            }
        };
        let (lookup_clock, key) = (clock.clone(), request.clone());
        let seen = self.run_blocking(move |core| lookup_clock.step(|| core.see(&key))).await?;
        let row = guard.compute(compute).await;
        let row = row.map_err(|error| self.computing_failed(&request, error))?;
        let store =
            move |core: &Self| clock.step(|| core.store_refreshed(&request, guard, seen, row));
        self.finish_blocking(store).await
    }

    /// Voids the computation of the key that called this refresh, as a write of the key would.
    ///
    /// The refresh would otherwise wait for itself; it then claims the key instead.
    fn void_own(&self, request: &Request, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::ComputeCycle => {
                self.flights.void([request.key.clone()]);
                Ok(())
            }
            _ => Err(self.failed(request, error)),
        }
    }

    /// Reads the stored record to replace, expired or not.
    fn see(&self, request: &Request) -> Result<Seen> {
        match self.store.fetch(&request.key) {
            Ok(row) => Ok(Seen::Stored(row)),
            Err(error) if self.computes_despite(&error) => Ok(Seen::Down),
            Err(error) => Err(self.failed(request, error)),
        }
    }

    /// Stores a refreshed row unless the key was written since [`see`](Core::see) read it, and
    /// returns the result of `refresh`.
    fn store_refreshed(
        &self,
        request: &Request,
        guard: ComputeGuard,
        seen: Seen,
        row: Row,
    ) -> Result<Row> {
        let row = self.validate_row(request.operation, Ok(row))?;
        self.check_computed(request, &row)?;
        let Seen::Stored(seen) = seen else {
            guard.land(&self.schema, Some(&row));
            return Ok(row);
        };
        match self.replace_seen(request, guard, seen, &row) {
            Ok(None) => {}
            Ok(Some(stored)) => return Ok(stored),
            Err(error) if self.computes_despite(&error) => {}
            Err(error) => return Err(self.failed(request, error)),
        }
        Ok(row)
    }

    /// Replaces the row, or returns the stored one if the key was written meanwhile.
    fn replace_seen(
        &self,
        request: &Request,
        guard: ComputeGuard,
        seen: Option<Row>,
        row: &Row,
    ) -> Result<Option<Row>> {
        let replaced = guard.begin_storing() && {
            match self.replace(request, seen, row) {
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
        Ok(self.live(self.store.fetch(&request.key)?))
    }

    fn replace(&self, request: &Request, seen: Option<Row>, row: &Row) -> Result<bool> {
        self.end_absence(std::slice::from_ref(&request.key))?;
        self.store.replace_unchanged(seen.as_ref(), self.stamp(row.clone(), None))
    }
}
