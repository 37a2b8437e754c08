//! Diesel's traits of a connection.

use diesel::QueryResult;
use diesel::connection::{
    AnsiTransactionManager, CacheSize, Connection, ConnectionSealed, Instrumentation,
    LoadConnection, SimpleConnection, TransactionManager,
};
use diesel::expression::QueryMetadata;
use diesel::migration::{CREATE_MIGRATIONS_TABLE, MigrationConnection};
use diesel::pg::{GetPgMetadataCache, Pg, PgMetadataCache};
use diesel::query_builder::{Query, QueryFragment, QueryId};
use diesel::r2d2::R2D2Connection;
use diesel::result::{ConnectionError, ConnectionResult};
use futures_util::TryStreamExt;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, RowStream};

use super::PostgresConnection;
use super::row::{Bind, PgRow};
use super::session::Session;

impl ConnectionSealed for PostgresConnection {}

impl SimpleConnection for PostgresConnection {
    fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        let with_settings = match self.is_in_transaction() {
            Ok(false) => self.session.with_settings(sql),
            _ => None,
        };
        let sql = with_settings.as_deref().unwrap_or(sql);
        self.run(async |client| client.batch_execute(sql).await)
    }
}

impl Connection for PostgresConnection {
    type Backend = Pg;
    type TransactionManager = AnsiTransactionManager;

    fn establish(_: &str) -> ConnectionResult<Self> {
        Err(ConnectionError::InvalidConnectionUrl("use PostgresConnection::open".to_owned()))
    }

    fn execute_returning_count<T>(&mut self, source: &T) -> QueryResult<usize>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        let count = match self.session {
            Session::Own => {
                let (statement, binds) = self.prepare(source)?;
                self.run(async |client| client.execute_raw(&statement, binds).await)?
            }
            Session::Shared { .. } => {
                let (sql, binds) = self.text(source)?;
                self.run_in_transaction(async |client| execute_text(client, &sql, &binds).await)?
            }
        };
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn transaction_state(
        &mut self,
    ) -> &mut <AnsiTransactionManager as TransactionManager<Self>>::TransactionStateData {
        &mut self.transaction
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        &mut *self.instrumentation
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.instrumentation = instrumentation.into();
    }

    fn set_prepared_statement_cache_size(&mut self, _: CacheSize) {}
}

impl LoadConnection for PostgresConnection {
    type Cursor<'conn, 'query> =
        std::iter::Map<std::vec::IntoIter<PgRow>, fn(PgRow) -> QueryResult<PgRow>>;
    type Row<'conn, 'query> = PgRow;

    fn load<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> QueryResult<Self::Cursor<'conn, 'query>>
    where
        T: Query + QueryFragment<Pg> + QueryId + 'query,
        Pg: QueryMetadata<T::SqlType>,
    {
        let rows = match self.session {
            Session::Own => {
                let (statement, binds) = self.prepare(&source)?;
                self.run(async |client| collect(client.query_raw(&statement, binds).await?).await)?
            }
            Session::Shared { .. } => {
                let (sql, binds) = self.text(&source)?;
                self.run_in_transaction(async |client| {
                    collect(client.query_typed_raw(&sql, binds).await?).await
                })?
            }
        };
        Ok(rows.into_iter().map(Ok as fn(PgRow) -> QueryResult<PgRow>))
    }
}

/// The cache of types that are not built in, which Diesel looks up with a query.
impl GetPgMetadataCache for PostgresConnection {
    fn get_metadata_cache(&mut self) -> &mut PgMetadataCache {
        &mut self.types
    }
}

impl MigrationConnection for PostgresConnection {
    fn setup(&mut self) -> QueryResult<usize> {
        self.batch_execute(CREATE_MIGRATIONS_TABLE).map(|()| 0)
    }
}

impl R2D2Connection for PostgresConnection {
    fn ping(&mut self) -> QueryResult<()> {
        self.batch_execute("")
    }

    fn is_broken(&mut self) -> bool {
        self.driver.is_none() || AnsiTransactionManager::is_broken_transaction_manager(self)
    }
}

async fn collect(rows: RowStream) -> Result<Vec<PgRow>, tokio_postgres::Error> {
    rows.map_ok(PgRow).try_collect().await
}

/// Executes a statement without a name.
async fn execute_text(
    client: &Client,
    sql: &str,
    binds: &[(Bind, Type)],
) -> Result<u64, tokio_postgres::Error> {
    let binds = binds.iter().map(|(bind, ty)| (bind as &(dyn ToSql + Sync), ty.clone()));
    client.execute_typed(sql, &binds.collect::<Vec<_>>()).await
}
