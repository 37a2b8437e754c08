//! Reads lines of bounded length.

use std::io::{self, BufRead, Read};

/// The maximum length of a line and of a CSV record: 256 MiB.
pub(crate) const LIMIT: usize = 256 << 20;

/// The result of reading a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The line is in the buffer, with its line ending.
    Read,
    /// The line is longer than the limit and was skipped.
    TooLong,
    /// The end of the input.
    End,
}

/// Removes the byte order mark that some programs write at the beginning of UTF-8.
pub(crate) fn skip_byte_order_mark(line: &mut Vec<u8>) {
    if line.starts_with("\u{feff}".as_bytes()) {
        line.drain(..3);
    }
}

/// Appends a line to the buffer, which may become as long as the limit.
pub(crate) fn read(
    input: &mut impl BufRead,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> io::Result<Line> {
    let room = (limit - buffer.len().min(limit)) as u64;
    let read = input.by_ref().take(room + 1).read_until(b'\n', buffer)?;
    if read as u64 > room {
        if buffer.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
        }
        return Ok(Line::TooLong);
    }
    Ok(if read == 0 { Line::End } else { Line::Read })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_skipped() {
        let mut input = io::BufReader::with_capacity(3, &b"abc\nabcdefg\nabcd\nx"[..]);
        let mut lines = Vec::new();
        loop {
            let mut buffer = Vec::new();
            match read(&mut input, &mut buffer, 4).unwrap() {
                Line::Read => lines.push(String::from_utf8(buffer).unwrap()),
                Line::TooLong => lines.push("too long".into()),
                Line::End => break,
            }
        }
        assert_eq!(lines, ["abc\n", "too long", "too long", "x"]);
    }
}
