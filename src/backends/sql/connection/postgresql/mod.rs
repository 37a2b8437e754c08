//! A Diesel connection to PostgreSQL in pure Rust.
//!
//! tokio-postgres implements the protocol, and the calling thread drives it over a blocking socket.
//! There is no asynchronous runtime, so that a connection can be used anywhere, even within one.

mod blocking;
mod diesel;
mod error;
mod row;
mod session;
mod target;
mod tls;

use std::any::TypeId;
use std::collections::HashMap;
use std::task::Poll;

use ::diesel::QueryResult;
use ::diesel::connection::{AnsiTransactionManager, DynInstrumentation, TransactionManager};
use ::diesel::pg::{Pg, PgMetadataCache, PgQueryBuilder, PgTypeMetadata};
use ::diesel::query_builder::bind_collector::RawBytesBindCollector;
use ::diesel::query_builder::{QueryBuilder, QueryFragment, QueryId};
use ::diesel::result::Error;
use futures_util::future::join3;
use tokio_postgres::types::{Kind, Type};
use tokio_postgres::{Client, Statement};

use self::blocking::{BlockingIo, DriverIo};
pub(in crate::backends::sql) use self::error::OUTDATED_PLAN;
use self::row::Bind;
pub use self::session::Pooler;
use self::session::Session;
pub(in crate::backends::sql) use self::target::Target;
use self::tls::{Connector, EncryptedIo};
use super::error::{closed, code, is_closed};
use crate::backends::sql::error::CallError;
use crate::remote::{Deadline, Socket};

type Driver = tokio_postgres::Connection<DriverIo, EncryptedIo<DriverIo>>;

/// The key of a prepared statement: its query's type if it has one, otherwise its text.
#[derive(PartialEq, Eq, Hash)]
enum StatementKey {
    Type(TypeId),
    Text(String),
}

/// A connection to PostgreSQL.
#[doc(alias = "PgLink")]
pub struct PostgresConnection {
    client: Client,
    /// `None` after the connection has ended. Dropping the driver cancels its requests.
    driver: Option<Driver>,
    io: BlockingIo,
    deadline: Deadline,
    session: Session,
    statements: HashMap<StatementKey, Statement, foldhash::fast::RandomState>,
    transaction: AnsiTransactionManager,
    types: PgMetadataCache,
    instrumentation: DynInstrumentation,
}

impl PostgresConnection {
    /// Connects and logs in.
    pub(in crate::backends::sql) fn open(target: &Target) -> crate::Result<Self> {
        let deadline = Deadline::of_call(target.connect_timeout);
        let socket = Socket::connect(&target.endpoint, target.max_response, deadline)
            .map_err(|error| target.endpoint.unreachable(&error))?;
        let io = BlockingIo::new(socket);
        let tls = Connector { config: target.tls.clone(), host: target.endpoint.host().to_owned() };
        let connecting = target.config();
        let connecting = connecting.connect_raw(io.driver_io(), tls);
        let (client, driver) =
            io.block_on(connecting, |_| {}).map_err(|error| error::of_connecting(&error))?;
        match driver.parameter("server_encoding") {
            Some("UTF8") => {}
            other => {
                return Err(crate::Error::unsupported(format!(
                    "the database's encoding is {}, which does not hold every text; make one with ENCODING 'UTF8'",
                    other.unwrap_or("unknown")
                )));
            }
        }
        Ok(Self {
            client,
            driver: Some(driver),
            io,
            deadline,
            session: Session::default(),
            statements: HashMap::default(),
            transaction: AnsiTransactionManager::default(),
            types: PgMetadataCache::new(),
            instrumentation: DynInstrumentation::none(),
        })
    }

    /// Applies the settings, and returns the current schema. Called once, after connecting.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Unsupported`] if a pooler does not allow transactions.
    pub(in crate::backends::sql) fn begin_session(
        &mut self,
        target: &Target,
    ) -> crate::Result<Option<String>> {
        let opened = self
            .run(async |client| target.pooler.open(client, &target.settings).await)
            .map_err(public)?;
        self.session = Session::new(opened.shared, &target.settings);
        if opened.shared {
            self.run_in_transaction(async |_| Ok(()))
                .map_err(|error| error::of_first_transaction(&error))?;
        }
        Ok(opened.schema)
    }

    /// Sets the deadline of the requests that follow. A request that exceeds it breaks the
    /// connection.
    pub(in crate::backends::sql) fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// Returns whether nothing has arrived since the last response.
    pub(in crate::backends::sql) fn is_quiet(&self) -> bool {
        self.io.is_quiet()
    }

    /// Closes the connection to a server that rejects writes.
    ///
    /// In a shared session, another client may have made the session read-only, which would affect
    /// all clients that get it. The setting is therefore reset first. This has no effect on a server
    /// that is read-only.
    pub(in crate::backends::sql) fn abandon(&mut self) {
        if matches!(self.session, Session::Shared { .. })
            && !self.is_in_transaction().unwrap_or(true)
        {
            let reset = "SET default_transaction_read_only TO DEFAULT";
            drop(self.run(async |client| client.batch_execute(reset).await));
        }
        self.driver = None;
    }

