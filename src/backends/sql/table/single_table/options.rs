//! The options of a URI for a single table.

use toml::Table;

use super::Layout;
use crate::schema::scope_of;
use crate::store::Uri;
use crate::{Error, ErrorKind, Result};

/// The names of the options.
pub(crate) const OPTIONS: &[&str] = &[
    "single_table",
    "scope_columns",
    "key_columns",
    "columns",
    "column_types",
    "default_column_type",
    "value",
    "migrate",
];

/// Takes the options of a single table from a URI. Returns `None` if the URI has none of them.
///
/// # Errors
///
/// [`ErrorKind::InvalidConfig`] for options without `single_table`, and for options that are not
/// those of a valid table.
pub(crate) fn take(uri: &mut Uri) -> Result<Option<Layout>> {
    let Some(table) = uri.take("single_table") else {
        return match OPTIONS.iter().find(|option| uri.take(option).is_some()) {
            None => Ok(None),
            Some(option) => Err(Error::invalid_config(format!(
                "the option `{option}` needs a table of all scopes; name it by single_table=TABLE"
            ))),
        };
    };
    layout(uri, &table).map(Some).map_err(|error| match error.kind() {
        ErrorKind::InvalidSchema => {
            Error::invalid_config(format!("the options of `single_table`: {error}"))
        }
        _ => error,
    })
}

fn layout(uri: &mut Uri, name: &str) -> Result<Layout> {
    let mut list = |option: &str, default: &str| {
        let text = uri.take(option).unwrap_or_else(|| default.to_owned());
        split(&text).into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    let scope = list("scope_columns", "scope");
    let (key, columns) = (list("key_columns", "id"), list("columns", "data"));
    if let Some(both) = scope.iter().find(|column| columns.contains(column)) {
        return Err(Error::invalid_schema(format!(
            "the column `{both}` is both a scope column and part of a value; name it in one of `scope_columns` and `columns`"
        )));
    }
    // The options have the names and meanings of a TOML schema, and are read as one.
    let mut table = Table::new();
    table.insert("unique_columns".into(), [scope.as_slice(), &key].concat().into());
    table.insert("columns".into(), columns.into());
    if let Some(types) = uri.take("column_types") {
        table.insert("column_types".into(), column_types(&types)?.into());
    }
    for option in ["default_column_type", "value", "migrate"] {
        if let Some(text) = uri.take(option) {
            table.insert(option.into(), text.into());
        }
    }
    Layout::of_table(scope_of(name, &table)?, scope.len())
}

/// Parses a list such as `a:int,b:decimal(9,2)`.
fn column_types(text: &str) -> Result<Table> {
    let entries = split(text).into_iter().map(|entry| {
        let wrong = || Error::invalid_schema("write `column_types` as NAME:TYPE,NAME:TYPE");
        let (name, ty) = entry.split_once(':').ok_or_else(wrong)?;
        Ok((name.to_owned(), ty.into()))
    });
    entries.collect()
}

/// Splits a list at the commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColumnType, Migrate, Shape};

    fn layout(options: &str) -> Result<Layout> {
        let mut uri: Uri = format!("sqlite:///t.db?{options}").parse()?;
        let layout = take(&mut uri)?;
        uri.finish(OPTIONS)?;
        layout.ok_or_else(|| Error::invalid_config("none"))
    }

    #[test]
    fn the_defaults_are_those_of_the_python_package() {
        let layout = layout("single_table=cache").unwrap();
        let names = |schema: &crate::Schema| {
            schema.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&layout.table), ["scope", "id", "data"]);
        let records = layout.records("a");
        assert_eq!((records.name.as_str(), records.table.as_str()), ("a", "cache"));
        assert_eq!(
            (names(&records), records.shape),
            (vec!["id".into(), "data".into()], Shape::Single)
        );
    }

    #[test]
    fn all_options_are_read() {
        let all = "single_table=t&scope_columns=r,n&key_columns=a,b&columns=x,y&column_types=n:int,y:decimal(9,2)&default_column_type=varchar(9)&value=tuple&migrate=manual";
        let layout = layout(all).unwrap();
        let types: Vec<ColumnType> = layout.table.columns.iter().map(|column| column.ty).collect();
        let short = ColumnType::Varchar(9);
        let decimal = ColumnType::Decimal { precision: 9, scale: 2 };
        assert_eq!(types, [short, ColumnType::Int, short, short, short, decimal]);
        assert_eq!(layout.scope_columns().count(), 2);
        assert_eq!((layout.table.shape, layout.table.migrate), (Shape::Tuple, Migrate::Manual));
    }

    #[test]
    fn errors_name_the_invalid_option() {
        for (options, says) in [
            ("columns=a", "single_table=TABLE"),
            ("single_table=t&column_types=data", "NAME:TYPE"),
            ("single_table=t&column_types=dta:int", "did you mean `data`"),
            ("single_table=t&column_types=data:itn", "unknown column type `itn`"),
            ("single_table=t&columns=scope,data", "`scope` is both a scope column"),
            ("single_table=t&key_columns=scope", "duplicate column `scope`"),
            ("single_table=t&value=singel", "did you mean `single`"),
            ("single_table=&columns=a", "cannot be empty"),
            ("single_table=t&key_columns=", "cannot be empty"),
            ("single_table=t&colums=a", "did you mean `columns`"),
        ] {
            let error = layout(options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{options}: {error}");
            assert!(error.to_string().contains(says), "{options}: {error}");
        }
    }
}
