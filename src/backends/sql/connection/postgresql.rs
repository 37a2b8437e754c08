//! A Diesel connection to PostgreSQL in pure Rust: tokio-postgres speaks the protocol, the calling
//! thread drives it over a blocking socket. There is no runtime, so that it can be called from
//! anywhere, from inside of an asynchronous one too.

mod driven;
mod encrypted;
mod failure;
mod row;
mod session;

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::{
    AnsiTransactionManager, CacheSize, Connection, ConnectionSealed, DynInstrumentation,
    Instrumentation, LoadConnection, SimpleConnection, TransactionManager,
};
use diesel::expression::QueryMetadata;
use diesel::migration::{CREATE_MIGRATIONS_TABLE, MigrationConnection};
use diesel::pg::{GetPgMetadataCache, Pg, PgMetadataCache, PgQueryBuilder, PgTypeMetadata};
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{Query, QueryBuilder, QueryFragment, QueryId};
use diesel::r2d2::R2D2Connection;
use diesel::result::{ConnectionError, ConnectionResult, Error};
use futures_util::TryStreamExt;
use futures_util::future::join3;
use rustls::ClientConfig;
use tokio_postgres::types::{Kind, ToSql, Type};
use tokio_postgres::{Client, Config, RowStream, Statement};

use self::driven::{Driven, Gate};
use self::encrypted::{Connector, Encrypted};
pub(in crate::backends::sql) use self::failure::OUTDATED_PLAN;
use self::row::Bind;
pub(in crate::backends::sql) use self::row::PgRow;
pub use self::session::Pooler;
use self::session::Session;
use super::error::{closed, code, is_closed};
use crate::backends::sql::error::CallError;
use crate::remote::tls::SslMode;
use crate::remote::{Deadline, Endpoint, Socket};

