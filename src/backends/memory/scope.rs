//! The store of one scope.

use std::sync::Arc;

use super::layout::{fill_absent_from, read, translate};
use super::rows::{Current, NEVER, Stored};
use super::table::Table;
use crate::schema::project;
use crate::store::{Keys, Rows, ScopeStore};
use crate::{Error, ErrorKind, Key, Result, Row, Schema, Value};

/// A handle on the records of a scope, with the schema that it was opened with.
#[derive(Debug)]
pub(super) struct MemoryScope {
    schema: Arc<Schema>,
    /// The schema that rows are written under: that of the handle, or an equivalent one that
    /// existed before.
    layout: Arc<Schema>,
    /// The position of the column that holds the expiry.
    expiry: Option<usize>,
    generation: u64,
    table: Arc<Table>,
}

impl MemoryScope {
    pub(super) fn new(schema: Arc<Schema>, table: Arc<Table>) -> Self {
        let stored = table.layout();
        let same = stored.columns == schema.columns && stored.key == schema.key;
        let layout = if same { stored } else { schema.clone() };
        let generation = table.generation();
        let expiry = layout.expiry_column();
        Self { schema, layout, expiry, generation, table }
    }

    fn read(&self, current: Current) -> Result<Option<Row>> {
        current.map(|stored| read(&stored, &self.layout)).transpose()
    }

    fn read_all(&self, records: Vec<Current>) -> Result<Vec<Option<Row>>> {
        records.into_iter().map(|current| self.read(current)).collect()
    }

    /// Fails if the records have been dropped for another schema: that schema could not read what
    /// this handle writes.
    fn check_generation(&self) -> Result<()> {
        match self.table.generation() == self.generation {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::SchemaChange,
                "the scope was recreated under another schema after this handle was opened; open the scope again",
            )),
        }
    }

    fn stored(&self, row: Row, layout: Arc<Schema>) -> Stored {
        match self.expiry {
            _ if !Arc::ptr_eq(&layout, &self.layout) => Stored::new(row, layout),
            None => Stored { row, layout, expires: NEVER },
            Some(column) => {
                let expires =
                    if let Value::Timestamp(expires) = row[column] { expires } else { NEVER };
                Stored { row, layout, expires }
            }
        }
    }

    /// Merges a row into the current record of its key.
    fn merge(&self, mut row: Row, old: Option<&Stored>) -> Result<Current> {
        let mut layout = self.layout.clone();
        match old {
            None => layout.fill_absent(&mut row)?,
            Some(old) if Arc::ptr_eq(&old.layout, &layout) => fill_absent_from(&mut row, &old.row),
            Some(old) => {
                layout = self.table.layout_for(&layout);
                row = translate(row, &self.layout, &layout)?;
                fill_absent_from(&mut row, &project(old.row.clone(), &old.layout, &layout)?);
            }
        }
        Ok(Some(Arc::new(self.stored(row, layout))))
    }

    fn all(&self) -> impl Iterator<Item = Arc<Stored>> + Send + use<> {
        self.table.rows.clone().all()
    }

    fn put(&self, row: Row) -> Result<Current> {
        self.check_generation()?;
        let key = self.layout.key_of(&row);
        let mut row = Some(row);
        let mut merge = |old: Option<&Arc<Stored>>| {
            self.merge(row.take().unwrap_or_default(), old.map(|old| &**old))
        };
        self.table.rows.change(&key, &mut merge)
    }

    /// Stores a row unless its key has a record. Returns that record.
    fn put_new(&self, row: Row) -> Result<Current> {
        self.check_generation()?;
        let key = self.layout.key_of(&row);
        let (mut row, mut kept) = (Some(row), None);
        self.table.rows.change(&key, &mut |old| {
            kept = old.cloned();
            match &kept {
                Some(_) => Ok(kept.clone()),
                None => self.merge(row.take().unwrap_or_default(), None),
            }
        })?;
        Ok(kept)
    }
}

impl ScopeStore for MemoryScope {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn exists(&self, key: &Key) -> Result<bool> {
        Ok(self.table.rows.get(key).is_some())
    }

    fn fetch(&self, key: &Key) -> Result<Option<Row>> {
        self.read(self.table.rows.get(key))
    }

    fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        keys.iter().map(|key| self.fetch(key)).collect()
    }

    fn set(&self, row: Row) -> Result<()> {
        self.put(row).map(drop)
    }

    fn update(&self, row: Row) -> Result<Option<Row>> {
        let replaced = self.put(row)?;
        self.read(replaced)
    }

    fn insert(&self, row: Row) -> Result<Option<Row>> {
        let kept = self.put_new(row)?;
        kept.map(|stored| read(&stored, &self.layout)).transpose()
    }

    fn insert_many(&self, mut rows: Vec<Row>) -> Result<Vec<Option<Row>>> {
        self.check_generation()?;
        let keys: Vec<Key> = rows.iter().map(|row| self.layout.key_of(row)).collect();
        let mut kept = vec![None; rows.len()];
        let mut change = |at: usize, old: Option<&Arc<Stored>>| match old.cloned() {
            None => self.merge(std::mem::take(&mut rows[at]), None),
            stored => {
                kept[at].clone_from(&stored);
                Ok(stored)
            }
        };
        self.table.rows.change_many(&keys, &mut change)?;
        self.read_all(kept)
    }

    fn replace_expired(&self, mut rows: Vec<Row>, at: i64) -> Result<Vec<Option<Row>>> {
        self.check_generation()?;
        let keys: Vec<Key> = rows.iter().map(|row| self.layout.key_of(row)).collect();
        let mut kept = vec![None; rows.len()];
        let mut change =
            |position: usize, old: Option<&Arc<Stored>>| match old.filter(|old| old.expires > at) {
                None => self.merge(std::mem::take(&mut rows[position]), None),
                Some(old) => {
                    kept[position] = Some(old.clone());
                    Ok(Some(old.clone()))
                }
            };
        self.table.rows.change_many(&keys, &mut change)?;
        self.read_all(kept)
    }

    fn remove_expired(&self, keys: &[Key], at: i64) -> Result<()> {
        let live = |old: &&Arc<Stored>| old.expires > at;
        let mut change = |_, old: Option<&Arc<Stored>>| Ok(old.filter(live).cloned());
        self.table.rows.change_many(keys, &mut change).map(drop)
    }

    fn replace_unchanged(&self, old: Option<&Row>, row: Row) -> Result<bool> {
        self.check_generation()?;
        let (mut row, mut stored) = (Some(row), false);
        let key = self.layout.key_of(row.as_ref().unwrap_or(&Row::new()));
        self.table.rows.change(&key, &mut |current| {
            stored = self.read(current.cloned())?.as_ref() == old;
            match stored {
                true => self.merge(row.take().unwrap_or_default(), current.map(|old| &**old)),
                false => Ok(current.cloned()),
            }
        })?;
        Ok(stored)
    }

    fn touch(&self, key: &Key, at: i64, expires: Value) -> Result<bool> {
        let mut touched = false;
        self.table.rows.change(key, &mut |old| {
            let Some(old) = old.filter(|old| old.expires > at) else {
                return Ok(old.cloned());
            };
            // Converts a record of an older layout to one with the expiry column.
            let mut row = read(old, &self.layout)?;
            let Some(column) = self.expiry else { return Ok(Some(old.clone())) };
            touched = true;
            row[column] = expires.clone();
            self.merge(row, Some(old))
        })?;
        Ok(touched)
    }

    fn set_many(&self, rows: Vec<Row>) -> Result<()> {
        self.check_generation()?;
        let keys: Vec<Key> = rows.iter().map(|row| self.layout.key_of(row)).collect();
        let mut rows = rows;
        let mut change = |at: usize, old: Option<&Arc<Stored>>| {
            self.merge(std::mem::take(&mut rows[at]), old.map(|old| &**old))
        };
        self.table.rows.change_many(&keys, &mut change).map(drop)
    }

    fn pop(&self, key: &Key) -> Result<Option<Row>> {
        let removed = self.table.rows.change(key, &mut |_| Ok(None))?;
        self.read(removed)
    }

    fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let removed = self.table.rows.change_many(keys, &mut |_, _| Ok(None))?;
        self.read_all(removed)
    }

    fn keys(&self) -> Result<Keys> {
        self.live_keys(i64::MIN)
    }

    fn rows(&self) -> Result<Rows> {
        self.live_rows(i64::MIN)
    }

    fn live_keys(&self, at: i64) -> Result<Keys> {
        let layout = self.layout.clone();
        let live = self.all().filter(move |stored| stored.expires > at);
        Ok(Box::new(live.map(move |stored| match Arc::ptr_eq(&stored.layout, &layout) {
            true => Ok(stored.key()),
            false => read(&stored, &layout).map(|row| layout.key_of(&row)),
        })))
    }

    fn live_rows(&self, at: i64) -> Result<Rows> {
        let layout = self.layout.clone();
        let live = self.all().filter(move |stored| stored.expires > at);
        Ok(Box::new(live.map(move |stored| read(&stored, &layout))))
    }

    fn live_len(&self, at: i64) -> Result<u64> {
        Ok(self.table.rows.live_len(at) as u64)
    }

    fn purge(&self, before: i64, limit: usize) -> Result<usize> {
        Ok(self.table.rows.purge(before, limit))
    }

    fn len(&self) -> Result<u64> {
        Ok(self.table.rows.len() as u64)
    }

    fn clear(&self) -> Result<()> {
        self.table.rows.clear();
        Ok(())
    }

    fn replace_all(&self, rows: Vec<Row>) -> Result<()> {
        self.check_generation()?;
        let records = rows.into_iter().map(|row| self.merge(row, None));
        let records = records.collect::<Result<Vec<_>>>()?;
        self.table.rows.replace(records.into_iter().flatten().collect());
        Ok(())
    }
}
