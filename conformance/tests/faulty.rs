//! Stores that are wrong on purpose: the suite must notice each of them.
//!
//! A [`FaultyStore`] is a memory store behind a wrapper that does one thing wrong. Without a fault
//! it is right, and is a backend of the suite as any other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hilcat::backend::Memory;
use hilcat::store::{Capabilities, Keys, Rows, ScopeStore, Store};
use hilcat::{Error, ErrorKind, Key, Plan, Result, Row, Schema, Value};
use hilcat_conformance::{Case, Storage, cases_for};
use libtest_mimic::{Arguments, Failed, Trial};

/// Makes the list of faults and the enum of them, so that none is left out of the list.
macro_rules! faults {
    ($($fault:ident),* $(,)?) => {
        /// What a store does wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Fault {
            None,
            $($fault),*
        }

        const FAULTS: &[Fault] = &[$(Fault::$fault),*];
    };
}
faults! {
    // Keys.
    TrimsKeys, LowersKeys, ComposesKeys, JoinsKeys, CutsKeys,
    // Values.
    LosesNull, TakesEmptyForNull, TrimsText, ReadsNumbersInText, WrapsUnsigned, RoundsIntegers,
    RoundsFloats, DropsTheSignOfZero, CutsMicroseconds, CutsText,
    // Writes of one record.
    IgnoresPartialSets, SetsNullForAbsent, KeepsTheFirstWrite, GivesTheNewRecord, IsNotAtomic,
    // Conditional inserts.
    InsertsOverRecords, GivesTheRefusedRecord, InsertsInTwoSteps, InsertsManyOverRecords,
    // Removals.
    ForgetsPop, PopsWithoutGiving, ClearsNothing,
    // Batches.
    DropsTheLastOfABatch, LetsTheFirstOfABatchCount, StoresBatchesInPart, SortsFetchMany,
    SkipsMissing, PopsOneKeyTwice,
    // Listings.
    ListsAPage, ListsTwice, RefusesWritesWhileListing, CountsOneTooMany,
    // Scopes and schemas.
    MixesScopes, HidesScopes, ForgetsOnUpgrade, TakesAnySchema, PlansNothing,
}

fn main() -> ExitCode {
    let passes = |case: &'static Case| {
        let run = move || Ok(case.run(storage(Fault::None))?);
        Trial::test(format!("faultless::{}", case.name()), run)
    };
    let fault = |&fault: &Fault| {
        Trial::test(format!("faulty::{fault:?}"), move || assert_is_detected(fault))
    };
    let trials = cases_for(Memory::new().capabilities())
        .map(passes)
        .chain(FAULTS.iter().map(fault))
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A fresh store with this fault.
fn storage(fault: Fault) -> Storage {
    Storage::of_store(move || Ok(FaultyStore { inner: Memory::new(), fault }))
}

fn assert_is_detected(fault: Fault) -> Result<(), Failed> {
    let fails = |case: &&Case| {
        let run = || case.run(storage(fault));
        !matches!(catch_unwind(AssertUnwindSafe(run)), Ok(Ok(())))
    };
    match quietly(|| cases_for(Memory::new().capabilities()).find(fails)) {
        Some(_) => Ok(()),
        None => Err(format!("no case fails on a store that has the fault {fault:?}").into()),
    }
}

/// Runs what is to panic, in threads of its own too, without the messages of its panics. Those of
/// other tests that run meanwhile are shown with their results alone.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static QUIET: AtomicUsize = AtomicUsize::new(0);
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.load(Ordering::SeqCst) == 0 {
                loud(info);
            }
        }));
    });
    QUIET.fetch_add(1, Ordering::SeqCst);
    let done = work();
    QUIET.fetch_sub(1, Ordering::SeqCst);
    done
}

#[derive(Debug)]
struct FaultyStore {
    inner: Memory,
    fault: Fault,
}

impl Store for FaultyStore {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn stored_schema(&self, scope: &str) -> Result<Option<Schema>> {
        self.inner.stored_schema(scope)
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        let mut under = Schema::clone(schema);
        match self.fault {
            Fault::MixesScopes => under = under.renamed("all"),
            Fault::TakesAnySchema if !self.inner.plan(schema)?.is_safe() => {
                under = under.migrate(hilcat::Migrate::Recreate);
            }
            Fault::ForgetsOnUpgrade if !self.inner.plan(schema)?.is_empty() => {
                self.inner.open(schema)?.clear()?;
            }
            _ => {}
        }
        let inner = self.inner.open(&Arc::new(under))?;
        let schema = Arc::new(schema.with_expiry_of(inner.schema()));
        let fault = self.fault;
        Ok(Arc::new(FaultyScope { inner, schema, fault, listings: Arc::default() }))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        self.inner.open_read_only(schema)
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        match self.fault {
            Fault::PlansNothing => Ok(Plan::empty(schema)),
            _ => self.inner.plan(schema),
        }
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.inner.migrate(schema)
    }

