//! SQL statements whose text is rendered once per scope and whose values are bound by column type.
//!
//! Diesel caches the prepared statement of a custom query fragment. It would prepare `sql_query` and
//! an upsert of its query language anew for each call. With this fragment a schema that is known
//! only at run time is as fast as a static one.

pub(crate) mod batch;
pub(crate) mod coalesce;
mod statement_id;

use std::any::TypeId;

use diesel::backend::Backend;
use diesel::connection::LoadConnection;
use diesel::expression::QueryMetadata;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::row::Field;
use diesel::serialize::Output;
use diesel::sql_types::Untyped;
use diesel::{QueryResult, RunQueryDsl};

#[cfg(feature = "postgresql")]
use self::batch::Column;
use self::statement_id::StatementId;
use crate::{ColumnType, Row, Value};

/// The conversion of values between hilcat and an engine, which its Diesel backend implements.
pub(crate) trait ValueCodec: Backend + QueryMetadata<Untyped> + 'static {
    /// Binds a value of a column type.
    fn bind<'b>(out: AstPass<'_, 'b, Self>, ty: ColumnType, value: &'b Value) -> QueryResult<()>;

    /// Binds the values that several rows have in one column, as an array.
    ///
    /// # Errors
    ///
    /// Fails on an engine without arrays.
    #[cfg(feature = "postgresql")]
    fn bind_column<'b>(
        out: AstPass<'_, 'b, Self>,
        ty: ColumnType,
        column: &'b Column<'b>,
    ) -> QueryResult<()> {
        let _ = (out, ty, column);
        Err(diesel::result::Error::QueryBuilderError("the engine has no arrays".into()))
    }

    /// Writes a value of a column type to Diesel's buffer for a bound value.
    fn encode<'b>(
        value: &'b Value,
        ty: ColumnType,
        out: &mut Output<'b, '_, Self>,
    ) -> diesel::serialize::Result;

    /// Reads a value of a column type.
    fn decode(raw: Self::RawValue<'_>, ty: ColumnType) -> crate::Result<Value>;
}

/// The text of a statement in pieces, with a typed bind between each two.
#[derive(Debug)]
pub(crate) struct Sql {
    pieces: Vec<String>,
    binds: Vec<ColumnType>,
    id: StatementId,
}

impl Sql {
    /// Begins a statement with this text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { pieces: vec![text.into()], binds: Vec::new(), id: StatementId::allocate() }
    }

    /// Appends text.
    pub(crate) fn text(mut self, text: &str) -> Self {
        match self.pieces.last_mut() {
            Some(last) => last.push_str(text),
            None => self.pieces.push(text.to_owned()),
        }
        self
    }

    /// Appends a bind of a column type.
    pub(crate) fn bind(mut self, ty: ColumnType) -> Self {
        self.binds.push(ty);
        self.pieces.push(String::new());
        self
    }

    /// Appends each item by `add`, separated by `separator`.
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

    /// Supplies one value for each bind.
    pub(crate) fn with<'a>(&'a self, values: &'a [Value]) -> Statement<'a> {
        self.with_values(Values::One(values))
    }

    /// Supplies the values of the binds in two consecutive lists.
    pub(crate) fn with_both<'a>(&'a self, a: &'a [Value], b: &'a [Value]) -> Statement<'a> {
        self.with_values(Values::Both(a, b))
    }

    /// Supplies the values of several rows, one row after another.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn with_rows<'a>(&'a self, rows: &'a [Row]) -> Statement<'a> {
        self.with_values(Values::Rows(rows))
    }

    /// Supplies a column of several rows for each bind.
    #[cfg(feature = "postgresql")]
    pub(crate) fn with_columns<'a>(&'a self, columns: &'a [Column<'a>]) -> Statement<'a> {
        self.with_values(Values::Columns(columns))
    }

    /// Supplies a column of several rows for each of the first binds, and a single value for each of
    /// the others.
    #[cfg(feature = "postgresql")]
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

/// The values of the binds of a statement.
#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    One(&'a [Value]),
    Both(&'a [Value], &'a [Value]),
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    Rows(&'a [Row]),
    #[cfg(feature = "postgresql")]
    Columns(&'a [Column<'a>]),
    #[cfg(feature = "postgresql")]
    ColumnsAnd(&'a [Column<'a>], &'a [Value]),
}

/// The value of one bind in a statement that has both columns and single values.
#[cfg(feature = "postgresql")]
enum Bound<'a> {
    Column(&'a Column<'a>),
    Value(&'a Value),
}

