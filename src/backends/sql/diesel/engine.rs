//! The public traits that bound Diesel connections and their engines.

use std::error::Error as StdError;

use diesel::Connection;
use diesel::connection::LoadConnection;
use diesel::serialize::Output;

use super::checkout::Access;
use super::transaction::{TableTransaction, TransactionStore};
use crate::backends::sql::database::DatabaseInner;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::statement::ValueCodec;
use crate::backends::sql::table::TableInner;
use crate::store::{ScopeStore, Store};
use crate::{ColumnType, Result, Value};

/// A Diesel backend that hilcat supports: SQLite, PostgreSQL or MySQL, each with its cargo feature.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a Diesel backend that hilcat is built for",
    note = "the backends are SQLite, PostgreSQL and MySQL, each with a cargo feature of hilcat"
)]
pub trait Engine: sealed::Engine {
    /// The name of hilcat's backend, as in [`Cache::backend`](crate::Cache::backend).
    const NAME: &'static str;
}

impl<D: Dialect> Engine for D {
    const NAME: &'static str = D::NAME;
}

/// A Diesel connection that the pool of a cache holds: `diesel::SqliteConnection`, or hilcat's own
/// `PostgresConnection` and `MysqlConnection`, which need no C library.
#[diagnostic::on_unimplemented(
    message = "the pool of a cache holds no `{Self}`",
    note = "use `diesel::SqliteConnection`, `hilcat::backend::PostgresConnection` or `hilcat::backend::MysqlConnection`; `Scope::on` accepts any Diesel connection to one of their engines"
)]
pub trait Pooled: Connection<Backend: Engine> + sealed::Pooled {}

impl<C> Pooled for C where C: Connection<Backend: Dialect<Connection = C>> {}

pub(crate) mod sealed {
    //! Supertraits that only hilcat's own types implement.

    use super::*;

    pub trait Engine: diesel::backend::Backend + 'static {
        /// Writes a value of a column type to Diesel's buffer for a bound value.
        fn encode<'b>(
            value: &'b Value,
            ty: ColumnType,
            out: &mut Output<'b, '_, Self>,
        ) -> diesel::serialize::Result;

        /// Reads a value of a column type.
        fn decode(raw: Self::RawValue<'_>, ty: ColumnType) -> Result<Value>;

        /// Returns the operations of a scope on a connection, or `None` if the scope is stored by
        /// another engine.
        fn transaction_store<'a, C>(
            scope: &'a dyn ScopeStore,
            connection: &'a mut C,
        ) -> Option<Box<dyn TransactionStore + 'a>>
        where
            C: Connection<Backend = Self> + LoadConnection + 'static;
    }

    impl<D: Dialect> Engine for D {
        fn encode<'b>(
            value: &'b Value,
            ty: ColumnType,
            out: &mut Output<'b, '_, Self>,
        ) -> diesel::serialize::Result {
            D::check_value(value)?;
            <D as ValueCodec>::encode(value, ty, out)
        }

        fn decode(raw: Self::RawValue<'_>, ty: ColumnType) -> Result<Value> {
            <D as ValueCodec>::decode(raw, ty)
        }

        fn transaction_store<'a, C>(
            scope: &'a dyn ScopeStore,
            connection: &'a mut C,
        ) -> Option<Box<dyn TransactionStore + 'a>>
        where
            C: Connection<Backend = Self> + LoadConnection + 'static,
        {
            let table = scope.table()?.downcast_ref::<TableInner<D>>()?;
            Some(Box::new(TableTransaction { table, connection }))
        }
    }

    pub trait Pooled: Sized {
        /// Calls `call` with a pooled connection. Returns `None` if the store has no such
        /// connections.
        fn checkout<T, E>(
            store: &dyn Store,
            access: Access,
            call: impl FnOnce(&mut Self) -> Result<T, E>,
        ) -> Option<Result<T>>
        where
            E: Into<Box<dyn StdError + Send + Sync>>;
    }

    impl<C> Pooled for C
    where
        C: Connection<Backend: Dialect<Connection = C>>,
    {
        fn checkout<T, E>(
            store: &dyn Store,
            access: Access,
            call: impl FnOnce(&mut Self) -> Result<T, E>,
        ) -> Option<Result<T>>
        where
            E: Into<Box<dyn StdError + Send + Sync>>,
        {
            let database = store.database()?.downcast_ref::<DatabaseInner<C::Backend>>()?;
            Some(database.checkout(access, call))
        }
    }
}
