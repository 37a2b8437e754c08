//! Scopes side by side, and names.

use hilcat::{Column, ColumnType, ErrorKind, Result, Schema};
use serde_json::json;

use super::{Case, case_list};
use crate::context::{TestContext, all_rows, key, pair};

pub(crate) const CASES: &[Case] = case_list![Stores:
    scopes_do_not_see_one_another,
    scopes_are_listed,
    a_scope_opened_twice_is_one,
    odd_names_of_scopes,
    names_of_scopes_that_differ_a_little,
    odd_names_of_columns,
    a_table_of_another_name,
];

fn named(name: &str) -> Schema {
    Schema::new(name)
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("v", ColumnType::Text).nullable(true))
}

fn scopes_do_not_see_one_another(context: TestContext) -> Result<()> {
    let a = context.raw(named(&format!("{}a", context.scope)))?;
    let b = context.raw(named(&format!("{}b", context.scope)))?;
    a.set(&pair("x", "in a"))?;
    assert_eq!((b.len()?, b.exists(key("x"))?), (0, false));
    b.set(&pair("x", "in b"))?;
    b.set(&pair("y", "in b"))?;
    assert_eq!(a.fetch(key("x"))?, Some(pair("x", "in a")));
    b.clear()?;
    assert_eq!(all_rows(&a)?, [pair("x", "in a")]);
    assert_eq!(b.pop(key("x"))?, None);
    assert_eq!(a.len()?, 1);
    Ok(())
}

/// The names of the case's own scopes, as the cache lists them.
fn listed(context: &TestContext) -> Result<Vec<String>> {
    let mut names = context.cache.scopes()?;
    let sorted = names.is_sorted();
    if !context.is_exclusive() {
        names.retain(|name| name.contains(&context.scope));
    }
    assert!(sorted, "{names:?}");
    Ok(names)
}

fn scopes_are_listed(mut context: TestContext) -> Result<()> {
    assert_eq!(listed(&context)?, [] as [&str; 0]);
    let names: Vec<String> = ["c", "a", "b"].map(|end| format!("{}{end}", context.scope)).into();
    for name in &names {
        context.raw(named(name))?.set(&pair("x", "y"))?;
    }
    let expected = [names[1].clone(), names[2].clone(), names[0].clone()];
    assert_eq!(listed(&context)?, expected);
    context.reopen()?;
    assert_eq!(listed(&context)?, expected);
    Ok(())
}

fn a_scope_opened_twice_is_one(context: TestContext) -> Result<()> {
    let raw = context.texts()?;
    let again = context.texts()?;
    let dynamic = context.dynamic(context.pairs(ColumnType::Text, ColumnType::Text))?;
    raw.set(&pair("a", "1"))?;
    assert_eq!(again.fetch(key("a"))?, Some(pair("a", "1")));
    assert_eq!(dynamic.fetch("a")?, Some(json!({"id": "a", "v": "1"})));
    dynamic.set("b", json!({"v": "2"}))?;
    assert_eq!(raw.pop(key("b"))?, Some(pair("b", "2")));
    assert_eq!(listed(&context)?, [context.scope.as_str()]);
    Ok(())
}

fn odd_names_of_scopes(mut context: TestContext) -> Result<()> {
    let mut names: Vec<String> = [
        " a b",
        "'x'",
        "\"x\"",
        "`x`",
        "[x]",
        "%",
        "-",
        ".",
        "/x",
        "{x}",
        ":",
        "\u{540d}\u{524d}",
        ";--",
        "\u{1f600}",
    ]
    .map(|odd| format!("{}{odd}", context.scope))
    .into();
    if context.is_exclusive() {
        names.extend(["order", "select", "table", "index", "group", "1", "x y"].map(String::from));
    }
    let mut held = Vec::new();
    for name in names {
        match context.raw(named(&name)) {
            Ok(scope) => {
                scope.set(&pair("of", name.as_str()))?;
                held.push(name);
            }
            // An engine may have no names with it: then there is nothing of it, as is seen below.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                assert!(name.ends_with('\u{1f600}'), "{error}");
            }
        }
    }
    let mut names = held;
    names.sort();
    context.reopen()?;
    assert_eq!(listed(&context)?, names);
    for name in &names {
        let scope = context.raw(named(name))?;
        assert_eq!(all_rows(&scope)?, [pair("of", name.as_str())], "{name}");
        assert_eq!(scope.pop(key("of"))?, Some(pair("of", name.as_str())), "{name}");
    }
    Ok(())
}

/// Some engines take table names that differ only in case for one. Then it is an error, and not
/// two scopes in one table.
fn names_of_scopes_that_differ_a_little(context: TestContext) -> Result<()> {
    let names = [format!("{}x", context.scope), format!("{}X", context.scope)];
    let lower = context.raw(named(&names[0]))?;
    lower.set(&pair("a", "lower"))?;
    if let Ok(upper) = context.raw(named(&names[1])) {
        assert_eq!(upper.fetch(key("a"))?, None);
        upper.set(&pair("a", "upper"))?;
        assert_eq!(upper.fetch(key("a"))?, Some(pair("a", "upper")));
    }
    assert_eq!(all_rows(&lower)?, [pair("a", "lower")]);
    Ok(())
}

fn odd_names_of_columns(context: TestContext) -> Result<()> {
    let names = [
        "group",
        "a b",
        "\"x\"",
        "`y`",
        "'z'",
        "\u{540d}\u{524d}",
        "select",
        "order",
        "primary",
        "value",
        "desc",
        "a.b",
        "%s",
        "?",
        "$1",
        ":c",
        "1",
        "-",
        "excluded",
        "rowid",
    ];
    let schema = context
        .schema()
        .unique(Column::new("key", ColumnType::Text))
        .unique(Column::new("where", ColumnType::Int));
    let schema = names.iter().fold(schema, |schema, name| {
        schema.column(Column::new(*name, ColumnType::Text).nullable(true))
    });
    let scope = context.dynamic(schema.clone())?;
    let mut value = json!({"key": "k", "where": 1});
    for name in names {
        value[name] = json!(format!("in {name}"));
    }
    scope.set(("k", 1), value.clone())?;
    assert_eq!(scope.fetch(("k", 1))?, Some(value.clone()));
    scope.set(("k", 1), json!({"a b": null, "group": "new"}))?;
    assert_eq!(
        scope.update(("k", 1), json!({"\"x\"": "newer"}))?.map(|old| old["group"].clone()),
        Some(json!("new"))
    );
    (value["a b"], value["group"], value["\"x\""]) = (json!(null), json!("new"), json!("newer"));
    assert_eq!(scope.fetch_many([("k", 1)])?, [Some(value.clone())]);
    scope.set_many([(("k", 2), json!({"select": "x"}))])?;
    assert_eq!(scope.iter()?.count(), 2);
    assert_eq!(scope.pop(("k", 1))?, Some(value));
    assert!(context.cache.plan(&schema)?.is_empty());
    Ok(())
}

fn a_table_of_another_name(mut context: TestContext) -> Result<()> {
    let schema = named(&context.scope).table(format!("{}_items", context.scope));
    context.raw(schema.clone())?.set(&pair("a", "1"))?;
    assert_eq!(listed(&context)?, [context.scope.as_str()]);
    context.reopen()?;
    assert_eq!(context.raw(schema)?.fetch(key("a"))?, Some(pair("a", "1")));
    Ok(())
}
