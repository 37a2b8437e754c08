//! Redis and Valkey: each record is a string or a hash, under a name made of prefix, scope and key.

mod builder;
mod call_error;
mod cluster;
mod command;
mod connection;
mod expiry;
mod insert;
mod leases;
mod listing;
mod login;
mod names;
mod plain;
mod pool;
mod record_layout;
mod registry;
mod remove;
mod reply;
mod schema_check;
mod scope;
mod scripts;
mod sentinel;
mod servers;
mod slot;
mod uri;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

pub use self::builder::{RedisBuilder, RedisLayout};
use self::command::Commands;
pub use self::login::Resp;
use self::names::Naming;
use self::plain::Plain;
use self::record_layout::RecordLayout;
use self::registry::{Entry, Registry};
use self::schema_check::SchemaCheck;
use self::scope::{Records, RedisScope};
use self::servers::{Call, Servers};
pub(crate) use self::uri::open;
use crate::clock::SharedClock;
use crate::codec::{Codec, CodecOptions};
use crate::remote::{Deadline, Retry};
use crate::schema::{Apply, check_readable, merged, plan, upgrade};
use crate::store::{Capabilities, ExpirySupport, ScopeStore, Store};
use crate::{Error, ErrorKind, Plan, Result, Schema};

/// The maximum number of records in one write command.
const PAGE: usize = 1_000;

/// Stores records in Redis or Valkey: on a single server, in a cluster, or on the master that
/// sentinels report.
///
/// Works with Redis 6.2, Valkey 7.2 and newer. Every call ends by its deadline, even if a server
/// does not respond.
///
/// A key that holds a value of another type, such as a list of another program, is an error of kind
/// [`InvalidData`](ErrorKind::InvalidData) in every call except `set` and `set_many` of records
/// with all columns, which overwrite it: detecting it would take a second round trip.
///
/// ```no_run
/// use hilcat::Cache;
/// use hilcat::backend::Redis;
///
/// let store = Redis::builder("cache.example.com").password("p@ss/w:ord").prefix("app").open()?;
/// let cache = Cache::from_store(store);
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

/// The state shared by the scopes of a store.
struct Inner {
    servers: Servers,
    timeout: Duration,
    /// Determines how long the server keeps a record that expires.
    clock: SharedClock,
    replicas: u32,
    retry: Retry,
    prefix: String,
    naming: Naming,
    layout: RedisLayout,
    codec: CodecOptions,
    registry: Registry,
    known: Mutex<KnownScopes>,
}

/// The scopes known to this process.
#[derive(Debug)]
enum KnownScopes {
    /// The entries of the registry; `None` until it is first read.
    Registered(Option<BTreeMap<String, Entry>>),
    /// The single scope of the plain layout; `None` until it is opened.
    Only(Option<String>),
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("prefix", &self.prefix)
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// A call that starts now and only reads.
    fn read_call(&self) -> Call {
        Call { deadline: Deadline::of_call(self.timeout), idempotent: true, replicas: 0 }
    }

    /// A call that starts now and writes. With [`Retry::Never`] no write counts as idempotent, so
    /// that none is sent twice.
    fn write_call(&self, idempotent: bool) -> Call {
        let idempotent = idempotent && self.retry != Retry::Never;
        Call { idempotent, replicas: self.replicas, ..self.read_call() }
    }

    fn layout(&self, schema: &Arc<Schema>) -> Result<RecordLayout> {
        Ok(match self.layout {
            RedisLayout::Record => RecordLayout::Record(Codec::new(schema, self.codec)),
            RedisLayout::Hash => RecordLayout::Hash(Codec::new(schema, CodecOptions::default())),
            RedisLayout::Plain => RecordLayout::Plain(Plain::new(schema)?),
        })
    }

    /// Returns the registry entry of a scope, from the copy in this process.
    fn known(&self, scope: &str, call: Call) -> Result<Option<Entry>> {
        let mut known =
            self.known.try_lock_until(call.deadline.instant()).ok_or_else(lock_timeout)?;
        match &mut *known {
            KnownScopes::Only(_) => Ok(None),
            KnownScopes::Registered(known) => {
                if known.is_none() {
                    *known = Some(self.registry.load(&self.servers, call)?);
                }
                Ok(known.as_ref().and_then(|known| known.get(scope)).cloned())
            }
        }
    }

    fn cache_entry(&self, scope: &str, entry: &Entry) {
        if let KnownScopes::Registered(Some(known)) = &mut *self.known.lock() {
            known.insert(scope.to_owned(), entry.clone());
        }
    }

    /// Makes the stored schema of a scope cover `schema`, as its migration policy allows. Sends no
    /// request if the cached entry already does.
    fn ensure(self: &Arc<Self>, schema: &Arc<Schema>) -> Result<Option<Entry>> {
        let call = self.read_call();
        if let KnownScopes::Only(only) = &mut *self.known.lock() {
            return match only.get_or_insert_with(|| schema.name.clone()) == &schema.name {
                true => Ok(None),
                false => Err(second_scope()),
            };
        }
        let known = self.known(&schema.name, call)?;
        if let Some(entry) = known.filter(|entry| entry.covers(schema)) {
            return Ok(Some(entry));
        }
        let (_, entry) = self.apply(schema, Apply::OnOpen)?;
        Ok(Some(entry))
    }

    /// Opens the records of a scope with this registry entry.
    fn open_with_entry(
        self: &Arc<Self>,
        schema: &Arc<Schema>,
        entry: Entry,
    ) -> Result<Arc<dyn ScopeStore>> {
        let schema = Arc::new(schema.with_expiry_of(&entry.schema()?));
        let records = Arc::new(Records::new(self, &schema)?.with_stored_schema(&entry)?);
        Ok(Arc::new(RedisScope { records, schema_check: Some(SchemaCheck::new(entry, &schema)?) }))
    }