    fn scopes(&self) -> Result<Vec<String>> {
        let mut scopes = self.inner.scopes()?;
        if self.fault == Fault::HidesScopes {
            scopes.pop();
        }
        Ok(scopes)
    }
}

#[derive(Debug)]
struct FaultyScope {
    inner: Arc<dyn ScopeStore>,
    schema: Arc<Schema>,
    fault: Fault,
    /// How many listings are open.
    listings: Arc<AtomicUsize>,
}

impl FaultyScope {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn check_listings(&self) -> Result<()> {
        match self.has(Fault::RefusesWritesWhileListing) && self.listings.load(Ordering::SeqCst) > 0
        {
            true => Err(Error::new(ErrorKind::Unavailable, "a listing is open")),
            false => Ok(()),
        }
    }

    fn key(&self, key: &Key) -> Key {
        self.spoil_key(key.values().iter().cloned())
    }

    fn spoil_key(&self, values: impl Iterator<Item = Value>) -> Key {
        let key = Key::new(values.map(|value| spoil_key(self.fault, value)));
        match (self.fault, key.values()) {
            (Fault::JoinsKeys, [Value::Text(first), Value::Text(second)]) => {
                Key::new([format!("{first}{second}").into(), "".into()])
            }
            _ => key,
        }
    }

    /// The row as the fault leaves it.
    fn row(&self, mut row: Row) -> Row {
        let key = self.spoil_key(self.schema.key_positions().iter().map(|&at| row[at].clone()));
        for (at, value) in row.iter_mut().enumerate() {
            if !self.schema.key_positions().contains(&at) {
                let column = &self.schema.columns()[at];
                *value =
                    spoil_value(self.fault, std::mem::replace(value, Value::Null), column.nullable);
            }
        }
        for (&at, value) in self.schema.key_positions().iter().zip(key.into_values()) {
            row[at] = value;
        }
        row
    }

    fn spoil_keys(&self, keys: &[Key]) -> Vec<Key> {
        keys.iter().map(|key| self.key(key)).collect()
    }

    /// A partial set in two steps, between which another may come.
    fn complete(&self, row: Row) -> Result<Row> {
        let old = self.inner.fetch(&self.schema.key_of(&row))?;
        std::thread::sleep(Duration::from_micros(50));
        let Some(old) = old else { return Ok(row) };
        let filled = row.into_iter().zip(old);
        Ok(filled.map(|(new, old)| if new.is_absent() { old } else { new }).collect())
    }

    /// What is written in the place of a row, if anything is.
    fn before_write(&self, row: Row) -> Result<Option<Row>> {
        self.check_listings()?;
        let row = self.row(row);
        let key = self.schema.key_of(&row);
        Ok(match self.fault {
            Fault::KeepsTheFirstWrite if self.inner.exists(&key)? => None,
            Fault::IgnoresPartialSets
                if row.iter().any(Value::is_absent) && self.inner.exists(&key)? =>
            {
                None
            }
            Fault::IsNotAtomic => Some(self.complete(row)?),
            _ => Some(row),
        })
    }
}

/// A value of a key, as a fault spoils it.
fn spoil_key(fault: Fault, value: Value) -> Value {
    match (fault, value) {
        (Fault::TrimsKeys, Value::Text(text)) => text.trim_end_matches(' ').into(),
        (Fault::LowersKeys, Value::Text(text)) => text.to_lowercase().into(),
        (Fault::ComposesKeys, Value::Text(text)) => text.replace("e\u{301}", "\u{e9}").into(),
        (Fault::CutsKeys, Value::Text(text)) => text.chars().take(255).collect::<String>().into(),
        (_, value) => value,
    }
}

/// A value that is not of the key, as a fault spoils it.
fn spoil_value(fault: Fault, value: Value, nullable: bool) -> Value {
    match (fault, value) {
        (Fault::LosesNull, Value::Null) => Value::Absent,
        (Fault::SetsNullForAbsent, Value::Absent) if nullable => Value::Null,
        (Fault::TakesEmptyForNull, Value::Text(text)) if text.is_empty() && nullable => Value::Null,
        (Fault::TrimsText, Value::Text(text)) => text.trim_end().into(),
        (Fault::CutsText, Value::Text(text)) => {
            text.chars().take(65_535).collect::<String>().into()
        }
        (Fault::ReadsNumbersInText, Value::Text(text)) => match text.parse::<i64>() {
            Ok(number) => number.to_string().into(),
            Err(_) => text.into(),
        },
        (Fault::WrapsUnsigned, Value::UInt(value)) => Value::UInt(value & i64::MAX as u64),
        (Fault::RoundsIntegers, Value::Int(value)) => Value::Int(value as f64 as i64),
        (Fault::RoundsFloats, Value::Float(value)) => {
            Value::Float(format!("{value:.15e}").parse().unwrap_or(value))
        }
        (Fault::DropsTheSignOfZero, Value::Float(value)) => Value::Float(value + 0.0),
        (Fault::CutsMicroseconds, Value::Timestamp(value)) => {
            Value::Timestamp(value.div_euclid(1_000) * 1_000)
        }
        (_, value) => value,
    }
}