impl Values<'_> {
    fn count(self) -> usize {
        match self {
            Self::One(values) => values.len(),
            Self::Both(a, b) => a.len() + b.len(),
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            Self::Rows(rows) => rows.iter().map(Vec::len).sum(),
            #[cfg(feature = "postgresql")]
            Self::Columns(columns) => columns.len(),
            #[cfg(feature = "postgresql")]
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
    // Identified by its text unless an ID was announced.
    const HAS_STATIC_QUERY_ID: bool = false;

    fn query_id() -> Option<TypeId> {
        StatementId::take_announced()
    }
}

impl Query for Statement<'_> {
    type SqlType = Untyped;
}

impl<C> RunQueryDsl<C> for Statement<'_> {}

impl<D: ValueCodec> QueryFragment<D> for Statement<'_> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, D>) -> QueryResult<()> {
        let sql = self.sql;
        match self.values {
            Values::One(values) => walk(sql, out, values, |out, ty, value| D::bind(out, ty, value)),
            Values::Both(a, b) => {
                walk(sql, out, a.iter().chain(b), |out, ty, value| D::bind(out, ty, value))
            }
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            Values::Rows(rows) => {
                walk(sql, out, rows.iter().flatten(), |out, ty, value| D::bind(out, ty, value))
            }
            #[cfg(feature = "postgresql")]
            Values::Columns(columns) => {
                walk(sql, out, columns, |out, ty, column| D::bind_column(out, ty, column))
            }
            #[cfg(feature = "postgresql")]
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

/// Writes the pieces of a statement with the binds between them.
fn walk<'b, D: ValueCodec, T>(
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

/// A Diesel connection to an engine, from a pool or owned by the caller.
pub(crate) trait Conn<D: ValueCodec>:
    diesel::Connection<Backend = D> + LoadConnection + 'static
{
}

impl<D, C> Conn<D> for C
where
    D: ValueCodec,
    C: diesel::Connection<Backend = D> + LoadConnection + 'static,
{
}

/// Executes a statement that returns no rows, and returns how many it changed.
pub(crate) fn execute<D: ValueCodec>(
    connection: &mut impl Conn<D>,
    statement: Statement<'_>,
) -> QueryResult<usize> {
    statement.sql.id.announce();
    statement.execute(connection)
}

fn start<'conn, 'query, D: ValueCodec, C: Conn<D>>(
    connection: &'conn mut C,
    statement: Statement<'query>,
) -> QueryResult<C::Cursor<'conn, 'query>> {
    statement.sql.id.announce();
    LoadConnection::load(connection, statement)
}

/// Executes a statement and passes each of its rows, decoded by `types`, to `each`.
///
/// Reads all rows even if the caller needs only some: a statement that writes completes only then.
pub(crate) fn load<D: ValueCodec>(
    connection: &mut impl Conn<D>,
    statement: Statement<'_>,
    types: &[ColumnType],
    mut each: impl FnMut(Row) -> QueryResult<()>,
) -> QueryResult<()> {
    load_keyed::<D>(connection, statement, types, &[], &mut each)
}

/// Executes a statement as [`load`] does. A decoding error names the key of its row, whose columns
/// are at the positions `key`.
pub(crate) fn load_keyed<D: ValueCodec>(
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

/// Returns the row of a statement that reads at most one.
pub(crate) fn find<D: ValueCodec>(
    connection: &mut impl Conn<D>,
    statement: Statement<'_>,
    types: &[ColumnType],
) -> QueryResult<Option<Row>> {
    let row = start::<D, _>(connection, statement)?.next();
    row.map(|row| decode::<D>(&row?, types, &[])).transpose()
}

fn decode<'stmt, D: ValueCodec>(
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

/// Returns the first row of a statement, and reads the others.
pub(crate) fn load_one<D: ValueCodec>(
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

/// Adds the key to a decoding error if all its columns precede the column that failed.
fn with_key(error: crate::Error, values: &[Value], key: &[usize]) -> crate::Error {
    let parts: Option<Vec<Value>> = key.iter().map(|at| values.get(*at).cloned()).collect();
    match parts.filter(|parts| !parts.is_empty()) {
        Some(parts) => error.with_key(crate::Key::new(parts)),
        None => error,
    }
}

/// Converts a decoding error to Diesel's, with the name of the column.
fn decoding(error: crate::Error, column: Option<&str>) -> diesel::result::Error {
    let error = match column {
        Some(column) => error.with_column(column),
        None => error,
    };
    diesel::result::Error::DeserializationError(Box::new(error))
}