    /// Migrates a scope to a schema. Returns the applied plan and the new entry.
    fn apply(self: &Arc<Self>, schema: &Arc<Schema>, when: Apply) -> Result<(Plan, Entry)> {
        loop {
            let call = self.read_call();
            let old = self.registry.entry(&self.servers, &schema.name, call)?;
            let Some(entry) = &old else {
                let new = Entry::new(&merged(None, schema), 0);
                if when == Apply::OnDemand {
                    self.registry.check_table(&self.servers, schema, call)?;
                    return Ok((Plan::empty(schema), new));
                }
                match self.replace(schema, None, new, call)? {
                    Some(entry) => return Ok((Plan::empty(schema), entry)),
                    None => continue,
                }
            };
            let stored = entry.schema()?;
            let schema = &Arc::new(schema.with_expiry_of(&stored));
            if stored.table != schema.table {
                self.registry.check_table(&self.servers, schema, call)?;
            }
            let upgrade = upgrade(&stored, schema, when)?;
            if !upgrade.recreate && !upgrade.other {
                self.cache_entry(&schema.name, entry);
                return Ok((upgrade.plan, entry.clone()));
            }
            if upgrade.recreate {
                Arc::new(Records::new(self, schema)?).clear()?;
            }
            let generation = entry.generation + u64::from(upgrade.recreate);
            let new = Entry::new(&upgrade.stored, generation);
            if let Some(entry) = self.replace(schema, old.as_ref(), new, call)? {
                if !upgrade.plan.is_empty() {
                    thread::sleep(schema_check::SETTLE_TIME);
                }
                return Ok((upgrade.plan, entry));
            }
        }
    }

    /// Replaces the registry entry of a scope. Returns `None` if another process changed it first.
    fn replace(
        &self,
        schema: &Schema,
        old: Option<&Entry>,
        new: Entry,
        call: Call,
    ) -> Result<Option<Entry>> {
        let replaced = self.registry.replace(&self.servers, &schema.name, old, &new, call)?;
        if !replaced {
            return Ok(None);
        }
        self.cache_entry(&schema.name, &new);
        Ok(Some(new))
    }
}

/// The error of a call that waited until its deadline for another thread to read the registry.
fn lock_timeout() -> Error {
    let message =
        "the registry of scopes could not be read before the deadline passed; nothing was changed";
    Error::new(ErrorKind::Timeout, message)
}

fn second_scope() -> Error {
    Error::new(
        ErrorKind::InvalidConfig,
        "the plain layout has room for one scope, and another scope is already open; give each scope a cache with its own prefix or database",
    )
}

impl Store for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn capabilities(&self) -> Capabilities {
        // In the plain layout other programs would take a lease for a record.
        let plain = self.inner.layout == RedisLayout::Plain;
        let expiry = if plain { ExpirySupport::Removal } else { ExpirySupport::Full };
        Capabilities {
            persistent: true,
            expiry,
            removes_expired: true,
            shared_single_flight: !plain,
            ..Capabilities::new()
        }
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        // Reports unsupported schemas before anything is registered.
        Records::new(&self.inner, schema)?.check_leases()?;
        let Some(entry) = self.inner.ensure(schema)? else {
            let records = Arc::new(Records::new(&self.inner, schema)?);
            return Ok(Arc::new(RedisScope { records, schema_check: None }));
        };
        self.inner.open_with_entry(schema, entry)
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let inner = &self.inner;
        let records = Records::new(inner, schema)?;
        if inner.layout == RedisLayout::Plain {
            return Ok(Some(Arc::new(RedisScope {
                records: Arc::new(records),
                schema_check: None,
            })));
        }
        let entry = inner.registry.entry(&inner.servers, &schema.name, inner.read_call())?;
        let Some(entry) = entry else { return Ok(None) };
        let stored = entry.schema()?;
        check_readable(&stored, &schema.with_expiry_of(&stored))?;
        inner.open_with_entry(schema, entry).map(Some)
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        let inner = &self.inner;
        if inner.layout == RedisLayout::Plain {
            return Ok(Plan::empty(schema));
        }
        let call = inner.read_call();
        match inner.registry.entry(&inner.servers, &schema.name, call)? {
            Some(entry) => {
                let stored = entry.schema()?;
                Ok(plan(&stored, &schema.with_expiry_of(&stored)))
            }
            None => {
                inner.registry.check_table(&inner.servers, schema, call)?;
                Ok(Plan::empty(schema))
            }
        }
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        if self.inner.layout == RedisLayout::Plain {
            return Ok(Plan::empty(schema));
        }
        let (plan, _) = self.inner.apply(&Arc::new(schema.clone()), Apply::OnDemand)?;
        Ok(plan)
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        let inner = &self.inner;
        if inner.layout == RedisLayout::Plain {
            return Ok(None);
        }
        let entry = inner.registry.entry(&inner.servers, scope, inner.read_call())?;
        entry.map(|entry| entry.schema()).transpose()
    }

    fn ping(&self) -> Result<()> {
        let ping = Commands::one(&[b"PING"]);
        let call = self.inner.read_call();
        self.inner.servers.run(0, call, |connection| connection.query_unit(&ping)).map(drop)
    }

    fn scopes(&self) -> Result<Vec<String>> {
        let inner = &self.inner;
        if let KnownScopes::Only(only) = &*inner.known.lock() {
            return Ok(only.iter().cloned().collect());
        }
        let entries = inner.registry.load(&inner.servers, inner.read_call())?;
        Ok(entries.into_keys().collect())
    }
}
