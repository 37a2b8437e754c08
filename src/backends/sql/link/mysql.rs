//! A Diesel connection to MySQL and MariaDB in pure Rust, over the blocking `mysql` client.

mod failure;
mod row;
mod statements;
mod target;

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

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
use mysql::prelude::Queryable;

use self::row::LinkRow;
use self::statements::Statements;
pub(in crate::backends::sql) use self::target::Target;
use super::error::{closed, is_closed};
use crate::Error;
use crate::backends::tls::SslMode;

/// What a server is and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backends::sql) struct Traits {
    /// MariaDB, not MySQL.
    pub(in crate::backends::sql) mariadb: bool,
    pub(in crate::backends::sql) version: (u16, u16, u16),
    /// The largest statement in bytes; a larger one costs the connection.
    pub(in crate::backends::sql) max_packet: usize,
    /// Whether upper and lower case are one in the names of tables.
    pub(in crate::backends::sql) folds_tables: bool,
}

/// A connection. Every call ends by its deadline: the socket's own timeout is what is left.
pub struct MysqlLink {
    client: mysql::Conn,
    statements: Statements,
    traits: Traits,
    /// When the call that is under way has to end; none outside of calls.
    deadline: Option<Instant>,
    /// How long a request may take outside of calls.
    timeout: Duration,
    /// What the socket's timeout is set to.
    armed: Duration,
    broken: bool,
    transaction: AnsiTransactionManager,
    instrumentation: DynInstrumentation,
}

impl MysqlLink {
    /// Connects. `settings` is what the session is given, as one statement; a request takes at
    /// most `timeout`.
    pub(in crate::backends::sql) fn open(
        target: &Target,
        timeout: Duration,
        settings: impl FnOnce(&Traits) -> String,
    ) -> ConnectionResult<Self> {
        // The client takes rustls' provider from the process: there has to be one. Where the
        // program has chosen another one, that is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = target.options()?;
        let client = match (mysql::Conn::new(options.clone()), target.mode) {
            (Err(error), SslMode::Prefer) if failure::is_without_tls(&error) => {
                mysql::Conn::new(options.ssl_opts(None::<mysql::SslOpts>))
            }
            (result, _) => result,
        };
        let refused = ConnectionError::CouldntSetupConfiguration;
        let mut link = Self {
            client: client.map_err(|error| refused(failure::from_client(error)))?,
            statements: Statements::default(),
            traits: Traits {
                mariadb: false,
                version: (0, 0, 0),
                max_packet: usize::MAX,
                folds_tables: false,
            },
            deadline: Some(Instant::now() + target.connect_timeout),
            timeout,
            armed: target.connect_timeout,
            broken: false,
            transaction: AnsiTransactionManager::default(),
            instrumentation: DynInstrumentation::default_instrumentation(),
        };
        link.traits = link.ask_traits().map_err(refused)?;
        link.batch_execute(&settings(&link.traits)).map_err(refused)?;
        link.deadline = None;
        Ok(link)
    }

    fn ask_traits(&mut self) -> QueryResult<Traits> {
        let asked: Option<(String, usize, u8)> = self.run(|client, _| {
            client.query_first(
                "SELECT VERSION(), @@max_allowed_packet, @@lower_case_table_names <> 0",
            )
        })?;
        let (name, max_packet, folds) = asked.unwrap_or_default();
        Ok(Traits {
            mariadb: name.contains("MariaDB"),
            version: version_of(&name),
            max_packet,
            folds_tables: folds != 0,
        })
    }

    pub(in crate::backends::sql) fn traits(&self) -> Traits {
        self.traits
    }

    /// Says that what follows has to be done in this time.
    pub(in crate::backends::sql) fn begin(&mut self, left: Duration) {
        self.deadline = Some(Instant::now() + left);
    }

