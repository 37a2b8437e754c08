//! One table for all scopes, as in `SingleTableCache`.

use hilcat::backend::SingleTable;
use serde_json::{Value as Json, json};

use crate::Case;
use crate::context::{TestContext, keys};

pub const CASES: &[Case] = &[
    ("a_single_table_with_the_defaults_of_both_sides", by_default),
    ("a_single_table_of_records", records),
    ("a_single_table_of_several_columns_each", composite),
    ("hostile_scopes_of_a_single_table", hostile),
];

/// Returns the types of unique columns, for both sides.
fn types(context: &TestContext, columns: &[&str], others: &[(&str, &str)]) -> (Json, String) {
    let others = others.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned()));
    let types: Vec<(String, String)> =
        context.key_types(columns).into_iter().chain(others).collect();
    let python = types.iter().map(|(name, ty)| (name.clone(), json!(ty))).collect();
    let hilcat = types.iter().map(|(name, ty)| format!("{name}:{ty}")).collect::<Vec<_>>();
    let hilcat = match hilcat.is_empty() {
        true => String::new(),
        false => format!("&column_types={}", hilcat.join(",")),
    };
    (Json::Object(python), hilcat)
}

fn by_default(context: &TestContext) {
    for policy in context.policies() {
        let (in_python, in_hilcat) = types(context, &["scope", "id"], &[]);
        let mut python = context.program_of_single_table(json!({"column_types": in_python}));
        python.set("a", &json!("k"), &json!("in a"));
        python.set("b", &json!("k"), &json!("in b"));
        let cache = context.single_table(&format!("migrate={policy}{in_hilcat}"));
        assert_eq!(cache.scopes().unwrap(), ["a", "b"]);
        let a = cache.dynamic("a").unwrap();
        assert_eq!(a.fetch("k").unwrap(), Some(json!("in a")));
        assert_eq!(cache.dynamic("b").unwrap().fetch("k").unwrap(), Some(json!("in b")));
        a.set("k2", json!("from hilcat")).unwrap();
        cache.dynamic("c").unwrap().set("k", json!("in c")).unwrap();
        assert_eq!(python.keys("a"), [json!("k"), json!("k2")]);
        assert_eq!(python.scopes(), [json!("a"), json!("b"), json!("c")]);
        assert_eq!(python.fetch("a", &json!("k2")), json!("from hilcat"));
        assert_eq!(python.fetch("c", &json!("k")), json!("in c"));
        cache.dynamic("b").unwrap().clear().unwrap();
        python.pop("a", &json!("k"));
        assert_eq!(keys(&a), [json!("k2")]);
        assert!(!python.exists("b", &json!("k")));
        assert_eq!(cache.scopes().unwrap(), ["a", "c"]);
        python.run(&format!("DROP TABLE {}", context.table));
    }
}

fn records(context: &TestContext) {
    let (in_python, in_hilcat) = types(context, &["scope", "id"], &[("count", "int")]);
    let config = json!({"columns": ["name", "count"], "column_types": in_python});
    let mut python = context.program_of_single_table(config);
    python.set("a", &json!("k"), &json!({"name": "jii", "count": 1}));
    let cache = context
        .single_table(&format!("migrate={}&columns=name,count{in_hilcat}", context.policy()));
    let a = cache.dynamic("a").unwrap();
    assert_eq!(a.fetch("k").unwrap(), Some(json!({"name": "jii", "count": 1})));
    a.set("k", json!({"count": 2})).unwrap();
    assert_eq!(python.fetch("a", &json!("k")), json!({"name": "jii", "count": 2}));
}

fn composite(context: &TestContext) {
    let (in_python, in_hilcat) = types(context, &["region", "kind", "x"], &[("y", "int")]);
    let mut python = context.program_of_single_table(json!({
        "scope_columns": ["region", "kind"],
        "key_columns": ["x", "y"],
        "columns": ["v", "w"],
        "column_types": in_python,
        "value_adapter": "tuple",
    }));
    let (eu, us) = (json!(["eu", "a/b"]), json!(["us", "100%"]));
    python.set(eu.clone(), &json!(["k", 1]), &json!(["v", "w"]));
    let options =
        format!("scope_columns=region,kind&key_columns=x,y&columns=v,w&value=tuple{in_hilcat}");
    let cache = context.single_table(&options);
    assert_eq!(cache.scopes().unwrap(), ["eu/a%2Fb"]);
    let scope = cache.dynamic(&SingleTable::scope(("eu", "a/b"))).unwrap();
    assert_eq!(scope.fetch(("k", 1)).unwrap(), Some(json!(["v", "w"])));
    let other = cache.dynamic(&SingleTable::scope(("us", "100%"))).unwrap();
    other.set(("k", 2), json!(["x", null])).unwrap();
    assert_eq!(python.scopes(), [eu.clone(), us.clone()]);
    assert_eq!(python.keys(us.clone()), [json!(["k", 2])]);
    assert_eq!(python.fetch(us, &json!(["k", 2])), json!({"tuple": ["x", null]}));
    assert_eq!(keys(&scope), [json!(["k", 1])]);
}

fn hostile(context: &TestContext) {
    let names = ["a/b", "%2F", "'", "\"", "\u{540d}\u{524d}", "--", " a"];
    let (in_python, in_hilcat) = types(context, &["scope", "id"], &[]);
    let mut python = context.program_of_single_table(json!({"column_types": in_python}));
    for name in names {
        python.set(name, &json!(name), &json!(name));
    }
    let cache = context.single_table(&format!("migrate={}{in_hilcat}", context.policy()));
    let mut expected = names.map(String::from);
    expected.sort_unstable();
    assert_eq!(cache.scopes().unwrap(), expected);
    for name in names {
        let scope = cache.dynamic(name).unwrap();
        assert_eq!(scope.fetch(name).unwrap(), Some(json!(name)));
        scope.set("more", json!(name)).unwrap();
        assert_eq!(python.fetch(name, &json!("more")), json!(name));
    }
}
