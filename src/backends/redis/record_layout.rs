//! What a record is in a server: one value, a hash with a field for each column, or the bare value
//! of one column.

use std::sync::Arc;

use redis::Value as Reply;
use serde_json::Value as Json;

use super::call_error::CallError;
use super::command::Commands;
use super::connection::unexpected;
use crate::codec::{Codec, FINGERPRINT_FIELD};
use crate::freshness::EXPIRES_AT;
use crate::{ColumnType, Error, Key, Result, Row, Schema, Value, text};

/// The layout of a scope's records.
#[derive(Debug)]
pub(super) enum RecordLayout {
    /// A string: the record as the codec writes it.
    Record(Codec),
    /// A hash: the JSON of each column's value in a field of its name.
    Hash(Codec),
    /// A string: the value of the one column that is no key, as it is.
    Plain(Plain),
}

/// Removes strings that are equal to the arguments. `pcall`: a key that holds another type by now
/// is one that has changed.
const REMOVE_STRINGS: &str = "\
for at, name in ipairs(KEYS) do if redis.pcall('GET', name) ~= ARGV[at] then return 0 end end
for _, name in ipairs(KEYS) do redis.call('UNLINK', name) end
return 1";

/// The same for hashes; the arguments are for each the number of its fields, and the fields with
/// their values.
const REMOVE_HASHES: &str = "\
local at = 1
for _, name in ipairs(KEYS) do
  local count = tonumber(ARGV[at])
  if redis.pcall('HLEN', name) ~= count then return 0 end
  for field = at + 1, at + 2 * count, 2 do
    if redis.call('HGET', name, ARGV[field]) ~= ARGV[field + 1] then return 0 end
  end
  at = at + 2 * count + 1
end
for _, name in ipairs(KEYS) do redis.call('UNLINK', name) end
return 1";

/// Writes a string in place of the one that was seen; 0 if that has changed. The arguments are the
/// holder of the lease, which is the second key if there is one, the time to live in milliseconds
/// or nothing, the new string, and the one that was seen unless there was none. -1: the lease is
/// lost.
const SWAP_STRING: &str = "\
if KEYS[2] and redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
if redis.pcall('GET', KEYS[1]) ~= (ARGV[4] or false) then return 0 end
if ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
if KEYS[2] then redis.call('DEL', KEYS[2]) end
return 1";

/// The same for a hash. The arguments from the third one on: whether fields that are not written
/// stay, the number of names that are removed, the names, the number of parts that are written,
/// these, and the fields that were seen with their values.
const SWAP_HASH: &str = "\
if KEYS[2] and redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
local removed = tonumber(ARGV[4])
local written = tonumber(ARGV[5 + removed])
local first = 6 + removed
local seen = first + written
if redis.pcall('HLEN', KEYS[1]) ~= (#ARGV + 1 - seen) / 2 then return 0 end
for at = seen, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[at]) ~= ARGV[at + 1] then return 0 end
end
if ARGV[3] ~= '1' then redis.call('DEL', KEYS[1]) end
if removed > 0 then redis.call('HDEL', KEYS[1], unpack(ARGV, 5, 4 + removed)) end
redis.call('HSET', KEYS[1], unpack(ARGV, first, seen - 1))
if ARGV[2] == '' then redis.call('PERSIST', KEYS[1])
else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if KEYS[2] then redis.call('DEL', KEYS[2]) end
return 1";

/// What is written for a record.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) content: Content,
    /// The milliseconds after which the server removes it; `None` for never.
    pub(super) lifetime: Option<String>,
}

/// The record itself.
#[derive(Debug)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    /// Names of fields, each with its value after it.
    Fields(Vec<Vec<u8>>),
}

/// What is written over a record.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) new: Content,
    /// What [`RecordLayout::stored`] will give of it.
    pub(super) bytes: Vec<u8>,
    /// The record that stood there.
    pub(super) old: Option<Row>,
}

impl RecordLayout {
    /// As [`Codec::with_stored_schema`].
    pub(super) fn with_stored_schema(self, stored: &Schema) -> Self {
        match self {
            Self::Record(codec) => Self::Record(codec.with_stored_schema(stored)),
            Self::Hash(codec) => Self::Hash(codec.with_stored_schema(stored)),
            plain @ Self::Plain(_) => plain,
        }
    }

