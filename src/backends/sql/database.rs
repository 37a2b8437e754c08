//! An opened database: its pools, its registry, and how a call is run on it.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::dialect::Dialect;
use super::error::{CallError, ErrorClass};
use super::migration::{self, registry};
use super::migration::{Planned, Readable};
use super::table::{Found, Table};
use crate::backends::sql::connection::pool::Pool;
use crate::backends::sql::migration::registry::{Entry, Registry};
use crate::backends::sql::table::leases::LeaseTable;
use crate::backoff::BackOff;
#[cfg(feature = "server")]
use crate::remote::Retry;
use crate::remote::{Attempts, Deadline, LONGEST, Outcome};
use crate::schema::{Change, ExistingTable, Migrate, Plan};
use crate::store::{
    ABSENT, Adopted, Capabilities, ExpirySupport, Options, Projected, ScopeStore, Store,
};
use crate::{Column, Result, Schema};

/// How often a call is run again of which a prepared statement does not fit the table any more.
const STALE: u32 = 10;
/// How often a migration begins again that another process was faster with.
const RACES: u32 = 10;

/// Tells whether a file is still the one that was opened.
pub(crate) type Unchanged = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// A database that is opened, as a store.
pub(crate) struct Database<D: Dialect> {
    pub(crate) inner: Arc<Inner<D>>,
}

/// What a database and the tables that are opened in it share.
pub(crate) struct Inner<D: Dialect> {
    readers: Pool<D>,
    writers: Pool<D>,
    timeout: Duration,
    capabilities: Capabilities,
    /// How many levels JSON can have, where that differs between servers of one engine.
    pub(crate) deepest_json: Option<usize>,
    /// Whether a write that is the same when it is done twice is sent again.
    repeats_writes: bool,
    registry: Registry,
    pub(crate) leases: LeaseTable,
    /// Fails if what is read without locks was changed since it was opened.
    unchanged: Option<Unchanged>,
    /// What the registry has, as far as this process knows; read when it is first needed.
    known: Mutex<Option<BTreeMap<String, Entry>>>,
    /// The tables that the registry does not know, with whether they have a place for the expiry.
    places: Mutex<BTreeMap<String, bool>>,
}

/// A table that is as its schema says.
struct Migrated {
    plan: Plan,
    schema: Schema,
    found: Found,
}

impl<D: Dialect> Clone for Database<D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<D: Dialect> fmt::Debug for Database<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("backend", &D::NAME).finish_non_exhaustive()
    }
}

impl<D: Dialect> Database<D> {
    pub(crate) fn new(
        readers: Pool<D>,
        writers: Pool<D>,
        options: Options,
        capabilities: Capabilities,
    ) -> Self {
        Self::holding(readers, writers, options, capabilities, None)
    }

    /// The same where the server holds JSON of so many levels.
    pub(crate) fn holding(
        readers: Pool<D>,
        writers: Pool<D>,
        options: Options,
        capabilities: Capabilities,
        deepest_json: Option<usize>,
    ) -> Self {
        Self::of(readers, writers, options, capabilities, deepest_json, None)
    }

    /// A database that is only read, through one pool. Each result counts only if `unchanged`
    /// succeeds afterwards.
    pub(crate) fn read_only(
        readers: Pool<D>,
        options: Options,
        capabilities: Capabilities,
        unchanged: Option<Unchanged>,
    ) -> Self {
        Self::of(readers.clone(), readers, options, capabilities, None, unchanged)
    }

    fn of(
        readers: Pool<D>,
        writers: Pool<D>,
        options: Options,
        capabilities: Capabilities,
        deepest_json: Option<usize>,
        unchanged: Option<Unchanged>,
    ) -> Self {
        let inner = Inner {
            readers,
            writers,
            timeout: options.timeout.min(LONGEST),
            capabilities,
            deepest_json,
            repeats_writes: true,
            unchanged,
            registry: Registry::new::<D>(),
            leases: LeaseTable::new::<D>(),
            known: Mutex::new(None),
            places: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same with writes sent again, or not, whose connection was lost.
    #[cfg(feature = "server")]
    pub(crate) fn retrying(mut self, retry: Retry) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.repeats_writes = retry != Retry::Never;
        }
        self
    }

