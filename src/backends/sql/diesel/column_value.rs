//! The conversion of column values between records and Diesel.
//!
//! Where an engine lacks a type, Diesel's own conversions differ from hilcat's: hilcat could not read
//! what Diesel writes. A record is therefore converted by the same code as in a scope, and Diesel
//! sees it as a sequence of [`Cell`]s.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::{AsExpression, TypedExpressionType};
use diesel::internal::derives::as_expression::Bound;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::SingleValue;

use super::engine::Engine;
use super::sql_types::Typed;
use crate::{Error, Result, Row, Schema, ScopeRecord, Value};

/// The value of one column of a record, for Diesel.
///
/// It may hold an error instead, which is returned when the value is bound: Diesel's conversion to
/// an expression cannot fail.
#[derive(Debug, Clone)]
pub struct Cell(Result<Value>);

impl Cell {
    pub(crate) fn new(value: Value) -> Self {
        Self(Ok(value))
    }
}

/// The cells of a record to insert, in the order of its columns.
#[derive(Debug)]
pub struct Cells(Result<std::vec::IntoIter<Value>, Error>);

impl Cells {
    /// Validates the record as a scope does, and returns its cells.
    pub fn of<R: ScopeRecord>(record: &R, schema: &Schema) -> Self {
        let row = record.to_row().and_then(|mut row| {
            schema.validate_row(&mut row)?;
            Ok(row.into_iter())
        });
        Self(row.map_err(|error| error.with_scope(&schema.name)))
    }

    /// Returns the cell of the next column.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends: there is a cell for each column"
    )]
    pub fn next(&mut self) -> Cell {
        Cell(match &mut self.0 {
            Ok(values) => Ok(values.next().unwrap_or(Value::Absent)),
            Err(error) => Err(error.clone()),
        })
    }
}

/// Builds a record from the cells of its columns.
///
/// # Errors
///
/// Those of [`ScopeRecord::from_row`].
pub fn record<R: ScopeRecord>(cells: impl IntoIterator<Item = Cell>) -> deserialize::Result<R> {
    let row = cells.into_iter().map(|cell| cell.0).collect::<Result<Row>>()?;
    Ok(R::from_row(row)?)
}

impl<ST, DB> Queryable<ST, DB> for Cell
where
    ST: SingleValue,
    DB: Backend,
    Self: FromSql<ST, DB>,
{
    type Row = Self;

    fn build(row: Self) -> deserialize::Result<Self> {
        Ok(row)
    }
}

impl<ST: Typed + TypedExpressionType> AsExpression<ST> for Cell {
    type Expression = Bound<ST, Self>;

    fn as_expression(self) -> Self::Expression {
        Bound::new(Self(self.0.and_then(|value| ST::TYPE.coerce(value))))
    }
}

impl<ST: Typed, DB: Engine> FromSql<ST, DB> for Cell {
    fn from_sql(raw: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Ok(DB::decode(raw, ST::TYPE)?)))
    }

    fn from_nullable_sql(raw: Option<DB::RawValue<'_>>) -> deserialize::Result<Self> {
        match raw {
            Some(raw) => <Self as FromSql<ST, DB>>::from_sql(raw),
            None => Ok(Self(Ok(Value::Null))),
        }
    }
}

impl<ST: Typed, DB: Engine> ToSql<ST, DB> for Cell {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        DB::encode(self.0.as_ref().map_err(Error::clone)?, ST::TYPE, out)
    }
}
