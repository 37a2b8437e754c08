//! Reads `#[scope(...)]`: which attributes there are, and what each takes. What goes together is
//! the business of `valid`.

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

/// What an attribute says, and where.
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// What is said of the struct.
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
    /// The module of the table, where it is named.
    pub(crate) diesel: Option<Given<Option<Ident>>>,
    pub(crate) krate: Option<Given<Path>>,
}

/// What is said of a field.
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
    /// The attributes that say something of a column.
    pub(crate) fn names_besides_skip(&self) -> Vec<&'static str> {
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

/// Reads the attributes of a struct; what is wrong goes to `errors` and counts as not said.
pub(crate) fn of_struct(attrs: &[Attribute], errors: &mut Errors) -> StructAttrs {
    let mut said = StructAttrs::default();
    for item in items(attrs, &OF_STRUCT, errors) {
        if let Some(done) = said.freshness.read(&item) {
            errors.keep(done);
            continue;
        }
        let done = match item.name.unraw().to_string().as_str() {
            "name" => item.put(&mut said.name, Item::name),
            "table" => item.put(&mut said.table, Item::name),
            "migrate" => item.put(&mut said.migrate, Item::migrate),
            "dropped" => item.put(&mut said.dropped, Item::names),
            "keep" => item.put(&mut said.keep, Item::names),
            "diesel" => item.put(&mut said.diesel, Item::module),
            "crate" => item.put(&mut said.krate, Item::path),
            name => Err(item.unknown(name, "the struct", &OF_STRUCT, "a field", &OF_FIELD)),
        };
        errors.keep(done);
    }
    said
}

/// Reads the attributes of a field; what is wrong goes to `errors` and counts as not said.
pub(crate) fn of_field(attrs: &[Attribute], errors: &mut Errors) -> FieldAttrs {
    let mut said = FieldAttrs::default();
    for item in items(attrs, &OF_FIELD, errors) {
        let done = match item.name.unraw().to_string().as_str() {
            "unique" => item.put(&mut said.unique, Item::flag),
            "column" => item.put(&mut said.column, Item::name),
            "type" => item.put(&mut said.ty, |item| item.text(column_type::parse)),
            "json" => item.put(&mut said.json, Item::flag),
            "default" => item.put(&mut said.default, Item::fallback),
            "skip" => item.put(&mut said.skip, Item::flag),
            "was" => item.put(&mut said.was, Item::name),
            "expires_at" => item.put(&mut said.expires_at, Item::flag),
            name => Err(item.unknown(name, "a field", &OF_FIELD, "the struct", &OF_STRUCT)),
        };
        errors.keep(done);
    }
    said
}

/// One part of a `#[scope(...)]` or `#[cached(...)]`: a name, and a value where one follows.
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
            return Err(input.error(format!("after `{name}` goes a comma, or `=` and a value")));
        }
        input.parse::<Token![=]>()?;
        if ends() {
            return Err(syn::Error::new(name.span(), format!("`{name} =` lacks its value")));
        }
        Ok(Self { name, value: Some(input.parse()?) })
    }
}

/// The parts of all `#[scope(...)]`, of which `known` are known here.
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
    /// Reads the value into the place of this attribute, which must be empty.
    pub(crate) fn put<T>(
        &self,
        place: &mut Option<Given<T>>,
        read: impl FnOnce(&Self) -> syn::Result<T>,
    ) -> syn::Result<()> {
        if place.is_some() {
            return Err(self.wrong(format!("`{}` is given twice; once is enough", self.name)));
        }
        let span = self.value.as_ref().map_or(self.name.span(), Spanned::span);
        *place = Some(Given { value: read(self)?, span });
        Ok(())
    }

    /// An error at the name.
    pub(crate) fn wrong(&self, message: String) -> syn::Error {
        syn::Error::new(self.name.span(), message)
    }

    /// No value.
    pub(crate) fn flag(&self) -> syn::Result<()> {
        match &self.value {
            None => Ok(()),
            Some(value) => Err(syn::Error::new(
                value.span(),
                format!("`{name}` takes no value; write `{name}` alone", name = self.name),
            )),
        }
    }

    /// A string literal.
    fn literal(&self) -> syn::Result<&LitStr> {
        let takes = format!("`{name}` takes a string: `{name} = \"...\"`", name = self.name);
        let value = self.value.as_ref().ok_or_else(|| self.wrong(takes.clone()))?;
        match ungrouped(value) {
            Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) => Ok(literal),
            other => Err(syn::Error::new(other.span(), takes)),
        }
    }

    /// A string literal that `parse` reads.
    pub(crate) fn text<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> syn::Result<T> {
        let literal = self.literal()?;
        parse(&literal.value()).map_err(|message| syn::Error::new(literal.span(), message))
    }

    /// A literal of a string, a number or a boolean, whose text `parse` reads.
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

    /// The name as it is written.
    pub(crate) fn key(&self) -> String {
        self.name.unraw().to_string()
    }

    /// An expression.
    pub(crate) fn expr(&self) -> syn::Result<Expr> {
        let takes = format!("`{name}` takes an expression: `{name} = ...`", name = self.name);
        self.value.as_ref().map(|value| ungrouped(value).clone()).ok_or_else(|| self.wrong(takes))
    }

    /// A string literal that is not empty.
    pub(crate) fn name(&self) -> syn::Result<String> {
        self.text(|text| match text {
            "" => Err(format!("`{}` cannot be empty", self.name)),
            text => Ok(text.to_owned()),
        })
    }

    /// The policy for migrations.
    pub(crate) fn migrate(&self) -> syn::Result<Migrate> {
        self.text(migrate)
    }

    /// An array of string literals that are not empty.
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

    /// A path, bare or in a string literal.
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

    /// Nothing, or a string literal that is the name of a module.
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

    /// The error for an attribute that there is not, or not there.
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

/// The expression without the invisible groups that `macro_rules` puts around what it inserts.
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
