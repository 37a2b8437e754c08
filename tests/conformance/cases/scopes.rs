//! Scopes side by side, and names.

use hilcat::{Column, ColumnType, ErrorKind, Result, Schema};
use serde_json::json;

use super::{Case, cases};
use crate::ground::{Ground, all_rows, key, pair};

pub const CASES: &[Case] = cases![Storing:
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

fn scopes_do_not_see_one_another(ground: Ground) -> Result<()> {
    let a = ground.raw(named(&format!("{}a", ground.scope)))?;
    let b = ground.raw(named(&format!("{}b", ground.scope)))?;
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
fn listed(ground: &Ground) -> Result<Vec<String>> {
    let mut names = ground.cache.scopes()?;
    let sorted = names.is_sorted();
    if !ground.is_private() {
        names.retain(|name| name.contains(&ground.scope));
    }
    assert!(sorted, "{names:?}");
    Ok(names)
}

fn scopes_are_listed(mut ground: Ground) -> Result<()> {
    assert_eq!(listed(&ground)?, [] as [&str; 0]);
    let names: Vec<String> = ["c", "a", "b"].map(|end| format!("{}{end}", ground.scope)).into();
    for name in &names {
        ground.raw(named(name))?.set(&pair("x", "y"))?;
    }
    let expected = [names[1].clone(), names[2].clone(), names[0].clone()];
    assert_eq!(listed(&ground)?, expected);
    ground.reopen()?;
    assert_eq!(listed(&ground)?, expected);
    Ok(())
}

fn a_scope_opened_twice_is_one(ground: Ground) -> Result<()> {
    let raw = ground.texts()?;
    let again = ground.texts()?;
    let dynamic = ground.dynamic(ground.pairs(ColumnType::Text, ColumnType::Text))?;
    raw.set(&pair("a", "1"))?;
    assert_eq!(again.fetch(key("a"))?, Some(pair("a", "1")));
    assert_eq!(dynamic.fetch("a")?, Some(json!({"id": "a", "v": "1"})));
    dynamic.set("b", json!({"v": "2"}))?;
    assert_eq!(raw.pop(key("b"))?, Some(pair("b", "2")));
    assert_eq!(listed(&ground)?, [ground.scope.as_str()]);
    Ok(())
}

fn odd_names_of_scopes(mut ground: Ground) -> Result<()> {
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
    .map(|odd| format!("{}{odd}", ground.scope))
    .into();
    if ground.is_private() {
        names.extend(["order", "select", "table", "index", "group", "1", "x y"].map(String::from));
    }
    let mut held = Vec::new();
    for name in names {
        match ground.raw(named(&name)) {
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
    ground.reopen()?;
    assert_eq!(listed(&ground)?, names);
    for name in &names {
        let scope = ground.raw(named(name))?;
        assert_eq!(all_rows(&scope)?, [pair("of", name.as_str())], "{name}");
        assert_eq!(scope.pop(key("of"))?, Some(pair("of", name.as_str())), "{name}");
    }
    Ok(())
}

/// Some engines take table names that differ only in case for one. Then it is an error, and not
/// two scopes in one table.
fn names_of_scopes_that_differ_a_little(ground: Ground) -> Result<()> {
    let names = [format!("{}x", ground.scope), format!("{}X", ground.scope)];
    let lower = ground.raw(named(&names[0]))?;
    lower.set(&pair("a", "lower"))?;
    if let Ok(upper) = ground.raw(named(&names[1])) {
        assert_eq!(upper.fetch(key("a"))?, None);
        upper.set(&pair("a", "upper"))?;
        assert_eq!(upper.fetch(key("a"))?, Some(pair("a", "upper")));
    }
    assert_eq!(all_rows(&lower)?, [pair("a", "lower")]);
    Ok(())
}

fn odd_names_of_columns(ground: Ground) -> Result<()> {
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
    let schema = ground
        .schema()
        .unique(Column::new("key", ColumnType::Text))
        .unique(Column::new("where", ColumnType::Int));
    let schema = names.iter().fold(schema, |schema, name| {
        schema.column(Column::new(*name, ColumnType::Text).nullable(true))
    });
    let scope = ground.dynamic(schema.clone())?;
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
    assert!(ground.cache.plan(&schema)?.is_empty());
    Ok(())
}

fn a_table_of_another_name(mut ground: Ground) -> Result<()> {
    let schema = named(&ground.scope).table(format!("{}_items", ground.scope));
    ground.raw(schema.clone())?.set(&pair("a", "1"))?;
    assert_eq!(listed(&ground)?, [ground.scope.as_str()]);
    ground.reopen()?;
    assert_eq!(ground.raw(schema)?.fetch(key("a"))?, Some(pair("a", "1")));
    Ok(())
}
