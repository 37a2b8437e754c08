//! `hilcat export`: writes all records of a scope in bounded memory. A file is replaced atomically.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use hilcat::{DynScope, Row, Schema, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::args::{Export, Format, Place, Source};
use crate::csv;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::target::Target;

/// Runs the command.
pub(crate) fn run(source: &Source, options: &Export) -> Result<ExitCode, Failure> {
    let place = options.place()?;
    let scope = source.scope(&options.scope)?;
    let failed = |error| Failure::io(place.file.as_deref(), "standard output")(error);
    let target = Target::open(place.file.as_deref()).map_err(failed)?;
    let mut output = BufWriter::with_capacity(1 << 16, target);
    write(&scope, &place, &mut output)?;
    let target = output.into_inner().map_err(|error| failed(error.into_error()))?;
    target.finish().map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes all records of a scope.
pub(crate) fn write(
    scope: &DynScope,
    place: &Place,
    output: &mut impl Write,
) -> Result<(), Failure> {
    let failed = |error| Failure::io(place.file.as_deref(), "standard output")(error);
    let progress = Progress::of_rows(|| scope.len().ok());
    let schema = scope.schema();
    if place.format == Format::Csv {
        let names = schema.columns().iter().map(|column| Some(column.name.as_str()));
        // The header has no NULL, so a name that equals its text is not quoted.
        csv::write(output, names, "").map_err(failed)?;
    }
    for row in scope.rows()? {
        let row = row?;
        match place.format {
            Format::Csv => csv_row(output, &row, &place.null),
            Format::Jsonl => json_row(output, schema, row),
        }
        .map_err(failed)?;
        progress.add(1);
    }
    Ok(())
}

fn csv_row(output: &mut impl Write, row: &Row, null: &str) -> io::Result<()> {
    let cells: Vec<_> =
        row.iter().map(|value| (!value.is_null()).then(|| value.to_text())).collect();
    csv::write(output, cells.iter().map(Option::as_deref), null)
}

fn json_row(output: &mut impl Write, schema: &Schema, row: Row) -> io::Result<()> {
    serde_json::to_writer(&mut *output, &Columns { schema, row: &row })?;
    output.write_all(b"\n")
}

/// Serializes a row as an object of all columns, in table order.
struct Columns<'a> {
    schema: &'a Schema,
    row: &'a [Value],
}

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.row.len()))?;
        for (column, value) in self.schema.columns().iter().zip(self.row) {
            map.serialize_entry(&column.name, &value.clone().into_json())?;
        }
        map.end()
    }
}
