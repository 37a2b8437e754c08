//! A Diesel connection to MySQL and MariaDB in pure Rust.
//!
//! The protocol is spoken here, over a socket that knows the deadline of the call; values, rows and
//! the proofs of passwords are those of the crate `mysql_common`. Nothing that a server sends is
//! trusted: what is malformed or too long is an error, after which the connection is closed.

mod client;
mod failure;
mod login;
mod row;
mod statements;
mod target;
mod wire;

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
use self::failure::Trouble;
use self::row::LinkRow;
use self::statements::Statements;
pub(in crate::backends::sql) use self::target::Target;
use super::error::closed;
use crate::Error;
use crate::remote::Deadline;

/// What a server is and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backends::sql) struct ServerInfo {
    /// MariaDB, not MySQL.
    pub(in crate::backends::sql) mariadb: bool,
    pub(in crate::backends::sql) version: (u16, u16, u16),
    /// The largest statement in bytes; a larger one costs the connection.
    pub(in crate::backends::sql) max_packet: usize,
    /// Whether upper and lower case are one in the names of tables.
    pub(in crate::backends::sql) folds_tables: bool,
}

/// A connection. Every call ends by its deadline.
pub struct MysqlConnection {
    client: Client,
    statements: Statements,
    server: ServerInfo,
    /// When the call that is under way has to end; none outside of calls.
    deadline: Option<Deadline>,
    /// How long a request may take outside of calls.
    timeout: Duration,
    broken: bool,
    transaction: AnsiTransactionManager,
    instrumentation: DynInstrumentation,
}

