//! Validates a struct: returns a [`Record`], or all its errors.

use std::collections::HashSet;

use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident, Path, Type};

use crate::ast::{Column, Field, Kind, Record};
use crate::attr::{self, FieldAttrs, Given, StructAttrs};
use crate::column_type::{self, ColumnType};
use crate::error::Errors;

/// The maximum number of unique fields: that of the tuples that are `hilcat::RecordKey`s.
const MAX_KEY: usize = 8;

/// Validates a struct and its attributes.
pub(crate) fn record(
    input: &DeriveInput,
    attrs: StructAttrs,
    mut errors: Errors,
) -> syn::Result<Record> {
    check_generics(input, &mut errors);
    let fields = fields(input, &mut errors);
    check_columns(&fields, &mut errors);
    check_others(&fields, &attrs, &mut errors);
    let expires_at = expires_at(input, &fields, &mut errors);
    attrs.freshness.check(expires_at.is_some(), &mut errors);
    // Otherwise, the missing attribute may be a mistyped one.
    if errors.is_empty() {
        check_key(input, &fields, &mut errors);
    }
    let diesel = attrs.diesel.as_ref().map(|diesel| {
        check_diesel(&fields, &mut errors);
        let table = attrs.table.as_ref().or(attrs.name.as_ref()).map(|name| name.value.as_str());
        diesel.value.clone().unwrap_or_else(|| module(table, &input.ident))
    });
    errors.finish(Record {
        diesel,
        ident: input.ident.clone(),
        krate: library(&attrs),
        name: attrs.name.map_or_else(|| snake_case(&input.ident), |name| name.value),
        table: attrs.table.map(|table| table.value),
        freshness: attrs.freshness,
        expires_at,
        migrate: attrs.migrate.map(|migrate| migrate.value),
        dropped: names(attrs.dropped),
        keep: names(attrs.keep),
        fields,
    })
}

/// Returns the column of the field with `expires_at`.
fn expires_at(input: &DeriveInput, fields: &[Field], errors: &mut Errors) -> Option<String> {
    let mut found: Option<String> = None;
    for (at, field) in named_fields(input).ok()?.iter().enumerate() {
        let Some(given) = attr::of_field(&field.attrs, &mut Errors::default()).expires_at else {
            continue;
        };
        let column = fields.get(at).and_then(|field| field.column.as_ref());
        match column {
            _ if found.is_some() => {
                errors.at(given.span, "two fields have `expires_at`: keep one of them");
            }
            Some(column) if column.unique => {
                errors.at(given.span, "a unique field cannot be the expiry of a record");
            }
            column => found = column.map(|column| column.name.clone()),
        }
    }
    found
}

fn names(given: Option<Given<Vec<Given<String>>>>) -> Vec<String> {
    let names = given.into_iter().flat_map(|given| given.value);
    names.map(|name| name.value).collect()
}

/// Checks that the columns of `dropped` and `keep` are not columns of the struct, and are distinct.
fn check_others(fields: &[Field], attrs: &StructAttrs, errors: &mut Errors) {
    let columns = || fields.iter().filter_map(|field| field.column.as_ref());
    let mut named = HashSet::new();
    for (list, given) in [("dropped", &attrs.dropped), ("keep", &attrs.keep)] {
        for Given { value: name, span } in given.iter().flat_map(|given| &given.value) {
            if columns().any(|column| column.name == *name) {
                errors.at(
                    *span,
                    format!("`{list}` names the column `{name}`, which is the column of a field: remove one of the two"),
                );
            } else if columns()
                .any(|column| column.was.as_ref().is_some_and(|(was, _)| was == name))
            {
                errors.at(
                    *span,
                    format!("`{list}` names the column `{name}`, which is renamed by `was`: remove one of the two"),
                );
            } else if !named.insert(name.as_str()) {
                errors.at(
                    *span,
                    format!(
                        "the column `{name}` is repeated: name it once, in `dropped` or `keep`"
                    ),
                );
            }
        }
    }
}

/// Returns the path of the library.
pub(crate) fn library(attrs: &StructAttrs) -> Path {
    match &attrs.krate {
        Some(path) => path.value.clone(),
        None => syn::parse_quote!(::hilcat),
    }
}

