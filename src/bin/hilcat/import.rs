//! `hilcat import`: reads records in bounded memory. A bad row is reported and skipped.

mod csv_rows;
mod json_rows;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::RangeInclusive;
use std::process::ExitCode;

use hilcat::{Column, DynScope, Error, ErrorKind, Row, Value};

use crate::args::{Format, Import, Place, Source};
use crate::failure::Failure;
use crate::progress::Progress;

type Result<T> = std::result::Result<T, Failure>;

/// The maximum number of rows in a batch, and their approximate maximum size.
const BATCH_ROWS: usize = 1000;
const BATCH_BYTES: usize = 8 << 20;

/// Runs the command.
pub(crate) fn run(source: &Source, options: &Import) -> Result<ExitCode> {
    let place = options.place()?;
    let scope = source.scope(&options.scope)?;
    let failed = |error| Failure::io(place.file.as_deref(), "standard input")(error);
    let (input, size): (Box<dyn Read>, _) = match &place.file {
        Some(path) => {
            let file = File::open(path).map_err(failed)?;
            let size = file.metadata().map_err(failed)?.len();
            (Box::new(file), Some(size))
        }
        None => (Box::new(io::stdin().lock()), None),
    };
    let mut importer = Importer::new(scope, options.strict, Progress::of_bytes(size));
    let imported = importer.import(input, &place);
    importer.summarize();
    match imported {
        Ok(()) if importer.bad == 0 => Ok(ExitCode::SUCCESS),
        // Reported already.
        Ok(()) | Err(Failure::BadRow) => Ok(ExitCode::from(2)),
        Err(failure) => Err(failure),
    }
}

/// Collects rows and writes them in batches.
pub(crate) struct Importer {
    scope: DynScope,
    strict: bool,
    progress: Progress,
    /// The rows that are not yet written or reported, with their lines.
    pending: Vec<(RangeInclusive<u64>, hilcat::Result<Row>)>,
    pending_bytes: usize,
    pub(crate) imported: u64,
    pub(crate) bad: u64,
}

impl Importer {
    pub(crate) fn new(scope: DynScope, strict: bool, progress: Progress) -> Self {
        Self { scope, strict, progress, pending: Vec::new(), pending_bytes: 0, imported: 0, bad: 0 }
    }

    #[cfg(test)]
    pub(crate) fn scope(&self) -> &DynScope {
        &self.scope
    }

    /// Imports all rows.
    pub(crate) fn import(&mut self, input: impl Read, place: &Place) -> Result<()> {
        let failed = |error| Failure::io(place.file.as_deref(), "standard input")(error);
        let counted = self.progress.reading(input);
        let input = BufReader::with_capacity(1 << 16, counted);
        match place.format {
            Format::Csv => csv_rows::import(self, input, &place.null, failed)?,
            Format::Jsonl => json_rows::import(self, input, failed)?,
        }
        self.write()
    }

    /// Adds a row of about `size` bytes, or the error of a bad one.
    fn take(
        &mut self,
        lines: RangeInclusive<u64>,
        row: hilcat::Result<Row>,
        size: usize,
    ) -> Result<()> {
        // The rows before a bad one are written before it stops the import.
        let stops = self.strict && row.is_err();
        self.pending.push((lines, row));
        self.pending_bytes += size;
        match stops || self.pending.len() >= BATCH_ROWS || self.pending_bytes >= BATCH_BYTES {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// Writes the pending rows in one batch or, if that fails, one by one. Bad rows are reported in
    /// the order of the lines.
    fn write(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let good = pending.iter().filter_map(|(_, row)| row.as_ref().ok().cloned());
        let written = match self.scope.set_rows(good) {
            Ok(count) => {
                self.imported += count as u64;
                true
            }
            Err(error) if is_of_row(&error) => false,
            Err(error) => return Err(error.into()),
        };
        for (lines, row) in pending {
            match row {
                Err(error) => self.report(&lines, &error)?,
                Ok(_) if written => {}
                Ok(row) => self.write_one(&lines, row)?,
            }
        }
        self.progress.message(|| format!("{} rows", self.imported));
        Ok(())
    }

    fn write_one(&mut self, lines: &RangeInclusive<u64>, row: Row) -> Result<()> {
        match self.scope.set_rows([row]) {
            Ok(_) => {
                self.imported += 1;
                Ok(())
            }
            Err(error) if is_of_row(&error) => self.report(lines, &error),
            Err(error) => Err(error.into()),
        }
    }

    fn report(&mut self, lines: &RangeInclusive<u64>, error: &Error) -> Result<()> {
        self.bad += 1;
        self.progress.print(&format!("{}: {error}", lines_of(lines)));
        if self.strict { Err(Failure::BadRow) } else { Ok(()) }
    }

    fn summarize(&self) {
        let (imported, bad) = (self.imported, self.bad);
        let rows = |count| if count == 1 { "row" } else { "rows" };
        let summary = match (bad, self.strict) {
            (0, _) => format!("{imported} {} imported", rows(imported)),
            (_, true) => format!("{imported} {} imported, stopped at a bad one", rows(imported)),
            _ => {
                format!("{imported} {} imported, {bad} bad {} skipped", rows(imported), rows(bad))
            }
        };
        self.progress.print(&summary);
    }
}

/// Returns whether an error is about a row, so that other rows can still be written.
fn is_of_row(error: &Error) -> bool {
    use ErrorKind::{Backend, InvalidData, InvalidInput, Unsupported};
    matches!(error.kind(), InvalidInput | InvalidData | Unsupported | Backend)
}

/// Formats the lines of a row.
fn lines_of(lines: &RangeInclusive<u64>) -> String {
    match (lines.start(), lines.end()) {
        (first, last) if first == last => format!("line {first}"),
        (first, last) => format!("lines {first} to {last}"),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

/// Checks a value for a column, so that a bad row is found before its batch is written.
fn check(column: &Column, value: Value) -> hilcat::Result<Value> {
    let checked = match value.is_null() && !column.nullable {
        true => Err(invalid("it cannot be NULL")),
        false => column.ty.check(&value),
    };
    checked.map(|()| value).map_err(|error| error.with_column(&column.name))
}
