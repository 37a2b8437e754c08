//! Rows as bytes and back: what the backends that keep serialised values share.
//!
//! A record is an object that other programs can read: `{"$hilcat": "<fingerprint>", "id": "a1",
//! "count": 3}`, as JSON or, by an option, as MessagePack; above a size it can be compressed. Which
//! of these it is shows in its first bytes, so that the options can change at any time. Columns are
//! found by their names. The fingerprint tells a record of this very schema, which is read as it
//! is, from one of another, whose columns may be fewer, more or named otherwise.

mod column_value;
mod compress;
mod json;
pub(crate) mod key;
#[cfg(feature = "msgpack")]
mod message;
mod options;
mod plain;
#[cfg(test)]
mod tests;
mod upgrade;

use std::sync::Arc;

use self::column_value::ColumnValue;
pub use self::options::CodecOptions;
#[cfg(any(feature = "server", feature = "redis", feature = "elasticsearch"))]
pub(crate) use self::options::parse_size;
pub(crate) use self::options::{Format, compress_above};
pub(crate) use self::plain::PlainCodec;
use self::upgrade::{UnknownFields, upgrade};
use crate::freshness::EXPIRES_AT;
use crate::schema::unknown_columns;
use crate::{Error, Key, Result, Row, Schema, Value};

/// The name under which a record has the fingerprint of its schema.
pub(crate) const FINGERPRINT_FIELD: &str = "$hilcat";
/// No record is longer than this, compressed or not.
const MAX_LENGTH: usize = 256 << 20;
/// No JSON in a column is nested deeper than this.
const MAX_DEPTH: usize = 120;

/// Writes and reads the rows of one scope as bytes: what a backend of one's own can keep.
///
/// A record is JSON that other programs read, or MessagePack, and names its columns. One that was
/// written under an older schema is upgraded when it is read; of anything else the column is
/// reported.
///
/// ```
/// use std::sync::Arc;
///
/// use hilcat::store::{Codec, CodecOptions};
/// use hilcat::{Column, ColumnType, Schema, Value};
///
/// let schema = Schema::new("a").unique(Column::new("id", ColumnType::Text));
/// let old = Codec::new(&Arc::new(schema.clone()), CodecOptions::default());
/// let bytes = old.encode(&vec!["a1".into()])?;
/// assert!(bytes.ends_with(br#","id":"a1"}"#));
///
/// let wider = schema.column(Column::new("count", ColumnType::Int).default_value(7));
/// let new = Codec::new(&Arc::new(wider), CodecOptions::default());
/// assert_eq!(new.decode(&bytes)?, ["a1".into(), Value::Int(7)]);
/// # Ok::<(), hilcat::Error>(())
/// ```
#[derive(Debug)]
pub struct Codec {
    schema: Arc<Schema>,
    options: CodecOptions,
    fingerprint: String,
    /// The names of the columns as records have them.
    names: Vec<String>,
    /// What stands in JSON before the first value, and before each one.
    prefixes: Vec<Vec<u8>>,
    /// The names of the columns in records that other programs have besides.
    others: Vec<String>,
    /// Those of the columns that are removed from records.
    dropped: Vec<String>,
}

/// What a write makes of a stored record.
#[derive(Debug)]
#[non_exhaustive]
pub struct Replaced {
    /// The new one.
    pub bytes: Vec<u8>,
    /// The one that stood there.
    pub old: Option<Row>,
}

impl Codec {
    /// The codec of a valid schema.
    pub fn new(schema: &Arc<Schema>, options: CodecOptions) -> Self {
        let fingerprint = schema.fingerprint();
        let names: Vec<String> =
            schema.columns.iter().map(|column| stored_name(&column.name)).collect();
        let prefixes =
            names.iter().enumerate().map(|(at, name)| json::prefix(at, name, &fingerprint));
        let prefixes = prefixes.collect();
        let [others, dropped] = [&schema.keep, &schema.dropped]
            .map(|names| names.iter().map(|name| stored_name(name)).collect());
        let schema = schema.clone();
        Self { schema, options, prefixes, fingerprint, names, others, dropped }
    }

    /// Tells the codec the schema that the records stand under, which may have columns that this
    /// one does not know: they belong to other programs, and a record that has one of them in
    /// place of a column of this schema is not taken for one in which that column has another
    /// name. Writes keep them.
    pub fn with_stored_schema(mut self, stored: &Schema) -> Self {
        let unknown = unknown_columns(stored, &self.schema);
        self.others.extend(unknown.map(|column| stored_name(&column.name)));
        self
    }

    /// Whether a member of a record that is no column of this schema is known to be another's.
    /// The expiry of records always is: every program that knows it sets it anew.
    fn is_known(&self, name: &str) -> bool {
        name == EXPIRES_AT || self.others.iter().chain(&self.dropped).any(|other| other == name)
    }

    /// The names in records of the columns that are removed from them.
    pub(crate) fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// The schema that rows are of.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The fingerprint that records have, and the names of the columns in them: for layouts that
    /// keep the columns apart.
    pub(crate) fn names(&self) -> (&str, &[String]) {
        (&self.fingerprint, &self.names)
    }

    /// The bytes of a complete row.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where it is longer or deeper than
    /// can be read back.
    pub fn encode(&self, row: &Row) -> Result<Vec<u8>> {
        self.encode_with(row, UnknownFields::default())
    }

