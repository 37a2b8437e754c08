//! Many records at a time.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::bulk::{DocumentVersion, LONGEST_PAUSE, Outcome, PAUSE, Progress, Write, check_size};
use super::call_error::{CallError, Cause, ServerError, conflict_error, is_transient};
use super::client::{Effect, Request};
use super::document;
use super::scope::Session;
use super::single::Document;
use super::target::Target;
use crate::{Error, ErrorKind, Key, Result, Row, Schema};

/// How many documents are asked for at once.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
struct MultiGetResponse {
    docs: Vec<MultiGetItem>,
}

#[derive(Deserialize)]
struct MultiGetItem {
    #[serde(default)]
    found: bool,
    #[serde(rename = "_source")]
    source: Option<Box<RawValue>>,
    #[serde(flatten)]
    version: Option<DocumentVersion>,
    #[serde(default)]
    error: Option<Cause>,
}

impl MultiGetItem {
    /// Whether its shard is not started yet.
    fn is_transient(&self) -> bool {
        match &self.error {
            Some(Cause::Named { name, .. }) => is_transient(name),
            _ => false,
        }
    }

    fn document(self) -> Result<Option<Document>, CallError> {
        match (self.error, self.found, self.version) {
            (Some(cause), ..) => Err(ServerError::from_item(status_of(&cause), cause)
                .without_reason()
                .into_call_error()),
            (None, true, Some(version)) => Ok(Some(Document { source: self.source, version })),
            _ => Ok(None),
        }
    }
}

/// The status that an item of a read would have by itself.
fn status_of(cause: &Cause) -> u16 {
    match cause {
        Cause::Named { name, .. } if is_transient(name) => 503,
        Cause::Named { name, .. } if name == "illegal_argument_exception" => 400,
        _ => 404,
    }
}

/// The rows of a batch that have one key, put together.
struct MergedRow {
    row: Row,
    /// What a new record has, or what it lacks for one.
    full: Result<Row>,
}

impl MergedRow {
    fn new(row: Row, schema: &Schema) -> Self {
        let mut full = row.clone();
        let full = schema.fill_absent(&mut full).map(|()| full);
        Self { row, full }
    }

    /// A later row of the same key.
    fn take(&mut self, row: &Row) {
        for (at, value) in row.iter().enumerate().filter(|(_, value)| !value.is_absent()) {
            if let Ok(full) = &mut self.full {
                full[at] = value.clone();
            }
            self.row[at] = value.clone();
        }
    }

    /// Whether what stands has to be known.
    fn needs_old(&self) -> bool {
        self.full.is_err() || document::has_object(&self.row)
    }
}

