//! Operations on several records.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::batch_report::{BatchReport, all_done, missing};
use super::bulk::{Write, check_size};
use super::call_error::{CallError, conflict_error};
use super::document;
use super::scope::Session;
use super::single::Document;
use super::target::Target;
use crate::{Error, Key, Result, Row, Schema};

/// The rows of a batch with the same key, merged.
struct MergedRow {
    row: Row,
    /// The row for a new record, or the error if it is incomplete.
    full: Result<Row>,
}

impl MergedRow {
    fn new(row: Row, schema: &Schema) -> Self {
        let mut full = row.clone();
        let full = schema.fill_absent(&mut full).map(|()| full);
        Self { row, full }
    }

    /// Merges a later row with the same key.
    fn take(&mut self, row: &Row) {
        for (at, value) in row.iter().enumerate().filter(|(_, value)| !value.is_absent()) {
            if let Ok(full) = &mut self.full {
                full[at] = value.clone();
            }
            self.row[at] = value.clone();
        }
    }

    /// Whether the stored document must be read first.
    fn needs_old(&self) -> bool {
        self.full.is_err() || document::has_object(&self.row)
    }
}

impl Session<'_> {
    /// Inserts or overwrites records. All rows are checked before anything is sent; Elasticsearch
    /// then writes each document independently.
    pub(super) fn set_many(&self, rows: &[Row]) -> Result<(), CallError> {
        let (ids, merged) = self.merged(rows)?;
        let mut left: Vec<usize> = (0..ids.len()).collect();
        let (batch, mut done) = (BatchReport::of_writes(ids.len()), 0);
        while !left.is_empty() {
            let writes = self.writes(&ids, &merged, &left)?;
            let sent: Vec<_> = left.iter().map(|&at| ids[at].as_str()).zip(&writes).collect();
            let progress = self.cluster.bulk(self.target, &sent, self.deadline);
            let key = |at: usize| self.schema.key_of(&merged[left[at]].row);
            let conflicts = batch.conflicts(progress, done, key)?;
            done += left.len() - conflicts.len();
            left = conflicts.into_iter().map(|at| left[at]).collect();
            if !left.is_empty() && Instant::now() >= self.deadline {
                return Err(batch.partial_error(conflict_error(), done).into());
            }
        }
        Ok(())
    }

    /// Inserts records where there is none, or only one that is expired at the time `at`. Returns
    /// the live records of the other keys.
    pub(super) fn insert_many(
        &self,
        rows: &[Row],
        at: Option<i64>,
    ) -> Result<Vec<Option<Row>>, CallError> {
        let time = at;
        let (ids, merged) = self.merged(rows)?;
        let key = |at: usize| self.schema.key_of(&merged[at].row);
        let mut stored = self.stored_of_incomplete(&ids, &merged)?;
        let mut left: Vec<usize> = (0..ids.len()).filter(|&at| stored[at].is_none()).collect();
        let mut writes = HashMap::new();
        for &at in &left {
            let write = self.write_anew(&merged[at]);
            writes.insert(at, write.map_err(|error| error.with_key(key(at)))?);
        }
        let (batch, mut done) = (BatchReport::of_writes(ids.len()), 0);
        while !left.is_empty() {
            let sent: Vec<_> = left.iter().map(|at| (ids[*at].as_str(), &writes[at])).collect();
            let progress = self.cluster.bulk(self.target, &sent, self.deadline);
            let present = batch.conflicts(progress, done, |which| key(left[which]))?;
            done += left.len() - present.len();
            let present: Vec<usize> = present.into_iter().map(|which| left[which]).collect();
            let asked: Vec<&str> = present.iter().map(|&at| ids[at].as_str()).collect();
            for (&at, document) in present.iter().zip(self.get_all(&asked)?) {
                let named = |error: Error| error.with_key(key(at));
                let over = match document {
                    None => None,
                    Some(document) => {
                        match self.live_or_version(&ids[at], &document, time).map_err(named)? {
                            Ok(row) => {
                                stored[at] = Some(row);
                                continue;
                            }
                            Err(version) => Some(version),
                        }
                    }
                };
                if let Some(Write::Put { over: known, .. }) = writes.get_mut(&at) {
                    *known = over;
                }
            }
            // These records were removed, or are expired.
            left = present.into_iter().filter(|&at| stored[at].is_none()).collect();
            if !left.is_empty() && Instant::now() >= self.deadline {
                return Err(batch.partial_error(conflict_error(), done).into());
            }
        }
        Ok(stored)
    }

    /// Reads the stored records of incomplete rows.
    ///
    /// # Errors
    ///
    /// Fails if one of them is not stored.
    fn stored_of_incomplete(
        &self,
        ids: &[String],
        merged: &[MergedRow],
    ) -> Result<Vec<Option<Row>>, CallError> {
        let stored = ids.iter().zip(merged).map(|(id, row)| {
            let Err(incomplete) = &row.full else { return Ok(None) };
            match self.get(id)? {
                Some(document) => match self.row(id, &document)? {
                    Some(row) => Ok(Some(row)),
                    None => Err(incomplete.clone().with_key(self.schema.key_of(&row.row)).into()),
                },
                None => Err(incomplete.clone().with_key(self.schema.key_of(&row.row)).into()),
            }
        });
        stored.collect()
    }

    /// Replaces all records: writes them into a new index, which then gets the alias.
    pub(super) fn replace_all(&self, rows: &[Row]) -> Result<(), CallError> {
        if self.target.foreign {
            let message = "the index belongs to another program, so its records cannot be replaced in one step; write them one by one";
            return Err(Error::unsupported(message).into());
        }
        let (ids, merged) = self.merged(rows)?;
        let write = |row: &MergedRow| {
            let write = self.write_anew(row);
            write.map_err(|error| error.with_key(self.schema.key_of(&row.row)))
        };
        let writes = merged.iter().map(write).collect::<Result<Vec<_>>>()?;
        let sent: Vec<_> = ids.iter().map(String::as_str).zip(&writes).collect();
        self.replace_index(|index| {
            // The new index has no alias that a write could require.
            let target = Target::new(index.to_owned(), self.target.fields.clone(), true);
            let progress = self.cluster.bulk(&target, &sent, self.deadline);
            let key = |at: usize| self.schema.key_of(&merged[at].row);
            all_done(progress, key)
        })
    }

    fn write_anew(&self, row: &MergedRow) -> Result<Write> {
        let full = row.full.as_ref().map_err(Error::clone)?;
        let source = document::write(full, self.target)?;
        check_size(&source)?;
        Ok(Write::Put { source, over: None })
    }

    /// Merges the rows of each key, in the order in which the keys first occur.
    fn merged(&self, rows: &[Row]) -> Result<(Vec<String>, Vec<MergedRow>)> {
        let (mut ids, mut merged) = (Vec::new(), Vec::<MergedRow>::new());
        let mut positions: HashMap<String, usize> = HashMap::new();
        for row in rows {
            let key = self.schema.key_of(row);
            let named = |error: Error| error.with_key(&key);
            document::check(row, self.schema).map_err(named)?;
            let id = self.id(&key).map_err(named)?;
            match positions.get(&id) {
                Some(&at) => merged[at].take(row),
                None => {
                    positions.insert(id.clone(), ids.len());
                    ids.push(id);
                    merged.push(MergedRow::new(row.clone(), self.schema));
                }
            }
        }
        Ok((ids, merged))
    }

    /// Returns the writes of these rows, reading stored documents where needed. Nothing is sent if
    /// a row is incomplete.
    fn writes(
        &self,
        ids: &[String],
        merged: &[MergedRow],
        at: &[usize],
    ) -> Result<Vec<Write>, CallError> {
        let asked: Vec<usize> = at.iter().copied().filter(|&at| merged[at].needs_old()).collect();
        let asked_ids: Vec<&str> = asked.iter().map(|&at| ids[at].as_str()).collect();
        let mut old: HashMap<usize, Document> = HashMap::new();
        for (at, document) in asked.into_iter().zip(self.get_all(&asked_ids)?) {
            old.extend(document.map(|document| (at, document)));
        }
        let write = |&at: &usize| {
            let row = &merged[at];
            let named = |error: Error| error.with_key(self.schema.key_of(&row.row));
            self.write(row, old.get(&at)).map_err(named)
        };
        Ok(at.iter().map(write).collect::<Result<Vec<_>>>()?)
    }

    fn write(&self, row: &MergedRow, old: Option<&Document>) -> Result<Write> {
        let vacant = |old: &Document| match old.source.as_deref() {
            Some(source) => document::is_vacant(source, self.schema, self.target),
            None => Ok(false),
        };
        let write = match (old, &row.full) {
            (Some(old), full) if vacant(old)? => {
                let full = full.as_ref().map_err(Error::clone)?;
                Write::Put { source: document::write(full, self.target)?, over: Some(old.version) }
            }
            (Some(old), _) => {
                Write::Put { source: self.over(&row.row, old)?, over: Some(old.version) }
            }
            (None, Err(incomplete)) => return Err(incomplete.clone()),
            (None, Ok(full)) if row.needs_old() => {
                Write::Put { source: document::write(full, self.target)?, over: None }
            }
            (None, Ok(full)) => Write::Merge {
                members: document::write_merged(&row.row, self.target)?,
                if_missing: self.if_missing(&row.row, full)?,
            },
        };
        match &write {
            Write::Put { source, .. } => check_size(source)?,
            Write::Merge { members, .. } => check_size(members)?,
            Write::Remove { .. } => {}
        }
        Ok(write)
    }

    /// Removes records and returns them in the order of `keys`. If a key occurs several times, its
    /// first position has the record.
    pub(super) fn pop_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, CallError> {
        let ids = self.ids(keys)?;
        let mut popped = vec![None; keys.len()];
        let mut seen = HashSet::new();
        let mut left: Vec<usize> = (0..keys.len()).filter(|&at| seen.insert(&ids[at])).collect();
        let (batch, mut done) = (BatchReport::of_removals(keys.len()), 0);
        while !left.is_empty() {
            let existing = self.existing(keys, &ids, &left)?;
            let sent: Vec<_> =
                existing.iter().map(|(at, _, write)| (ids[*at].as_str(), write)).collect();
            let progress = self.cluster.bulk(self.target, &sent, self.deadline);
            let missing = missing(&progress);
            let key = |at: usize| keys[existing[at].0].clone();
            let conflicts = batch.conflicts(progress, done, key)?;
            done += existing.len() - conflicts.len();
            left = conflicts.iter().map(|&at| existing[at].0).collect();
            for (which, (at, row, _)) in existing.into_iter().enumerate() {
                // Another client removed this record, and returns it.
                if !conflicts.contains(&which) && !missing.contains(&which) {
                    popped[at] = row;
                }
            }
            if !left.is_empty() && Instant::now() >= self.deadline {
                return Err(batch.partial_error(conflict_error(), done).into());
            }
        }
        Ok(popped)
    }

    /// Reads the existing records of keys, with the writes that remove them.
    fn existing(
        &self,
        keys: &[Key],
        ids: &[String],
        at: &[usize],
    ) -> Result<Vec<(usize, Option<Row>, Write)>, CallError> {
        let asked: Vec<&str> = at.iter().map(|&at| ids[at].as_str()).collect();
        let found = at.iter().zip(self.get_all(&asked)?);
        let existing = found.filter_map(|(&at, document)| Some((at, document?)));
        let row = |(at, document): (usize, Document)| {
            let row = self.row(&ids[at], &document).map_err(|error| error.with_key(&keys[at]))?;
            Ok((at, row, Write::Remove { version: document.version }))
        };
        Ok(existing.map(row).collect::<Result<Vec<_>>>()?)
    }
}