    fn encode_with(&self, row: &Row, unknown: UnknownFields<'_>) -> Result<Vec<u8>> {
        let bytes = match self.options.format {
            Format::Json => json::write(self, row, unknown)?,
            #[cfg(feature = "msgpack")]
            Format::MessagePack => message::write(self, row, unknown)?,
        };
        check_length(bytes.len())?;
        match self.options.compress_above {
            Some(limit) if bytes.len() > limit => compress::compress(bytes),
            _ => Ok(bytes),
        }
    }

    /// The row of a stored record, of this or an older shape.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column where it is
    /// about one, where the record is not one of the schema and cannot be made one.
    pub fn decode(&self, bytes: &[u8]) -> Result<Row> {
        if bytes.first() == Some(&b'{')
            && bytes.len() <= MAX_LENGTH
            && let Some(row) = json::read(self, bytes)?
        {
            return Ok(row);
        }
        compress::with_plain(bytes, |plain| Ok(self.read(plain)?.0))
    }

    /// The row of the record that is stored under a key.
    ///
    /// # Errors
    ///
    /// As [`decode`](Codec::decode), also where the record says that it is of another key.
    pub fn decode_at(&self, key: &Key, bytes: &[u8]) -> Result<Row> {
        let row = self.decode(bytes)?;
        self.check_key(key, &row)?;
        Ok(row)
    }

    fn check_key(&self, key: &Key, row: &Row) -> Result<()> {
        for (&at, value) in self.schema.key.iter().zip(key.values()) {
            if !row[at].same(value) {
                return Err(Error::invalid_data("the stored record is one of another key")
                    .with_column(&self.schema.columns[at].name));
            }
        }
        Ok(())
    }

    /// A complete row: the columns that are absent from a new one are those of the one that is
    /// there, or of a new record.
    ///
    /// # Errors
    ///
    /// Where there is no record and an absent column has no default and cannot be NULL.
    pub fn merge(&self, old: Option<Row>, mut new: Row) -> Result<Row> {
        for (new, old) in new.iter_mut().zip(old.into_iter().flatten()) {
            if new.is_absent() {
                *new = old;
            }
        }
        self.schema.fill_absent(&mut new)?;
        Ok(new)
    }

    /// Writes a row over the stored record: as [`merge`](Codec::merge), and what a newer schema
    /// has in columns that this one does not know stays as it is.
    ///
    /// # Errors
    ///
    /// As [`decode`](Codec::decode), [`merge`](Codec::merge) and [`encode`](Codec::encode), and if
    /// the stored record is one of another key.
    pub fn replace(&self, old: Option<&[u8]>, new: Row) -> Result<Replaced> {
        let Some(stored) = old else {
            let row = self.merge(None, new)?;
            return Ok(Replaced { bytes: self.encode(&row)?, old: None });
        };
        compress::with_plain(stored, |plain| {
            let (old, unknown) = self.read(plain)?;
            self.check_key(&self.schema.key_of(&new), &old)?;
            let row = self.merge(Some(old.clone()), new)?;
            Ok(Replaced { bytes: self.encode_with(&row, unknown)?, old: Some(old) })
        })
    }

    /// The row of an uncompressed record, and what it has besides.
    fn read<'a>(&self, plain: &'a [u8]) -> Result<(Row, UnknownFields<'a>)> {
        if first(plain) == Some(b'{') {
            return match json::read(self, plain)? {
                Some(row) => Ok((row, UnknownFields::default())),
                None => upgrade(self, json::column_values(plain)?),
            };
        }
        upgrade(self, message_values(plain)?)
    }

    /// The bytes of one column's value, for layouts that keep the columns apart: JSON.
    pub(crate) fn encode_value(&self, at: usize, value: &Value) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        json::write_value(&mut bytes, &self.schema.columns[at], value)?;
        check_length(bytes.len())?;
        Ok(bytes)
    }

    /// Reads what [`encode_value`](Codec::encode_value) writes.
    ///
    /// # Errors
    ///
    /// As [`decode`](Codec::decode).
    pub(crate) fn decode_value(&self, at: usize, bytes: &[u8]) -> Result<Value> {
        check_length(bytes.len())?;
        json::read_value(&self.schema.columns[at], bytes)
    }
}

/// The column_values of a record that is not JSON.
fn message_values(plain: &[u8]) -> Result<Vec<(String, ColumnValue<'_>)>> {
    if !matches!(plain.first(), Some(0x80..=0x8f | 0xde | 0xdf)) {
        return Err(Error::invalid_data("the stored bytes are not a record as hilcat writes them"));
    }
    #[cfg(feature = "msgpack")]
    return message::column_values(plain);
    #[cfg(not(feature = "msgpack"))]
    Err(Error::unsupported(
        "the stored record is MessagePack, which needs the cargo feature `msgpack` of hilcat",
    ))
}

/// The first byte that is not a space.
fn first(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

fn check_length(length: usize) -> Result<()> {
    match length <= MAX_LENGTH {
        true => Ok(()),
        false => Err(Error::unsupported(format!(
            "the record takes {length} bytes; the limit is {MAX_LENGTH}"
        ))),
    }
}

/// The name of a column as records have it. One that could be taken for the fingerprint's gets a
/// dollar sign more.
fn stored_name(name: &str) -> String {
    let like_stamp =
        name.starts_with('$') && name.trim_start_matches('$') == &FINGERPRINT_FIELD[1..];
    if like_stamp { format!("${name}") } else { name.to_owned() }
}
