//! Redis and Valkey: a record is a value, or a hash, under a name of its scope's.

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
mod pool;
mod record_layout;
mod registry;
mod reply;
mod schema_check;
mod scope;
mod sentinel;
mod servers;
mod slot;
mod uri;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use self::builder::{RedisBuilder, RedisLayout};
use self::command::Commands;
pub use self::login::Resp;
use self::names::Naming;
use self::record_layout::{Plain, RecordLayout};
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

/// How many records one command writes.
const PAGE: usize = 1_000;

/// Keeps records in Redis or Valkey: in one server, in a cluster, or where sentinels say.
///
/// Works with Redis 6.2, Valkey 7.2 and newer. Every call ends by its deadline, also where a server
/// does not reply.
///
/// A key that holds a value of another type, as a list of another program, is an error of kind
/// [`InvalidData`](ErrorKind::InvalidData) in every call but one: `set` and `set_many` of records with
/// all columns overwrite it. To look at it first would take a second round trip.
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

/// What the scopes of a store share.
struct Inner {
    servers: Servers,
    timeout: Duration,
    /// Tells how long a record is to be kept that expires.
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

/// What is known of the scopes.
#[derive(Debug)]
enum KnownScopes {
    /// What the registry had, once it is read.
    Registered(Option<BTreeMap<String, Entry>>),
    /// The one scope of a cache of bare values, once it is opened.
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
    /// A call that begins now and reads, or does what is the same when it is done idempotent.
    fn call(&self, idempotent: bool) -> Call {
        Call { deadline: self.deadline(), idempotent, replicas: 0 }
    }

    /// A call that begins now and writes. None is sent idempotent where the options say so.
    fn writing(&self, idempotent: bool) -> Call {
        let idempotent = idempotent && self.retry != Retry::Never;
        Call { replicas: self.replicas, ..self.call(idempotent) }
    }

    fn deadline(&self) -> Instant {
        Deadline::of_call(self.timeout).instant()
    }

    fn layout(&self, schema: &Arc<Schema>) -> Result<RecordLayout> {
        Ok(match self.layout {
            RedisLayout::Record => RecordLayout::Record(Codec::new(schema, self.codec)),
            RedisLayout::Hash => RecordLayout::Hash(Codec::new(schema, CodecOptions::default())),
            RedisLayout::Plain => RecordLayout::Plain(Plain::new(schema)?),
        })
    }

    /// The registry's entry of a scope as this process knows it.
    fn known(&self, scope: &str, call: Call) -> Result<Option<Entry>> {
        let mut known = self.known.try_lock_until(call.deadline).ok_or_else(lock_timeout)?;
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

    fn learn(&self, scope: &str, entry: &Entry) {
        if let KnownScopes::Registered(Some(known)) = &mut *self.known.lock() {
            known.insert(scope.to_owned(), entry.clone());
        }
    }

    /// Makes sure that a scope's records stand under its schema, as its policy allows. Costs
    /// nothing where they do, as far as is known.
    fn ensure(self: &Arc<Self>, schema: &Arc<Schema>) -> Result<Option<Entry>> {
        let call = self.call(true);
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

    /// A handle on the records of a scope that has this entry.
    fn registered(
        self: &Arc<Self>,
        schema: &Arc<Schema>,
        entry: Entry,
    ) -> Result<Arc<dyn ScopeStore>> {
        let schema = Arc::new(schema.with_expiry_of(&entry.schema()?));
        let records = Arc::new(Records::new(self, &schema)?.with_stored_schema(&entry)?);
        Ok(Arc::new(RedisScope { records, lease: Some(SchemaCheck::new(entry, &schema)?) }))
    }

    /// Brings a scope under a schema, and gives what that changed.
    fn apply(self: &Arc<Self>, schema: &Arc<Schema>, when: Apply) -> Result<(Plan, Entry)> {
        loop {
            let call = self.call(true);
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
                self.learn(&schema.name, entry);
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

    /// Puts an entry into the registry, unless another process was quicker.
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
        self.learn(&schema.name, &new);
        Ok(Some(new))
    }
}

/// Another thread asked the server the same until the deadline.
fn lock_timeout() -> Error {
    Error::new(ErrorKind::Timeout, "the server did not reply until the deadline; nothing was done")
}

fn second_scope() -> Error {
    Error::new(
        ErrorKind::InvalidConfig,
        "the plain layout has the keys of one scope, and another one is opened already; give each a cache with a prefix or a database of its own",
    )
}

impl Store for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn capabilities(&self) -> Capabilities {
        // A lease beside a bare value would be a value of its own to other programs.
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
        // What cannot be kept is told before anything is registered.
        Records::new(&self.inner, schema)?.check_leases()?;
        let Some(entry) = self.inner.ensure(schema)? else {
            let records = Arc::new(Records::new(&self.inner, schema)?);
            return Ok(Arc::new(RedisScope { records, lease: None }));
        };
        self.inner.registered(schema, entry)
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let inner = &self.inner;
        let records = Records::new(inner, schema)?;
        if inner.layout == RedisLayout::Plain {
            return Ok(Some(Arc::new(RedisScope { records: Arc::new(records), lease: None })));
        }
        let entry = inner.registry.entry(&inner.servers, &schema.name, inner.call(true))?;
        let Some(entry) = entry else { return Ok(None) };
        let stored = entry.schema()?;
        check_readable(&stored, &schema.with_expiry_of(&stored))?;
        inner.registered(schema, entry).map(Some)
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        let inner = &self.inner;
        if inner.layout == RedisLayout::Plain {
            return Ok(Plan::empty(schema));
        }
        let call = inner.call(true);
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
        let entry = inner.registry.entry(&inner.servers, scope, inner.call(true))?;
        entry.map(|entry| entry.schema()).transpose()
    }

    fn ping(&self) -> Result<()> {
        let ping = Commands::one(&[b"PING"]);
        self.inner
            .servers
            .run(0, self.inner.call(true), |connection| connection.query_unit(&ping))?;
        Ok(())
    }

    fn scopes(&self) -> Result<Vec<String>> {
        let inner = &self.inner;
        if let KnownScopes::Only(only) = &*inner.known.lock() {
            return Ok(only.iter().cloned().collect());
        }
        let entries = inner.registry.load(&inner.servers, inner.call(true))?;
        Ok(entries.into_keys().collect())
    }
}
