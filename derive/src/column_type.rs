//! The column types as `type = "..."` spells them: what `hilcat::ColumnType` reads from text, read
//! when the struct is compiled.

use syn::{GenericArgument, PathArguments, Type};

use crate::error::did_you_mean;

/// The variants of `hilcat::ColumnType`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ColumnType {
    Bool,
    SmallInt,
    Int,
    BigInt,
    UBigInt,
    Real,
    Double,
    Decimal { precision: u16, scale: u16 },
    Text,
    Varchar(u32),
    Bytes,
    Json,
    Date,
    Time,
    Timestamp,
    Uuid,
}

/// What is meant where `decimal` stands without precision and scale.
const PLAIN_DECIMAL: ColumnType = ColumnType::Decimal { precision: 38, scale: 9 };

/// The names that messages list.
const NAMES: [&str; 16] = [
    "bool",
    "smallint",
    "int",
    "bigint",
    "ubigint",
    "real",
    "double",
    "decimal(p,s)",
    "text",
    "varchar(n)",
    "bytes",
    "json",
    "date",
    "time",
    "timestamp",
    "uuid",
];

/// Every spelling of the types that have nothing in parentheses, or whose parentheses say nothing.
const PLAIN: [(ColumnType, &[&str]); 14] = [
    (ColumnType::Bool, &["bool", "boolean"]),
    (
        ColumnType::SmallInt,
        &["smallint", "int2", "i16", "tinyint", "smallserial", "tinyint unsigned"],
    ),
    (
        ColumnType::Int,
        &[
            "int",
            "integer",
            "int4",
            "i32",
            "mediumint",
            "serial",
            "smallint unsigned",
            "mediumint unsigned",
        ],
    ),
    (
        ColumnType::BigInt,
        &["bigint", "int8", "i64", "long", "bigserial", "int unsigned", "integer unsigned"],
    ),
    (
        ColumnType::UBigInt,
        &["ubigint", "bigint unsigned", "u64", "unsigned bigint", "unsigned big int"],
    ),
    (ColumnType::Real, &["real", "float4", "f32"]),
    (ColumnType::Double, &["float", "double", "double precision", "float8", "f64"]),
    (ColumnType::Text, &["text", "str", "string", "tinytext", "mediumtext", "longtext", "clob"]),
    (
        ColumnType::Bytes,
        &["bytes", "blob", "bytea", "binary", "varbinary", "tinyblob", "mediumblob", "longblob"],
    ),
    (ColumnType::Json, &["json", "jsonb"]),
    (ColumnType::Date, &["date"]),
    (ColumnType::Time, &["time", "time without time zone"]),
    (
        ColumnType::Timestamp,
        &[
            "timestamp",
            "datetime",
            "timestamptz",
            "timestamp with time zone",
            "timestamp without time zone",
        ],
    ),
    (ColumnType::Uuid, &["uuid"]),
];

/// The spellings of `decimal(p,s)`.
const DECIMAL: [&str; 4] = ["decimal", "numeric", "dec", "number"];
/// The spellings of `varchar(n)`; without a length they are `text`.
const VARCHAR: [&str; 6] =
    ["varchar", "character varying", "nvarchar", "char", "character", "nchar"];

/// The Rust types that [`of_rust`] knows, for messages.
pub(crate) const RUST_NAMES: &str = "bool, i8 to i64, u8 to u64, f32, f64, String, Vec<u8>, \
    serde_json::Value, Uuid, Decimal, NaiveDate, NaiveTime, NaiveDateTime and DateTime<Utc>";

/// The column of a Rust type as its name stands there, and whether it can be NULL: what the
/// `hilcat::ColumnValue` of a type of this name usually says.
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

/// Whether a type is written by this name, in whatever module.
fn is_named(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == name))
}

