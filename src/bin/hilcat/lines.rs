//! Lines of an input, of a bounded length each.

use std::io::{self, BufRead, Read};

/// The longest line that is read, and the longest record of a CSV: 256 MiB.
pub(crate) const LIMIT: usize = 256 << 20;

/// What came instead of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// One that is now in the buffer, with its end.
    Read,
    /// One that is longer than the limit; all of it is passed over.
    TooLong,
    /// The end of the input.
    End,
}

/// Passes over the byte order mark, which some programs write at the beginning of UTF-8.
pub(crate) fn skip_mark(line: &mut Vec<u8>) {
    if line.starts_with("\u{feff}".as_bytes()) {
        line.drain(..3);
    }
}

/// Reads a line behind what the buffer has; the line may make it as long as the limit.
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
    fn a_long_line_is_passed_over() {
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
