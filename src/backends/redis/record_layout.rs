//! The representation of a record in the server: one string, a hash with a field for each column,
//! or the bare value of one column.

use redis::Value as Reply;
use serde_json::Value as Json;

use super::call_error::CallError;
use super::command::Commands;
use super::connection::unexpected;
use super::plain::Plain;
use super::scripts::{REMOVE_HASHES, REMOVE_STRINGS, SWAP_HASH, SWAP_STRING};
use crate::codec::{Codec, FINGERPRINT_FIELD};
use crate::freshness::EXPIRES_AT;
use crate::{Error, Key, Result, Row, Schema};

/// The layout of a scope's records.
#[derive(Debug)]
pub(super) enum RecordLayout {
    /// A string: the record as encoded by the codec.
    Record(Codec),
    /// A hash: the JSON of each column's value, in a field with the name of the column.
    Hash(Codec),
    /// A string: the bare value of the single non-key column.
    Plain(Plain),
}

/// A record to be written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) content: Content,
    /// The time to live in milliseconds; `None` if the record does not expire.
    pub(super) lifetime: Option<String>,
}

/// The encoded record.
#[derive(Debug)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    /// The names of fields, each followed by its value.
    Fields(Vec<Vec<u8>>),
}

/// The result of merging a row into a stored record.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) new: Content,
    /// The bytes that [`RecordLayout::stored`] will return.
    pub(super) bytes: Vec<u8>,
    /// The stored record.
    pub(super) old: Option<Row>,
}

impl RecordLayout {
    /// See [`Codec::with_stored_schema`].
    pub(super) fn with_stored_schema(self, stored: &Schema) -> Self {
        match self {
            Self::Record(codec) => Self::Record(codec.with_stored_schema(stored)),
            Self::Hash(codec) => Self::Hash(codec.with_stored_schema(stored)),
            plain @ Self::Plain(_) => plain,
        }
    }