/// A listing, counted while it is open.
struct Listing<I> {
    items: I,
    open: Arc<AtomicUsize>,
}

impl<I: Iterator> Iterator for Listing<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.items.next()
    }
}

impl<I> Drop for Listing<I> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FaultyScope {
    fn listing<T: Clone + Send + 'static>(
        &self,
        items: impl Iterator<Item = Result<T>> + Send + 'static,
    ) -> Result<Box<dyn Iterator<Item = Result<T>> + Send>> {
        self.listings.fetch_add(1, Ordering::SeqCst);
        let items = Listing { items, open: self.listings.clone() };
        let twice = if self.has(Fault::ListsTwice) { 2 } else { 1 };
        let page = if self.has(Fault::ListsAPage) { 1_000 } else { usize::MAX };
        let again = move |item: Result<T>| -> Vec<Result<T>> {
            match item {
                Ok(item) => vec![item; twice].into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        };
        Ok(Box::new(items.take(page).flat_map(again)))
    }
}

impl ScopeStore for FaultyScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.inner.exists(&self.key(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.inner.fetch(&self.key(key))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let mut rows = self.inner.fetch_many(&self.spoil_keys(keys))?;
        match self.fault {
            Fault::SortsFetchMany => rows.sort_by_cached_key(|row| format!("{row:?}")),
            Fault::SkipsMissing => rows.retain(Option::is_some),
            _ => {}
        }
        Ok(rows)
    }

    fn set(&self, row: Row) -> Result<()> {
        match self.before_write(row)? {
            Some(row) => self.inner.set(row),
            None => Ok(()),
        }
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let key = self.schema.key_of(&row);
        let old = match self.before_write(row)? {
            Some(row) => self.inner.update(row)?,
            None => self.fetch(&key)?,
        };
        match self.fault {
            Fault::GivesTheNewRecord if old.is_some() => self.fetch(&key),
            _ => Ok(old),
        }
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let Some(row) = self.before_write(row)? else { return Ok(None) };
        match self.fault {
            Fault::InsertsOverRecords => self.inner.set(row).map(|()| None),
            Fault::GivesTheRefusedRecord => Ok(self.inner.insert(row.clone())?.map(|_| row)),
            Fault::InsertsInTwoSteps => match self.inner.fetch(&self.schema.key_of(&row))? {
                Some(stored) => Ok(Some(stored)),
                None => {
                    std::thread::sleep(Duration::from_millis(1));
                    self.inner.set(row).map(|()| None)
                }
            },
            _ => self.inner.insert(row),
        }
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        match self.fault {
            Fault::InsertsManyOverRecords => {
                let count = rows.len();
                self.set_many(rows).map(|()| vec![None; count])
            }
            _ => rows.into_iter().map(|row| self.insert(row)).collect(),
        }
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.check_listings()?;
        let mut rows = rows.into_iter().map(|row| self.row(row)).collect::<Vec<_>>();
        match self.fault {
            Fault::DropsTheLastOfABatch => drop(rows.pop()),
            Fault::LetsTheFirstOfABatchCount => rows.reverse(),
            Fault::StoresBatchesInPart => {
                return rows.into_iter().try_for_each(|row| self.inner.set(row));
            }
            _ => {}
        }
        self.inner.set_many(rows)
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        self.check_listings()?;
        match self.fault {
            Fault::ForgetsPop => self.fetch(key),
            Fault::PopsWithoutGiving => self.inner.pop(key).map(|_| None),
            _ => self.inner.pop(&self.key(key)),
        }
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.check_listings()?;
        if self.has(Fault::PopsOneKeyTwice) {
            let found = self.inner.fetch_many(keys)?;
            self.inner.pop_many(keys)?;
            return Ok(found);
        }
        self.inner.pop_many(&self.spoil_keys(keys))
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.inner.remove_expired(&self.spoil_keys(keys), at)
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.inner.touch(&self.key(key), at, expires)
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        self.inner.purge(before, limit)
    }

    fn keys(&self) -> Result<Keys> {
        self.listing(self.inner.keys()?)
    }

    fn rows(&self) -> Result<Rows> {
        self.listing(self.inner.rows()?)
    }

    fn len(&self) -> Result<u64> {
        let one_more = u64::from(self.has(Fault::CountsOneTooMany));
        Ok(self.inner.len()? + one_more)
    }

    fn clear(&self) -> Result<()> {
        match self.fault {
            Fault::ClearsNothing => Ok(()),
            _ => self.inner.clear(),
        }
    }
}
