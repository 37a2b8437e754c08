//! The column types of Rust types, by the names of the types.

use syn::{GenericArgument, PathArguments, Type};

use crate::spelling::column_type::PLAIN_DECIMAL;
pub(crate) use crate::spelling::column_type::{ColumnType, parse, same_kind, what_fits};

/// The Rust types that [`of_rust`] supports, for messages.
pub(crate) const RUST_NAMES: &str = "bool, i8 to i64, u8 to u64, f32, f64, String, Vec<u8>, \
    serde_json::Value, Uuid, Decimal, NaiveDate, NaiveTime, NaiveDateTime and DateTime<Utc>";

/// Returns the column type of a Rust type and whether it can be NULL, judged by the name of the
/// type. They equal those of `hilcat::ColumnValue` unless the name means another type than usual.
pub(crate) fn of_rust(ty: &Type) -> Option<(ColumnType, bool)> {
    let path = match ty {
        Type::Group(group) => return of_rust(&group.elem),
        Type::Paren(paren) => return of_rust(&paren.elem),
        Type::Path(path) if path.qself.is_none() => &path.path,
        _ => return None,
    };
    let last = path.segments.last()?;
    let argument = match &last.arguments {
        PathArguments::None => None,
        PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
            Some(GenericArgument::Type(ty)) if arguments.args.len() == 1 => Some(ty),
            _ => return None,
        },
        PathArguments::Parenthesized(_) => return None,
    };
    let ty = match (last.ident.to_string().as_str(), argument) {
        ("Option", Some(inner)) => {
            return of_rust(inner).filter(|(_, nullable)| !nullable).map(|(ty, _)| (ty, true));
        }
        ("Vec", Some(inner)) if is_named(inner, "u8") => ColumnType::Bytes,
        ("DateTime", Some(inner)) if is_named(inner, "Utc") => ColumnType::Timestamp,
        ("bool", None) => ColumnType::Bool,
        ("i8" | "i16" | "u8", None) => ColumnType::SmallInt,
        ("i32" | "u16", None) => ColumnType::Int,
        ("i64" | "u32", None) => ColumnType::BigInt,
        ("u64", None) => ColumnType::UBigInt,
        ("f32", None) => ColumnType::Real,
        ("f64", None) => ColumnType::Double,
        ("String", None) => ColumnType::Text,
        ("Value", None) => ColumnType::Json,
        ("Uuid", None) => ColumnType::Uuid,
        ("Decimal", None) => PLAIN_DECIMAL,
        ("NaiveDate", None) => ColumnType::Date,
        ("NaiveTime", None) => ColumnType::Time,
        ("NaiveDateTime", None) => ColumnType::Timestamp,
        _ => return None,
    };
    Some((ty, false))
}

/// Returns whether the last segment of a type is this name.
fn is_named(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == name))
}

/// Returns the column type of a type of the language or of `std`, whose name hardly means another
/// type.
pub(crate) fn of_std(ty: &Type) -> Option<ColumnType> {
    let name = match ty {
        Type::Path(path) => path.path.segments.last()?.ident.to_string(),
        _ => return None,
    };
    let known = !matches!(
        name.as_str(),
        "DateTime" | "Value" | "Uuid" | "Decimal" | "NaiveDate" | "NaiveTime" | "NaiveDateTime"
    );
    let inner = match ty {
        Type::Path(path) if name == "Option" => match &path.path.segments.last()?.arguments {
            PathArguments::AngleBracketed(arguments) => match arguments.args.first()? {
                GenericArgument::Type(inner) => return of_std(inner),
                _ => return None,
            },
            _ => return None,
        },
        ty => of_rust(ty)?.0,
    };
    known.then_some(inner)
}
