//! Parses `#[scope(...)]`. `valid` checks which attributes can be combined.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Path, Token};

use crate::ast::{Fallback, Migrate};
use crate::column_type::{self, ColumnType};
use crate::error::Errors;
use crate::freshness::FreshnessAttrs;
use crate::spelling::did_you_mean;

/// The attributes of a struct.
const OF_STRUCT: [&str; 17] = [
    "name",
    "table",
    "ttl",
    "stale_while_revalidate",
    "stale_if_error",
    "jitter",
    "negative_ttl",
    "max_records",
    "auto_purge",
    "single_flight",
    "lease",
    "on_unavailable",
    "migrate",
    "dropped",
    "keep",
    "diesel",
    "crate",
];
/// The attributes of a field.
const OF_FIELD: [&str; 8] =
    ["unique", "column", "type", "json", "default", "skip", "was", "expires_at"];

/// The value of an attribute and its span.
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// The attributes of a struct.
#[derive(Default)]
pub(crate) struct StructAttrs {
    pub(crate) name: Option<Given<String>>,
    pub(crate) table: Option<Given<String>>,
    pub(crate) freshness: FreshnessAttrs,
    pub(crate) migrate: Option<Given<Migrate>>,
    /// Columns that are removed from the table.
    pub(crate) dropped: Option<Given<Vec<Given<String>>>>,
    /// Columns of the table that belong to other programs.
    pub(crate) keep: Option<Given<Vec<Given<String>>>>,
    /// The module of the table, if it is named.
    pub(crate) diesel: Option<Given<Option<Ident>>>,
    pub(crate) krate: Option<Given<Path>>,
}

/// The attributes of a field.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    pub(crate) unique: Option<Given<()>>,
    pub(crate) column: Option<Given<String>>,
    pub(crate) ty: Option<Given<ColumnType>>,
    pub(crate) json: Option<Given<()>>,
    pub(crate) default: Option<Given<Fallback>>,
    pub(crate) skip: Option<Given<()>>,
    pub(crate) was: Option<Given<String>>,
    pub(crate) expires_at: Option<Given<()>>,
}

impl FieldAttrs {
    /// Returns the names of the given attributes other than `skip`, all of which describe a column.
    pub(crate) fn column_attributes(&self) -> Vec<&'static str> {
        let given = [
            ("unique", self.unique.is_some()),
            ("column", self.column.is_some()),
            ("type", self.ty.is_some()),
            ("json", self.json.is_some()),
            ("default", self.default.is_some()),
            ("was", self.was.is_some()),
            ("expires_at", self.expires_at.is_some()),
        ];
        given.into_iter().filter_map(|(name, given)| given.then_some(name)).collect()
    }
}

/// Parses the attributes of a struct. Invalid ones are reported in `errors` and ignored.
pub(crate) fn of_struct(attrs: &[Attribute], errors: &mut Errors) -> StructAttrs {
    let mut parsed = StructAttrs::default();
    for item in items(attrs, &OF_STRUCT, errors) {
        if let Some(done) = parsed.freshness.read(&item) {
            errors.keep(done);
            continue;
        }
        let done = match item.name.unraw().to_string().as_str() {
            "name" => item.put(&mut parsed.name, Item::name),
            "table" => item.put(&mut parsed.table, Item::name),
            "migrate" => item.put(&mut parsed.migrate, Item::migrate),
            "dropped" => item.put(&mut parsed.dropped, Item::names),
            "keep" => item.put(&mut parsed.keep, Item::names),
            "diesel" => item.put(&mut parsed.diesel, Item::module),
            "crate" => item.put(&mut parsed.krate, Item::path),
            name => Err(item.unknown(name, "the struct", &OF_STRUCT, "a field", &OF_FIELD)),
        };
        errors.keep(done);
    }
    parsed
}

/// Parses the attributes of a field. Invalid ones are reported in `errors` and ignored.
pub(crate) fn of_field(attrs: &[Attribute], errors: &mut Errors) -> FieldAttrs {
    let mut parsed = FieldAttrs::default();
    for item in items(attrs, &OF_FIELD, errors) {
        let done = match item.name.unraw().to_string().as_str() {
            "unique" => item.put(&mut parsed.unique, Item::flag),
            "column" => item.put(&mut parsed.column, Item::name),
            "type" => item.put(&mut parsed.ty, |item| item.text(column_type::parse)),
            "json" => item.put(&mut parsed.json, Item::flag),
            "default" => item.put(&mut parsed.default, Item::fallback),
            "skip" => item.put(&mut parsed.skip, Item::flag),
            "was" => item.put(&mut parsed.was, Item::name),
            "expires_at" => item.put(&mut parsed.expires_at, Item::flag),
            name => Err(item.unknown(name, "a field", &OF_FIELD, "the struct", &OF_STRUCT)),
        };
        errors.keep(done);
    }
    parsed
}