/// Returns the types of the valid unique fields. They are the key in the stub of a struct with
/// errors, so that uses of the struct add no further errors.
pub(crate) fn key_types(input: &DeriveInput) -> Vec<Type> {
    let Ok(fields) = named_fields(input) else { return Vec::new() };
    let is_key = |field: &&syn::Field| {
        let attrs = attr::of_field(&field.attrs, &mut Errors::default());
        attrs.unique.is_some()
            && attrs.json.is_none()
            && !is_option(&field.ty)
            && !matches!(field.ty, Type::Reference(_))
    };
    let types: Vec<Type> =
        fields.iter().copied().filter(is_key).map(|field| field.ty.clone()).collect();
    match types.len() <= MAX_KEY && input.generics.params.is_empty() {
        true => types,
        false => Vec::new(),
    }
}

fn check_generics(input: &DeriveInput, errors: &mut Errors) {
    let params = &input.generics.params;
    if !params.is_empty() {
        errors.push(syn::Error::new_spanned(
            params,
            "a record cannot be generic: its columns must be known; give the fields concrete, owned types",
        ));
    }
}

/// Returns the fields of a struct with named fields.
fn named_fields(input: &DeriveInput) -> syn::Result<Vec<&syn::Field>> {
    let found = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return Ok(fields.named.iter().collect()),
            Fields::Unnamed(_) => "a tuple struct",
            Fields::Unit => "a unit struct",
        },
        Data::Enum(_) => "an enum",
        Data::Union(_) => "a union",
    };
    Err(syn::Error::new(
        input.ident.span(),
        format!(
            "a record is a struct with named fields, which become its columns; this is {found}"
        ),
    ))
}

fn fields(input: &DeriveInput, errors: &mut Errors) -> Vec<Field> {
    let fields = errors.keep(named_fields(input)).unwrap_or_default();
    fields.into_iter().filter_map(|field| self::field(field, errors)).collect()
}

fn field(field: &syn::Field, errors: &mut Errors) -> Option<Field> {
    let ident = field.ident.clone()?;
    let attrs = attr::of_field(&field.attrs, errors);
    check_field(field, &attrs, errors);
    let column = attrs.skip.is_none().then(|| column(&ident, &field.ty, attrs));
    Some(Field { ident, ty: field.ty.clone(), column })
}

fn column(ident: &Ident, ty: &Type, attrs: FieldAttrs) -> Column {
    let name_span = attrs.column.as_ref().map_or(ident.span(), |name| name.span);
    let kind = match (&attrs.json, attrs.ty) {
        (Some(_), _) => Kind::Json { nullable: is_option(ty) },
        (None, Some(ty)) => Kind::Typed(ty.value, ty.span),
        (None, None) => Kind::Natural,
    };
    let seen = match &kind {
        Kind::Json { nullable } => Some((ColumnType::Json, *nullable)),
        Kind::Typed(given, _) => Some((*given, is_option(ty))),
        Kind::Natural => column_type::of_rust(ty),
    };
    Column {
        seen,
        name: attrs.column.map_or_else(|| ident.unraw().to_string(), |name| name.value),
        name_span,
        unique: attrs.unique.is_some(),
        kind,
        default: attrs.default.map(|default| default.value),
        was: attrs.was.map(|was| (was.value, was.span)),
    }
}

/// Checks that the attributes of a field can be combined; reports at most one error.
fn check_field(field: &syn::Field, attrs: &FieldAttrs, errors: &mut Errors) {
    let unique = attrs.unique.as_ref();
    let json_type = attrs.ty.as_ref().filter(|ty| ty.value == ColumnType::Json);
    if let Some(skip) = &attrs.skip {
        let others = attrs.column_attributes();
        if !others.is_empty() {
            let others = others.join("` and `");
            errors.at(
                skip.span,
                format!("a skipped field is no column: `skip` does not go with `{others}`"),
            );
        }
    // Any other lifetime makes the struct generic, which is already an error.
    } else if let Type::Reference(reference) = &field.ty
        && reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
    {
        errors.push(syn::Error::new_spanned(
            reference,
            "a record owns its values, as it is read from a store: use `String`, `Vec<u8>` or another owned type, or put `#[scope(skip)]` on the field",
        ));
    } else if let (Some(json), Some(_)) = (&attrs.json, &attrs.ty) {
        errors.at(json.span, "`json` is the type of the column: it does not go with `type`");
    } else if let (Some(given), Some(natural)) = (&attrs.ty, column_type::of_std(&field.ty))
        && !column_type::same_kind(given.value, natural)
    {
        errors.at(given.span, column_type::what_fits(natural));
    } else if let (Some(_), Some(span)) =
        (unique, attrs.json.as_ref().map(|json| json.span).or(json_type.map(|ty| ty.span)))
    {
        errors.at(span, "a unique field cannot be json: a key is of plain values, such as text, integers or bytes");
    } else if unique.is_some() && is_option(&field.ty) {
        errors.at(field.ty.span(), "a unique field cannot be an Option: a key is never NULL");
    }
}

