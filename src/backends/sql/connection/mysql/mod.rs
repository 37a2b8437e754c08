//! A Diesel connection to MySQL and MariaDB in pure Rust.
//!
//! This module implements the protocol over a socket with the deadline of the call. Values, rows and
//! password scrambling are those of the crate `mysql_common`. Input from the server is not trusted:
//! a malformed or too long packet is an error and closes the connection.

mod client;
mod error;
mod login;
mod packet;
mod row;
mod statement_cache;
mod target;

use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::{
    AnsiTransactionManager, CacheSize, Connection, ConnectionSealed, DynInstrumentation,
    Instrumentation, InstrumentationEvent, LoadConnection, SimpleConnection, StrQueryHelper,
    TransactionManager,
};
use diesel::expression::QueryMetadata;
use diesel::migration::{CREATE_MIGRATIONS_TABLE, MigrationConnection};
use diesel::mysql::Mysql;
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{Query, QueryFragment, QueryId};
use diesel::r2d2::R2D2Connection;
use diesel::result::{ConnectionError, ConnectionResult};

use self::client::{Client, Statement};
use self::error::ProtocolError;
use self::row::MysqlRow;
use self::statement_cache::StatementCache;
pub(in crate::backends::sql) use self::target::Target;
use super::error::closed;
use crate::Error;
use crate::remote::Deadline;

/// The kind, version and limits of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backends::sql) struct ServerInfo {
    /// Whether the server is MariaDB rather than MySQL.
    pub(in crate::backends::sql) mariadb: bool,
    pub(in crate::backends::sql) version: (u16, u16, u16),
    /// The maximum size of a statement in bytes. The server closes the connection on a larger one.
    pub(in crate::backends::sql) max_packet: usize,
    /// Whether table names are case-insensitive.
    pub(in crate::backends::sql) folds_tables: bool,
}

/// A connection to MySQL or MariaDB whose calls end by their deadline.
#[doc(alias = "MysqlLink")]
pub struct MysqlConnection {
    client: Client,
    statements: StatementCache,
    server: ServerInfo,
    /// The deadline of the current call, or `None` outside of calls.
    deadline: Option<Deadline>,
    /// The timeout of a request outside of calls.
    timeout: Duration,
    broken: bool,
    transaction: AnsiTransactionManager,
    instrumentation: DynInstrumentation,
}

impl MysqlConnection {
    /// Connects, logs in and executes the statements that `settings` returns. `timeout` is the limit
    /// of a request outside of calls.
    pub(in crate::backends::sql) fn open(
        target: &Target,
        timeout: Duration,
        settings: impl FnOnce(&ServerInfo) -> String,
    ) -> ConnectionResult<Self> {
        let deadline = Deadline::of_call(target.connect_timeout);
        let refused = ConnectionError::CouldntSetupConfiguration;
        let client = Client::connect(target, deadline);
        let mut connection = Self {
            client: client.map_err(|error| refused(error.into_diesel()))?,
            statements: StatementCache::default(),
            server: ServerInfo {
                mariadb: false,
                version: (0, 0, 0),
                max_packet: usize::MAX,
                folds_tables: false,
            },
            deadline: Some(deadline),
            timeout,
            broken: false,
            transaction: AnsiTransactionManager::default(),
            instrumentation: DynInstrumentation::default_instrumentation(),
        };
        connection.server = connection.query_server_info().map_err(refused)?;
        connection.batch_execute(&settings(&connection.server)).map_err(refused)?;
        connection.deadline = None;
        Ok(connection)
    }

    fn query_server_info(&mut self) -> QueryResult<ServerInfo> {
        const SQL: &str = "SELECT VERSION(), @@max_allowed_packet, @@lower_case_table_names <> 0";
        let mut response = Vec::new();
        self.run(|client| {
            client.query(SQL, |fields| {
                let text = |field: &Option<&[u8]>| {
                    String::from_utf8_lossy(field.unwrap_or_default()).into_owned()
                };
                response = fields.iter().map(text).collect();
            })
        })?;
        let [name, max_packet, folds] = &response[..] else {
            return Err(closed("the server did not report its version and limits"));
        };
        Ok(ServerInfo {
            mariadb: name.contains("MariaDB"),
            version: version_of(name),
            max_packet: max_packet.parse().unwrap_or(usize::MAX),
            folds_tables: folds != "0",
        })
    }

    pub(in crate::backends::sql) fn server(&self) -> ServerInfo {
        self.server
    }

    /// Begins a call that has to end in this time.
    pub(in crate::backends::sql) fn begin(&mut self, left: Duration) {
        self.deadline = Some(Deadline::after(left));
    }

    /// Returns the remaining time of the current call.
    pub(in crate::backends::sql) fn left(&self) -> Duration {
        self.deadline.map_or(self.timeout, Deadline::left)
    }

    /// Returns whether nothing has arrived since the last response.
    pub(in crate::backends::sql) fn is_quiet(&self) -> bool {
        self.client.is_quiet()
    }

    /// Marks the connection as broken, so that it is not used again.
    pub(in crate::backends::sql) fn abandon(&mut self) {
        self.broken = true;
    }

    /// Runs a request within the remaining time of the call.
    fn run<T>(
        &mut self,
        request: impl FnOnce(&mut Client) -> Result<T, ProtocolError>,
    ) -> QueryResult<T> {
        if self.broken {
            return Err(closed("the connection was lost earlier"));
        }
        let deadline = self.deadline.unwrap_or_else(|| Deadline::after(self.timeout));
        self.client.begin(deadline);
        request(&mut self.client).map_err(|error| {
            self.broken |= error.ends_the_connection();
            error.into_diesel()
        })
    }

