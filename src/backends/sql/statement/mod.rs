//! Statements: SQL whose text was made once for a scope, run with values bound by the schema's
//! types.
//!
//! Diesel keeps the prepared statement of a query fragment of our own; that of `sql_query` and of
//! an upsert of its query language it would prepare anew at each call. This fragment is what makes
//! a dynamic schema as fast as a static one.

pub(crate) mod batch;
pub(crate) mod coalesce;
pub(crate) mod expiry;
pub(crate) mod render;
mod statement_id;
pub(crate) mod write;

use std::any::TypeId;

use diesel::connection::LoadConnection;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::row::Field;
use diesel::sql_types::Untyped;
use diesel::{QueryResult, RunQueryDsl};

use super::dialect::Dialect;
use crate::backends::sql::statement::batch::Column;
use crate::backends::sql::statement::statement_id::StatementId;
use crate::{ColumnType, Row, Value};

/// The text of a statement in pieces, with a bind of a type between each two.
#[derive(Debug)]
pub(crate) struct Sql {
    pieces: Vec<String>,
    binds: Vec<ColumnType>,
    id: StatementId,
}

impl Sql {
    /// A statement that begins with this text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { pieces: vec![text.into()], binds: Vec::new(), id: StatementId::new() }
    }

    /// Adds text.
    pub(crate) fn text(mut self, text: &str) -> Self {
        match self.pieces.last_mut() {
            Some(last) => last.push_str(text),
            None => self.pieces.push(text.to_owned()),
        }
        self
    }

    /// Adds a bind of a type.
    pub(crate) fn bind(mut self, ty: ColumnType) -> Self {
        self.binds.push(ty);
        self.pieces.push(String::new());
        self
    }

    /// Adds what `add` makes of each item, with a separator in between.
    pub(crate) fn list<T>(
        mut self,
        separator: &str,
        items: impl IntoIterator<Item = T>,
        add: impl Fn(Self, T) -> Self,
    ) -> Self {
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self = self.text(separator);
            }
            self = add(self, item);
        }
        self
    }

    /// The statement with its values: one for each bind.
    pub(crate) fn with<'a>(&'a self, values: &'a [Value]) -> Statement<'a> {
        self.with_values(Values::One(values))
    }

    /// A statement with two lists of values, one after the other.
    pub(crate) fn with_both<'a>(&'a self, a: &'a [Value], b: &'a [Value]) -> Statement<'a> {
        self.with_values(Values::Both(a, b))
    }

    /// A statement of several rows with their values.
    pub(crate) fn with_rows<'a>(&'a self, rows: &'a [Row]) -> Statement<'a> {
        self.with_values(Values::Rows(rows))
    }

    /// A statement each of whose binds is a column of several rows.
    pub(crate) fn with_columns<'a>(&'a self, columns: &'a [Column<'a>]) -> Statement<'a> {
        self.with_values(Values::Columns(columns))
    }

    /// The same with single values for the binds after those of the columns.
    pub(crate) fn with_columns_and<'a>(
        &'a self,
        columns: &'a [Column<'a>],
        values: &'a [Value],
    ) -> Statement<'a> {
        self.with_values(Values::ColumnsAnd(columns, values))
    }

    fn with_values<'a>(&'a self, values: Values<'a>) -> Statement<'a> {
        debug_assert_eq!(self.binds.len(), values.count());
        Statement { sql: self, values }
    }
}

/// The values of a statement.
#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    One(&'a [Value]),
    Both(&'a [Value], &'a [Value]),
    Rows(&'a [Row]),
    Columns(&'a [Column<'a>]),
    ColumnsAnd(&'a [Column<'a>], &'a [Value]),
}

/// What is bound where a statement has columns of several rows and single values.
enum Bound<'a> {
    Column(&'a Column<'a>),
    Value(&'a Value),
}

impl Values<'_> {
    fn count(self) -> usize {
        match self {
            Self::One(values) => values.len(),
            Self::Both(a, b) => a.len() + b.len(),
            Self::Rows(rows) => rows.iter().map(Vec::len).sum(),
            Self::Columns(columns) => columns.len(),
            Self::ColumnsAnd(columns, values) => columns.len() + values.len(),
        }
    }
}

/// A statement with its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement<'a> {
    sql: &'a Sql,
    values: Values<'a>,
}

impl QueryId for Statement<'_> {
    type QueryId = ();
    // Its text identifies it, or the identity that was announced.
    const HAS_STATIC_QUERY_ID: bool = false;

    fn query_id() -> Option<TypeId> {
        StatementId::announced()
    }
}

impl Query for Statement<'_> {
    type SqlType = Untyped;
}

impl<C> RunQueryDsl<C> for Statement<'_> {}