impl Session<'_> {
    pub(super) fn fetch_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, CallError> {
        let ids = self.ids(keys)?;
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut rows = Vec::with_capacity(keys.len());
        for (ids, keys) in ids.chunks(PAGE).zip(keys.chunks(PAGE)) {
            for ((id, key), document) in ids.iter().zip(keys).zip(self.get_some(ids)?) {
                let row = document.map(|document| self.row(id, &document)).transpose();
                rows.push(row.map_err(|error| error.with_key(key))?.flatten());
            }
        }
        Ok(rows)
    }

    pub(super) fn ids(&self, keys: &[Key]) -> Result<Vec<String>> {
        keys.iter().map(|key| self.id(key).map_err(|error| error.with_key(key))).collect()
    }

    /// The documents of ids, in their order.
    pub(super) fn get_all(&self, ids: &[&str]) -> Result<Vec<Option<Document>>, CallError> {
        let mut documents = Vec::with_capacity(ids.len());
        for ids in ids.chunks(PAGE) {
            documents.extend(self.get_some(ids)?);
        }
        Ok(documents)
    }

    fn get_some(&self, ids: &[&str]) -> Result<Vec<Option<Document>>, CallError> {
        let path = format!("{}/_mget", self.target.path);
        let request = Request::new(Method::Post, path, Effect::Read);
        let request = request.body(json!({"ids": ids}).to_string());
        let mut pause = PAUSE;
        let answers: MultiGetResponse = loop {
            let response = self.cluster.client.send(request.clone(), self.deadline)?;
            let answers: MultiGetResponse = response.read()?;
            let ready = !answers.docs.iter().any(MultiGetItem::is_transient);
            if ready || Instant::now() + pause >= self.deadline {
                break answers;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        if answers.docs.len() != ids.len() {
            let message = "the cluster gave another number of documents than was asked for";
            return Err(Error::new(ErrorKind::Backend, message).into());
        }
        answers.docs.into_iter().map(MultiGetItem::document).collect()
    }

    /// Inserts or overwrites records. What can be checked is checked before anything is sent; the
    /// engine itself writes each document for itself.
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

    /// Writes records where there are none, or such as are expired at a time, and gives those that
    /// count, in the order asked.
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
            let there = batch.conflicts(progress, done, |which| key(left[which]))?;
            done += left.len() - there.len();
            let there: Vec<usize> = there.into_iter().map(|which| left[which]).collect();
            let asked: Vec<&str> = there.iter().map(|&at| ids[at].as_str()).collect();
            for (&at, document) in there.iter().zip(self.get_all(&asked)?) {
                let named = |error: Error| error.with_key(key(at));
                let over = match document {
                    None => None,
                    Some(document) => {
                        match self.is_open(&ids[at], &document, time).map_err(named)? {
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
            // Those are gone again, or expired.
            left = there.into_iter().filter(|&at| stored[at].is_none()).collect();
            if !left.is_empty() && Instant::now() >= self.deadline {
                return Err(batch.partial_error(conflict_error(), done).into());
            }
        }
        Ok(stored)
    }

    /// The stored records of those merged that are no complete records.
    ///
    /// # Errors
    ///
    /// If one of them is not stored.
    fn stored_of_incomplete(
        &self,
        ids: &[String],
        merged: &[MergedRow],
    ) -> Result<Vec<Option<Row>>, CallError> {
        let stored = ids.iter().zip(merged).map(|(id, row)| {
            let Err(lacks) = &row.full else { return Ok(None) };
            match self.get(id)? {
                Some(document) => match self.row(id, &document)? {
                    Some(row) => Ok(Some(row)),
                    None => Err(lacks.clone().with_key(self.schema.key_of(&row.row)).into()),
                },
                None => Err(lacks.clone().with_key(self.schema.key_of(&row.row)).into()),
            }
        });
        stored.collect()
    }

    /// Writes records in place of all that stand: into an index of their own, which the alias is
    /// given to when they are all there.
    pub(super) fn replace_all(&self, rows: &[Row]) -> Result<(), CallError> {
        if self.target.foreign {
            let message = "the index is another program's: its records are written one by one, and not replaced all or nothing";
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
            // It has no alias yet that a write could ask for.
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

    /// The records of a batch, one for each key, in the order in which their keys come first.
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

    /// What is sent for records. Where what stands matters, it is looked at; nothing is sent where
    /// a record lacks a value.
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
            (None, Err(lacks)) => return Err(lacks.clone()),
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

    /// Removes records and gives them, in the order asked; of a key that is asked twice the first
    /// gets the record.
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
                // What somebody else removed is theirs.
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

    /// The records of keys that stand, with what removes them.
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

/// An error where a write was not done, of a batch of which nothing is kept then.
fn all_done(progress: Progress, key: impl Fn(usize) -> Key) -> Result<(), CallError> {
    if let Some(error) = progress.failed {
        return Err(error.into());
    }
    let mut outcomes = progress.outcomes.into_iter().enumerate();
    match outcomes.find(|(_, outcome)| *outcome != Some(Outcome::Done)) {
        None => Ok(()),
        Some((at, Some(Outcome::Refused(server_error)))) => {
            Err(match server_error.into_call_error() {
                CallError::Final(error) | CallError::BadRequest(error) => {
                    error.with_key(key(at)).into()
                }
                failed => failed,
            })
        }
        Some((at, _)) => {
            let error = Error::new(ErrorKind::Backend, "the cluster did not write the record");
            Err(error.with_key(key(at)).into())
        }
    }
}

fn missing(progress: &Progress) -> HashSet<usize> {
    let outcomes = progress.outcomes.iter().enumerate();
    outcomes.filter(|(_, outcome)| **outcome == Some(Outcome::Missing)).map(|(at, _)| at).collect()
}

/// What a batch does, for its messages.
#[derive(Clone, Copy)]
struct BatchReport {
    /// What was done to those records that it was done to.
    did: &'static str,
    /// What to do about the others.
    advice: &'static str,
    of: usize,
}

impl BatchReport {
    fn of_writes(of: usize) -> Self {
        Self { did: "written", advice: "repeat the batch", of }
    }

    fn of_removals(of: usize) -> Self {
        Self { did: "removed", advice: "the others may stand", of }
    }

    /// Those writes that others came before. Where a write failed, or is not known to be done,
    /// that is the error, and it says how many were done.
    fn conflicts(
        self,
        progress: Progress,
        done: usize,
        key: impl Fn(usize) -> Key,
    ) -> Result<Vec<usize>, CallError> {
        let Progress { outcomes, failed } = progress;
        let is_done =
            |outcome: &&Option<Outcome>| matches!(outcome, Some(Outcome::Done | Outcome::Missing));
        let done = done + outcomes.iter().filter(is_done).count();
        if let Some(error) = failed {
            // From this one on nothing is known.
            let first = outcomes.iter().position(Option::is_none).unwrap_or_default();
            return Err(self.partial_error(error, done).with_key(key(first)).into());
        }
        let mut refused = outcomes.iter().enumerate().filter_map(|(at, outcome)| match outcome {
            Some(Outcome::Refused(server_error)) => Some((at, server_error)),
            _ => None,
        });
        if let Some((at, server_error)) = refused.next() {
            let more = refused.count();
            return Err(self.refusal(server_error.clone(), done, more, &key(at)));
        }
        let at = |(at, outcome)| (outcome == Some(Outcome::Conflict)).then_some(at);
        Ok(outcomes.into_iter().enumerate().filter_map(at).collect())
    }

    fn refusal(self, server_error: ServerError, done: usize, more: usize, key: &Key) -> CallError {
        match server_error.into_call_error() {
            failed @ (CallError::Final(_) | CallError::BadRequest(_)) => {
                let is_malformed = matches!(failed, CallError::BadRequest(_));
                let error = failed.into_error();
                let also = match more {
                    0 => String::new(),
                    more => format!(" (and that of {more} more)"),
                };
                let message = format!("the record of this key{also}: {}", error.message());
                let error = Error::new(error.kind(), message).with_retryable(error.is_retryable());
                let error = self.partial_error(error, done).with_key(key);
                if is_malformed { CallError::BadRequest(error) } else { CallError::Final(error) }
            }
            // The index is seen to, and the batch begins anew.
            failed => failed,
        }
    }

    /// The error of a batch of which some records were done: no engine of documents can take that
    /// back.
    fn partial_error(self, error: Error, done: usize) -> Error {
        if done == 0 {
            return error;
        }
        let Self { did, advice, of } = self;
        let message = format!(
            "{done} of {of} records of the batch were {did} before it failed: {}; {advice}",
            error.message()
        );
        let kind = match error.kind() {
            ErrorKind::Timeout => ErrorKind::Unavailable,
            kind => kind,
        };
        Error::new(kind, message).with_retryable(error.is_retryable())
    }
}
