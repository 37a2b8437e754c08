//! A scope that is opened on first use.
//!
//! Whether stored rows end with hilcat's own expiry column is known only when the scope is opened:
//! another program may have set a time to live for it. So a lazy scope promises rows with that
//! column wherever the backend supports it, and converts rows to and from the form of the opened
//! scope. It opens the scope with the column only if the schema requires it, so that no table gets
//! the column because it was opened lazily.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::rows::Forms;
use crate::store::{
    Capabilities, ExpirySupport, Keys, LeasedFill, Leases, Rows, ScopeStore, no_leases,
};
use crate::{Key, Result, Row, Schema, Value};

type Open = Box<dyn Fn(&Arc<Schema>) -> Result<Arc<dyn ScopeStore>> + Send + Sync>;

/// A scope that its first call opens. If opening fails, later calls try again.
///
/// Concurrent first calls may open it several times: each opens the same records, and one of the
/// handles is kept.
pub(crate) struct LazyScope {
    /// The schema of the rows that callers see.
    schema: Arc<Schema>,
    /// The schema that the scope is opened with.
    requested: Arc<Schema>,
    open: Open,
    opened: OnceLock<Opened>,
}

struct Opened {
    scope: Arc<dyn ScopeStore>,
    forms: Forms,
}

impl fmt::Debug for LazyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opened = self.opened.get().map(|opened| &opened.scope);
        f.debug_struct("LazyScope").field("opened", &opened).finish_non_exhaustive()
    }
}

impl LazyScope {
    pub(crate) fn new(
        schema: &Arc<Schema>,
        capabilities: Capabilities,
        open: impl Fn(&Arc<Schema>) -> Result<Arc<dyn ScopeStore>> + Send + Sync + 'static,
    ) -> Self {
        // A table created by another program has no such column.
        let can = capabilities.expiry == ExpirySupport::Full && !schema.verbatim_keys;
        let promised = match can && !schema.has_own_expiry_column() {
            true => Arc::new(schema.with_expiry_column()),
            false => schema.clone(),
        };
        // A layer passes the promised schema, which may have the column without requiring it.
        let freshness = &schema.freshness;
        let carries = freshness.uses_expiry() && freshness.expires_at.is_none();
        let requested = match carries {
            true => schema.clone(),
            false => Arc::new(schema.without_own_expiry()),
        };
        Self { schema: promised, requested, open: Box::new(open), opened: OnceLock::new() }
    }

    fn opened(&self) -> Result<&Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let scope = (self.open)(&self.requested)?;
        let forms = Forms::of(self.schema.has_own_expiry_column(), &*scope);
        Ok(self.opened.get_or_init(|| Opened { scope, forms }))
    }

    fn scope(&self) -> Result<&dyn ScopeStore> {
        Ok(&*self.opened()?.scope)
    }

    /// Returns the opened scope if its records expire.
    fn expiring(&self) -> Result<Option<&dyn ScopeStore>> {
        let scope = self.scope()?;
        Ok(scope.schema().expiry_column().is_some().then_some(scope))
    }

    fn leased<T>(&self, call: impl FnOnce(&dyn Leases) -> Result<T>) -> Result<T> {
        call(self.scope()?.leases().ok_or_else(no_leases)?)
    }
}