    pub(crate) fn into_inner(self) -> Arc<Inner<D>> {
        self.inner
    }
}

impl<D: Dialect> Inner<D> {
    /// Runs a call that reads; once more where the connection was lost.
    pub(crate) fn read<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        if D::ON_SERVER {
            return self.read_until(self.deadline(), call);
        }
        // Reads do not wait for writers, and are too short to read the clock for each.
        let result = self.readers.run(self.timeout, false, |connection, waited| {
            self.run_within(connection, self.timeout.saturating_sub(waited), call)
        })?;
        self.unchanged.as_ref().map_or(Ok(()), |unchanged| unchanged())?;
        result.map_err(CallError::into_error::<D>)
    }

    /// The same for a call that cannot be made a second time.
    pub(crate) fn read_once<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        match D::ON_SERVER {
            true => self.run_on_server(&self.readers, false, self.deadline(), call),
            false => self.read(call),
        }
    }

    /// Runs a call that reads on a server, until a deadline.
    pub(crate) fn read_until<T>(
        &self,
        deadline: Deadline,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.run_on_server(&self.readers, true, deadline, call)
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// How many connections read at once.
    pub(crate) fn readers(&self) -> u32 {
        self.readers.size()
    }

    /// How long a call may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When a step that begins now has to end: with the public call that it is a part of.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::of_call(self.timeout)
    }

    /// Runs a call that writes.
    pub(crate) fn write<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.run_writing(false, call)
    }

    /// Runs a call that writes the same when it is run twice; once more where the connection was
    /// lost.
    pub(crate) fn write_idempotent<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        self.run_writing(self.repeats_writes, call)
    }

    fn run_writing<T>(
        &self,
        idempotent: bool,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        match D::ON_SERVER {
            true => self.run_on_server(&self.writers, idempotent, self.deadline(), call),
            false => self.run_on_file(call),
        }
    }

    /// Runs a call that writes to a file. The engine waits for other writers, but may report at
    /// once that the file is locked, and gives some of those that wait less often a turn than
    /// others: the call is run again until its deadline.
    fn run_on_file<T>(
        &self,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        let mut back_off = BackOff::until(self.deadline().instant());
        loop {
            let left = back_off.left();
            let result = self.writers.run(left, false, |connection, waited| {
                self.run_within(connection, left.saturating_sub(waited), &call)
            })?;
            let failed = match result {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            let again = matches!(failed.class::<D>(), ErrorClass::Busy | ErrorClass::Conflict);
            if !again || !back_off.pause() {
                return Err(failed.into_error::<D>());
            }
        }
    }

    /// Runs a call on a file, in which the engine waits for others no longer than there is time
    /// `left`: what the call has waited already is taken off, where it is not next to nothing.
    fn run_within<T>(
        &self,
        connection: &mut D::Connection,
        left: Duration,
        call: impl FnOnce(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        if left >= self.timeout / 20 * 19 {
            return call(connection);
        }
        D::set_deadline(connection, left)?;
        let result = call(connection);
        D::set_deadline(connection, self.timeout)?;
        result
    }

    /// One deadline holds for the wait for a connection, the call and its repetition.
    fn run_on_server<T>(
        &self,
        pool: &Pool<D>,
        twice: bool,
        deadline: Deadline,
        call: impl Fn(&mut D::Connection) -> Result<T, CallError>,
    ) -> Result<T> {
        let mut attempts = Attempts::new(deadline, twice);
        let mut stale = 0;
        // What a server that takes no calls said: the reason if no other connection can be had.
        let mut refused = None;
        loop {
            attempts.begin();
            let began = deadline.left();
            let result = pool.run(began, !twice, |connection, _| {
                D::set_deadline(connection, deadline.left())?;
                call(connection).inspect_err(|failed| {
                    if failed.class::<D>().is_server_refusal() {
                        D::abandon(connection);
                    }
                })
            });
            let result = result.map_err(|error| refused.take().unwrap_or(error));
            let failed = match result.map_err(|error| attempts.conclude(Outcome::NotDone, error))? {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            let failure = failed.class::<D>();
            let again = match failure {
                ErrorClass::ConnectionLost => {
                    // The others were probably lost with it.
                    pool.suspect_all();
                    attempts.again(Outcome::Unknown)
                }
                ErrorClass::ReadOnly | ErrorClass::NotReady => {
                    pool.close_idle();
                    attempts.after_refusal()
                }
                ErrorClass::StaleStatement => {
                    stale += 1;
                    stale <= STALE
                }
                // The server's own limit of a wait has to come before the deadline again: it says
                // that nothing was done.
                ErrorClass::Busy if began.saturating_sub(deadline.left()) > deadline.left() => {
                    false
                }
                ErrorClass::Conflict | ErrorClass::Busy => attempts.again(Outcome::NotDone),
                _ => false,
            };
            if !again || deadline.has_passed() {
                return Err(attempts.conclude(failure.outcome(), failed.into_error::<D>()));
            }
            if failure.is_server_refusal() {
                refused = Some(failed.into_error::<D>());
            }
        }
    }

    /// Makes sure that a scope's table is as the schema says, as its policy allows. Costs nothing
    /// where the registry says that it is. Gives what the scope is opened as: with hilcat's own
    /// column for the expiry if the table has it.
    pub(crate) fn ensure(&self, schema: &Arc<Schema>) -> Result<(Arc<Schema>, Found)> {
        migration::check::<D>(schema)?;
        let entry = self.entry(&schema.name)?;
        let schema = match entry.as_ref().map(|entry| entry.with_expiry(schema)) {
            Some(Cow::Owned(schema)) => Arc::new(schema),
            _ => schema.clone(),
        };
        if let Some(keys_in_clear) = entry.and_then(|entry| entry.is_for::<D>(&schema)) {
            return Ok((schema, Found { keys_in_clear, ..Found::default() }));
        }
        let (opened, found) = match schema.migrate {
            Migrate::Manual => self.as_it_stands(&schema)?,
            _ => {
                let migrated = self.migrate(&schema)?;
                (migrated.schema, migrated.found)
            }
        };
        Ok((if opened == *schema { schema } else { Arc::new(opened) }, found))
    }

    /// Opens a table without changing it, if its columns allow that. A missing index is accepted.
    fn as_it_stands(&self, schema: &Schema) -> Result<(Schema, Found)> {
        migration::check::<D>(schema)?;
        self.read(|connection| {
            let Planned { plan, schema, foreign } = self.planned(connection, schema)?;
            let steps = plan.steps.iter();
            let steps = steps.filter(|step| !matches!(step.change, Change::AddIndex(_)));
            let makes_numbers = steps.map(|step| migration::makes_numbers::<D>(&step.change));
            let columns: Option<Vec<String>> = makes_numbers.collect();
            let numbers = columns.ok_or_else(|| migration::refused(&plan, schema.migrate))?;
            let found = Found { numbers, foreign, ..self.found(connection, &schema)? };
            Ok((schema.into_owned(), found))
        })
    }

    /// A table as it can be read while nothing is changed, and what is to be known of it. `None` if
    /// there is no table.
    pub(crate) fn readable(&self, schema: &Schema) -> Result<Option<(Readable, Found)>> {
        migration::check::<D>(schema)?;
        self.read(|connection| {
            let entries = self.registry.load::<D>(connection)?;
            let readable = migration::readable::<D>(connection, schema, entries.get(&schema.name))?;
            let Some(readable) = readable else { return Ok(None) };
            let keys_in_clear =
                schema.keys_in_clear || D::keys_in_clear(connection, &readable.stored)?;
            let numbers = readable.numbers.clone();
            Ok(Some((readable, Found { numbers, keys_in_clear, ..Found::default() })))
        })
    }

    /// What is to be known of a table that stands.
    fn found(&self, connection: &mut D::Connection, schema: &Schema) -> Result<Found, CallError> {
        let narrow = match schema.migrate {
            Migrate::Manual => migration::narrow::<D>(connection, schema)?,
            _ => Vec::new(),
        };
        let keys_in_clear = schema.keys_in_clear || D::keys_in_clear(connection, schema)?;
        Ok(Found { narrow, keys_in_clear, ..Found::default() })
    }

    /// Whether there is a place for the expiry of records in the table of a schema, be it made yet
    /// or not.
    pub(crate) fn has_place_for_expiry(&self, schema: &Schema) -> Result<bool> {
        if let Some(entry) = self.entry(&schema.name)?.filter(|entry| entry.is_of(schema)) {
            return Ok(!entry.is_foreign(schema));
        }
        if let Some(known) = self.places.lock().get(&schema.table) {
            return Ok(*known);
        }
        let standing = self.read(|connection| Ok(D::table(connection, &schema.table)?))?;
        let Some(standing) = standing else { return Ok(true) };
        let has_place = !migration::is_foreign(&standing, None, schema);
        self.places.lock().insert(schema.table.clone(), has_place);
        Ok(has_place)
    }

    /// Makes a table again that was dropped behind hilcat's back, or takes the safe steps where it
    /// was changed. Never recreates one: whoever changed it may have put records into it.
    pub(crate) fn restore(&self, schema: &Schema) -> Result<()> {
        match schema.migrate {
            Migrate::Manual => self.as_it_stands(schema).map(drop),
            _ => self.migrate(&schema.clone().migrate(Migrate::Safe)).map(drop),
        }
    }

    fn entry(&self, scope: &str) -> Result<Option<Entry>> {
        let mut known = self.known.lock();
        if known.is_none() {
            *known = Some(self.read(|connection| self.registry.load::<D>(connection))?);
        }
        Ok(known.as_ref().and_then(|known| known.get(scope)).cloned())
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        migration::check::<D>(schema)?;
        self.read(|connection| Ok(self.planned(connection, schema)?.plan))
    }

    fn planned<'a>(
        &self,
        connection: &mut D::Connection,
        schema: &'a Schema,
    ) -> Result<Planned<'a>, CallError> {
        let entries = self.registry.load::<D>(connection)?;
        registry::check_table(&entries, schema)?;
        migration::plan::<D>(connection, schema, entries.get(&schema.name))
    }

    /// Plans and applies under the engine's lock, so that of several processes that do it at once
    /// one does and the others find it done. A lock of MySQL is one server's: where nodes of a
    /// cluster do it at once, those that come second begin again and find it done.
    fn migrate(&self, schema: &Schema) -> Result<Migrated> {
        migration::check::<D>(schema)?;
        let races = AtomicU32::new(0);
        let (migrated, entry) = self.write(|connection| {
            let migrated = D::with_migration_lock(connection, |connection| {
                self.migrate_on(connection, schema)
            });
            migrated.map_err(|failed| match races.fetch_add(1, Ordering::Relaxed) {
                ..RACES => failed.into_conflict_if(D::is_race),
                _ => failed,
            })
        })?;
        if let Some(known) = self.known.lock().as_mut() {
            known.insert(schema.name.clone(), entry);
        }
        Ok(migrated)
    }

    fn migrate_on(
        &self,
        connection: &mut D::Connection,
        schema: &Schema,
    ) -> Result<(Migrated, Entry), CallError> {
        migration::make_registry::<D>(connection)?;
        D::drop_leftovers(connection, schema)?;
        let entries = self.registry.load::<D>(connection)?;
        registry::check_table(&entries, schema)?;
        let noted = entries.get(&schema.name);
        let Planned { plan, schema, foreign } = migration::plan::<D>(connection, schema, noted)?;
        let applicable = plan.is_safe() || schema.migrate == Migrate::Recreate;
        if !applicable {
            return Err(CallError::Hilcat(migration::refused(&plan, Migrate::Safe)));
        }
        match plan.steps.iter().all(|step| step.change == Change::CreateTable) {
            true => migration::apply::<D>(connection, &plan)?,
            false => D::without_statement_timeout(connection, self.timeout, |connection| {
                migration::apply::<D>(connection, &plan)
            })?,
        }
        let found = Found { foreign, ..self.found(connection, &schema)? };
        let recreated = plan.steps.iter().any(|step| step.change == Change::Recreate);
        let registered = registry::of_entry(noted, &schema).filter(|_| !recreated);
        let entry = self.registry.note::<D>(connection, &schema, registered.as_ref(), &found)?;
        Ok((Migrated { plan, schema: schema.into_owned(), found }, entry))
    }
}

