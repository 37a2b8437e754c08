//! The rules: makes a [`Record`] of what was written, or says everything that is wrong with it.

use std::collections::HashSet;

use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident, Path, Type};

use crate::ast::{Column, Field, Kind, Record};
use crate::attr::{self, FieldAttrs, Given, StructAttrs};
use crate::column_type::{self, ColumnType};
use crate::error::Errors;

/// How many unique fields a record can have: as many as a tuple that is a `hilcat::RecordKey`.
const MAX_KEY: usize = 8;

/// The record that was written.
pub(crate) fn record(
    input: &DeriveInput,
    said: StructAttrs,
    mut errors: Errors,
) -> syn::Result<Record> {
    check_generics(input, &mut errors);
    let fields = fields(input, &mut errors);
    check_columns(&fields, &mut errors);
    check_others(&fields, &said, &mut errors);
    let expires_at = expires_at(input, &fields, &mut errors);
    said.freshness.check(expires_at.is_some(), &mut errors);
    // A mistyped attribute may have been the one that is missed here.
    if errors.is_empty() {
        check_key(input, &fields, &mut errors);
    }
    let diesel = said.diesel.as_ref().map(|diesel| {
        check_diesel(&fields, &mut errors);
        let table = said.table.as_ref().or(said.name.as_ref()).map(|name| name.value.as_str());
        diesel.value.clone().unwrap_or_else(|| module(table, &input.ident))
    });
    errors.finish(Record {
        diesel,
        ident: input.ident.clone(),
        krate: library(&said),
        name: said.name.map_or_else(|| snake_case(&input.ident), |name| name.value),
        table: said.table.map(|table| table.value),
        freshness: said.freshness,
        expires_at,
        migrate: said.migrate.map(|migrate| migrate.value),
        dropped: names(said.dropped),
        keep: names(said.keep),
        fields,
    })
}

