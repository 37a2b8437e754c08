//! Places in a TOML text, for error messages.

use std::cell::Cell;
use std::ops::Range;

use crate::Error;

/// A place in a TOML text, in bytes.
pub(super) type Span = Range<usize>;

/// A TOML text, and the name of its file if it has one.
pub(super) struct Source<'a> {
    file: Option<&'a str>,
    text: &'a str,
    /// The last position that was computed. Places are mostly requested in the order of the text, so
    /// each is counted from the one before.
    last: Cell<Position>,
}

/// A place in a text: its offset in bytes, and its line and column, both counted from 0 and the
/// column in characters.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    offset: usize,
    line: usize,
    column: usize,
}

impl Position {
    fn pass(mut self, letter: char) -> Self {
        self.offset += letter.len_utf8();
        match letter {
            '\n' => (self.line, self.column) = (self.line + 1, 0),
            _ => self.column += 1,
        }
        self
    }
}

impl<'a> Source<'a> {
    pub(super) fn new(file: Option<&'a str>, text: &'a str) -> Self {
        Self { file, text, last: Cell::default() }
    }

    /// Returns an error that begins with its place, unless there is no text.
    pub(super) fn error(&self, span: Span, message: impl std::fmt::Display) -> Error {
        if self.text.is_empty() {
            return Error::invalid_schema(message.to_string());
        }
        Error::invalid_schema(format!("{}: {message}", self.place(span)))
    }

    /// Returns whether the text at a place begins with a letter.
    pub(super) fn begins_with(&self, span: Span, letter: char) -> bool {
        self.text.get(span).is_some_and(|text| text.starts_with(letter))
    }

    /// Returns `FILE:LINE:COLUMN`, with both numbers counted from 1 and the column in characters.
    pub(super) fn place(&self, span: Span) -> String {
        let start = span.start.min(self.text.len());
        let last = Some(self.last.get()).filter(|last| last.offset <= start).unwrap_or_default();
        let between = self.text.get(last.offset..start).unwrap_or_default();
        let position = between.chars().fold(last, Position::pass);
        self.last.set(position);
        let (line, column) = (position.line + 1, position.column + 1);
        match self.file {
            Some(file) => format!("{file}:{line}:{column}"),
            None => format!("{line}:{column}"),
        }
    }
}