    /// Runs a request until it ends or its deadline passes.
    fn run<T>(
        &mut self,
        request: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> QueryResult<T> {
        let Self { client, driver: slot, io, deadline, .. } = self;
        if slot.is_none() {
            return Err(closed("the connection was lost earlier"));
        }
        io.begin(*deadline);
        let mut cause = None;
        let result = io.block_on(request(client), |context| {
            while let Some(driver) = slot {
                match driver.poll_message(context) {
                    // Notices are ignored.
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(ended) => {
                        cause = ended.and_then(Result::err);
                        *slot = None;
                    }
                    Poll::Pending => break,
                }
            }
        });
        result.map_err(|error| {
            // The driver's error has the cause; the request's reports only a closed connection.
            let error = error::of_call(match &cause {
                Some(cause) if error.is_closed() => cause,
                _ => &error,
            });
            if is_closed(&error) {
                *slot = None;
            }
            if is_outdated(&error) {
                self.statements.clear();
            }
            error
        })
    }

    /// Runs a request of one statement. In a shared session without an open transaction, wraps it in
    /// a transaction in one round trip. If the `BEGIN` fails, the statement has no effect.
    fn run_in_transaction<T>(
        &mut self,
        request: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> QueryResult<T> {
        let begin = match self.is_in_transaction()? {
            true => None,
            false => self.session.begin(),
        };
        self.run(async |client| {
            let Some(begin) = begin else { return request(client).await };
            let (begin, end) = (client.batch_execute(&begin), client.batch_execute("COMMIT"));
            let (begun, result, ended) = join3(begin, request(client), end).await;
            begun?;
            let value = result?;
            ended.map(|()| value)
        })
    }

    fn is_in_transaction(&mut self) -> QueryResult<bool> {
        let status = AnsiTransactionManager::transaction_manager_status_mut(self);
        Ok(status.transaction_depth()?.is_some())
    }

    /// Returns the text of a query, and its binds with their types.
    fn text<T>(&mut self, query: &T) -> QueryResult<(String, Vec<(Bind, Type)>)>
    where
        T: QueryFragment<Pg>,
    {
        let mut binds = RawBytesBindCollector::<Pg>::new();
        query.collect_binds(&mut binds, self, &Pg)?;
        let types = binds.metadata.iter().map(type_of).collect::<QueryResult<Vec<_>>>()?;
        let mut builder = PgQueryBuilder::new();
        query.to_sql(&mut builder, &Pg)?;
        Ok((builder.finish(), binds.binds.into_iter().map(Bind).zip(types).collect()))
    }

    /// Returns the prepared statement of a query, and its binds in binary.
    fn prepare<T>(&mut self, query: &T) -> QueryResult<(Statement, Vec<Bind>)>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        let key = T::query_id().map(StatementKey::Type);
        let mut binds = RawBytesBindCollector::<Pg>::new();
        query.collect_binds(&mut binds, self, &Pg)?;
        let known = key.as_ref().and_then(|name| self.statements.get(name)).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => self.prepare_text(query, key, &binds.metadata)?,
        };
        Ok((statement, binds.binds.into_iter().map(Bind).collect()))
    }

    fn prepare_text<T: QueryFragment<Pg>>(
        &mut self,
        query: &T,
        key: Option<StatementKey>,
        binds: &[PgTypeMetadata],
    ) -> QueryResult<Statement> {
        let mut builder = PgQueryBuilder::new();
        query.to_sql(&mut builder, &Pg)?;
        let sql = builder.finish();
        let name = key.unwrap_or_else(|| StatementKey::Text(sql.clone()));
        if let Some(statement) = self.statements.get(&name) {
            return Ok(statement.clone());
        }
        let types = binds.iter().map(type_of).collect::<QueryResult<Vec<_>>>()?;
        let statement = self.run(async |client| client.prepare_typed(&sql, &types).await)?;
        if query.is_safe_to_cache_prepared(&Pg)? {
            self.statements.insert(name, statement.clone());
        }
        Ok(statement)
    }
}

/// Returns whether an error reports that a prepared statement is invalid: a table was changed
/// ("cached plan must not change result type"), the statement was deallocated, or its name is taken.
fn is_outdated(error: &Error) -> bool {
    matches!(
        error,
        Error::DatabaseError(_, info)
            if matches!(code(&**info), Some(OUTDATED_PLAN | "26000" | "42P05"))
    )
}

/// Returns the public error of a request of the connection itself.
fn public(error: Error) -> crate::Error {
    CallError::from(error).into_error::<Pg>()
}

fn type_of(metadata: &PgTypeMetadata) -> QueryResult<Type> {
    let oid = metadata.oid().map_err(|error| Error::SerializationError(Box::new(error)))?;
    Ok(Type::from_oid(oid)
        .unwrap_or_else(|| Type::new(format!("type {oid}"), oid, Kind::Simple, String::new())))
}