/// Reads a type by its name or one of the usual spellings, in any case.
pub(crate) fn parse(text: &str) -> Result<ColumnType, String> {
    let lower = text.to_ascii_lowercase();
    let (name, arguments) =
        split_arguments(&lower).ok_or_else(|| format!("malformed column type `{text}`"))?;
    let name = name.as_str();
    if name == "tinyint" && arguments.first() == Some(&1) {
        return Ok(ColumnType::Bool);
    }
    if DECIMAL.contains(&name) {
        return decimal(text, &arguments);
    }
    if VARCHAR.contains(&name) {
        return varchar(text, arguments.first());
    }
    let plain = PLAIN.iter().find(|(_, spellings)| spellings.contains(&name));
    plain.map(|(ty, _)| *ty).ok_or_else(|| unknown(text, name))
}

/// `decimal(10, 2) unsigned` is `decimal unsigned` with the arguments 10 and 2.
fn split_arguments(text: &str) -> Option<(String, Vec<u32>)> {
    let (before, inside, after) = match text.split_once('(') {
        None => (text, None, ""),
        Some((before, rest)) => {
            let (inside, after) = rest.split_once(')')?;
            (before, Some(inside), after)
        }
    };
    let words: Vec<&str> = before.split_whitespace().chain(after.split_whitespace()).collect();
    let arguments = inside.into_iter().flat_map(|inside| inside.split(','));
    let arguments =
        arguments.map(|argument| argument.trim().parse().ok()).collect::<Option<_>>()?;
    Some((words.join(" "), arguments))
}

fn decimal(text: &str, arguments: &[u32]) -> Result<ColumnType, String> {
    let (precision, scale) = match *arguments {
        [] => return Ok(PLAIN_DECIMAL),
        [precision] => (precision, 0),
        [precision, scale, ..] => (precision, scale),
    };
    if !(1..=65).contains(&precision) || scale > 30 || scale > precision {
        return Err(format!(
            "`{text}` is out of range: precision is 1 to 65, scale 0 to 30 and no more than the precision"
        ));
    }
    Ok(ColumnType::Decimal { precision: precision as u16, scale: scale as u16 })
}

fn varchar(text: &str, length: Option<&u32>) -> Result<ColumnType, String> {
    match length {
        None => Ok(ColumnType::Text),
        Some(0) => Err(format!("`{text}` holds nothing: its length is from 1")),
        Some(length) => Ok(ColumnType::Varchar(*length)),
    }
}

fn unknown(text: &str, name: &str) -> String {
    let heads = NAMES.iter().map(|known| known.split('(').next().unwrap_or(known));
    format!(
        "unknown column type `{text}`; the types are {}{}",
        NAMES.join(", "),
        did_you_mean(name, heads)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both sides write a type in the same words, so that they can be compared.
    fn both(text: &str) -> [Result<String, String>; 2] {
        let library = text.parse::<hilcat::ColumnType>();
        [
            parse(text).map(|ty| format!("{ty:?}")),
            library.map(|ty| format!("{ty:?}")).map_err(|error| error.message().to_owned()),
        ]
    }

    #[test]
    fn every_spelling_is_read_as_the_library_reads_it() {
        let plain = PLAIN.iter().flat_map(|(_, spellings)| spellings.iter());
        for spelling in plain.chain(&DECIMAL).chain(&VARCHAR) {
            for text in ["", "(1)", "(10)", "(10, 2)", "(3,2) ", "(6) unsigned", "(0)"]
                .map(|arguments| format!("{spelling}{arguments}"))
            {
                let [ours, library] = both(&text);
                assert_eq!(ours, library, "{text}");
            }
            assert!(parse(&spelling.to_ascii_uppercase()).is_ok(), "{spelling}");
        }
    }

    #[test]
    fn the_names_of_the_library_are_known() {
        // An unknown type makes the library list its names.
        let listed = "?".parse::<hilcat::ColumnType>().unwrap_err().message().to_owned();
        assert!(listed.ends_with(&NAMES.join(", ")), "{listed}");
    }

    #[test]
    fn what_the_library_refuses_is_refused_in_the_same_words() {
        for text in [
            "",
            "(",
            "bigit",
            "varchar(",
            "varchar(x)",
            "varchar(0)",
            "decimal(5,6)",
            "decimal(99,1)",
            "decimal(40,31)",
            "int(-1)",
            "texte",
            "timestmp",
        ] {
            let [ours, library] = both(text);
            assert!(ours.is_err(), "{text}");
            assert_eq!(ours, library, "{text}");
        }
    }
}