    /// Returns the prepared statement of a query, and whether it is cached.
    fn prepare<T>(&mut self, query: &T) -> QueryResult<(Statement, bool)>
    where
        T: QueryFragment<Mysql> + QueryId,
    {
        let missing = match self.statements.find(query)? {
            Ok(statement) => return Ok((statement, true)),
            Err(missing) => missing,
        };
        let statement = self.run(|client| client.prepare(missing.text()))?;
        let cached = query.is_safe_to_cache_prepared(&Mysql)?;
        if cached && let Some(evicted) = self.statements.insert(missing, statement) {
            self.run(|client| client.close(evicted))?;
        }
        Ok((statement, cached))
    }

    /// Checks that the values fit the server's `max_allowed_packet`, which would otherwise close the
    /// connection.
    fn check_size(&self, binds: &[Option<Vec<u8>>]) -> QueryResult<()> {
        // Each value has a type and a length.
        let bytes: usize = binds.iter().map(|bind| bind.as_ref().map_or(0, Vec::len) + 11).sum();
        let most = self.server.max_packet.saturating_sub(64);
        match bytes <= most {
            true => Ok(()),
            false => Err(diesel::result::Error::QueryBuilderError(Box::new(Error::unsupported(
                format!(
                    "the values have {bytes} bytes, and the server accepts {most} in one statement; raise its max_allowed_packet"
                ),
            )))),
        }
    }

    /// Executes a query, passes each row to `each`, and returns the number of changed rows.
    fn execute<T>(&mut self, query: &T, mut each: impl FnMut(mysql_common::Row)) -> QueryResult<u64>
    where
        T: QueryFragment<Mysql> + QueryId,
    {
        let debug = diesel::debug_query::<Mysql, T>(query);
        self.instrumentation.on_connection_event(InstrumentationEvent::start_query(&debug));
        let result = self.execute_prepared(query, &mut each);
        let error = result.as_ref().err();
        self.instrumentation.on_connection_event(InstrumentationEvent::finish_query(&debug, error));
        result
    }

    fn execute_prepared<T>(
        &mut self,
        query: &T,
        each: &mut dyn FnMut(mysql_common::Row),
    ) -> QueryResult<u64>
    where
        T: QueryFragment<Mysql> + QueryId,
    {
        let (statement, cached) = self.prepare(query)?;
        let mut binds = RawBytesBindCollector::<Mysql>::new();
        query.collect_binds(&mut binds, &mut (), &Mysql)?;
        self.check_size(&binds.binds)?;
        let parameters = row::parameters(binds)?;
        let result = self.run(|client| client.execute(statement, &parameters, each));
        if !cached && !self.broken {
            self.run(|client| client.close(statement))?;
        }
        result
    }
}

/// Parses the numbers at the start of a version, as in `10.11.6-MariaDB`. The version in the
/// handshake is not used: MariaDB reports `5.5.5` there.
fn version_of(name: &str) -> (u16, u16, u16) {
    let end = name.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(name.len());
    let mut parts = name[..end].split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

impl SimpleConnection for MysqlConnection {
    fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        let debug = StrQueryHelper::new(sql);
        self.instrumentation.on_connection_event(InstrumentationEvent::start_query(&debug));
        let result = self.run(|client| client.query(sql, |_| {}));
        let error = result.as_ref().err();
        self.instrumentation.on_connection_event(InstrumentationEvent::finish_query(&debug, error));
        result
    }
}

impl ConnectionSealed for MysqlConnection {}

impl Connection for MysqlConnection {
    type Backend = Mysql;
    type TransactionManager = AnsiTransactionManager;

    fn establish(_: &str) -> ConnectionResult<Self> {
        Err(ConnectionError::InvalidConnectionUrl("use MysqlConnection::open".to_owned()))
    }

    fn execute_returning_count<T>(&mut self, source: &T) -> QueryResult<usize>
    where
        T: QueryFragment<Mysql> + QueryId,
    {
        let count = self.execute(source, drop)?;
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

impl LoadConnection for MysqlConnection {
    type Cursor<'conn, 'query> =
        std::iter::Map<std::vec::IntoIter<MysqlRow>, fn(MysqlRow) -> QueryResult<MysqlRow>>;
    type Row<'conn, 'query> = MysqlRow;

    fn load<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> QueryResult<Self::Cursor<'conn, 'query>>
    where
        T: Query + QueryFragment<Mysql> + QueryId + 'query,
        Mysql: QueryMetadata<T::SqlType>,
    {
        let mut rows = Vec::new();
        self.execute(&source, |row| rows.push(MysqlRow::new(row)))?;
        Ok(rows.into_iter().map(Ok as fn(MysqlRow) -> QueryResult<MysqlRow>))
    }
}

impl MigrationConnection for MysqlConnection {
    fn setup(&mut self) -> QueryResult<usize> {
        self.batch_execute(CREATE_MIGRATIONS_TABLE).map(|()| 0)
    }
}

impl R2D2Connection for MysqlConnection {
    fn ping(&mut self) -> QueryResult<()> {
        self.run(Client::ping)
    }

    fn is_broken(&mut self) -> bool {
        self.broken || AnsiTransactionManager::is_broken_transaction_manager(self)
    }
}
