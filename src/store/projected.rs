//! A read-only scope that converts records from their stored schema to another one.

use std::sync::Arc;

use super::{Keys, Rows, ScopeStore};
use crate::schema::project;
use crate::{Column, Error, Key, Result, Row, Schema};

/// A read-only scope that is stored with fewer or narrower columns than its schema has.
#[derive(Debug)]
pub(crate) struct Projected {
    schema: Arc<Schema>,
    stored: Arc<dyn ScopeStore>,
}

impl Projected {
    /// Wraps a scope to be read under a schema. Returns the scope itself if the columns are equal.
    pub(crate) fn wrap(schema: &Arc<Schema>, stored: Arc<dyn ScopeStore>) -> Arc<dyn ScopeStore> {
        let same = |(a, b): (&Column, &Column)| a.name == b.name && a.ty == b.ty;
        let (have, want) = (stored.schema(), schema);
        let columns = have.columns.iter().zip(&want.columns);
        match have.columns.len() == want.columns.len() && have.key == want.key {
            true if columns.into_iter().all(same) => stored,
            _ => Arc::new(Self { schema: schema.clone(), stored }),
        }
    }

    /// Returns the key with the stored types, or `None` if these cannot hold it, so that no record
    /// has it.
    fn stored_key(&self, key: &Key) -> Option<Key> {
        let columns = self.stored.schema().key_columns();
        let values = columns.zip(key.values()).map(|(column, value)| {
            let value = column.ty.coerce(value.clone())?;
            column.ty.check(&value).map(|()| value)
        });
        values.collect::<Result<Vec<_>>>().ok().map(Key::new)
    }

    /// Returns whether the stored records have the expiry column. If not, none of them expires.
    fn is_stored_with_expiry(&self) -> bool {
        self.stored.schema().expiry_column().is_some()
    }

    fn projected(&self, row: Row) -> Result<Row> {
        project(row, self.stored.schema(), &self.schema)
    }
}

impl ScopeStore for Projected {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        self.stored_key(key).map_or(Ok(false), |key| self.stored.exists(&key))
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        let Some(key) = self.stored_key(key) else { return Ok(None) };
        self.stored.fetch(&key)?.map(|row| self.projected(row)).transpose()
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let stored: Vec<Option<Key>> = keys.iter().map(|key| self.stored_key(key)).collect();
        let keys: Vec<Key> = stored.iter().flatten().cloned().collect();
        let mut rows = self.stored.fetch_many(&keys)?.into_iter();
        let row = |key: &Option<Key>| match key {
            Some(_) => rows.next().flatten().map(|row| self.projected(row)).transpose(),
            None => Ok(None),
        };
        stored.iter().map(row).collect()
    }

    fn update(&self, _: Row) -> Result<Option<Row>> {
        Error::refused_write()
    }

    fn insert(&self, _: Row) -> Result<Option<Row>> {
        Error::refused_write()
    }

    fn set_many(&self, _: Vec<Row>) -> Result<()> {
        Error::refused_write()
    }

    fn pop_many(&self, _: &[Key]) -> Result<Vec<Option<Row>>> {
        Error::refused_write()
    }

    fn keys(&self) -> Result<Keys> {
        let types: Vec<_> = self.schema.key_columns().map(|column| column.ty).collect();
        let key = move |key: Result<Key>| {
            let values = key?.into_values().zip(&types).map(|(value, ty)| ty.coerce(value));
            values.collect::<Result<Vec<_>>>().map(Key::new)
        };
        Ok(Box::new(self.stored.keys()?.map(key)))
    }

    fn rows(&self) -> Result<Rows> {
        let (from, to) = (self.stored.schema().clone(), self.schema.clone());
        Ok(Box::new(self.stored.rows()?.map(move |row| project(row?, &from, &to))))
    }

    fn len(&self) -> Result<u64> {
        self.stored.len()
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        if !self.is_stored_with_expiry() {
            return self.rows();
        }
        let (from, to) = (self.stored.schema().clone(), self.schema.clone());
        Ok(Box::new(self.stored.live_rows(at)?.map(move |row| project(row?, &from, &to))))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        match self.is_stored_with_expiry() {
            true => self.stored.live_len(at),
            false => self.len(),
        }
    }

    fn clear(&self) -> Result<()> {
        Error::refused_write()
    }

    fn snapshot(&self) -> Result<Vec<Row>> {
        self.stored.snapshot()?.into_iter().map(|row| self.projected(row)).collect()
    }
}