impl<D: Dialect> Store for Database<D> {
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let (schema, found) = self.inner.ensure(schema)?;
        if schema.freshness.lease().is_some() {
            self.inner.ensure_leases()?;
        }
        Ok(Arc::new(Table::new(self.inner.clone(), &schema, &found)))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let Some((readable, found)) = self.inner.readable(schema)? else { return Ok(None) };
        let table = Table::read_only(self.inner.clone(), &Arc::new(readable.stored), 0, &found);
        Ok(Some(Projected::wrap(&Arc::new(readable.schema), Arc::new(table))))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.inner.plan(schema)
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.inner.migrate(schema).map(|migrated| migrated.plan)
    }

    fn scopes(&self) -> Result<Vec<String>> {
        let inner = &self.inner;
        let entries = inner.read(|connection| inner.registry.load::<D>(connection))?;
        Ok(entries.into_keys().collect())
    }

    fn adopt(&self) -> Result<Adopted> {
        let inner = &self.inner;
        inner.read(|connection| {
            let entries = inner.registry.load::<D>(connection)?;
            let own = entries.iter().filter_map(|(scope, entry)| entry.records(scope));
            let mut adopted = Adopted { schemas: own.collect(), skipped_tables: Vec::new() };
            for table in D::tables(connection)? {
                let ours = adopted.schemas.iter().any(|schema| schema.table == table);
                if ours || migration::RESERVED.contains(&table.as_str()) {
                    continue;
                }
                let standing = D::table(connection, &table);
                match standing.and_then(|standing| adopt::<D>(&table, standing)) {
                    Ok(schema) => adopted.schemas.push(schema),
                    Err(error) => adopted.skipped_tables.push((table, error.to_string())),
                }
            }
            adopted.schemas.retain(|schema| !schema.name.starts_with(ABSENT));
            Ok(adopted)
        })
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        let inner = &self.inner;
        inner.read(|connection| inner.registry.stored_schema::<D>(connection, scope))
    }

    fn expiry_of(&self, schema: &Schema) -> Result<ExpirySupport> {
        let by_column = schema.freshness.expires_at.is_some();
        match by_column || self.inner.has_place_for_expiry(schema)? {
            true => Ok(ExpirySupport::Full),
            false => Ok(ExpirySupport::Unsupported),
        }
    }

    fn database(&self) -> Option<&dyn Any> {
        Some(&*self.inner)
    }
}

/// The schema of a table that another program made. It is never changed unless that is asked for.
fn adopt<D: Dialect>(table: &str, standing: Option<ExistingTable>) -> Result<Schema> {
    let wrong = |message: String| crate::Error::unsupported(message);
    let standing = standing.ok_or_else(|| wrong("it was dropped meanwhile".to_owned()))?;
    if standing.key.is_empty() {
        return Err(wrong("it has no primary key".to_owned()));
    }
    let mut schema = Schema::new(table).migrate(Migrate::Manual);
    for column in &standing.columns {
        let ty = column.ty.ok_or_else(|| {
            wrong(format!(
                "its column `{}` is of the unknown type `{}`",
                column.name, column.declared
            ))
        })?;
        schema = schema.column(Column::new(&column.name, D::adopted(ty)).nullable(column.nullable));
    }
    let position = |name: &String| schema.position(name);
    schema.key = standing.key.iter().map(position).collect::<Result<_>>()?;
    schema.validate()?;
    Ok(as_records(schema))
}

/// The schema of a table as programs have it: hilcat's own column for the expiry is not one of the
/// record.
fn as_records(schema: Schema) -> Schema {
    match schema.has_own_expiry_column() {
        true => schema.without_expiry_column(),
        false => schema,
    }
}
