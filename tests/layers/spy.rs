//! A store that records its calls, and in which a test can let calls fail or wait.

use std::fmt;
use std::sync::{Arc, Mutex};

use hilcat::backend::Memory;
use hilcat::store::{Capabilities, Keys, Rows, ScopeStore, Store};
use hilcat::{Cache, Error, ErrorKind, Key, Plan, Result, Row, Schema};

/// Whether a hook runs before or after the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

type Hook = Box<dyn Fn(When, &str) -> Result<()> + Send + Sync>;

/// The records and the hook of a spied store.
#[derive(Clone, Default)]
pub struct Spy(Arc<Inner>);

#[derive(Default)]
struct Inner {
    calls: Mutex<Vec<String>>,
    hook: Mutex<Option<Arc<Hook>>>,
}

impl fmt::Debug for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spy").finish_non_exhaustive()
    }
}

impl Spy {
    /// Returns the calls since the last invocation of this method.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.calls.lock().unwrap())
    }

    /// Sets a hook that runs before and after each call that reads or writes. An error before the call
    /// prevents it; an error after it replaces its result.
    pub fn hook(&self, hook: impl Fn(When, &str) -> Result<()> + Send + Sync + 'static) {
        *self.0.hook.lock().unwrap() = Some(Arc::new(Box::new(hook)));
    }

    pub fn unhook(&self) {
        *self.0.hook.lock().unwrap() = None;
    }

    /// Lets calls of this name fail, before or after they are done.
    pub fn fail(&self, name: &'static str, when: When, kind: ErrorKind) {
        self.hook(move |now, call| match now == when && (call == name || name == "*") {
            true => Err(Error::new(kind, "on purpose")),
            false => Ok(()),
        });
    }

    fn call<T>(&self, name: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
        self.0.calls.lock().unwrap().push(name.to_owned());
        let hook = self.0.hook.lock().unwrap().clone();
        let run_hook = |when| hook.as_ref().map_or(Ok(()), |hook| hook(when, name));
        run_hook(When::Before)?;
        let result = call();
        run_hook(When::After)?;
        result
    }
}

/// Returns a memory store with a spy.
pub fn spied() -> (Cache, Spy) {
    spied_on(Memory::new())
}

/// Returns a store with a spy.
pub fn spied_on(store: impl Store + 'static) -> (Cache, Spy) {
    let spy = Spy::default();
    (Cache::from_store(Spied { inner: Arc::new(store), spy: spy.clone() }), spy)
}

#[derive(Debug)]
struct Spied {
    inner: Arc<dyn Store>,
    spy: Spy,
}

impl Store for Spied {
    fn name(&self) -> &'static str {
        "spied"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        Ok(Arc::new(SpiedScope { inner: self.inner.open(schema)?, spy: self.spy.clone() }))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        let scope = |inner| -> Arc<dyn ScopeStore> {
            Arc::new(SpiedScope { inner, spy: self.spy.clone() })
        };
        Ok(self.inner.open_read_only(schema)?.map(scope))
    }

    fn plan(&self, schema: &Schema) -> Result<Plan> {
        self.inner.plan(schema)
    }

    fn migrate(&self, schema: &Schema) -> Result<Plan> {
        self.inner.migrate(schema)
    }

    fn scopes(&self) -> Result<Vec<String>> {
        self.inner.scopes()
    }
}

#[derive(Debug)]
struct SpiedScope {
    inner: Arc<dyn ScopeStore>,
    spy: Spy,
}

impl ScopeStore for SpiedScope {
    fn schema(&self) -> &Arc<Schema> {
        self.inner.schema()
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.spy.call("exists", || self.inner.exists(key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.spy.call("fetch", || self.inner.fetch(key))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.spy.call("fetch_many", || self.inner.fetch_many(keys))
    }

    fn set(&self, row: Row) -> Result<()> {
        self.spy.call("set", || self.inner.set(row))
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        self.spy.call("update", || self.inner.update(row))
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        self.spy.call("insert", || self.inner.insert(row))
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        self.spy.call("insert_many", || self.inner.insert_many(rows))
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.spy.call("set_many", || self.inner.set_many(rows))
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        self.spy.call("pop", || self.inner.pop(key))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.spy.call("pop_many", || self.inner.pop_many(keys))
    }

    fn keys(&self) -> Result<Keys> {
        self.spy.call("keys", || self.inner.keys())
    }

    fn rows(&self) -> Result<Rows> {
        self.spy.call("rows", || self.inner.rows())
    }

    fn len(&self) -> Result<u64> {
        self.spy.call("len", || self.inner.len())
    }

    fn clear(&self) -> Result<()> {
        self.spy.call("clear", || self.inner.clear())
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        self.spy.call("replace_all", || self.inner.replace_all(rows))
    }
}
