//! Parsing of replies with a limit on their size.

use std::io::{self, BufRead, BufReader, Read};

use redis::Value;

/// The maximum nesting of replies. No command that hilcat sends has a deeper reply than four
/// levels.
const MAX_DEPTH: usize = 16;

/// The maximum number of items that are allocated in advance: the count in a header is not trusted.
const MAX_PREALLOCATED: usize = 1_024;

/// A stream that is parsed into replies.
pub(super) struct Replies<R> {
    reader: BufReader<R>,
    /// The maximum size of one reply in memory.
    limit: u64,
}

/// Why a reply could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    Io(io::ErrorKind),
    /// The reply exceeds the limit.
    TooLarge,
    /// The reply violates the protocol.
    Malformed,
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

impl<R: Read> Replies<R> {
    pub(super) fn new(stream: R, limit: u64) -> Self {
        Self { reader: BufReader::with_capacity(16 << 10, stream), limit }
    }

    pub(super) fn stream(&self) -> &R {
        self.reader.get_ref()
    }

    pub(super) fn stream_mut(&mut self) -> &mut R {
        self.reader.get_mut()
    }

    /// Whether all received bytes have been parsed.
    pub(super) fn is_empty(&self) -> bool {
        self.reader.buffer().is_empty()
    }

    /// Reads the next reply.
    pub(super) fn next(&mut self) -> Result<Value, Unread> {
        let left = self.limit;
        Reply { reader: &mut self.reader, left }.value(0)
    }
}

/// A reply that is being read.
struct Reply<'a, R> {
    reader: &'a mut BufReader<R>,
    /// The remaining size. Each value counts with its size in memory, so that many small values
    /// cannot exceed the limit.
    left: u64,
}

impl<R: Read> Reply<'_, R> {
    fn value(&mut self, depth: usize) -> Result<Value, Unread> {
        if depth > MAX_DEPTH {
            return Err(Unread::Malformed);
        }
        self.count(size_of::<Value>() as u64)?;
        let line = self.line()?;
        let (&sign, rest) = line.split_first().ok_or(Unread::Malformed)?;
        match sign {
            b'+' if rest == b"OK" => Ok(Value::Okay),
            b':' => Ok(Value::Int(number(rest)?)),
            b'$' => self.string(rest),
            b'*' | b'~' => self.array(rest, depth),
            b'%' => Ok(Value::Map(self.pairs(rest, depth)?)),
            b'>' => self.push(rest, depth),
            b'|' => {
                self.pairs(rest, depth)?;
                self.value(depth + 1)
            }
            b'=' | b'!' => self.described(&line, rest),
            _ => parse(&[&line, b"\r\n"]),
        }
    }

    fn count(&mut self, bytes: u64) -> Result<(), Unread> {
        self.left = self.left.checked_sub(bytes).ok_or(Unread::TooLarge)?;
        Ok(())
    }

    /// Reads a line, without its end.
    fn line(&mut self) -> Result<Vec<u8>, Unread> {
        let mut line = Vec::new();
        let limit = self.left.saturating_add(1);
        let read = (&mut *self.reader).take(limit).read_until(b'\n', &mut line)?;
        self.count(read as u64)?;
        match line.strip_suffix(b"\r\n") {
            Some(whole) => {
                line.truncate(whole.len());
                Ok(line)
            }
            None if line.ends_with(b"\n") => Err(Unread::Malformed),
            None => Err(Unread::Io(io::ErrorKind::UnexpectedEof)),
        }
    }

    /// Reads this many bytes and the line end after them.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Unread> {
        self.count(length as u64)?;
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        let mut end = [0; 2];
        self.reader.read_exact(&mut end)?;
        if end == *b"\r\n" { Ok(bytes) } else { Err(Unread::Malformed) }
    }

    fn string(&mut self, length: &[u8]) -> Result<Value, Unread> {
        match self.length(length)? {
            None => Ok(Value::Nil),
            Some(length) => self.bytes(length).map(Value::BulkString),
        }
    }

    /// Reads a string with a length header that the parser of the `redis` crate converts.
    fn described(&mut self, line: &[u8], length: &[u8]) -> Result<Value, Unread> {
        let length = self.length(length)?.ok_or(Unread::Malformed)?;
        let bytes = self.bytes(length)?;
        parse(&[line, b"\r\n", &bytes, b"\r\n"])
    }

    fn array(&mut self, length: &[u8], depth: usize) -> Result<Value, Unread> {
        match self.length(length)? {
            None => Ok(Value::Nil),
            Some(length) => self.items(length, depth).map(Value::Array),
        }
    }

    /// Reads a push message, whose contents are not used.
    fn push(&mut self, length: &[u8], depth: usize) -> Result<Value, Unread> {
        let length = self.length(length)?.ok_or(Unread::Malformed)?;
        let data = self.items(length, depth)?;
        Ok(Value::Push { kind: redis::PushKind::Other(String::new()), data })
    }

    fn items(&mut self, length: usize, depth: usize) -> Result<Vec<Value>, Unread> {
        let mut items = Vec::with_capacity(length.min(MAX_PREALLOCATED));
        for _ in 0..length {
            items.push(self.value(depth + 1)?);
        }
        Ok(items)
    }

    fn pairs(&mut self, length: &[u8], depth: usize) -> Result<Vec<(Value, Value)>, Unread> {
        let length = self.length(length)?.ok_or(Unread::Malformed)?;
        let mut pairs = Vec::with_capacity(length.min(MAX_PREALLOCATED));
        for _ in 0..length {
            pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(pairs)
    }

    /// Parses a length; `None` for -1. A length beyond the limit is refused before anything is
    /// allocated.
    fn length(&self, length: &[u8]) -> Result<Option<usize>, Unread> {
        match number(length)? {
            -1 => Ok(None),
            length if length > 0 && length as u64 > self.left => Err(Unread::TooLarge),
            length => usize::try_from(length).map(Some).map_err(|_| Unread::Malformed),
        }
    }
}