/// A part of `#[scope(...)]` or `#[cached(...)]`: a name and an optional value.
pub(crate) struct Item {
    name: Ident,
    value: Option<Expr>,
}

impl Item {
    pub(crate) fn parse_all(input: ParseStream<'_>, takes: &str) -> syn::Result<Vec<Self>> {
        let mut items = Vec::new();
        while !input.is_empty() {
            items.push(Self::parse(input, takes)?);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(items)
    }

    fn parse(input: ParseStream<'_>, takes: &str) -> syn::Result<Self> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error(takes));
        }
        let name = input.call(Ident::parse_any)?;
        let ends = || input.is_empty() || input.peek(Token![,]);
        if ends() {
            return Ok(Self { name, value: None });
        }
        if !input.peek(Token![=]) {
            return Err(
                input.error(format!("expected a comma, or `=` and a value, after `{name}`"))
            );
        }
        input.parse::<Token![=]>()?;
        if ends() {
            return Err(syn::Error::new(name.span(), format!("`{name} =` lacks its value")));
        }
        Ok(Self { name, value: Some(input.parse()?) })
    }
}

/// Returns the parts of all `#[scope(...)]`; `known` are the attributes to name in errors.
fn items(attrs: &[Attribute], known: &[&str], errors: &mut Errors) -> Vec<Item> {
    let (mut items, takes) = (Vec::new(), takes(known));
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("scope")) {
        let parts = match &attr.meta {
            Meta::List(list) => {
                list.parse_args_with(|input: ParseStream<'_>| Item::parse_all(input, &takes))
            }
            other => Err(syn::Error::new_spanned(other, &takes)),
        };
        items.extend(errors.keep(parts).into_iter().flatten());
    }
    items
}

fn takes(known: &[&str]) -> String {
    format!("write `#[scope(...)]` with attributes in the parentheses: `{}`", known.join("`, `"))
}

impl Item {
    /// Reads the value into the slot of this attribute, which must be empty.
    pub(crate) fn put<T>(
        &self,
        place: &mut Option<Given<T>>,
        read: impl FnOnce(&Self) -> syn::Result<T>,
    ) -> syn::Result<()> {
        if place.is_some() {
            return Err(self.wrong(format!("duplicate attribute `{}`", self.name)));
        }
        let span = self.value.as_ref().map_or(self.name.span(), Spanned::span);
        *place = Some(Given { value: read(self)?, span });
        Ok(())
    }

    /// Returns an error at the name.
    pub(crate) fn wrong(&self, message: String) -> syn::Error {
        syn::Error::new(self.name.span(), message)
    }

    /// Checks that there is no value.
    pub(crate) fn flag(&self) -> syn::Result<()> {
        match &self.value {
            None => Ok(()),
            Some(value) => Err(syn::Error::new(
                value.span(),
                format!("`{name}` takes no value; write `{name}` alone", name = self.name),
            )),
        }
    }

