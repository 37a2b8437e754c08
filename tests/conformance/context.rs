//! What a case stands on: a cache opened on a backend, and names that no other case uses.

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hilcat::testing::ManualClock;
use hilcat::{Cache, Clock, Column, ColumnType, DynScope, Result, Row, Schema, Scope, Value};

#[cfg(feature = "sql")]
use crate::one_table::{InTables, OneTable};
use crate::records::{Raw, RawKey, declared_as};

type Open = Box<dyn Fn(&ManualClock) -> Result<Cache> + Send + Sync>;

/// Opens a URI with the clock of the case.
pub fn open_uri(uri: &str, clock: &ManualClock) -> Result<Cache> {
    Cache::builder(uri).clock(clock.clone()).open()
}

/// Where a backend keeps its records.
pub struct Place {
    open: Open,
    /// The time of every cache that is opened on it.
    clock: ManualClock,
    /// Nobody else uses it, so that every scope in it is of the case.
    private: bool,
    /// All scopes of the same columns are in one table.
    one_table: bool,
    /// Forgets what caches that are open at the same time share.
    close: Box<dyn Fn() + Send + Sync>,
    _directory: Option<tempfile::TempDir>,
    #[cfg(feature = "elasticsearch")]
    _indices: Option<crate::indices::Indices>,
}

impl Place {
    /// A place that only one case sees; `open` makes it.
    pub fn private(open: impl Fn(&ManualClock) -> Result<Cache> + Send + Sync + 'static) -> Self {
        Self::new(Box::new(open), true)
    }

    /// A file or a directory in a directory of its own, with the options of the URI.
    pub fn file(scheme: &str, name: &str, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let uri = format!("{scheme}:///{}{options}", directory.path().join(name).display());
        let open: Open = Box::new(move |clock| open_uri(&uri, clock));
        Self { _directory: Some(directory), ..Self::new(open, true) }
    }

    /// Scopes side by side in one table, in a file in a directory of its own.
    #[cfg(feature = "sqlite")]
    pub fn one_table_in_file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.db");
        let open = one_table("all", move || hilcat::backend::Sqlite::builder(&path).open());
        Self { _directory: Some(directory), one_table: true, ..Self::new(open, true) }
    }

    /// The same on a server that other cases and other runs use at the same time.
    #[cfg(feature = "postgresql")]
    pub fn one_table_on_postgresql(variable: &str) -> Result<Self, String> {
        use hilcat::backend::{Postgresql, SslMode};

        let server = Server::named_by(variable)?;
        let open = one_table(&Server::prefix(), move || {
            Postgresql::builder(&server.host)
                .port(server.port)
                .user(&server.user)
                .password(&server.password)
                .database(&server.database)
                .ssl_mode(SslMode::Disable)
                .open()
        });
        Ok(Self { one_table: true, ..Self::new(open, false) })
    }

    /// The same on MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    pub fn one_table_on_mysql(variable: &str) -> Result<Self, String> {
        use hilcat::backend::Mysql;

        let server = Server::named_by(variable)?;
        let open = one_table(&Server::prefix(), move || {
            Mysql::builder(&server.host)
                .port(server.port)
                .user(&server.user)
                .password(&server.password)
                .database(&server.database)
                .open()
        });
        Ok(Self { one_table: true, ..Self::new(open, false) })
    }

    /// A server that other cases and other runs use at the same time.
    #[allow(dead_code, reason = "not every choice of features has a server")]
    pub fn server(variable: &str) -> Result<Self, String> {
        Self::server_with(variable, "")
    }

    /// The same, with options besides those of its URI.
    #[allow(dead_code, reason = "not every choice of features has a server")]
    pub fn server_with(variable: &str, options: &str) -> Result<Self, String> {
        let uri = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
        // All cases at once keep a small machine busy: what is slow is not wrong.
        let sign = if uri.contains('?') { '&' } else { '?' };
        let uri = format!("{uri}{sign}timeout=30s");
        let uri = if options.is_empty() { uri } else { format!("{uri}&{options}") };
        let open: Open = Box::new(move |clock| open_uri(&uri, clock));
        Ok(Self::new(open, false))
    }

    /// A cluster that others use, too, in which nobody else has indices of this prefix.
    #[cfg(feature = "elasticsearch")]
    pub fn elasticsearch(variable: &str) -> Result<Self, String> {
        let indices = crate::indices::Indices::new(variable)?;
        let uri = indices.uri("timeout=30s");
        let open: Open = Box::new(move |clock| open_uri(&uri, clock));
        Ok(Self { _indices: Some(indices), ..Self::new(open, true) })
    }

    fn new(open: Open, private: bool) -> Self {
        // In the past: an engine that removes what is expired by a clock of its own is noticed.
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        Self {
            open,
            clock,
            private,
            one_table: false,
            close: Box::new(|| {}),
            _directory: None,
            #[cfg(feature = "elasticsearch")]
            _indices: None,
        }
    }

    /// The place as a layer over it has it: `layer` makes the cache of the one beneath.
    fn under(self, layer: impl Fn(Cache, &ManualClock) -> Cache + Send + Sync + 'static) -> Self {
        let beneath = self.open;
        Self { open: Box::new(move |clock| Ok(layer(beneath(clock)?, clock))), ..self }
    }

    /// A near store of this URI in front of it; caches that are open at the same time share it, as
    /// those of one process do.
    pub fn tiered(self, near: &'static str) -> Self {
        let shared: Arc<Mutex<Option<Cache>>> = Arc::default();
        let held = shared.clone();
        let tiered = move |far, clock: &ManualClock| {
            let open = || open_uri(near, clock).unwrap();
            // Two far stores that are apart are not to share it.
            match Cache::capabilities(&far).persistent {
                true => Cache::tiered(held.lock().unwrap().get_or_insert_with(open).clone(), far),
                false => Cache::tiered(open(), far),
            }
        };
        let close = Box::new(move || *shared.lock().unwrap() = None);
        Self { close, ..self.under(tiered) }
    }

    /// Work in memory, with it as the storage: a fresh part of it each time.
    pub fn staged(self) -> Self {
        let place =
            self.under(|storage, _| Cache::staged(Cache::memory(), storage.prefix(&unique())));
        Self { private: true, ..place }
    }

    /// It is read, and a memory is written beside it.
    pub fn fan_out(self) -> Self {
        self.under(|primary, _| Cache::fan_out(primary, [Cache::memory()]))
    }

    /// A memory is read, and it is written beside it: a fresh part of it each time.
    pub fn fan_out_into(self) -> Self {
        let fan_out = |writer: Cache, clock: &ManualClock| {
            let primary = open_uri("memory:", clock).unwrap();
            Cache::fan_out(primary, [writer.prefix(&unique())])
        };
        Self { private: true, ..self.under(fan_out) }
    }

    /// A part of it that nobody else uses.
    pub fn prefixed(self) -> Self {
        let prefix = unique();
        Self { private: true, ..self.under(move |cache, _| cache.prefix(&prefix)) }
    }
}

