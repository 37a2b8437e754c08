//! A backend that stores nothing.

use std::iter;
use std::sync::Arc;

use crate::store::{Capabilities, ExpirySupport, Keys, Options, Rows, ScopeStore, Store, Uri};
use crate::{Key, Result, Row, Schema, Value};

/// Stores nothing: every read is a miss, every write is discarded, and `get` always computes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noop;

/// Opens a `noop:` URI.
pub(crate) fn open(mut uri: Uri, options: Options) -> Result<(Arc<dyn Store>, Options)> {
    let options = uri.take_common(options)?;
    uri.finish(&[])?;
    Ok((Arc::new(Noop), options))
}

impl Store for Noop {
    fn name(&self) -> &'static str {
        "noop"
    }

    fn capabilities(&self) -> Capabilities {
        // Every property of records holds for none.
        Capabilities {
            stores: false,
            non_blocking: true,
            expiry: ExpirySupport::Full,
            max_records: true,
            ..Capabilities::new()
        }
    }

    fn open(&self, schema: &Arc<Schema>) -> Result<Arc<dyn ScopeStore>> {
        Ok(Arc::new(NoopScope { schema: schema.clone() }))
    }

    fn open_read_only(&self, schema: &Arc<Schema>) -> Result<Option<Arc<dyn ScopeStore>>> {
        self.open(schema).map(Some)
    }

    fn scopes(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

#[derive(Debug)]
struct NoopScope {
    schema: Arc<Schema>,
}

impl ScopeStore for NoopScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, _: &Key) -> Result<bool> {
        Ok(false)
    }

    fn fetch(&self, _: &Key) -> Result<Option<Row>> {
        Ok(None)
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        Ok(vec![None; keys.len()])
    }

    fn set(&self, _: Row) -> Result<()> {
        Ok(())
    }

    fn update(&self, _: Row) -> Result<Option<Row>> {
        Ok(None)
    }

    fn insert(&self, _: Row) -> Result<Option<Row>> {
        Ok(None)
    }

    fn insert_many(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        Ok(vec![None; rows.len()])
    }

    fn set_many(&self, _: Vec<Row>) -> Result<()> {
        Ok(())
    }

    fn pop(&self, _: &Key) -> Result<Option<Row>> {
        Ok(None)
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        Ok(vec![None; keys.len()])
    }

    fn keys(&self) -> Result<Keys> {
        Ok(Box::new(iter::empty()))
    }

    fn rows(&self) -> Result<Rows> {
        Ok(Box::new(iter::empty()))
    }

    fn len(&self) -> Result<u64> {
        Ok(0)
    }

    fn clear(&self) -> Result<()> {
        Ok(())
    }

    fn remove_expired(&self, _: &[Key], _: i64) -> Result<()> {
        Ok(())
    }

    fn touch(&self, _: &Key, _: i64, _: Value) -> Result<bool> {
        Ok(false)
    }

    fn trim(&self, _: u64, _: usize) -> Result<usize> {
        Ok(0)
    }

    fn replace_all(&self, _: Vec<Row>) -> Result<()> {
        Ok(())
    }
}
