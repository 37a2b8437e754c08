//! What differs between engines in column types, literals and limits.

use crate::backends::sql::dialect::Fits;
use crate::backends::sql::statement::ValueCodec;
use crate::{ColumnType, Result, Row, Schema, Value, schema};

/// The column types of an engine: their names, their literals and what they hold.
pub(crate) trait ColumnTypes: ValueCodec {
    /// The name of the backend.
    const NAME: &'static str;

    /// Whether hilcat's own table of scopes is made as the engine makes others with long keys.
    const LONG_SCOPES: bool = true;

    /// Quotes a name in a statement.
    fn quote(name: &str) -> String;

    /// Quotes a name in the definition of a table, which people read.
    fn quote_in_definition(name: &str) -> String {
        Self::quote(name)
    }

    /// How the engine spells a column type.
    fn column_type(ty: ColumnType) -> String;

    /// How a unique column of a type is defined.
    fn key_type(ty: ColumnType) -> String {
        Self::column_type(ty)
    }

    /// The same for a column of a schema, where that depends on the other ones.
    fn key_type_in(schema: &Schema, column: &schema::Column) -> String {
        let _ = schema;
        Self::key_type(column.ty)
    }

    /// The definitions of the columns that the engine keeps beside those of a schema.
    fn auxiliary_columns(schema: &Schema) -> Vec<String> {
        let _ = schema;
        Vec::new()
    }

    /// The default of a column as its definition has it.
    fn default_of(column: &schema::Column, value: &Value) -> String {
        let _ = column;
        Self::literal(value)
    }

    /// Whether a column that was declared so, by whatever program, holds every value of a type as
    /// hilcat's own would.
    fn holds(declared: &str, ty: ColumnType) -> bool;

    /// Whether two names of columns are one to the engine.
    fn same_name(a: &str, b: &str) -> bool {
        a == b
    }

    /// The type of a column that another program made, for a scope made of its table: what the
    /// engine holds in it, where that is more than the type's name says.
    fn adopted(ty: ColumnType) -> ColumnType {
        ty
    }

    /// Whether a column of a key that was declared so takes no two texts for one.
    fn is_exact(declared: &str) -> bool {
        let _ = declared;
        true
    }

    /// Whether a column that was declared so makes numbers of the texts that look like one, so
    /// that not all of them come back.
    fn makes_numbers(declared: &str) -> bool {
        let _ = declared;
        false
    }

    /// Whether a text comes back from such a column as it went in.
    fn is_no_other_number(text: &str) -> bool {
        let _ = text;
        true
    }

    /// A value as a literal of SQL.
    fn literal(value: &Value) -> String;

    /// Checks that the engine can hold such a table.
    fn check_schema(schema: &Schema) -> Result<()>;

    /// Checks that the engine can hold a value, before anything is sent.
    fn check_value(value: &Value) -> Result<()>;

    /// The same of a row whose values it can each hold.
    fn check_row(schema: &Schema, row: &Row) -> Result<()> {
        let _ = (schema, row);
        Ok(())
    }

    /// What tells whether a value comes back from a column that another program declared so, where
    /// not every one of its type does.
    fn narrow(declared: &str, ty: ColumnType) -> Option<Fits> {
        let _ = (declared, ty);
        None
    }
}