/// A name that no other case and no other run has.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let random = RandomState::new().hash_one(std::process::id());
    format!("t{random:016x}{count}")
}

/// Opens a database whose scopes are side by side in tables of this prefix.
#[cfg(feature = "sql")]
fn one_table<T: hilcat::backend::Tables + Clone + 'static>(
    prefix: &str,
    open: impl Fn() -> Result<T> + Send + Sync + 'static,
) -> Open {
    let tables = std::sync::Arc::new(InTables::default());
    let prefix = prefix.to_owned();
    Box::new(move |clock| {
        let (prefix, tables) = (prefix.clone(), tables.clone());
        let store = OneTable { database: open()?, prefix, tables };
        Cache::builder_from_store(store).clock(clock.clone()).open()
    })
}

/// The parts of the URI of a server, for the builders.
#[cfg(feature = "server")]
struct Server {
    host: String,
    port: u16,
    user: String,
    password: String,
    database: String,
}

#[cfg(feature = "server")]
impl Server {
    /// What the tables of one place begin with.
    fn prefix() -> String {
        format!("all{:x}", RandomState::new().hash_one(std::process::id()))
    }

    fn named_by(variable: &str) -> Result<Self, String> {
        let uri = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
        let parts = uri.split(['/', '@', ':', '?']).map(|part| {
            percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into_owned()
        });
        let [_, _, _, user, password, host, port, database, ..] = &parts.collect::<Vec<_>>()[..]
        else {
            return Err(format!(
                "{variable} is not of the form x://user:password@host:port/database"
            ));
        };
        let [user, password, host, database] = [user, password, host, database].map(Clone::clone);
        Ok(Self { host, port: port.parse().unwrap(), user, password, database })
    }
}

/// What one case stands on.
pub struct TestContext {
    pub cache: Cache,
    pub place: Place,
    /// The scope of the case; no other one has a name that begins so.
    pub scope: String,
}

impl TestContext {
    pub fn open(place: Place) -> Result<Self> {
        let cache = (place.open)(&place.clock)?;
        Ok(Self { cache, place, scope: unique() })
    }

    /// Moves the time of every cache on the place.
    pub fn advance(&self, time: Duration) {
        self.place.clock.advance(time);
    }

    pub fn now(&self) -> SystemTime {
        self.place.clock.now()
    }