    /// The type of the server's that a record is of.
    pub(super) fn server_type(&self) -> &'static [u8] {
        match self {
            Self::Hash(_) => b"hash",
            _ => b"string",
        }
    }

    /// Whether one command reads many records, and one writes many.
    pub(super) fn is_string(&self) -> bool {
        !matches!(self, Self::Hash(_))
    }

    /// Adds the command that reads a record.
    pub(super) fn read(&self, commands: &mut Commands, name: &[u8]) {
        match self {
            Self::Hash(_) => commands.add(&[b"HGETALL", name]),
            _ => commands.add(&[b"GET", name]),
        }
    }

    /// The command that removes records of one slot while the server holds exactly the `replies`
    /// that [`read`](RecordLayout::read) had: 1 if all of them are as they were read, else 0 and nothing is
    /// removed.
    ///
    /// A script, and not `WATCH` with `MULTI`: a server that has reached its `maxmemory` refuses
    /// every command inside of `MULTI`, and runs a script that only removes.
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

    /// Whether the server has bare values.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// The fields that a write removes from a hash whose other fields it keeps: columns that are
    /// dropped, and an expiry that this schema does not know.
    fn removed(&self) -> Vec<&str> {
        let Self::Hash(codec) = self else { return Vec::new() };
        let own = codec.schema().has_own_expiry_column();
        let dropped = codec.dropped().iter().map(String::as_str);
        dropped.chain((!own).then_some(EXPIRES_AT)).collect()
    }

    /// The command that writes a record in place of what was `seen`, as an reply to
    /// [`read`](RecordLayout::read): 1 if it was written, 0 if another record is there by now, -1 if the
    /// lease is not its holder's any more. What the record has besides is removed, unless it is to
    /// be `kept`.
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

    /// The command that gives a bare value another time to live.
    pub(super) fn touch_plain(&self, name: &[u8], lifetime: Option<&str>) -> Commands {
        match lifetime {
            Some(lifetime) => Commands::one(&[b"PEXPIRE", name, lifetime.as_bytes()]),
            // `PERSIST` says whether there was a time to live, and not whether there is a key.
            None => {
                let script = b"redis.call('PERSIST', KEYS[1]) return redis.call('EXISTS', KEYS[1])";
                Commands::one(&[b"EVAL", script, b"1", name])
            }
        }
    }

    /// Adds the commands that write a record. What is not written over is removed, unless it is to
    /// be `kept`.
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

    /// The record in the reply to [`read`](RecordLayout::read), as one piece.
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

    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`](crate::ErrorKind::InvalidData), naming the column, where it is
    /// no record of the scope.
    pub(super) fn decode(&self, key: &Key, bytes: &[u8]) -> Result<Row> {
        match self {
            Self::Record(codec) | Self::Hash(codec) => codec.decode_at(key, bytes),
            Self::Plain(plain) => plain.decode(key, bytes),
        }
    }

    /// What is written for a complete row.
    pub(super) fn encode(&self, row: &Row) -> Result<Content> {
        match self {
            Self::Record(codec) => codec.encode(row).map(Content::Bytes),
            Self::Hash(codec) => fields(codec, row).map(Content::Fields),
            Self::Plain(plain) => plain.encode(row).map(Content::Bytes),
        }
    }

    /// What is written for a row over the record that stands, some columns of which may be left
    /// as they are.
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

/// The fields of a record: the fingerprint, and each column.
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

/// The fields of a hash as one object of JSON; nothing where there are none.
fn object(fields: Vec<(Reply, Reply)>) -> Result<Option<Vec<u8>>, CallError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let mut object = Vec::new();
    for (name, value) in fields {
        object.push(if object.is_empty() { b'{' } else { b',' });
        let name = String::from_utf8(bytes(name)?)
            .map_err(|_| Error::invalid_data("a field of the hash has a name that is not UTF-8"))?;
        object.extend_from_slice(Json::from(name).to_string().as_bytes());
        object.push(b':');
        object.extend_from_slice(&bytes(value)?);
    }
    object.push(b'}');
    Ok(Some(object))
}

/// The strings of an reply, those of a map one after the other.
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

/// Bare values: what the Python package keeps.
#[derive(Debug)]
pub(super) struct Plain {
    schema: Arc<Schema>,
    /// The column that is no key.
    at: usize,
}

impl Plain {
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the schema is not of one
    /// unique column and one more.
    pub(super) fn new(schema: &Arc<Schema>) -> Result<Self> {
        // The expiry is what the server is told, and no part of the value.
        let own = usize::from(schema.has_own_expiry_column());
        match (&schema.key[..], schema.columns.len() - own) {
            ([key], 2) => Ok(Self { schema: schema.clone(), at: 1 - key }),
            _ => Err(Error::unsupported(
                "the plain layout has one unique column and one more, whose value stands in the server as it is",
            )),
        }
    }

    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<Row> {
        let column = &self.schema.columns[self.at];
        let value = match (column.ty, std::str::from_utf8(bytes)) {
            (ColumnType::Bytes, _) => Ok(Value::Bytes(bytes.into())),
            (ty, Ok(text)) => text::to_value(text, ty),
            (_, Err(_)) => Err(Error::invalid_data("it is not UTF-8")),
        };
        let value = value.and_then(|value| column.check(&value).map(|()| value));
        let value = value.map_err(|error| {
            Error::invalid_data(format!("the stored value does not fit: {}", error.message()))
                .with_column(&column.name)
        })?;
        let mut row = vec![Value::Null; self.schema.columns.len()];
        row[self.at] = value;
        row[1 - self.at] = key.values()[0].clone();
        Ok(row)
    }

    fn encode(&self, row: &Row) -> Result<Vec<u8>> {
        match &row[self.at] {
            Value::Null | Value::Absent => Err(Error::unsupported(
                "the plain layout has bare values, and nothing that could be NULL",
            )
            .with_column(&self.schema.columns[self.at].name)),
            Value::Bytes(bytes) => Ok(bytes.clone()),
            value => Ok(text::from_value(value).into_owned().into_bytes()),
        }
    }

    fn replace(&self, key: &Key, old: Option<&[u8]>, mut row: Row) -> Result<Replaced> {
        let old = old.map(|old| self.decode(key, old)).transpose()?;
        if let (true, Some(old)) = (row[self.at].is_absent(), &old) {
            row[self.at] = old[self.at].clone();
        }
        self.schema.fill_absent(&mut row)?;
        let bytes = self.encode(&row)?;
        Ok(Replaced { new: Content::Bytes(bytes.clone()), bytes, old })
    }
}
