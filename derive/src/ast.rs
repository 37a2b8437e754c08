//! The validated model of a record.

use proc_macro2::Span;
use syn::{Expr, Ident, Path, Type};

use crate::column_type::ColumnType;
use crate::freshness::FreshnessAttrs;

/// A struct that becomes a record.
pub(crate) struct Record {
    pub(crate) ident: Ident,
    /// The path of the library.
    pub(crate) krate: Path,
    /// The name of the scope.
    pub(crate) name: String,
    pub(crate) table: Option<String>,
    pub(crate) freshness: FreshnessAttrs,
    /// The column that holds the expiry of a record.
    pub(crate) expires_at: Option<String>,
    pub(crate) migrate: Option<Migrate>,
    /// The columns that are removed from the table.
    pub(crate) dropped: Vec<String>,
    /// The columns of the table that belong to other programs.
    pub(crate) keep: Vec<String>,
    /// The module of the Diesel table, if `diesel` is set.
    pub(crate) diesel: Option<Ident>,
    /// All fields in the order of the struct.
    pub(crate) fields: Vec<Field>,
}

/// A field of the struct.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    /// The column, or `None` if the field is skipped.
    pub(crate) column: Option<Column>,
}

/// The column of a field.
pub(crate) struct Column {
    pub(crate) name: String,
    /// The span of the name.
    pub(crate) name_span: Span,
    pub(crate) unique: bool,
    pub(crate) kind: Kind,
    pub(crate) default: Option<Fallback>,
    /// The former name and its span.
    pub(crate) was: Option<(String, Span)>,
    /// The type and whether it can be NULL, as far as the tokens show it.
    pub(crate) seen: Option<(ColumnType, bool)>,
}

/// The source of a column's type.
pub(crate) enum Kind {
    /// The Rust type of the field.
    Natural,
    /// `type = "..."` at this span.
    Typed(ColumnType, Span),
    /// `json`: any serde type. Nullable if the field is an `Option`.
    Json { nullable: bool },
}

/// The value of a column in a record that omits it.
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
    /// Iterates over the fields that are columns, with their columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&Field, &Column)> {
        self.fields.iter().filter_map(|field| Some((field, field.column.as_ref()?)))
    }
}