    /// Returns the value, which must be a string literal.
    fn literal(&self) -> syn::Result<&LitStr> {
        let takes = format!("`{name}` takes a string: `{name} = \"...\"`", name = self.name);
        let value = self.value.as_ref().ok_or_else(|| self.wrong(takes.clone()))?;
        match ungrouped(value) {
            Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) => Ok(literal),
            other => Err(syn::Error::new(other.span(), takes)),
        }
    }

    /// Parses the value, which must be a string literal.
    pub(crate) fn text<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> syn::Result<T> {
        let literal = self.literal()?;
        parse(&literal.value()).map_err(|message| syn::Error::new(literal.span(), message))
    }

    /// Parses the text of the value, which must be a literal string, number or boolean.
    pub(crate) fn plain<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> syn::Result<T> {
        let value = self.value.as_ref().map(ungrouped);
        let text = match value {
            Some(Expr::Lit(ExprLit { lit: Lit::Int(number), .. })) => number.to_string(),
            Some(Expr::Lit(ExprLit { lit: Lit::Float(number), .. })) => number.to_string(),
            Some(Expr::Lit(ExprLit { lit: Lit::Bool(on), .. })) => on.value.to_string(),
            _ => self.literal()?.value(),
        };
        let span = value.map_or(self.name.span(), Spanned::span);
        parse(&text).map_err(|message| syn::Error::new(span, message))
    }

    /// Returns the name of the attribute.
    pub(crate) fn key(&self) -> String {
        self.name.unraw().to_string()
    }

    /// Returns the value, which can be any expression.
    pub(crate) fn expr(&self) -> syn::Result<Expr> {
        let takes = format!("`{name}` takes an expression: `{name} = ...`", name = self.name);
        self.value.as_ref().map(|value| ungrouped(value).clone()).ok_or_else(|| self.wrong(takes))
    }

    /// Returns the value, which must be a string literal that is not empty.
    pub(crate) fn name(&self) -> syn::Result<String> {
        self.text(|text| match text {
            "" => Err(format!("`{}` cannot be empty", self.name)),
            text => Ok(text.to_owned()),
        })
    }

    /// Parses the value as the policy for migrations.
    pub(crate) fn migrate(&self) -> syn::Result<Migrate> {
        self.text(migrate)
    }

    /// Returns the value, which must be an array of string literals that are not empty.
    fn names(&self) -> syn::Result<Vec<Given<String>>> {
        let takes =
            format!("`{name}` takes names of columns: `{name} = [\"...\"]`", name = self.name);
        let value = self.value.as_ref().ok_or_else(|| self.wrong(takes.clone()))?;
        let Expr::Array(array) = ungrouped(value) else {
            return Err(syn::Error::new(value.span(), takes));
        };
        let name = |element: &Expr| match ungrouped(element) {
            Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) if !name.value().is_empty() => {
                Ok(Given { value: name.value(), span: name.span() })
            }
            other => Err(syn::Error::new(other.span(), &takes)),
        };
        array.elems.iter().map(name).collect()
    }

    /// Returns the value, which must be a path, bare or in a string literal.
    pub(crate) fn path(&self) -> syn::Result<Path> {
        if let Some(Expr::Path(path)) = self.value.as_ref().map(ungrouped) {
            return Ok(path.path.clone());
        }
        let literal = self.literal()?;
        literal.parse_with(Path::parse_mod_style).map_err(|_| {
            let message = "`crate` takes the path of the library: `crate = \"::hilcat\"`";
            syn::Error::new(literal.span(), message)
        })
    }

    /// Returns the name of a module if there is a value, which must be a string literal.
    fn module(&self) -> syn::Result<Option<Ident>> {
        if self.value.is_none() {
            return Ok(None);
        }
        let literal = self.literal()?;
        literal.parse().map(Some).map_err(|_| {
            let message = "`diesel` takes the name of the module for Diesel's table, or nothing: `diesel = \"articles\"`";
            syn::Error::new(literal.span(), message)
        })
    }

    fn fallback(&self) -> syn::Result<Fallback> {
        Ok(self.value.clone().map_or(Fallback::OfType, Fallback::Value))
    }

    /// Returns the error for an unknown or misplaced attribute.
    pub(crate) fn unknown(
        &self,
        name: &str,
        place: &str,
        known: &[&str],
        other_place: &str,
        elsewhere: &[&str],
    ) -> syn::Error {
        let listed = known.join("`, `");
        self.wrong(match elsewhere.contains(&name) {
            true => format!(
                "`{name}` is an attribute of {other_place}; those of {place} are `{listed}`"
            ),
            false => format!(
                "unknown attribute `{name}`; the attributes of {place} are `{listed}`{}",
                did_you_mean(name, known.iter().copied())
            ),
        })
    }
}

/// Returns the expression without the invisible groups that `macro_rules` puts around fragments.
pub(crate) fn ungrouped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => ungrouped(&group.expr),
        expr => expr,
    }
}

fn migrate(text: &str) -> Result<Migrate, String> {
    match text {
        "safe" => Ok(Migrate::Safe),
        "recreate" => Ok(Migrate::Recreate),
        "manual" => Ok(Migrate::Manual),
        _ => Err(format!(
            "unknown policy `{text}`; the policies are `safe`, `recreate` and `manual`{}",
            did_you_mean(text, ["safe", "recreate", "manual"])
        )),
    }
}
