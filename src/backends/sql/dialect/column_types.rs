//! Column types, literals and limits of an engine.

use crate::backends::sql::dialect::ValueCheck;
use crate::backends::sql::statement::ValueCodec;
use crate::{ColumnType, Result, Row, Schema, Value, schema};

/// The column types of an engine: their names, their literals, and the values that they hold.
pub(crate) trait ColumnTypes: ValueCodec {
    /// The name of the backend.
    const NAME: &'static str;

    /// Whether hilcat's table of scopes has a column for full keys.
    const LONG_SCOPES: bool = true;

    /// Quotes a name in a statement.
    fn quote(name: &str) -> String;

    /// Quotes a name in the definition of a table, in the form that users expect.
    fn quote_in_definition(name: &str) -> String {
        Self::quote(name)
    }

    /// Returns the engine's name of a column type.
    fn column_type(ty: ColumnType) -> String;

    /// Returns the engine's type of a key column.
    fn key_type(ty: ColumnType) -> String {
        Self::column_type(ty)
    }

    /// Returns the engine's type of a key column of a schema, which can depend on the other key
    /// columns.
    fn key_type_in(schema: &Schema, column: &schema::Column) -> String {
        let _ = schema;
        Self::key_type(column.ty)
    }

    /// Returns the definitions of columns that the engine needs in addition to those of a schema.
    fn auxiliary_columns(schema: &Schema) -> Vec<String> {
        let _ = schema;
        Vec::new()
    }

    /// Returns the default of a column as part of its definition.
    fn default_of(column: &schema::Column, value: &Value) -> String {
        let _ = column;
        Self::literal(value)
    }

    /// Returns whether a column of a declared type, possibly of another program, holds every value of
    /// a column type.
    fn holds(declared: &str, ty: ColumnType) -> bool;

    /// Returns whether the engine treats two column names as equal.
    fn same_name(a: &str, b: &str) -> bool {
        a == b
    }

    /// Returns the column type for an adopted column of another program. It can be wider than the
    /// declared type, if the engine stores more.
    fn adopted(ty: ColumnType) -> ColumnType {
        ty
    }

    /// Returns whether a key column of a declared type distinguishes all texts.
    fn is_exact(declared: &str) -> bool {
        let _ = declared;
        true
    }

    /// Returns whether a column of a declared type converts texts to numbers if they look like one,
    /// so that some texts are not returned unchanged.
    fn has_numeric_affinity(declared: &str) -> bool {
        let _ = declared;
        false
    }

    /// Returns whether such a column returns a text unchanged.
    fn survives_numeric_affinity(text: &str) -> bool {
        let _ = text;
        true
    }

    /// Returns a value as a SQL literal.
    fn literal(value: &Value) -> String;

    /// Checks that the engine can hold the table of a schema.
    fn check_schema(schema: &Schema) -> Result<()>;

    /// Checks that the engine can hold a value.
    fn check_value(value: &Value) -> Result<()>;

    /// Checks that the engine can hold a row whose values passed [`check_value`](Self::check_value).
    fn check_row(schema: &Schema, row: &Row) -> Result<()> {
        let _ = (schema, row);
        Ok(())
    }

    /// Returns the check of values for a column of another program that does not return all values of
    /// its type unchanged, or `None` if it does.
    fn lossy_column(declared: &str, ty: ColumnType) -> Option<ValueCheck> {
        let _ = (declared, ty);
        None
    }
}