    /// Whether nobody else uses the place.
    pub fn is_private(&self) -> bool {
        self.place.private
    }

    /// Whether all scopes of the same columns are in one table.
    pub fn has_one_table(&self) -> bool {
        self.place.one_table
    }

    /// Closes the cache and opens it again where records outlive that; elsewhere it is the same.
    pub fn reopen(&mut self) -> Result<()> {
        if self.cache.capabilities().persistent { self.open_anew() } else { Ok(()) }
    }

    /// Closes the cache and opens it again.
    pub fn open_anew(&mut self) -> Result<()> {
        // The old one is closed before the new one is opened.
        self.cache = Cache::noop();
        (self.place.close)();
        self.cache = (self.place.open)(&self.place.clock)?;
        Ok(())
    }

    /// One more cache on the same place.
    pub fn another(&self) -> Result<Cache> {
        (self.place.open)(&self.place.clock)
    }

    /// A schema of the case's scope.
    pub fn schema(&self) -> Schema {
        Schema::new(&self.scope)
    }

    /// A schema of the case's scope: a key `id` and a value `v` that can be NULL.
    pub fn pairs(&self, key: ColumnType, value: ColumnType) -> Schema {
        self.schema().unique(Column::new("id", key)).column(Column::new("v", value).nullable(true))
    }

    /// A scope whose records are bare rows, so that what is stored is seen exactly.
    pub fn raw(&self, schema: Schema) -> Result<Scope<Raw>> {
        declared_as(schema, || self.cache.scope::<Raw>())
    }

    /// The same in another cache.
    pub fn raw_in(&self, cache: &Cache, schema: Schema) -> Result<Scope<Raw>> {
        declared_as(schema, || cache.scope::<Raw>())
    }

    /// The scope of [`texts`](TestContext::texts) as another process has it: it shares the store and
    /// nothing else.
    pub fn texts_elsewhere(&self) -> Result<Scope<Raw>> {
        let cache = self.cache.detached();
        self.raw_in(&cache, self.pairs(ColumnType::Text, ColumnType::Text))
    }

    /// The same of [`numbers`](TestContext::numbers).
    pub fn numbers_elsewhere(&self) -> Result<Scope<Raw>> {
        let cache = self.cache.detached();
        self.raw_in(&cache, self.pairs(ColumnType::BigInt, ColumnType::BigInt))
    }

    /// The scope of text to text that many cases use.
    pub fn texts(&self) -> Result<Scope<Raw>> {
        self.raw(self.pairs(ColumnType::Text, ColumnType::Text))
    }

    /// The scope of integers to integers that many cases use.
    pub fn numbers(&self) -> Result<Scope<Raw>> {
        self.raw(self.pairs(ColumnType::BigInt, ColumnType::BigInt))
    }

    pub fn dynamic(&self, schema: Schema) -> Result<DynScope> {
        self.cache.dynamic_with(schema)
    }
}

/// A row of bare values.
pub fn row<const N: usize>(values: [Value; N]) -> Raw {
    Raw(Row::from(values))
}

/// A row of a key and a value.
pub fn pair(key: impl Into<Value>, value: impl Into<Value>) -> Raw {
    row([key.into(), value.into()])
}

pub fn key(value: impl Into<Value>) -> RawKey {
    RawKey(hilcat::Key::single(value.into()))
}

pub fn key_of<const N: usize>(values: [Value; N]) -> RawKey {
    RawKey(hilcat::Key::new(values))
}

/// The keys of a scope, sorted by how they are written.
pub fn all_keys(scope: &Scope<Raw>) -> Result<Vec<RawKey>> {
    let mut keys = scope.keys()?.collect::<Result<Vec<_>>>()?;
    keys.sort_by_cached_key(|key| format!("{key:?}"));
    Ok(keys)
}

/// The records of a scope, sorted by how they are written.
pub fn all_rows(scope: &Scope<Raw>) -> Result<Vec<Raw>> {
    let mut rows = scope.iter()?.collect::<Result<Vec<_>>>()?;
    rows.sort_by_cached_key(|row| format!("{row:?}"));
    Ok(rows)
}

/// Sorts what is expected as [`all_rows`] and [`all_keys`] do.
pub fn sorted<T: std::fmt::Debug>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_by_cached_key(|item| format!("{item:?}"));
    items
}

/// What a thread gave; its panic goes on in this one.
pub fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Fails where the work takes so long that it waits for something that never comes.
pub fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(catch_unwind(AssertUnwindSafe(work))));
    match result.recv_timeout(limit) {
        Ok(result) => result.unwrap_or_else(|panic| resume_unwind(panic)),
        Err(_) => panic!("it was not done after {limit:?}"),
    }
}