/// Checks that names of columns, and former names, are distinct.
fn check_columns(fields: &[Field], errors: &mut Errors) {
    let (mut names, mut former) = (HashSet::new(), HashSet::new());
    for column in fields.iter().filter_map(|field| field.column.as_ref()) {
        let name = column.name.as_str();
        if !names.insert(name) {
            errors.at(
                column.name_span,
                format!("two fields have the column `{name}`; rename one of them with `column = \"...\"`"),
            );
        }
        let Some((was, span)) = &column.was else { continue };
        if was == name {
            errors.at(
                *span,
                format!("`was` takes a former name of the column; `{was}` is its current name"),
            );
        } else if !former.insert(was.as_str()) {
            errors.at(*span, format!("two columns have the former name `{was}`"));
        }
    }
}

/// Checks that the column type of each field is visible in the tokens, for Diesel's table.
fn check_diesel(fields: &[Field], errors: &mut Errors) {
    for field in fields {
        if field.column.as_ref().is_some_and(|column| column.seen.is_none()) {
            errors.push(syn::Error::new_spanned(
                &field.ty,
                format!(
                    "`diesel` cannot determine the column type of this field by the name of its type; it supports {}, and an Option of these: set the column type of any other with `type = \"...\"`",
                    column_type::RUST_NAMES
                ),
            ));
        }
    }
}

/// Returns the module of Diesel's table. It has the name of the table, or that of the struct if the
/// name of the table is no identifier.
fn module(table: Option<&str>, ident: &Ident) -> Ident {
    let named = table.and_then(|table| syn::parse_str::<Ident>(table).ok());
    let mut module = named.unwrap_or_else(|| {
        let name = snake_case(ident);
        syn::parse_str(&name).unwrap_or_else(|_| quote::format_ident!("{name}_"))
    });
    module.set_span(ident.span());
    module
}

fn check_key(input: &DeriveInput, fields: &[Field], errors: &mut Errors) {
    let is_unique = |field: &&Field| field.column.as_ref().is_some_and(|column| column.unique);
    let mut unique = fields.iter().filter(is_unique);
    match (unique.clone().count(), unique.nth(MAX_KEY)) {
        (0, _) => errors.at(
            input.ident.span(),
            "no field is unique; mark the one that is the key with `#[scope(unique)]`, or several for a composite key",
        ),
        (count, Some(ninth)) => errors.at(
            ninth.ident.span(),
            format!("a key has at most {MAX_KEY} unique fields; these are {count}"),
        ),
        (_, None) => {}
    }
}

/// Returns whether a type is written as `Option<..>`.
pub(crate) fn is_option(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_option(&group.elem),
        Type::Paren(paren) => is_option(&paren.elem),
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "Option" && !last.arguments.is_none()),
        _ => false,
    }
}

/// Converts `HTTPServer2Log` to `http_server2_log`.
fn snake_case(ident: &Ident) -> String {
    let chars: Vec<char> = ident.unraw().to_string().chars().collect();
    let mut snake = String::new();
    for (at, char) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| chars[before]);
        let starts_word = char.is_uppercase()
            && before.is_some_and(|before| {
                let ends_acronym = chars.get(at + 1).is_some_and(|next| next.is_lowercase());
                before != '_' && (!before.is_uppercase() || ends_acronym)
            });
        if starts_word {
            snake.push('_');
        }
        snake.extend(char.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_scope_is_in_snake_case() {
        for (name, snake) in [
            ("Article", "article"),
            ("CrawledPage", "crawled_page"),
            ("HTTPServer2Log", "http_server2_log"),
            ("A", "a"),
            ("Already_Snake", "already_snake"),
            ("r#Type", "type"),
            ("ÉtéLong", "été_long"),
        ] {
            let ident: Ident = syn::parse_str(name).unwrap();
            assert_eq!(snake_case(&ident), snake, "{name}");
        }
    }

    #[test]
    fn an_option_is_recognized_by_its_tokens() {
        for (ty, option) in [
            ("Option<String>", true),
            ("::core::option::Option<u8>", true),
            ("(Option<u8>)", true),
            ("Vec<Option<u8>>", false),
            ("Option", false),
        ] {
            assert_eq!(is_option(&syn::parse_str(ty).unwrap()), option, "{ty}");
        }
    }
}
