//! Reads the replies of a server, each up to a limit.

use std::io::{self, BufRead, BufReader, Read};

use redis::Value;

/// How deep replies are nested: none that hilcat asks for is deeper than four.
const DEEPEST: usize = 16;

/// Room that is made for the items of an reply before they are read: what a header says of their
/// number is believed only as they come.
const AT_ONCE: usize = 1_024;

/// A connection whose replies are read as values.
pub(super) struct Replies<R> {
    reader: BufReader<R>,
    /// How many bytes one reply may take in memory.
    limit: u64,
}

/// Why no reply could be read.
#[derive(Debug)]
pub(super) enum Unread {
    Io(io::ErrorKind),
    /// It takes more bytes than the limit.
    TooLarge,
    /// It is not what the protocol has.
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

    /// Whether all that was received has been read.
    pub(super) fn is_empty(&self) -> bool {
        self.reader.buffer().is_empty()
    }

    /// The next reply.
    pub(super) fn next(&mut self) -> Result<Value, Unread> {
        let left = self.limit;
        Reply { reader: &mut self.reader, left }.value(0)
    }
}

/// One reply that is being read.
struct Reply<'a, R> {
    reader: &'a mut BufReader<R>,
    /// How many bytes it may still take. Each value is counted as large as it is in memory, so
    /// that many small ones are not taken for little.
    left: u64,
}

impl<R: Read> Reply<'_, R> {
    fn value(&mut self, depth: usize) -> Result<Value, Unread> {
        if depth > DEEPEST {
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

    /// A line, without its end.
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

    /// So many bytes, and the end of the line after them.
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

    /// A string with its length in the line before it, that the parser of the crate makes a value.
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

    /// What the server says unasked. Nothing of it is used.
    fn push(&mut self, length: &[u8], depth: usize) -> Result<Value, Unread> {
        let length = self.length(length)?.ok_or(Unread::Malformed)?;
        let data = self.items(length, depth)?;
        Ok(Value::Push { kind: redis::PushKind::Other(String::new()), data })
    }

    fn items(&mut self, length: usize, depth: usize) -> Result<Vec<Value>, Unread> {
        let mut items = Vec::with_capacity(length.min(AT_ONCE));
        for _ in 0..length {
            items.push(self.value(depth + 1)?);
        }
        Ok(items)
    }

    fn pairs(&mut self, length: &[u8], depth: usize) -> Result<Vec<(Value, Value)>, Unread> {
        let length = self.length(length)?.ok_or(Unread::Malformed)?;
        let mut pairs = Vec::with_capacity(length.min(AT_ONCE));
        for _ in 0..length {
            pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(pairs)
    }

    /// A length, of which one that cannot be within the limit is refused before anything is
    /// allocated; none for -1.
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
    fn answers_are_read_as_the_crates_parser_reads_them() {
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
    fn what_is_too_large_is_refused_by_its_header() {
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
    fn what_is_no_answer_is_an_error() {
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