/// Where and how to connect: plain values, none of them escaped.
#[derive(Clone)]
pub(in crate::backends::sql) struct Target {
    pub(in crate::backends::sql) endpoint: Endpoint,
    pub(in crate::backends::sql) user: String,
    pub(in crate::backends::sql) password: Option<String>,
    pub(in crate::backends::sql) database: String,
    pub(in crate::backends::sql) mode: SslMode,
    pub(in crate::backends::sql) tls: Arc<ClientConfig>,
    pub(in crate::backends::sql) connect_timeout: Duration,
    /// How many bytes an answer may have.
    pub(in crate::backends::sql) max_response: u64,
    /// Whether a pooler gives the session away between transactions.
    pub(in crate::backends::sql) pooler: Pooler,
    /// What every statement is to run under.
    pub(in crate::backends::sql) settings: Vec<(&'static str, String)>,
}

impl Target {
    fn config(&self) -> Config {
        use tokio_postgres::config::SslMode as Mode;
        let mut config = Config::new();
        config.user(&self.user).dbname(&self.database).application_name("hilcat");
        if let Some(password) = &self.password {
            config.password(password);
        }
        config.ssl_mode(match self.mode {
            _ if matches!(self.endpoint, Endpoint::Unix(_)) => Mode::Disable,
            SslMode::Disable => Mode::Disable,
            SslMode::Prefer => Mode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Mode::Require,
        });
        config
    }
}

type Machine = tokio_postgres::Connection<Driven, Encrypted<Driven>>;

/// What a prepared statement is found by: the identity of its query where it has one, else its
/// text.
#[derive(PartialEq, Eq, Hash)]
enum Name {
    Identity(TypeId),
    Text(String),
}

/// A connection to PostgreSQL.
#[doc(alias = "PgLink")]
pub struct PostgresConnection {
    client: Client,
    /// None once the connection has ended: dropping the machine lets go of its requests.
    machine: Option<Machine>,
    gate: Gate,
    deadline: Deadline,
    session: Session,
    statements: HashMap<Name, Statement, foldhash::fast::RandomState>,
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
        let gate = Gate::new(socket);
        let tls = Connector { config: target.tls.clone(), host: target.endpoint.host().to_owned() };
        let connecting = target.config();
        let connecting = connecting.connect_raw(gate.driven(), tls);
        let (client, machine) =
            gate.drive(connecting, |_| {}).map_err(|error| failure::of_connecting(&error))?;
        match machine.parameter("server_encoding") {
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
            machine: Some(machine),
            gate,
            deadline,
            session: Session::default(),
            statements: HashMap::default(),
            transaction: AnsiTransactionManager::default(),
            types: PgMetadataCache::new(),
            instrumentation: DynInstrumentation::none(),
        })
    }

    /// Sets what statements run under, and gives the schema that tables are in; once, at first.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Unsupported`] where a pooler allows no transactions.
    pub(in crate::backends::sql) fn begin_session(
        &mut self,
        target: &Target,
    ) -> crate::Result<Option<String>> {
        let opened = self
            .run(async |client| target.pooler.open(client, &target.settings).await)
            .map_err(public)?;
        self.session = Session::new(opened.shared, &target.settings);
        if opened.shared {
            self.run_in_unit(async |_| Ok(())).map_err(|error| failure::of_first_unit(&error))?;
        }
        Ok(opened.schema)
    }

    /// Sets by when all the requests that follow have to be done. One that is not makes the
    /// connection useless.
    pub(in crate::backends::sql) fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// Whether nothing has arrived since the last request.
    pub(in crate::backends::sql) fn is_quiet(&self) -> bool {
        self.gate.is_quiet()
    }

    /// Closes the connection to a server that takes no writes.
    ///
    /// Where sessions are shared, that may be what another client set the session to, which it
    /// would be for everybody that is given it: then it is made again what the server gives a
    /// login. A server that is read-only itself stays so.
    pub(in crate::backends::sql) fn abandon(&mut self) {
        if matches!(self.session, Session::Shared { .. })
            && !self.is_in_transaction().unwrap_or(true)
        {
            let reset = "SET default_transaction_read_only TO DEFAULT";
            drop(self.run(async |client| client.batch_execute(reset).await));
        }
        self.machine = None;
    }

    /// Runs a request to its end, or to the deadline.
    fn run<T>(
        &mut self,
        request: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> QueryResult<T> {
        let Self { client, machine: slot, gate, deadline, .. } = self;
        if slot.is_none() {
            return Err(closed("the connection was lost before"));
        }
        gate.begin(*deadline);
        let mut cause = None;
        let result = gate.drive(request(client), |context| {
            while let Some(machine) = slot {
                match machine.poll_message(context) {
                    // Notices are dropped.
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
            // The machine knows why it ended; the request knows only that it did.
            let error = failure::of_call(match &cause {
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

    /// Runs a request of one statement. Where sessions are shared and no transaction is open, it is
    /// a transaction of its own, sent at once: where its beginning fails nothing else is done.
    fn run_in_unit<T>(
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
            let (begun, given, ended) = join3(begin, request(client), end).await;
            begun?;
            let given = given?;
            ended.map(|()| given)
        })
    }

    fn is_in_transaction(&mut self) -> QueryResult<bool> {
        let status = AnsiTransactionManager::transaction_manager_status_mut(self);
        Ok(status.transaction_depth()?.is_some())
    }

    /// The text of a query, and its binds with their types.
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

    /// The prepared statement of a query, and its binds in binary.
    fn prepare<T>(&mut self, query: &T) -> QueryResult<(Statement, Vec<Bind>)>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        let identity = T::query_id().map(Name::Identity);
        let mut binds = RawBytesBindCollector::<Pg>::new();
        query.collect_binds(&mut binds, self, &Pg)?;
        let known = identity.as_ref().and_then(|name| self.statements.get(name)).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => self.prepare_text(query, identity, &binds.metadata)?,
        };
        Ok((statement, binds.binds.into_iter().map(Bind).collect()))
    }

    fn prepare_text<T: QueryFragment<Pg>>(
        &mut self,
        query: &T,
        identity: Option<Name>,
        binds: &[PgTypeMetadata],
    ) -> QueryResult<Statement> {
        let mut builder = PgQueryBuilder::new();
        query.to_sql(&mut builder, &Pg)?;
        let sql = builder.finish();
        let name = identity.unwrap_or_else(|| Name::Text(sql.clone()));
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

/// Whether an error says that a prepared statement is of no use any more: a table was changed
/// ("cached plan must not change result type"), somebody let go of it, or its name is another's.
fn is_outdated(error: &Error) -> bool {
    matches!(
        error,
        Error::DatabaseError(_, info)
            if matches!(code(&**info), Some(OUTDATED_PLAN | "26000" | "42P05"))
    )
}

/// The public error of a request that is no call of a scope's.
fn public(error: Error) -> crate::Error {
    CallError::from(error).into_error::<Pg>()
}

async fn collect(rows: RowStream) -> Result<Vec<PgRow>, tokio_postgres::Error> {
    rows.map_ok(PgRow).try_collect().await
}

/// Runs a statement that has no name.
async fn execute_text(
    client: &Client,
    sql: &str,
    binds: &[(Bind, Type)],
) -> Result<u64, tokio_postgres::Error> {
    let binds = binds.iter().map(|(bind, ty)| (bind as &(dyn ToSql + Sync), ty.clone()));
    client.execute_typed(sql, &binds.collect::<Vec<_>>()).await
}

fn type_of(metadata: &PgTypeMetadata) -> QueryResult<Type> {
    let oid = metadata.oid().map_err(|error| Error::SerializationError(Box::new(error)))?;
    Ok(Type::from_oid(oid)
        .unwrap_or_else(|| Type::new(format!("type {oid}"), oid, Kind::Simple, String::new())))
}

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
        Err(ConnectionError::InvalidConnectionUrl("it is opened by its target".to_owned()))
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
                self.run_in_unit(async |client| execute_text(client, &sql, &binds).await)?
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
                self.run_in_unit(async |client| {
                    collect(client.query_typed_raw(&sql, binds).await?).await
                })?
            }
        };
        Ok(rows.into_iter().map(Ok as fn(PgRow) -> QueryResult<PgRow>))
    }
}

/// For types that are not PostgreSQL's own: Diesel asks for them by a query of its own.
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
        self.machine.is_none() || AnsiTransactionManager::is_broken_transaction_manager(self)
    }
}