impl MysqlConnection {
    /// Connects. `settings` is what the session is given, as one statement; a request takes at
    /// most `timeout`.
    pub(in crate::backends::sql) fn open(
        target: &Target,
        timeout: Duration,
        settings: impl FnOnce(&ServerInfo) -> String,
    ) -> ConnectionResult<Self> {
        let deadline = Deadline::of_call(target.connect_timeout);
        let refused = ConnectionError::CouldntSetupConfiguration;
        let client = Client::connect(target, deadline);
        let mut link = Self {
            client: client.map_err(|trouble| refused(trouble.into_diesel()))?,
            statements: Statements::default(),
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
        link.server = link.query_server_info().map_err(refused)?;
        link.batch_execute(&settings(&link.server)).map_err(refused)?;
        link.deadline = None;
        Ok(link)
    }

    fn query_server_info(&mut self) -> QueryResult<ServerInfo> {
        const SQL: &str = "SELECT VERSION(), @@max_allowed_packet, @@lower_case_table_names <> 0";
        let mut answer = Vec::new();
        self.run(|client| {
            client.query(SQL, |fields| {
                let text = |field: &Option<&[u8]>| {
                    String::from_utf8_lossy(field.unwrap_or_default()).into_owned()
                };
                answer = fields.iter().map(text).collect();
            })
        })?;
        let [name, max_packet, folds] = &answer[..] else {
            return Err(closed("the server does not say what it is"));
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

    /// Says that what follows has to be done in this time.
    pub(in crate::backends::sql) fn begin(&mut self, left: Duration) {
        self.deadline = Some(Deadline::after(left));
    }

    /// What is left of the call that is under way.
    pub(in crate::backends::sql) fn left(&self) -> Duration {
        self.deadline.map_or(self.timeout, Deadline::left)
    }

    /// Whether nothing has arrived since the last request.
    pub(in crate::backends::sql) fn is_quiet(&self) -> bool {
        self.client.is_quiet()
    }

    /// Keeps the connection from being used again.
    pub(in crate::backends::sql) fn abandon(&mut self) {
        self.broken = true;
    }

    /// Runs a request, within what is left of the call.
    fn run<T>(
        &mut self,
        request: impl FnOnce(&mut Client) -> Result<T, Trouble>,
    ) -> QueryResult<T> {
        if self.broken {
            return Err(closed("the connection was lost before"));
        }
        let deadline = self.deadline.unwrap_or_else(|| Deadline::after(self.timeout));
        self.client.begin(deadline);
        request(&mut self.client).map_err(|trouble| {
            self.broken |= trouble.ends_the_connection();
            trouble.into_diesel()
        })
    }

    /// The prepared statement of a query, and whether it is kept.
    fn prepare<T>(&mut self, query: &T) -> QueryResult<(Statement, bool)>
    where
        T: QueryFragment<Mysql> + QueryId,
    {
        let known = match self.statements.find(query)? {
            Ok(statement) => return Ok((statement, true)),
            Err(unknown) => unknown,
        };
        let statement = self.run(|client| client.prepare(known.text()))?;
        let kept = query.is_safe_to_cache_prepared(&Mysql)?;
        if kept && let Some(evicted) = self.statements.keep(known, statement) {
            self.run(|client| client.close(evicted))?;
        }
        Ok((statement, kept))
    }

    /// Checks that a server takes so many bytes at once: from one that does not the connection
    /// would be lost.
    fn check_size(&self, binds: &[Option<Vec<u8>>]) -> QueryResult<()> {
        // Beside each value stands its type and its length.
        let bytes: usize = binds.iter().map(|bind| bind.as_ref().map_or(0, Vec::len) + 11).sum();
        let most = self.server.max_packet.saturating_sub(64);
        match bytes <= most {
            true => Ok(()),
            false => Err(diesel::result::Error::QueryBuilderError(Box::new(Error::unsupported(
                format!(
                    "the record has {bytes} bytes, and the server takes {most} at once (its max_allowed_packet)"
                ),
            )))),
        }
    }

    /// Runs a statement and gives each row to `each`. Gives how many rows it changed.
    fn execute<T>(&mut self, query: &T, mut each: impl FnMut(mysql_common::Row)) -> QueryResult<u64>
    where
        T: QueryFragment<Mysql> + QueryId,
    {
        let shown = diesel::debug_query::<Mysql, T>(query);
        self.instrumentation.on_connection_event(InstrumentationEvent::start_query(&shown));
        let result = self.execute_prepared(query, &mut each);
        let error = result.as_ref().err();
        self.instrumentation.on_connection_event(InstrumentationEvent::finish_query(&shown, error));
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
        let (statement, kept) = self.prepare(query)?;
        let mut binds = RawBytesBindCollector::<Mysql>::new();
        query.collect_binds(&mut binds, &mut (), &Mysql)?;
        self.check_size(&binds.binds)?;
        let parameters = row::parameters(binds)?;
        let result = self.run(|client| client.execute(statement, &parameters, each));
        if !kept && !self.broken {
            self.run(|client| client.close(statement))?;
        }
        result
    }
}

/// The numbers that a version begins with, as in `10.11.6-MariaDB`. What the client knows from its
/// handshake is another one: MariaDB says `5.5.5` there.
fn version_of(name: &str) -> (u16, u16, u16) {
    let end = name.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(name.len());
    let mut parts = name[..end].split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

impl SimpleConnection for MysqlConnection {
    fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        let shown = StrQueryHelper::new(sql);
        self.instrumentation.on_connection_event(InstrumentationEvent::start_query(&shown));
        let result = self.run(|client| client.query(sql, |_| {}));
        let error = result.as_ref().err();
        self.instrumentation.on_connection_event(InstrumentationEvent::finish_query(&shown, error));
        result
    }
}

impl ConnectionSealed for MysqlConnection {}

impl Connection for MysqlConnection {
    type Backend = Mysql;
    type TransactionManager = AnsiTransactionManager;

    fn establish(_: &str) -> ConnectionResult<Self> {
        Err(ConnectionError::InvalidConnectionUrl("it is opened by its target".to_owned()))
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
        std::iter::Map<std::vec::IntoIter<LinkRow>, fn(LinkRow) -> QueryResult<LinkRow>>;
    type Row<'conn, 'query> = LinkRow;

    fn load<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> QueryResult<Self::Cursor<'conn, 'query>>
    where
        T: Query + QueryFragment<Mysql> + QueryId + 'query,
        Mysql: QueryMetadata<T::SqlType>,
    {
        let mut rows = Vec::new();
        self.execute(&source, |row| rows.push(LinkRow::new(row)))?;
        Ok(rows.into_iter().map(Ok as fn(LinkRow) -> QueryResult<LinkRow>))
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
