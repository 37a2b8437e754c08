//! Conversion of binds and rows between Diesel and tokio-postgres, as raw bytes.

use std::error::Error;
use std::num::NonZeroU32;
use std::ops::Range;

use diesel::backend::Backend;
use diesel::pg::{Pg, PgValue};
use diesel::row::{Field, PartialRow, Row, RowIndex, RowSealed};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};

type BoxError = Box<dyn Error + Sync + Send>;

/// A bind as raw bytes.
#[derive(Debug)]
pub(super) struct Bind(pub(super) Option<Vec<u8>>);

impl ToSql for Bind {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        Ok(match &self.0 {
            None => IsNull::Yes,
            Some(bytes) => {
                out.extend_from_slice(bytes);
                IsNull::No
            }
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        self.to_sql(ty, out)
    }
}

/// A column as raw bytes.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, BoxError> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A row of PostgreSQL.
pub struct PgRow(pub(super) tokio_postgres::Row);

impl RowSealed for PgRow {}

impl RowIndex<usize> for PgRow {
    fn idx(&self, at: usize) -> Option<usize> {
        (at < self.0.len()).then_some(at)
    }
}

impl RowIndex<&str> for PgRow {
    fn idx(&self, name: &str) -> Option<usize> {
        self.0.columns().iter().position(|column| column.name() == name)
    }
}

impl<'a> Row<'a, Pg> for PgRow {
    type Field<'f>
        = PgField<'f>
    where
        'a: 'f;
    type InnerPartialRow = Self;

    fn field_count(&self) -> usize {
        self.0.len()
    }

    fn get<'b, I>(&'b self, at: I) -> Option<PgField<'b>>
    where
        'a: 'b,
        Self: RowIndex<I>,
    {
        let at = self.idx(at)?;
        let column = &self.0.columns()[at];
        let Raw(raw) = self.0.try_get(at).ok()?;
        Some(PgField { name: column.name(), raw, oid: NonZeroU32::new(column.type_().oid())? })
    }

    fn partial_row(&self, range: Range<usize>) -> PartialRow<'_, Self> {
        PartialRow::new(self, range)
    }
}

/// One column of a row.
pub struct PgField<'a> {
    name: &'a str,
    raw: Option<&'a [u8]>,
    oid: NonZeroU32,
}

impl Field<'_, Pg> for PgField<'_> {
    fn field_name(&self) -> Option<&str> {
        Some(self.name)
    }

    fn value(&self) -> Option<<Pg as Backend>::RawValue<'_>> {
        self.raw.map(|raw| PgValue::new(raw, &self.oid))
    }
}