/// The column of the field that says when a record expires.
fn expires_at(input: &DeriveInput, fields: &[Field], errors: &mut Errors) -> Option<String> {
    let mut found: Option<String> = None;
    for (at, field) in named_fields(input).ok()?.iter().enumerate() {
        let Some(given) = attr::of_field(&field.attrs, &mut Errors::default()).expires_at else {
            continue;
        };
        let column = fields.get(at).and_then(|field| field.column.as_ref());
        match column {
            _ if found.is_some() => {
                errors.at(given.span, "two fields say when a record expires: one is enough");
            }
            Some(column) if column.unique => {
                errors.at(given.span, "a unique field cannot say when a record expires");
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

/// The columns that the struct names without having them are none of its own, and each is named
/// once.
fn check_others(fields: &[Field], said: &StructAttrs, errors: &mut Errors) {
    let columns = || fields.iter().filter_map(|field| field.column.as_ref());
    let mut named = HashSet::new();
    for (list, given) in [("dropped", &said.dropped), ("keep", &said.keep)] {
        for Given { value: name, span } in given.iter().flat_map(|given| &given.value) {
            if columns().any(|column| column.name == *name) {
                errors.at(
                    *span,
                    format!("`{list}` names the column `{name}`, which a field is for: leave out one of the two"),
                );
            } else if columns()
                .any(|column| column.was.as_ref().is_some_and(|(was, _)| was == name))
            {
                errors.at(
                    *span,
                    format!("`{list}` names the column `{name}`, which is renamed by `was`: leave out one of the two"),
                );
            } else if !named.insert(name.as_str()) {
                errors.at(
                    *span,
                    format!(
                        "the column `{name}` is named twice: once in `dropped` or `keep` is enough"
                    ),
                );
            }
        }
    }
}

/// The path of the library.
pub(crate) fn library(said: &StructAttrs) -> Path {
    match &said.krate {
        Some(path) => path.value.clone(),
        None => syn::parse_quote!(::hilcat),
    }
}

/// The types of the key as far as they are known to be right: what stands in for the key of a
/// struct that has errors, so that its uses do not add to them.
pub(crate) fn key_types(input: &DeriveInput) -> Vec<Type> {
    let Ok(fields) = named_fields(input) else { return Vec::new() };
    let is_key = |field: &&syn::Field| {
        let said = attr::of_field(&field.attrs, &mut Errors::default());
        said.unique.is_some()
            && said.json.is_none()
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

/// The fields of a struct that has named ones.
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
    let said = attr::of_field(&field.attrs, errors);
    check_field(field, &said, errors);
    let column = said.skip.is_none().then(|| column(&ident, &field.ty, said));
    Some(Field { ident, ty: field.ty.clone(), column })
}

fn column(ident: &Ident, ty: &Type, said: FieldAttrs) -> Column {
    let name_span = said.column.as_ref().map_or(ident.span(), |name| name.span);
    let kind = match (&said.json, said.ty) {
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
        name: said.column.map_or_else(|| ident.unraw().to_string(), |name| name.value),
        name_span,
        unique: said.unique.is_some(),
        kind,
        default: said.default.map(|default| default.value),
        was: said.was.map(|was| (was.value, was.span)),
    }
}

/// What the attributes of one field say must go together; one error at the most.
fn check_field(field: &syn::Field, said: &FieldAttrs, errors: &mut Errors) {
    let unique = said.unique.as_ref();
    let json_type = said.ty.as_ref().filter(|ty| ty.value == ColumnType::Json);
    if let Some(skip) = &said.skip {
        let others = said.names_besides_skip();
        if !others.is_empty() {
            let others = others.join("` and `");
            errors.at(
                skip.span,
                format!("a skipped field is no column: `skip` does not go with `{others}`"),
            );
        }
    // Another lifetime than this one makes the struct generic, which is an error already.
    } else if let Type::Reference(reference) = &field.ty
        && reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
    {
        errors.push(syn::Error::new_spanned(
            reference,
            "a record owns its values, as it is read from a store: use `String`, `Vec<u8>` or another owned type, or put `#[scope(skip)]` on the field",
        ));
    } else if let (Some(json), Some(_)) = (&said.json, &said.ty) {
        errors.at(json.span, "`json` is the type of the column: it does not go with `type`");
    } else if let (Some(given), Some(natural)) = (&said.ty, column_type::of_std(&field.ty))
        && !column_type::same_kind(given.value, natural)
    {
        errors.at(given.span, column_type::what_fits(natural));
    } else if let (Some(_), Some(span)) =
        (unique, said.json.as_ref().map(|json| json.span).or(json_type.map(|ty| ty.span)))
    {
        errors.at(span, "a unique field cannot be json: a key is of plain values, such as text, integers or bytes");
    } else if unique.is_some() && is_option(&field.ty) {
        errors.at(field.ty.span(), "a unique field cannot be an Option: a key is never NULL");
    }
}

/// Each column, and each former name, stands once.
fn check_columns(fields: &[Field], errors: &mut Errors) {
    let (mut names, mut former) = (HashSet::new(), HashSet::new());
    for column in fields.iter().filter_map(|field| field.column.as_ref()) {
        let name = column.name.as_str();
        if !names.insert(name) {
            errors.at(
                column.name_span,
                format!("two fields are for the column `{name}`; name one of them otherwise with `column = \"...\"`"),
            );
        }
        let Some((was, span)) = &column.was else { continue };
        if was == name {
            errors.at(
                *span,
                format!("`was` is a former name of the column; `{was}` is its name now"),
            );
        } else if !former.insert(was.as_str()) {
            errors.at(*span, format!("two columns cannot both have been `{was}`"));
        }
    }
}

/// Diesel's table has to be told the type of each column.
fn check_diesel(fields: &[Field], errors: &mut Errors) {
    for field in fields {
        if field.column.as_ref().is_some_and(|column| column.seen.is_none()) {
            errors.push(syn::Error::new_spanned(
                &field.ty,
                format!(
                    "`diesel` does not know the column of this type by its name; it knows {}, and an Option of these: name the column type of any other with `type = \"...\"`",
                    column_type::RUST_NAMES
                ),
            ));
        }
    }
}

/// The module of Diesel's table: named as the table, or as the struct where the name of the table
/// cannot be that of a module.
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

/// Whether a type is written `Option<..>`.
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

/// `HTTPServer2Log` is `http_server2_log`.
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
    fn an_option_is_known_as_it_is_written() {
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