    /// What is left of the call that is under way.
    pub(in crate::backends::sql) fn left(&self) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.deadline.map_or(self.timeout, left)
    }

    /// Runs a request, within what is left of the call.
    fn run<T>(
        &mut self,
        request: impl FnOnce(&mut mysql::Conn, &mut Clock) -> Result<T, mysql::Error>,
    ) -> QueryResult<T> {
        if self.broken {
            return Err(closed("the connection was lost before"));
        }
        let deadline = self.deadline.unwrap_or_else(|| Instant::now() + self.timeout);
        let mut clock = Clock { deadline, armed: self.armed };
        let result = clock.arm(&self.client).and_then(|()| request(&mut self.client, &mut clock));
        self.armed = clock.armed;
        result.map_err(|error| {
            let error = failure::from_client(error);
            self.broken |= is_closed(&error);
            error
        })
    }

    /// The prepared statement of a query, and whether it is kept.
    fn prepare<T>(&mut self, query: &T) -> QueryResult<(mysql::Statement, bool)>
    where
        T: QueryFragment<Mysql> + QueryId,
    {
        let known = match self.statements.find(query)? {
            Ok(statement) => return Ok((statement, true)),
            Err(unknown) => unknown,
        };
        let statement = self.run(|client, _| client.prep(known.text()))?;
        let kept = query.is_safe_to_cache_prepared(&Mysql)?;
        if kept && let Some(evicted) = self.statements.keep(known, statement.clone()) {
            self.run(|client, _| client.close(evicted))?;
        }
        Ok((statement, kept))
    }

    /// Checks that a server takes so many bytes at once: from one that does not the connection
    /// would be lost.
    fn check_size(&self, binds: &[Option<Vec<u8>>]) -> QueryResult<()> {
        // Beside each value stands its type and its length.
        let bytes: usize = binds.iter().map(|bind| bind.as_ref().map_or(0, Vec::len) + 11).sum();
        let most = self.traits.max_packet.saturating_sub(64);
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
    fn execute<T>(&mut self, query: &T, mut each: impl FnMut(mysql::Row)) -> QueryResult<u64>
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
        each: &mut dyn FnMut(mysql::Row),
    ) -> QueryResult<u64>
    where
        T: QueryFragment<Mysql> + QueryId,
    {
        let (statement, kept) = self.prepare(query)?;
        let mut binds = RawBytesBindCollector::<Mysql>::new();
        query.collect_binds(&mut binds, &mut (), &Mysql)?;
        self.check_size(&binds.binds)?;
        let parameters = row::parameters(binds)?;
        let result = self.run(|client, clock| {
            let mut result = client.exec_iter(&statement, parameters)?;
            let changed = result.affected_rows();
            let mut seen = 0_u32;
            while let Some(rows) = result.iter() {
                for row in rows {
                    each(row?);
                    seen += 1;
                    if seen.is_multiple_of(256) {
                        clock.check()?;
                    }
                }
            }
            Ok(changed)
        });
        if !kept && !self.broken {
            self.run(|client, _| client.close(statement))?;
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

/// What is left of a call.
struct Clock {
    deadline: Instant,
    armed: Duration,
}

impl Clock {
    fn check(&self) -> Result<Duration, mysql::Error> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(mysql::Error::IoError(std::io::ErrorKind::TimedOut.into())),
            left => Ok(left),
        }
    }

    /// Sets the socket's timeout to what is left, where it differs by much.
    #[expect(unsafe_code, reason = "the client shows its socket as a number alone")]
    fn arm(&mut self, client: &mysql::Conn) -> Result<(), mysql::Error> {
        let left = self.check()?;
        if left.abs_diff(self.armed) > left / 20 {
            // SAFETY: the client keeps its socket open for as long as it is borrowed here.
            let socket = unsafe { BorrowedFd::borrow_raw(client.as_raw_fd()) };
            let socket = socket2::SockRef::from(&socket);
            socket.set_read_timeout(Some(left))?;
            socket.set_write_timeout(Some(left))?;
            self.armed = left;
        }
        Ok(())
    }
}

impl SimpleConnection for MysqlLink {
    /// Runs statements, and fails where any of them does: the client's own `query_drop` tells of
    /// the first only.
    fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        let shown = StrQueryHelper::new(sql);
        self.instrumentation.on_connection_event(InstrumentationEvent::start_query(&shown));
        let result = self.run(|client, _| {
            let mut result = client.query_iter(sql)?;
            while let Some(rows) = result.iter() {
                for row in rows {
                    row?;
                }
            }
            Ok(())
        });
        let error = result.as_ref().err();
        self.instrumentation.on_connection_event(InstrumentationEvent::finish_query(&shown, error));
        result
    }
}

impl ConnectionSealed for MysqlLink {}

impl Connection for MysqlLink {
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

impl LoadConnection for MysqlLink {
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

impl MigrationConnection for MysqlLink {
    fn setup(&mut self) -> QueryResult<usize> {
        self.batch_execute(CREATE_MIGRATIONS_TABLE).map(|()| 0)
    }
}

impl R2D2Connection for MysqlLink {
    fn ping(&mut self) -> QueryResult<()> {
        self.run(|client, _| client.ping())
    }

    fn is_broken(&mut self) -> bool {
        self.broken || AnsiTransactionManager::is_broken_transaction_manager(self)
    }
}
