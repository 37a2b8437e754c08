//! A pooled connection lent to the caller, for Diesel queries of his own.

use std::cell::Cell;
use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use diesel::connection::TransactionManager;
use diesel::result::Error as DieselError;
use diesel::{Connection, QueryResult};

use crate::backends::sql::database::Inner;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::error::{CallError, from_caller};
use crate::{Error, ErrorKind, Result};

/// What the caller wants a connection for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To write, too.
    Write,
}

impl<D: Dialect> Inner<D> {
    /// Lends a connection. It comes back without a transaction: one that the caller leaves open,
    /// by a panic or otherwise, is rolled back.
    pub(crate) fn lend<T, E>(
        &self,
        access: Access,
        call: impl FnOnce(&mut D::Connection) -> Result<T, E>,
    ) -> Result<T>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let once = Cell::new(Some(call));
        let lent = |connection: &mut D::Connection| match once.take() {
            Some(call) => run::<D, _, _>(connection, call).map_err(CallError::Hilcat),
            // A call whose connection was lost before it began has another one; no other is
            // repeated, since its errors do not say what they are of.
            None => Err(CallError::Hilcat(Error::new(
                ErrorKind::Unavailable,
                "the connection was lost",
            ))),
        };
        match access {
            Access::Read => self.read_once(lent),
            Access::Write => self.write(lent),
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
            "the closure left a transaction open, which was rolled back: end it, or use `transaction` of the connection",
        )),
    }
}

/// Rolls back what is open, and says whether anything was.
fn roll_back<D: Dialect>(connection: &mut D::Connection) -> QueryResult<bool> {
    type Manager<D> = <<D as Dialect>::Connection as Connection>::TransactionManager;
    let mut open = false;
    while Manager::<D>::transaction_manager_status_mut(connection).transaction_depth()?.is_some() {
        Manager::<D>::rollback_transaction(connection)?;
        open = true;
    }
    Ok(open)
}

/// The public error for that of the caller's closure.
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
