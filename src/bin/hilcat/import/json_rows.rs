//! Rows from JSON Lines: an object of columns per line.

use std::io::{self, BufRead};

use hilcat::{Row, Schema, Value};
use serde_json::Value as Json;

use super::{Importer, Result, check, invalid};
use crate::failure::Failure;
use crate::lines::{self, Line};

/// Imports all rows; empty lines are skipped.
pub(super) fn import(
    importer: &mut Importer,
    mut input: impl BufRead,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<()> {
    let schema = importer.scope.schema().clone();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = lines::read(&mut input, &mut line, lines::LIMIT).map_err(&failed)?;
        if number == 1 {
            lines::skip_byte_order_mark(&mut line);
        }
        let row = match read {
            Line::End => break,
            Line::TooLong => Err(invalid("the line is too long")),
            Line::Read if line.trim_ascii().is_empty() => continue,
            Line::Read => row(&schema, &line),
        };
        importer.take(number..=number, row, line.len())?;
    }
    Ok(())
}

fn row(schema: &Schema, line: &[u8]) -> hilcat::Result<Row> {
    let text = str::from_utf8(line).map_err(|_| invalid("it is not UTF-8"))?;
    let Json::Object(object) = hilcat::parse_json(text)? else {
        return Err(invalid("it is not a JSON object of the scope's columns"));
    };
    let mut row = vec![Value::Absent; schema.columns().len()];
    for (name, json) in object {
        let at = schema.position(&name)?;
        let column = &schema.columns()[at];
        let value = match json {
            Json::Null if column.nullable => Ok(Value::Null),
            json => Value::from_json(json, column.ty),
        };
        row[at] = check(column, value.map_err(|error| error.with_column(&column.name))?)?;
    }
    match schema.key_columns().zip(schema.key_positions()).find(|(_, at)| row[**at].is_absent()) {
        None => Ok(row),
        Some((column, _)) => {
            let error = invalid("the value is missing, and the column is part of the key");
            Err(error.with_column(&column.name))
        }
    }
}