impl<D: Dialect> QueryFragment<D> for Statement<'_> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, D>) -> QueryResult<()> {
        let sql = self.sql;
        match self.values {
            Values::One(values) => walk(sql, out, values, |out, ty, value| D::bind(out, ty, value)),
            Values::Both(a, b) => {
                walk(sql, out, a.iter().chain(b), |out, ty, value| D::bind(out, ty, value))
            }
            Values::Rows(rows) => {
                walk(sql, out, rows.iter().flatten(), |out, ty, value| D::bind(out, ty, value))
            }
            Values::Columns(columns) => {
                walk(sql, out, columns, |out, ty, column| D::bind_column(out, ty, column))
            }
            Values::ColumnsAnd(columns, values) => {
                let columns = columns.iter().map(Bound::Column);
                let bound = columns.chain(values.iter().map(Bound::Value));
                walk(sql, out, bound, |out, ty, bound| match bound {
                    Bound::Column(column) => D::bind_column(out, ty, column),
                    Bound::Value(value) => D::bind(out, ty, value),
                })
            }
        }
    }
}

/// Walks the pieces of a statement and, between them, what is bound.
fn walk<'b, D: Dialect, T>(
    sql: &'b Sql,
    mut out: AstPass<'_, 'b, D>,
    values: impl IntoIterator<Item = T>,
    bind: impl Fn(AstPass<'_, 'b, D>, ColumnType, T) -> QueryResult<()>,
) -> QueryResult<()> {
    let mut binds = sql.binds.iter().zip(values);
    for piece in &sql.pieces {
        out.push_sql(piece);
        if let Some((ty, value)) = binds.next() {
            bind(out.reborrow(), *ty, value)?;
        }
    }
    Ok(())
}

/// A Diesel connection to an engine: one of a pool, or one that a caller owns.
pub(crate) trait Conn<D: Dialect>:
    diesel::Connection<Backend = D> + LoadConnection + 'static
{
}

impl<D, C> Conn<D> for C
where
    D: Dialect,
    C: diesel::Connection<Backend = D> + LoadConnection + 'static,
{
}

/// Runs a statement that gives no rows, and gives how many it changed.
pub(crate) fn execute<D: Dialect>(
    connection: &mut impl Conn<D>,
    statement: Statement<'_>,
) -> QueryResult<usize> {
    statement.sql.id.announce();
    statement.execute(connection)
}

fn start<'conn, 'query, D: Dialect, C: Conn<D>>(
    connection: &'conn mut C,
    statement: Statement<'query>,
) -> QueryResult<C::Cursor<'conn, 'query>> {
    statement.sql.id.announce();
    LoadConnection::load(connection, statement)
}

/// Runs a statement and gives each of its rows, decoded by these types, to `each`. Always reads
/// to the end: a statement that writes is done only then.
pub(crate) fn load<D: Dialect>(
    connection: &mut impl Conn<D>,
    statement: Statement<'_>,
    types: &[ColumnType],
    mut each: impl FnMut(Row) -> QueryResult<()>,
) -> QueryResult<()> {
    load_keyed::<D>(connection, statement, types, &[], &mut each)
}

/// The same for rows of which an error of decoding names the key: the positions of its columns.
pub(crate) fn load_keyed<D: Dialect>(
    connection: &mut impl Conn<D>,
    statement: Statement<'_>,
    types: &[ColumnType],
    key: &[usize],
    mut each: impl FnMut(Row) -> QueryResult<()>,
) -> QueryResult<()> {
    for row in start::<D, _>(connection, statement)? {
        each(decode::<D>(&row?, types, key)?)?;
    }
    Ok(())
}

/// The row of a statement that reads at most one.
pub(crate) fn find<D: Dialect>(
    connection: &mut impl Conn<D>,
    statement: Statement<'_>,
    types: &[ColumnType],
) -> QueryResult<Option<Row>> {
    let row = start::<D, _>(connection, statement)?.next();
    row.map(|row| decode::<D>(&row?, types, &[])).transpose()
}

fn decode<'stmt, D: Dialect>(
    row: &impl diesel::row::Row<'stmt, D>,
    types: &[ColumnType],
    key: &[usize],
) -> QueryResult<Row> {
    let mut values = Vec::with_capacity(types.len());
    for (at, ty) in types.iter().enumerate() {
        let field = row.get(at).ok_or_else(|| diesel::result::Error::NotFound)?;
        values.push(match field.value() {
            None => Value::Null,
            Some(raw) => D::decode(raw, *ty)
                .map_err(|error| decoding(with_key(error, &values, key), field.field_name()))?,
        });
    }
    Ok(values)
}

/// The first row of a statement.
pub(crate) fn load_one<D: Dialect>(
    connection: &mut impl Conn<D>,
    statement: Statement<'_>,
    types: &[ColumnType],
) -> QueryResult<Option<Row>> {
    let mut first = None;
    load::<D>(connection, statement, types, |row| {
        first.get_or_insert(row);
        Ok(())
    })?;
    Ok(first)
}

/// Names the key of a row, where the values before the error have it.
fn with_key(error: crate::Error, values: &[Value], key: &[usize]) -> crate::Error {
    let parts: Option<Vec<Value>> = key.iter().map(|at| values.get(*at).cloned()).collect();
    match parts.filter(|parts| !parts.is_empty()) {
        Some(parts) => error.with_key(crate::Key::new(parts)),
        None => error,
    }
}

/// An error of decoding, with the name of its column.
fn decoding(error: crate::Error, column: Option<&str>) -> diesel::result::Error {
    let error = match column {
        Some(column) => error.with_column(column),
        None => error,
    };
    diesel::result::Error::DeserializationError(Box::new(error))
}
