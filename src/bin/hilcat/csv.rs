//! CSV according to RFC 4180, in UTF-8. Quoted and unquoted cells are distinguished, so that the
//! unquoted text of NULL differs from the same text in quotes.

use std::io::{self, BufRead, Write};
use std::ops::RangeInclusive;

use crate::lines::{self, Line};

const UNCLOSED: &str =
    "a quote is never closed, so everything after it is one row; close it, or double it";

/// A record of a CSV.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The concatenated text of all cells.
    text: Vec<u8>,
    cells: Vec<Cell>,
    /// The first line of the record, counted from 1.
    pub(crate) line: u64,
    /// The last line of the record.
    last: u64,
    /// The error in the record, if there is one.
    pub(crate) fault: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    end: usize,
    quoted: bool,
}

impl Record {
    /// Returns the text of each cell, and whether it is quoted.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let starts = std::iter::once(0).chain(self.cells.iter().map(|cell| cell.end));
        starts.zip(&self.cells).map(|(start, cell)| (&self.text[start..cell.end], cell.quoted))
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(crate) fn size(&self) -> usize {
        self.text.len()
    }

    /// Returns the lines to report: the first one, or all lines of a malformed record.
    pub(crate) fn lines(&self) -> RangeInclusive<u64> {
        self.line..=if self.fault.is_some() { self.last } else { self.line }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
        self.fault = None;
    }

    fn end_cell(&mut self, quoted: bool) {
        self.cells.push(Cell { end: self.text.len(), quoted });
    }
}

/// The state of the reader within a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Plain,
    Quoted,
    /// After a quote inside quotes: it closes them, or is the first of two that mean one.
    Closing,
}

/// A reader of records.
pub(crate) struct Reader<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    limit: usize,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(input: R, limit: usize) -> Self {
        Self { input, line: Vec::new(), number: 0, limit }
    }

    /// Reads the next record, skipping empty lines. Returns `false` at the end of the input.
    pub(crate) fn read(&mut self, record: &mut Record) -> io::Result<bool> {
        record.clear();
        loop {
            match self.next_line(self.limit)? {
                Line::End => return Ok(false),
                Line::TooLong => {
                    (record.line, record.last) = (self.number, self.number);
                    record.fault = Some("the line is too long");
                    return Ok(true);
                }
                Line::Read if without_end(&self.line).is_empty() => {}
                Line::Read => break,
            }
        }
        record.line = self.number;
        let mut state = State::Start;
        loop {
            state = scan(&self.line, state, record);
            record.last = self.number;
            if state != State::Quoted {
                record.end_cell(state == State::Closing);
                return Ok(true);
            }
            let room = self.limit.saturating_sub(record.text.len());
            match self.next_line(room)? {
                Line::Read => {}
                Line::TooLong | Line::End => {
                    record.fault = Some(UNCLOSED);
                    return Ok(true);
                }
            }
        }
    }

    fn next_line(&mut self, limit: usize) -> io::Result<Line> {
        self.line.clear();
        let read = lines::read(&mut self.input, &mut self.line, limit)?;
        if read != Line::End {
            self.number += 1;
        }
        if self.number == 1 {
            lines::skip_byte_order_mark(&mut self.line);
        }
        Ok(read)
    }
}

/// Returns a line without its line ending.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Adds a line to a record and returns the state at its end. If quotes are open there, the line
/// ending is part of the cell.
fn scan(line: &[u8], mut state: State, record: &mut Record) -> State {
    let content = without_end(line);
    for &byte in content {
        state = match (state, byte) {
            (State::Start, b'"') => State::Quoted,
            (State::Start | State::Plain, b',') => {
                record.end_cell(false);
                State::Start
            }
            (State::Closing, b',') => {
                record.end_cell(true);
                State::Start
            }
            (State::Quoted, b'"') => State::Closing,
            (State::Closing, b'"') => {
                record.text.push(b'"');
                State::Quoted
            }
            (State::Closing, byte) => {
                record.fault = Some("text follows a closing quote");
                record.text.push(byte);
                State::Closing
            }
            (State::Start | State::Plain, byte) => {
                record.text.push(byte);
                State::Plain
            }
            (State::Quoted, byte) => {
                record.text.push(byte);
                State::Quoted
            }
        };
    }
    if state == State::Quoted {
        record.text.extend_from_slice(&line[content.len()..]);
    }
    state
}

