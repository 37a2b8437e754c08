//! Rows from a CSV with a header line.

use std::io::{self, BufRead};

use hilcat::{Column, ColumnType, Row, Schema, Value};

use super::{Importer, Result, check, invalid, lines_of};
use crate::csv::{Reader, Record};
use crate::failure::Failure;
use crate::lines;

/// Imports all rows; `null` is the unquoted text of NULL.
pub(super) fn import(
    importer: &mut Importer,
    input: impl BufRead,
    null: &str,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<()> {
    let schema = importer.scope.schema().clone();
    let mut reader = Reader::new(input, lines::LIMIT);
    let mut record = Record::default();
    if !reader.read(&mut record).map_err(&failed)? {
        return Err(Failure::usage("the CSV has no header line; its first line names the columns"));
    }
    let header = header(&schema, &record)?;
    while reader.read(&mut record).map_err(&failed)? {
        let row = row(&schema, &header, &record, null);
        importer.take(record.lines(), row, record.size())?;
    }
    Ok(())
}

/// Returns the positions of the columns of a header.
fn header(schema: &Schema, record: &Record) -> Result<Vec<usize>> {
    let wrong = |error: hilcat::Error| {
        let lines = lines_of(&record.lines());
        Failure::usage(format!("{lines}, the header: {}", error.message()))
    };
    if let Some(fault) = record.fault {
        return Err(wrong(invalid(fault)));
    }
    let mut positions = Vec::new();
    for (name, _) in record.cells() {
        let name = str::from_utf8(name).map_err(|_| wrong(invalid("it is not UTF-8")))?;
        let position = schema.position(name).map_err(wrong)?;
        if positions.contains(&position) {
            let name = &schema.columns()[position].name;
            return Err(wrong(invalid(format!("duplicate column `{name}`"))));
        }
        positions.push(position);
    }
    match schema.key_positions().iter().find(|at| !positions.contains(at)) {
        None => Ok(positions),
        Some(&at) => {
            let name = &schema.columns()[at].name;
            Err(wrong(invalid(format!("it lacks the column `{name}`, which is unique"))))
        }
    }
}

fn row(schema: &Schema, header: &[usize], record: &Record, null: &str) -> hilcat::Result<Row> {
    if let Some(fault) = record.fault {
        return Err(invalid(fault));
    }
    if record.len() != header.len() {
        let (cells, columns) = (record.len(), header.len());
        return Err(invalid(format!("it has {cells} cells; the header names {columns} columns")));
    }
    let mut row = vec![Value::Absent; schema.columns().len()];
    for (&at, (text, quoted)) in header.iter().zip(record.cells()) {
        let column = &schema.columns()[at];
        let value = cell(column, text, quoted, null);
        row[at] = check(column, value.map_err(|error| error.with_column(&column.name))?)?;
    }
    Ok(row)
}

fn cell(column: &Column, text: &[u8], quoted: bool, null: &str) -> hilcat::Result<Value> {
    let text = str::from_utf8(text).map_err(|_| invalid("it is not UTF-8"))?;
    match !quoted && text == null && !is_empty_text(column, null) {
        true => Ok(Value::Null),
        false => Value::from_text(text, column.ty),
    }
}

/// Returns whether an empty cell of a column is empty text, although it is the text of NULL: the
/// column cannot be NULL.
fn is_empty_text(column: &Column, null: &str) -> bool {
    let is_text = matches!(column.ty, ColumnType::Text | ColumnType::Varchar(_));
    is_text && !column.nullable && null.is_empty()
}
