//! Checking out a pooled connection for the caller's own Diesel queries.

use std::cell::Cell;
use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use diesel::connection::TransactionManager;
use diesel::result::Error as DieselError;
use diesel::{Connection, QueryResult};

use crate::backends::sql::connection::pool::PooledBackend;
use crate::backends::sql::database::DatabaseInner;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::{CallError, from_caller};
use crate::{Error, ErrorKind, Result};

/// The access that the caller needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    Write,
}

impl<D: Dialect> DatabaseInner<D> {
    /// Calls `call` with a pooled connection. A transaction that it leaves open, by a panic or
    /// otherwise, is rolled back.
    ///
    /// # Errors
    ///
    /// The error of `call`, and [`ErrorKind::InvalidInput`] if it left a transaction open.
    pub(crate) fn checkout<T, E>(
        &self,
        access: Access,
        call: impl FnOnce(&mut D::Connection) -> Result<T, E>,
    ) -> Result<T>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let once = Cell::new(Some(call));
        let run_once = |connection: &mut D::Connection| match once.take() {
            Some(call) => run::<D, _, _>(connection, call).map_err(CallError::Hilcat),
            // The pool replaces a connection that was lost before the call began. A call that has
            // begun is never repeated: its errors are the caller's, and have no class.
            None => Err(CallError::Hilcat(Error::new(
                ErrorKind::Unavailable,
                "the connection was lost",
            ))),
        };
        match access {
            Access::Read => self.read_once(run_once),
            Access::Write => self.write(run_once),
        }
    }
}

fn run<D: Dialect, T, E>(
    connection: &mut D::Connection,
    call: impl FnOnce(&mut D::Connection) -> Result<T, E>,
) -> Result<T>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let result = catch_unwind(AssertUnwindSafe(|| call(connection)));
    let rolled_back = roll_back::<D>(connection);
    let value = match result {
        Err(panic) => resume_unwind(panic),
        Ok(result) => result.map_err(|error| caller_failed::<D>(error.into()))?,
    };
    match rolled_back.map_err(|error| CallError::from(error).into_error::<D>())? {
        false => Ok(value),
        true => Err(Error::invalid_input(
            "the closure left a transaction open, which was rolled back; commit it, or use the method `transaction` of the connection",
        )),
    }
}

/// Rolls back any open transaction, and returns whether there was one.
fn roll_back<D: Dialect>(connection: &mut D::Connection) -> QueryResult<bool> {
    type Manager<D> = <<D as PooledBackend>::Connection as Connection>::TransactionManager;
    let mut open = false;
    while Manager::<D>::transaction_manager_status_mut(connection).transaction_depth()?.is_some() {
        Manager::<D>::rollback_transaction(connection)?;
        open = true;
    }
    Ok(open)
}

/// Converts the error of the caller's closure to the public error.
fn caller_failed<D: Dialect>(error: Box<dyn StdError + Send + Sync>) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(error) => return *error,
        Err(error) => error,
    };
    match error.downcast::<DieselError>() {
        Ok(error) => from_caller::<D>(*error),
        Err(other) => Error::new(ErrorKind::Compute, "the closure failed").with_source(other),
    }
}
