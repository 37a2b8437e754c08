//! Standard error: messages, and a progress bar if it is a terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Read, Write};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, or nothing if that is no terminal.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Counts the bytes that are read from a file.
    pub(crate) fn of_bytes(total: Option<u64>) -> Self {
        let bar = "{bar:30} {bytes}/{total_bytes}, {elapsed}, {msg}";
        Self::new(|| total, bar, "{spinner} {bytes}, {elapsed}, {msg}")
    }

    /// Counts the rows that are written. `total` is called only if the bar is shown.
    pub(crate) fn of_rows(total: impl FnOnce() -> Option<u64>) -> Self {
        Self::new(total, "{bar:30} {pos}/{len} rows, {elapsed}", "{spinner} {pos} rows, {elapsed}")
    }

    fn new(total: impl FnOnce() -> Option<u64>, bar: &str, spinner: &str) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let (made, style) = match total() {
            Some(total) => (ProgressBar::new(total), bar),
            None => (ProgressBar::new_spinner(), spinner),
        };
        // With a malformed template, the default style is used.
        Self(Some(made.with_style(
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
        )))
    }

    /// Counts the bytes that are read from an input.
    pub(crate) fn reading<'a>(&self, input: impl Read + 'a) -> Box<dyn Read + 'a> {
        match &self.0 {
            Some(bar) => Box::new(bar.wrap_read(input)),
            None => Box::new(input),
        }
    }

    pub(crate) fn add(&self, rows: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(rows);
        }
    }

    pub(crate) fn message(&self, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.0 {
            bar.set_message(message());
        }
    }

    /// Writes a line to standard error, above the bar.
    pub(crate) fn print(&self, line: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| to_stderr(line)),
            None => to_stderr(line),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Writes a line to standard error, if that is open. Control characters, which names from outside
/// can contain, are escaped, since a terminal would execute them.
pub(crate) fn to_stderr(line: &str) {
    let _ = writeln!(io::stderr(), "{}", escaped(line));
}

fn escaped(line: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !line.contains(is_obeyed) {
        return Cow::Borrowed(line);
    }
    let escape = |text: &mut String, c: char| match is_obeyed(c) {
        true => text.extend(c.escape_default()),
        false => text.push(c),
    };
    Cow::Owned(line.chars().fold(String::new(), |mut text, c| {
        escape(&mut text, c);
        text
    }))
}