    /// The server's name of the type that records have.
    pub(super) fn server_type(&self) -> &'static [u8] {
        match self {
            Self::Hash(_) => b"hash",
            _ => b"string",
        }
    }

    /// Whether one command can read or write several records.
    pub(super) fn is_string(&self) -> bool {
        !matches!(self, Self::Hash(_))
    }

    /// Appends the command that reads a record.
    pub(super) fn read(&self, commands: &mut Commands, name: &[u8]) {
        match self {
            Self::Hash(_) => commands.add(&[b"HGETALL", name]),
            _ => commands.add(&[b"GET", name]),
        }
    }

    /// Returns the command that removes records of one slot if each still equals its reply to
    /// [`read`](RecordLayout::read). Its reply is 1 if all of them did, else 0 and nothing is
    /// removed.
    ///
    /// This is a script instead of `WATCH` and `MULTI` because a server that has reached its
    /// `maxmemory` refuses all commands inside `MULTI`, but executes a script that only removes.
    pub(super) fn remove(&self, records: &[(&[u8], &Reply)]) -> Commands {
        let mut arguments: Vec<&[u8]> = Vec::new();
        let counts: Vec<String> =
            records.iter().map(|(_, reply)| (flat(reply).count() / 2).to_string()).collect();
        for ((_, reply), count) in records.iter().zip(&counts) {
            if !self.is_string() {
                arguments.push(count.as_bytes());
            }
            arguments.extend(flat(reply));
        }
        let script = if self.is_string() { REMOVE_STRINGS } else { REMOVE_HASHES };
        let names = records.len().to_string();
        let mut commands = Commands::default();
        commands.begin(3 + records.len() + arguments.len());
        [b"EVAL", script.as_bytes(), names.as_bytes()].iter().for_each(|part| commands.part(part));
        records.iter().for_each(|(name, _)| commands.part(name));
        arguments.iter().for_each(|argument| commands.part(argument));
        commands
    }

    /// Whether records are bare values.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// The fields that a merging write removes from a hash: dropped columns, and an expiry that is
    /// no column of this schema.
    fn removed(&self) -> Vec<&str> {
        let Self::Hash(codec) = self else { return Vec::new() };
        let own = codec.schema().has_own_expiry_column();
        let dropped = codec.dropped().iter().map(String::as_str);
        dropped.chain((!own).then_some(EXPIRES_AT)).collect()
    }

    /// Returns the command that replaces the record that was `seen` as a reply to
    /// [`read`](RecordLayout::read). Its reply is 1 if the record was written, 0 if the stored
    /// record has changed, -1 if the lease no longer belongs to its holder. Other fields of the
    /// record are kept if `kept` is true, else removed.
    pub(super) fn swap(
        &self,
        name: &[u8],
        seen: &Reply,
        new: &Written,
        kept: bool,
        lease: Option<(&[u8], &str)>,
    ) -> Commands {
        let holder = lease.map_or("", |(_, holder)| holder);
        let lifetime = new.lifetime.as_deref().unwrap_or_default();
        let removed = if kept { self.removed() } else { Vec::new() };
        let mut arguments: Vec<&[u8]> = vec![holder.as_bytes(), lifetime.as_bytes()];
        let (counts, script);
        match &new.content {
            Content::Bytes(bytes) => {
                arguments.push(bytes);
                script = SWAP_STRING;
            }
            Content::Fields(fields) => {
                counts = [removed.len().to_string(), fields.len().to_string()];
                arguments.extend([if kept { &b"1"[..] } else { b"0" }, counts[0].as_bytes()]);
                arguments.extend(removed.iter().map(|name| name.as_bytes()));
                arguments.push(counts[1].as_bytes());
                arguments.extend(fields.iter().map(Vec::as_slice));
                script = SWAP_HASH;
            }
        }
        arguments.extend(flat(seen));
        let names = if lease.is_some() { &b"2"[..] } else { b"1" };
        let mut parts: Vec<&[u8]> = vec![b"EVAL", script.as_bytes(), names, name];
        parts.extend(lease.map(|(name, _)| name));
        parts.extend(arguments);
        Commands::one(&parts)
    }

    /// Returns the command that changes the time to live of a bare value.
    pub(super) fn touch_plain(&self, name: &[u8], lifetime: Option<&str>) -> Commands {
        match lifetime {
            Some(lifetime) => Commands::one(&[b"PEXPIRE", name, lifetime.as_bytes()]),
            // The reply to `PERSIST` tells whether there was a time to live, not whether the key
            // exists.
            None => {
                let script = b"redis.call('PERSIST', KEYS[1]) return redis.call('EXISTS', KEYS[1])";
                Commands::one(&[b"EVAL", script, b"1", name])
            }
        }
    }

    /// Appends the commands that write a record. Other fields of a stored hash are kept if `kept`
    /// is true, else removed.
    pub(super) fn write(
        &self,
        commands: &mut Commands,
        name: &[u8],
        written: &Written,
        kept: bool,
    ) {
        let ttl = written.lifetime.as_deref().map(str::as_bytes);
        let fields = match &written.content {
            Content::Bytes(bytes) => {
                return match ttl {
                    Some(ttl) => commands.add(&[b"SET", name, bytes, b"PX", ttl]),
                    None => commands.add(&[b"SET", name, bytes]),
                };
            }
            Content::Fields(fields) => fields,
        };
        let removed = self.removed();
        if !kept {
            commands.add(&[b"DEL", name]);
        } else if !removed.is_empty() {
            commands.begin(2 + removed.len());
            commands.part(b"HDEL");
            commands.part(name);
            removed.iter().for_each(|field| commands.part(field.as_bytes()));
        }
        commands.begin(2 + fields.len());
        commands.part(b"HSET");
        commands.part(name);
        fields.iter().for_each(|field| commands.part(field));
        match ttl {
            Some(ttl) => commands.add(&[b"PEXPIRE", name, ttl]),
            None if kept => commands.add(&[b"PERSIST", name]),
            None => {}
        }
    }

    /// Extracts the record from the reply to [`read`](RecordLayout::read), as one byte string.
    pub(super) fn stored(&self, reply: Reply) -> Result<Option<Vec<u8>>, CallError> {
        match (self, reply) {
            (_, Reply::Nil) => Ok(None),
            (Self::Hash(_), Reply::Map(fields)) => object(fields),
            (Self::Hash(_), Reply::Array(flat)) => {
                let mut flat = flat.into_iter();
                let pairs = std::iter::from_fn(|| Some((flat.next()?, flat.next()?)));
                object(pairs.collect::<Vec<_>>())
            }
            (_, Reply::BulkString(bytes)) => Ok(Some(bytes)),
            _ => Err(unexpected()),
        }
    }

    /// Decodes a stored record.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column, if the bytes
    /// are not a record of the scope.
    pub(super) fn decode(&self, key: &Key, bytes: &[u8]) -> Result<Row> {
        match self {
            Self::Record(codec) | Self::Hash(codec) => codec.decode_at(key, bytes),
            Self::Plain(plain) => plain.decode(key, bytes),
        }
    }

    /// Encodes a complete row.
    pub(super) fn encode(&self, row: &Row) -> Result<Content> {
        match self {
            Self::Record(codec) => codec.encode(row).map(Content::Bytes),
            Self::Hash(codec) => fields(codec, row).map(Content::Fields),
            Self::Plain(plain) => plain.encode(row).map(Content::Bytes),
        }
    }

    /// Merges a row into the stored record, whose values fill the absent columns of the row.
    pub(super) fn replace(&self, key: &Key, old: Option<&[u8]>, row: Row) -> Result<Replaced> {
        let codec = match self {
            Self::Record(codec) | Self::Hash(codec) => codec,
            Self::Plain(plain) => return plain.replace(key, old, row),
        };
        let replaced = codec.replace(old, row)?;
        let new = match self {
            Self::Hash(_) => Content::Fields(fields(codec, &codec.decode(&replaced.bytes)?)?),
            _ => Content::Bytes(replaced.bytes.clone()),
        };
        Ok(Replaced { new, bytes: replaced.bytes, old: replaced.old })
    }
}