fn number(digits: &[u8]) -> Result<i64, Unread> {
    let text = std::str::from_utf8(digits).map_err(|_| Unread::Malformed)?;
    text.parse().map_err(|_| Unread::Malformed)
}

fn parse(parts: &[&[u8]]) -> Result<Value, Unread> {
    redis::parse_redis_value(&parts.concat()).map_err(|_| Unread::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], limit: u64) -> Result<Value, Unread> {
        Replies::new(bytes, limit).next()
    }

    #[test]
    fn replies_are_parsed_like_by_the_redis_crate() {
        for bytes in [
            "+OK\r\n",
            "+PONG\r\n",
            "-ERR no\r\n",
            "-MOVED 3999 127.0.0.1:6381\r\n",
            ":-7\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
            "$5\r\na\r\nbc\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*3\r\n:1\r\n*2\r\n$1\r\na\r\n-ERR no\r\n$-1\r\n",
            "%1\r\n+a\r\n:1\r\n",
            "_\r\n",
            "#t\r\n",
            ",1.5\r\n",
            "=5\r\ntxt:a\r\n",
            "!6\r\nERR no\r\n",
        ] {
            let expected = redis::parse_redis_value(bytes.as_bytes()).unwrap();
            assert_eq!(read(bytes.as_bytes(), 10_000).unwrap(), expected, "{bytes}");
        }
        let attributed = read(b"|1\r\n+a\r\n:1\r\n:7\r\n", 10_000).unwrap();
        assert_eq!(attributed, Value::Int(7));
    }

    #[test]
    fn too_large_replies_are_refused_by_their_header() {
        let large =
            ["$2000\r\n", "*9223372036854775807\r\n", "%2000\r\n", "=2000\r\n", ">2000\r\n"];
        for header in large {
            assert!(matches!(read(header.as_bytes(), 1_000), Err(Unread::TooLarge)), "{header}");
        }
        let many = format!("*500\r\n{}", ":1\r\n".repeat(500));
        assert!(matches!(read(many.as_bytes(), 1_000), Err(Unread::TooLarge)));
        assert!(read(many.as_bytes(), 100_000).is_ok());
        let long = [b'+'; 2_000];
        assert!(matches!(read(&long, 1_000), Err(Unread::TooLarge)));
    }

    #[test]
    fn malformed_replies_are_errors() {
        for bytes in
            ["\r\n", "?\r\n", ":x\r\n", "$-2\r\n", "$1\r\nabc", "+a\n", "$x\r\n", "%-1\r\n"]
        {
            assert!(matches!(read(bytes.as_bytes(), 9_999), Err(Unread::Malformed)), "{bytes:?}");
        }
        let deep = "*1\r\n".repeat(100_000);
        assert!(matches!(read(deep.as_bytes(), u64::MAX), Err(Unread::Malformed)));
        for bytes in ["", "+a", "$5\r\nabc", "*2\r\n:1\r\n"] {
            assert!(matches!(read(bytes.as_bytes(), 9_999), Err(Unread::Io(_))), "{bytes:?}");
        }
    }
}