/// Writes a record. `None` is NULL, which is written as `null`.
pub(crate) fn write<'a>(
    output: &mut impl Write,
    cells: impl IntoIterator<Item = Option<&'a str>>,
    null: &str,
) -> io::Result<()> {
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            output.write_all(b",")?;
        }
        match cell {
            None => output.write_all(null.as_bytes())?,
            // Unquoted, a record of one empty cell would be an empty line, which is skipped.
            Some(text) if text == null || text.is_empty() && at == 0 || needs_quotes(text) => {
                write!(output, "\"{}\"", text.replace('"', "\"\""))?;
            }
            Some(text) => output.write_all(text.as_bytes())?,
        }
    }
    output.write_all(b"\n")
}

fn needs_quotes(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'))
        || text.starts_with('\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cells = Vec<(String, bool)>;

    fn read(text: &str, limit: usize) -> Vec<(u64, Result<Cells, &'static str>)> {
        let mut reader = Reader::new(text.as_bytes(), limit);
        let (mut record, mut records) = (Record::default(), Vec::new());
        while reader.read(&mut record).unwrap() {
            let cells = record.cells();
            let cells =
                cells.map(|(text, quoted)| (String::from_utf8(text.to_vec()).unwrap(), quoted));
            let cells = cells.collect();
            records.push((record.line, record.fault.map_or(Ok(cells), Err)));
        }
        records
    }

    fn plain(cells: &[&str]) -> Cells {
        cells.iter().map(|text| ((*text).to_owned(), false)).collect()
    }

    #[test]
    fn quoted_and_plain_cells_are_distinguished() {
        let quoted = |text: &str| (text.to_owned(), true);
        let empty = (String::new(), false);
        assert_eq!(
            read("\"\",,\"a \"\"b\"\"\",\"x\r\ny\"\n", 99),
            [(1, Ok(vec![quoted(""), empty, quoted("a \"b\""), quoted("x\r\ny")]))]
        );
    }

    #[test]
    fn a_record_has_the_line_that_it_begins_on() {
        let text = "\u{feff}a,b\r\n\r\n1,\"x\n\ny\"\r\n2,3";
        let x = vec![("1".to_owned(), false), ("x\n\ny".to_owned(), true)];
        assert_eq!(
            read(text, 99),
            [(1, Ok(plain(&["a", "b"]))), (3, Ok(x)), (6, Ok(plain(&["2", "3"])))]
        );
    }

    #[test]
    fn a_faulty_record_does_not_stop_the_rest() {
        assert_eq!(
            read("\"a\"b,c\nd\n5\" disk,\"\n", 99),
            [(1, Err("text follows a closing quote")), (2, Ok(plain(&["d"]))), (3, Err(UNCLOSED)),]
        );
        assert_eq!(
            read("5\" disk,x\nabcdefghijklmnopq\ny\n", 12),
            [
                (1, Ok(plain(&["5\" disk", "x"]))),
                (2, Err("the line is too long")),
                (3, Ok(plain(&["y"])))
            ]
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let rows: [&[Option<&str>]; 5] = [
            &[Some(""), None, Some("NA"), Some("a")],
            &[Some(""), Some(""), Some("a,b"), Some("\"")],
            &[None],
            &[Some("")],
            &[Some("\u{feff}x"), Some("\r"), Some(" \n")],
        ];
        for null in ["", "NA"] {
            for row in rows.iter().filter(|row| !(null.is_empty() && **row == [None])) {
                let mut text = Vec::new();
                write(&mut text, row.iter().copied(), null).unwrap();
                let records = read(str::from_utf8(&text).unwrap(), 99);
                let cells = records[0].1.as_ref().unwrap().iter();
                let cells =
                    cells.map(|(text, quoted)| (*quoted || text != null).then_some(text.as_str()));
                assert_eq!(cells.collect::<Vec<_>>(), *row);
            }
        }
    }
}