/// The fields of a record: the fingerprint and each column.
fn fields(codec: &Codec, row: &Row) -> Result<Vec<Vec<u8>>> {
    let (fingerprint, names) = codec.names();
    let mut fields = Vec::with_capacity(2 + 2 * row.len());
    fields.push(FINGERPRINT_FIELD.as_bytes().to_vec());
    fields.push(format!("\"{fingerprint}\"").into_bytes());
    for (at, (name, value)) in names.iter().zip(row).enumerate() {
        fields.push(name.as_bytes().to_vec());
        fields.push(codec.encode_value(at, value)?);
    }
    Ok(fields)
}

/// Converts the fields of a hash into a JSON object; `None` for an empty hash.
fn object(fields: Vec<(Reply, Reply)>) -> Result<Option<Vec<u8>>, CallError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let mut object = Vec::new();
    for (name, value) in fields {
        object.push(if object.is_empty() { b'{' } else { b',' });
        let name = String::from_utf8(bytes(name)?).map_err(|_| {
            Error::invalid_data("the stored hash has a field whose name is not valid UTF-8")
        })?;
        object.extend_from_slice(Json::from(name).to_string().as_bytes());
        object.push(b':');
        object.extend_from_slice(&bytes(value)?);
    }
    object.push(b'}');
    Ok(Some(object))
}

/// Flattens a reply into its strings.
fn flat(reply: &Reply) -> Box<dyn Iterator<Item = &[u8]> + '_> {
    match reply {
        Reply::BulkString(bytes) => Box::new(std::iter::once(bytes.as_slice())),
        Reply::Array(items) => Box::new(items.iter().flat_map(flat)),
        Reply::Map(pairs) => {
            Box::new(pairs.iter().flat_map(|(name, value)| flat(name).chain(flat(value))))
        }
        _ => Box::new(std::iter::empty()),
    }
}

fn bytes(reply: Reply) -> Result<Vec<u8>, CallError> {
    match reply {
        Reply::BulkString(bytes) => Ok(bytes),
        _ => Err(unexpected()),
    }
}