#[deny(clippy::missing_trait_methods)]
impl ScopeStore for LazyScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.scope()?.exists(key)
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let Opened { scope, forms } = self.opened()?;
        Ok(scope.fetch(key)?.map(|row| forms.promised(row)))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let Opened { scope, forms } = self.opened()?;
        Ok(forms.promised_each(scope.fetch_many(keys)?))
    }

    fn set(&self, row: Row) -> Result<()> {
        let Opened { scope, forms } = self.opened()?;
        scope.set(forms.stored(row))
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let Opened { scope, forms } = self.opened()?;
        Ok(scope.update(forms.stored(row))?.map(|row| forms.promised(row)))
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let Opened { scope, forms } = self.opened()?;
        Ok(scope.insert(forms.stored(row))?.map(|row| forms.promised(row)))
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        let Opened { scope, forms } = self.opened()?;
        Ok(forms.promised_each(scope.insert_many(forms.stored_each(rows))?))
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        let Opened { scope, forms } = self.opened()?;
        scope.set_many(forms.stored_each(rows))
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        let Opened { scope, forms } = self.opened()?;
        Ok(scope.pop(key)?.map(|row| forms.promised(row)))
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let Opened { scope, forms } = self.opened()?;
        Ok(forms.promised_each(scope.pop_many(keys)?))
    }

    fn keys(&self) -> Result<Keys> {
        self.scope()?.keys()
    }

    fn rows(&self) -> Result<Rows> {
        let Opened { scope, forms } = self.opened()?;
        Ok(forms.promised_rows(scope.rows()?))
    }

    fn len(&self) -> Result<u64> {
        self.scope()?.len()
    }

    fn clear(&self) -> Result<()> {
        self.scope()?.clear()
    }

    fn snapshot(&self) -> Result<Vec<Row>> {
        let Opened { scope, forms } = self.opened()?;
        Ok(scope.snapshot()?.into_iter().map(|row| forms.promised(row)).collect())
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        let Opened { scope, forms } = self.opened()?;
        scope.replace_all(forms.stored_each(rows))
    }

    fn replace_expired(&self, rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        let Opened { scope, forms } = self.opened()?;
        let rows = forms.stored_each(rows);
        let stored = match self.expiring()? {
            Some(scope) => scope.replace_expired(rows, at)?,
            None => scope.insert_many(rows)?,
        };
        Ok(forms.promised_each(stored))
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        self.expiring()?.map_or(Ok(()), |scope| scope.remove_expired(keys, at))
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        let Opened { scope, forms } = self.opened()?;
        let old = old.map(|old| forms.stored(old.clone()));
        scope.replace_unchanged(old.as_ref(), forms.stored(row))
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        self.scope()?.touch(key, at, expires)
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        self.expiring()?.map_or(Ok(0), |scope| scope.purge(before, limit))
    }

    fn trim(&self, records: u64, limit: usize) -> Result<usize> {
        self.scope()?.trim(records, limit)
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        self.expiring()?.map_or_else(|| self.keys(), |scope| scope.live_keys(at))
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        let forms = self.opened()?.forms;
        let Some(scope) = self.expiring()? else { return self.rows() };
        Ok(forms.promised_rows(scope.live_rows(at)?))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        self.expiring()?.map_or_else(|| self.len(), |scope| scope.live_len(at))
    }

    /// Returns the leases if the schema requires them. The cache has already checked that the
    /// backend supports them.
    fn leases(&self) -> Option<&dyn Leases> {
        self.schema.freshness.lease().map(|_| self as &dyn Leases)
    }

    /// `None` while the scope cannot be opened.
    fn table(&self) -> Option<&dyn Any> {
        self.scope().ok()?.table()
    }
}

#[deny(clippy::missing_trait_methods)]
impl Leases for LazyScope {
    fn acquire(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.leased(|leases| leases.acquire(key, holder, lease))
    }

    fn renew(&self, key: &Key, holder: &str, lease: Duration) -> Result<bool> {
        self.leased(|leases| leases.renew(key, holder, lease))
    }

    fn release(&self, key: &Key, holder: &str) -> Result<()> {
        self.leased(|leases| leases.release(key, holder))
    }

    fn fill(&self, row: Row, at: i64, holder: &str) -> Result<LeasedFill> {
        let forms = self.opened()?.forms;
        let filled = self.leased(|leases| leases.fill(forms.stored(row), at, holder))?;
        Ok(match filled {
            LeasedFill::Existing(row) => LeasedFill::Existing(forms.promised(row)),
            filled => filled,
        })
    }
}
