//! The record as the macro understands it: nothing in here can be wrong.

use proc_macro2::Span;
use syn::{Expr, Ident, Path, Type};

use crate::column_type::ColumnType;
use crate::freshness::FreshnessAttrs;

/// A struct that is to be a record.
pub(crate) struct Record {
    pub(crate) ident: Ident,
    /// The path of the library.
    pub(crate) krate: Path,
    /// The name of the scope.
    pub(crate) name: String,
    pub(crate) table: Option<String>,
    pub(crate) freshness: FreshnessAttrs,
    /// The column that says when a record expires.
    pub(crate) expires_at: Option<String>,
    pub(crate) migrate: Option<Migrate>,
    /// The columns that are removed from the table.
    pub(crate) dropped: Vec<String>,
    /// The columns of the table that belong to other programs.
    pub(crate) keep: Vec<String>,
    /// The module of the Diesel table that goes with it, where one is asked for.
    pub(crate) diesel: Option<Ident>,
    /// All fields in the order of the struct.
    pub(crate) fields: Vec<Field>,
}

/// One field.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    /// Its column; none where it is skipped.
    pub(crate) column: Option<Column>,
}

/// The column of a field.
pub(crate) struct Column {
    pub(crate) name: String,
    /// Where its name stands.
    pub(crate) name_span: Span,
    pub(crate) unique: bool,
    pub(crate) kind: Kind,
    pub(crate) default: Option<Fallback>,
    /// Its former name, and where that stands.
    pub(crate) was: Option<(String, Span)>,
    /// Its type and whether it can be NULL, as far as that can be seen without the compiler.
    pub(crate) seen: Option<(ColumnType, bool)>,
}

/// Where the type of a column comes from.
pub(crate) enum Kind {
    /// From the Rust type.
    Natural,
    /// From `type = "..."`, which stands there.
    Typed(ColumnType, Span),
    /// Any serde type in JSON, NULL where the field is an `Option`.
    Json { nullable: bool },
}

/// What the column holds where a record does not give it.
#[derive(Clone)]
pub(crate) enum Fallback {
    /// The `Default` of the field's type.
    OfType,
    /// An expression of the field's type.
    Value(Expr),
}

/// The variants of `hilcat::Migrate`.
#[derive(Clone, Copy)]
pub(crate) enum Migrate {
    Safe,
    Recreate,
    Manual,
}

impl Record {
    /// The fields that are columns, with their columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&Field, &Column)> {
        self.fields.iter().filter_map(|field| Some((field, field.column.as_ref()?)))
    }
}
