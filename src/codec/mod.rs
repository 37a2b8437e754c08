//! Conversion between rows and bytes, shared by the backends that store serialised records.
//!
//! A record is an object that other programs can read: `{"$hilcat": "<fingerprint>", "id": "a1",
//! "count": 3}`, as JSON or, optionally, as MessagePack. Long records can be compressed. The first
//! bytes identify the encoding, so the options can be changed at any time. Columns are found by
//! name. The fingerprint identifies the schema of the record: records of the same schema are read
//! directly, others are upgraded.

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
use crate::{Error, Key, Result, Row, Schema};

/// The field of a record that holds the fingerprint of its schema.
pub(crate) const FINGERPRINT_FIELD: &str = "$hilcat";
/// The maximum length of a record, compressed or not.
const MAX_LENGTH: usize = 256 << 20;
/// The maximum nesting of JSON values.
const MAX_DEPTH: usize = 120;

/// Encodes and decodes the rows of one scope; for backends that store bytes.
///
/// A record is JSON or MessagePack that other programs can read, with the names of its columns.
/// Records of an older schema are upgraded when they are read; for any other record, the error
/// names the column.
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
    /// The names of the columns in records.
    names: Vec<String>,
    /// The JSON before the value of each column.
    prefixes: Vec<Vec<u8>>,
    /// The fields of records that belong to other programs.
    others: Vec<String>,
    /// The fields that are removed from records.
    dropped: Vec<String>,
}

/// The result of merging a row into a stored record.
#[derive(Debug)]
#[non_exhaustive]
pub struct Replaced {
    /// The new record.
    pub bytes: Vec<u8>,
    /// The stored record.
    pub old: Option<Row>,
}

impl Codec {
    /// Returns a codec for a valid schema.
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

    /// Takes the stored schema into account, which may have columns that this schema lacks. Such
    /// columns belong to other programs: writes keep them, and they are not mistaken for renamed
    /// columns of this schema.
    pub fn with_stored_schema(mut self, stored: &Schema) -> Self {
        let unknown = unknown_columns(stored, &self.schema);
        self.others.extend(unknown.map(|column| stored_name(&column.name)));
        self
    }

    /// Whether a field that is no column of this schema is known. The expiry always is, since every
    /// program that uses it sets it on each write.
    fn is_known(&self, name: &str) -> bool {
        name == EXPIRES_AT || self.others.iter().chain(&self.dropped).any(|other| other == name)
    }

    /// Returns the fields that are removed from records.
    pub(crate) fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Returns the schema of the rows.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Returns the fingerprint and the names of the columns in records, for layouts that store
    /// columns separately.
    #[cfg(feature = "redis")]
    pub(crate) fn names(&self) -> (&str, &[String]) {
        (&self.fingerprint, &self.names)
    }

    /// Encodes a complete row.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if it is too long or nested too
    /// deeply to be read back.
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

    /// Decodes a stored record of this or an older schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData) if the record cannot be read under
    /// the schema, naming the column if one is the cause.
    pub fn decode(&self, bytes: &[u8]) -> Result<Row> {
        if bytes.first() == Some(&b'{')
            && bytes.len() <= MAX_LENGTH
            && let Some(row) = json::read(self, bytes)?
        {
            return Ok(row);
        }
        compress::with_plain(bytes, |plain| Ok(self.read(plain)?.0))
    }

    /// Decodes the record that is stored under a key.
    ///
    /// # Errors
    ///
    /// As [`decode`](Codec::decode), and if the record has another key.
    pub fn decode_at(&self, key: &Key, bytes: &[u8]) -> Result<Row> {
        let row = self.decode(bytes)?;
        self.check_key(key, &row)?;
        Ok(row)
    }

    fn check_key(&self, key: &Key, row: &Row) -> Result<()> {
        for (&at, value) in self.schema.key.iter().zip(key.values()) {
            if !row[at].same(value) {
                return Err(Error::invalid_data("the stored record has another key")
                    .with_column(&self.schema.columns[at].name));
            }
        }
        Ok(())
    }

    /// Completes a row with the columns of the stored record, or else with defaults.
    ///
    /// # Errors
    ///
    /// Fails if there is no stored record and an absent column has no default and cannot be NULL.
    pub fn merge(&self, old: Option<Row>, mut new: Row) -> Result<Row> {
        for (new, old) in new.iter_mut().zip(old.into_iter().flatten()) {
            if new.is_absent() {
                *new = old;
            }
        }
        self.schema.fill_absent(&mut new)?;
        Ok(new)
    }

    /// Merges a row into the stored record, as [`merge`](Codec::merge). Columns that only a newer
    /// schema has are kept.
    ///
    /// # Errors
    ///
    /// As [`decode`](Codec::decode), [`merge`](Codec::merge) and [`encode`](Codec::encode), and if
    /// the stored record has another key.
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

    /// Reads the row of an uncompressed record, and its unknown fields.
    fn read<'a>(&self, plain: &'a [u8]) -> Result<(Row, UnknownFields<'a>)> {
        if first(plain) == Some(b'{') {
            return match json::read(self, plain)? {
                Some(row) => Ok((row, UnknownFields::default())),
                None => upgrade(self, json::fields(plain)?),
            };
        }
        upgrade(self, message_fields(plain)?)
    }

    /// Encodes the value of one column as JSON, for layouts that store columns separately.
    #[cfg(feature = "redis")]
    pub(crate) fn encode_value(&self, at: usize, value: &crate::Value) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        json::write_value(&mut bytes, &self.schema.columns[at], value)?;
        check_length(bytes.len())?;
        Ok(bytes)
    }
}

/// Reads the fields of a record that is not JSON.
fn message_fields(plain: &[u8]) -> Result<Vec<(String, ColumnValue<'_>)>> {
    if !matches!(plain.first(), Some(0x80..=0x8f | 0xde | 0xdf)) {
        return Err(Error::invalid_data("the stored bytes are not a record in hilcat's format"));
    }
    #[cfg(feature = "msgpack")]
    return message::fields(plain);
    #[cfg(not(feature = "msgpack"))]
    Err(Error::unsupported(
        "the stored record is MessagePack; enable the cargo feature `msgpack` of hilcat",
    ))
}

/// Returns the first byte that is not white space.
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

/// Returns the name of a column in records. A name that could be mistaken for the fingerprint field
/// gets another dollar sign.
fn stored_name(name: &str) -> String {
    let like_stamp =
        name.starts_with('$') && name.trim_start_matches('$') == &FINGERPRINT_FIELD[1..];
    if like_stamp { format!("${name}") } else { name.to_owned() }
}
