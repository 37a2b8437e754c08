//! What is public of an engine: the bounds of all that takes a Diesel connection.

use std::error::Error as StdError;

use diesel::Connection;
use diesel::connection::LoadConnection;
use diesel::serialize::Output;

use super::checkout::Access;
use super::transaction::{Joined, JoinedStore};
use crate::backends::sql::database;
use crate::backends::sql::dialect::Dialect;
use crate::backends::sql::table::TableInner;
use crate::store::{ScopeStore, Store};
use crate::{ColumnType, Result, Value};

/// An engine that Diesel and hilcat both reach: the Diesel backend of SQLite, PostgreSQL or MySQL,
/// where its cargo feature is on.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the Diesel backend of an engine that hilcat is built for",
    note = "the engines are SQLite, PostgreSQL and MySQL, each with its cargo feature of hilcat"
)]
pub trait Engine: sealed::Engine {
    /// The name of the backend.
    const NAME: &'static str;
}

impl<D: Dialect> Engine for D {
    const NAME: &'static str = D::NAME;
}

/// A Diesel connection as the pool of a cache has them: `diesel::SqliteConnection`, and hilcat's own
/// `PostgresConnection` and `MysqlConnection`, which need no library of C.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the Diesel connection of a cache's pool",
    note = "it is `diesel::SqliteConnection`, `hilcat::backend::PostgresConnection` or `hilcat::backend::MysqlConnection`; `Scope::on` takes any connection to one of the engines"
)]
pub trait Pooled: Connection<Backend: Engine> + sealed::Pooled {}

impl<C> Pooled for C where C: Connection<Backend: Dialect<Connection = C>> {}

pub(crate) mod sealed {
    //! What is public by name alone: only hilcat's own engines have it.

    use super::*;

    pub trait Engine: diesel::backend::Backend + 'static {
        /// Writes a value of a type where Diesel wants a bound value.
        fn encode<'b>(
            value: &'b Value,
            ty: ColumnType,
            out: &mut Output<'b, '_, Self>,
        ) -> diesel::serialize::Result;

        /// Reads a value of a type.
        fn decode(raw: Self::RawValue<'_>, ty: ColumnType) -> Result<Value>;

        /// The scope on a connection; none where it is not of this engine.
        fn join<'a, C>(
            scope: &'a dyn ScopeStore,
            connection: &'a mut C,
        ) -> Option<Box<dyn JoinedStore + 'a>>
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
            <D as Dialect>::encode(value, ty, out)
        }

        fn decode(raw: Self::RawValue<'_>, ty: ColumnType) -> Result<Value> {
            <D as Dialect>::decode(raw, ty)
        }

        fn join<'a, C>(
            scope: &'a dyn ScopeStore,
            connection: &'a mut C,
        ) -> Option<Box<dyn JoinedStore + 'a>>
        where
            C: Connection<Backend = Self> + LoadConnection + 'static,
        {
            let table = scope.table()?.downcast_ref::<TableInner<D>>()?;
            Some(Box::new(Joined { table, connection }))
        }
    }

    pub trait Pooled: Sized {
        /// Lends a connection; none where the store is not of this engine.
        fn lend<T, E>(
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
        fn lend<T, E>(
            store: &dyn Store,
            access: Access,
            call: impl FnOnce(&mut Self) -> Result<T, E>,
        ) -> Option<Result<T>>
        where
            E: Into<Box<dyn StdError + Send + Sync>>,
        {
            let database = store.database()?.downcast_ref::<database::Inner<C::Backend>>()?;
            Some(database.lend(access, call))
        }
    }
}
