//! Statements: SQL whose text was made once for a scope, run with values bound by the schema's
//! types.
//!
//! Diesel keeps the prepared statement of a query fragment of our own by its text; that of
//! `sql_query` and of an upsert of its query language it would prepare anew at each call. This
//! fragment is what makes a dynamic schema as fast as a static one.

use std::sync::OnceLock;

use diesel::connection::LoadConnection;
use diesel::query_builder::{AstPass, Query, QueryBuilder as _, QueryFragment, QueryId};
use diesel::row::Field;
use diesel::sql_types::Untyped;
use diesel::{QueryResult, RunQueryDsl};

use super::dialect::Dialect;
use crate::{ColumnType, Row, Value};

/// The text of a statement in pieces, with a bind of a type between each two.
#[derive(Debug, Clone, Default)]
pub(super) struct Sql {
    pieces: Vec<String>,
    binds: Vec<ColumnType>,
    /// The whole text, made when it is first needed.
    whole: OnceLock<String>,
}

impl Sql {
    /// A statement that begins with this text.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { pieces: vec![text.into()], ..Self::default() }
    }

    /// Adds text.
    pub(super) fn text(mut self, text: &str) -> Self {
        match self.pieces.last_mut() {
            Some(last) => last.push_str(text),
            None => self.pieces.push(text.to_owned()),
        }
        self
    }

    /// Adds a bind of a type.
    pub(super) fn bind(mut self, ty: ColumnType) -> Self {
        self.binds.push(ty);
        self.pieces.push(String::new());
        self
    }

    /// Adds what `add` makes of each item, with a separator in between.
    pub(super) fn list<T>(
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

    /// The whole text, with the engine's placeholders. One statement is only ever one engine's.
    fn whole<D: Dialect>(&self) -> &str {
        self.whole.get_or_init(|| {
            let mut out = D::QueryBuilder::default();
            for (at, piece) in self.pieces.iter().enumerate() {
                out.push_sql(piece);
                if at < self.binds.len() {
                    out.push_bind_param();
                }
            }
            out.finish()
        })
    }

    /// The statement with its values: one for each bind.
    pub(super) fn with<'a>(&'a self, values: &'a [Value]) -> Statement<'a> {
        debug_assert_eq!(self.binds.len(), values.len());
        Statement { sql: self, values }
    }
}

/// A statement with its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<'a> {
    sql: &'a Sql,
    values: &'a [Value],
}

impl QueryId for Statement<'_> {
    type QueryId = ();
    // The text identifies the statement, not its type.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement<'_> {
    type SqlType = Untyped;
}

impl<C> RunQueryDsl<C> for Statement<'_> {}

impl<D: Dialect> QueryFragment<D> for Statement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, D>) -> QueryResult<()> {
        let mut binds = self.sql.binds.iter().zip(self.values);
        for piece in &self.sql.pieces {
            out.push_sql(piece);
            if let Some((ty, value)) = binds.next() {
                D::bind(out.reborrow(), *ty, value)?;
            }
        }
        Ok(())
    }

    /// At each call Diesel looks the statement up by its text: it is copied, not put together
    /// anew.
    fn to_sql(&self, out: &mut D::QueryBuilder, _: &D) -> QueryResult<()> {
        out.push_sql(self.sql.whole::<D>());
        Ok(())
    }

    fn is_safe_to_cache_prepared(&self, _: &D) -> QueryResult<bool> {
        Ok(true)
    }
}

/// Runs a statement that gives no rows.
///
/// Through `load` and not `execute`: that one takes the statement by reference, and for a
/// reference Diesel walks the pieces again.
pub(super) fn run<D: Dialect>(
    connection: &mut D::Connection,
    statement: Statement<'_>,
) -> QueryResult<()> {
    LoadConnection::load(connection, statement)?.try_for_each(|row| row.map(drop))
}

/// Runs a statement and gives each of its rows, decoded by these types, to `each`. Always reads
/// to the end: a statement that writes is done only then.
pub(super) fn load<D: Dialect>(
    connection: &mut D::Connection,
    statement: Statement<'_>,
    types: &[ColumnType],
    mut each: impl FnMut(Row) -> QueryResult<()>,
) -> QueryResult<()> {
    for row in LoadConnection::load(connection, statement)? {
        each(decode::<D>(&row?, types)?)?;
    }
    Ok(())
}

/// The row of a statement that reads at most one.
pub(super) fn find<D: Dialect>(
    connection: &mut D::Connection,
    statement: Statement<'_>,
    types: &[ColumnType],
) -> QueryResult<Option<Row>> {
    let row = LoadConnection::load(connection, statement)?.next();
    row.map(|row| decode::<D>(&row?, types)).transpose()
}

fn decode<'stmt, D: Dialect>(
    row: &impl diesel::row::Row<'stmt, D>,
    types: &[ColumnType],
) -> QueryResult<Row> {
    let mut values = Vec::with_capacity(types.len());
    for (at, ty) in types.iter().enumerate() {
        let field = row.get(at).ok_or_else(|| diesel::result::Error::NotFound)?;
        values.push(match field.value() {
            None => Value::Null,
            Some(raw) => {
                D::decode(raw, *ty).map_err(|error| decoding(error, field.field_name()))?
            }
        });
    }
    Ok(values)
}

/// The first row of a statement.
pub(super) fn load_one<D: Dialect>(
    connection: &mut D::Connection,
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

/// An error of decoding, with the name of its column.
fn decoding(error: crate::Error, column: Option<&str>) -> diesel::result::Error {
    let error = match column {
        Some(column) => error.with_column(column),
        None => error,
    };
    diesel::result::Error::DeserializationError(Box::new(error))
}
