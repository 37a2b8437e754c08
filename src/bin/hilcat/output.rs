//! Standard output.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::UNIX_EPOCH;

use hilcat::{DynScope, Entry, Schema, Shape, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value as Json;

use crate::failure::Failure;

/// Standard output, buffered.
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(1 << 16, io::stdout().lock()))
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut self.0, value).map_err(io::Error::from);
        written.and_then(|()| self.0.write_all(b"\n")).map_err(failed)
    }

    pub(crate) fn line(&mut self, line: impl std::fmt::Display) -> Result<(), Failure> {
        writeln!(self.0, "{line}").map_err(failed)
    }

    /// Writes out the buffer. A command is done only after this.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(failed)
    }
}

fn failed(error: io::Error) -> Failure {
    Failure::io(None, "standard output")(error)
}

/// Serializes a record, whether it is stale and when it expires.
pub(crate) struct EntryOf<'a> {
    pub(crate) scope: &'a DynScope,
    pub(crate) entry: &'a Entry<Json>,
}

impl Serialize for EntryOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { scope, entry } = self;
        let micros = entry.expires_at().and_then(|time| {
            let since = time.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_micros()).ok()
        });
        let expires = micros.map(|micros| Value::Timestamp(micros).into_json());
        let record = InOrder { schema: scope.schema(), value: entry.record() };
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("record", &record)?;
        map.serialize_entry("stale", &entry.is_stale())?;
        map.serialize_entry("expires_at", &expires)?;
        map.end()
    }
}

/// Serializes the value of a record with its columns in the order of the schema.
pub(crate) struct InOrder<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) value: &'a Json,
}

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = || self.schema.columns().iter().filter(|column| column.in_value);
        let of_columns = match self.schema.value_shape() {
            Shape::Record => true,
            Shape::Json => columns().count() > 1,
            _ => false,
        };
        let Some(object) = self.value.as_object().filter(|_| of_columns) else {
            return self.value.serialize(serializer);
        };
        let mut map = serializer.serialize_map(Some(object.len()))?;
        for column in columns() {
            map.serialize_entry(&column.name, &object.get(&column.name))?;
        }
        map.end()
    }
}
