//! SQLite only: the package declares columns as `str`, of affinity NUMERIC, in which numeric text
//! becomes numbers.

use hilcat::{Cache, DynScope, ErrorKind};
use serde_json::{Value as Json, json};

use crate::Case;
use crate::context::{TestContext, keys};

pub const CASES: &[Case] = &[
    ("numbers_that_replaced_text_are_read_as_text", read),
    ("under_manual_text_that_would_change_is_refused", manual),
    ("under_safe_the_columns_become_text", safe),
    ("a_text_column_is_used_unchanged", of_text),
    ("json_that_looks_like_a_number", json_numbers),
    ("listings_of_texts_and_numbers_are_complete", listings),
    ("adopted_tables_are_shared", adopted),
    ("a_scope_that_looks_like_a_number", scopes),
];

/// Text, and what is read back from a column of affinity NUMERIC.
const TEXTS: [(&str, &str); 7] = [
    ("007", "7"),
    ("1e3", "1000"),
    ("12", "12"),
    ("abc", "abc"),
    ("12345678901234567890", "1.2345678901234567e19"),
    ("1.50", "1.5"),
    (" 7x", " 7x"),
];

fn open(context: &TestContext, policy: &str) -> DynScope {
    context.scope(&format!("migrate = '{policy}'"))
}

fn fetch(scope: &DynScope, key: &str) -> Option<Json> {
    scope.fetch(key).unwrap()
}

fn read(context: &TestContext) {
    for policy in ["manual", "safe"] {
        let mut python = context.program(json!({}));
        for (at, (text, _)) in TEXTS.iter().enumerate() {
            python.set("s", &json!(format!("k{at}")), &json!(text));
        }
        python.set("s", &json!("float"), &json!(0.1));
        python.set("s", &json!("integer"), &json!(-3));
        let scope = open(context, policy);
        for (at, (_, read)) in TEXTS.iter().enumerate() {
            // SQLite itself writes long floats with fewer digits when the column becomes text.
            if !(policy == "safe" && read.contains("e19")) {
                assert_eq!(fetch(&scope, &format!("k{at}")), Some(json!(read)), "{policy} {read}");
            }
        }
        assert_eq!(fetch(&scope, "float"), Some(json!("0.1")));
        assert_eq!(fetch(&scope, "integer"), Some(json!("-3")));
        python.run(&format!("DROP TABLE {}", context.table));
    }
}

fn manual(context: &TestContext) {
    let mut python = context.program(json!({}));
    python.set("s", &json!("007"), &json!("by python"));
    let scope = open(context, "manual");
    assert_eq!(keys(&scope), [json!("7")]);
    assert_eq!(fetch(&scope, "7"), Some(json!("by python")));
    assert_eq!((fetch(&scope, "007"), scope.exists("007").unwrap()), (None, false));
    assert_eq!(scope.pop("007").unwrap(), None);
    for (text, read) in TEXTS {
        for (key, value, column) in [("k", text, "data"), (text, "v", "id")] {
            match scope.set(key, json!(value)) {
                Ok(()) => {
                    assert_eq!(text, read);
                    assert_eq!(fetch(&scope, key), Some(json!(value)));
                    assert_eq!(scope.fetch_many([key]).unwrap(), [Some(json!(value))]);
                }
                Err(error) => {
                    assert_ne!(text, read);
                    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                    assert_eq!(error.column(), Some(column), "{error}");
                    assert!(fetch(&scope, key).is_none_or(|found| found != json!(value)));
                }
            }
        }
        let error = scope.set_many([("fine", json!("v")), ("k", json!(text))]);
        assert_eq!(error.is_ok(), text == read, "{text}");
    }
    assert_eq!(python.fetch("s", &json!("7")), json!("by python"));
    assert_eq!(python.fetch("s", &json!("abc")), json!("v"));
}

fn safe(context: &TestContext) {
    let mut python = context.program(json!({}));
    python.set("s", &json!("007"), &json!(5));
    assert_eq!(python.fetch("s", &json!("007")), json!(5));
    let scope = open(context, "safe");
    for (text, _) in TEXTS {
        scope.set(text, json!(text)).unwrap();
    }
    for (text, _) in TEXTS {
        assert_eq!(fetch(&scope, text), Some(json!(text)));
        assert_eq!(python.fetch("s", &json!(text)), json!(text));
    }
    // The record of `007` was stored as 7 and stays so; Python also finds it by the number.
    assert_eq!(python.fetch("s", &json!(7)), json!("5"));
    python.set("s", &json!("007"), &json!("1e3"));
    python.set("s", &json!("n"), &json!(8));
    assert_eq!(fetch(&scope, "007"), Some(json!("1e3")));
    assert_eq!(fetch(&scope, "n"), Some(json!("8")));
}

fn of_text(context: &TestContext) {
    let mut python = context.program(json!({"default_column_type": "text"}));
    for (text, _) in TEXTS {
        python.set("s", &json!(text), &json!(text));
    }
    let scope = open(context, "manual");
    for (text, _) in TEXTS {
        assert_eq!(fetch(&scope, text), Some(json!(text)));
        scope.set(text, json!(format!("0{text}"))).unwrap();
        assert_eq!(python.fetch("s", &json!(text)), json!(format!("0{text}")));
    }
    assert_eq!(scope.len().unwrap(), 7);
}

fn json_numbers(context: &TestContext) {
    let mut python = context.program(json!({"value_adapter": "json"}));
    python.set("s", &json!("a"), &json!(5));
    python.set("s", &json!("b"), &json!(2.50));
    let toml = "value = 'json'\ndefault_column_type = 'text'";
    let scope = context.scope(&format!("{toml}\nmigrate = 'manual'"));
    assert_eq!((fetch(&scope, "a"), fetch(&scope, "b")), (Some(json!(5)), Some(json!(2.5))));
    // The package itself cannot read a number where it expects JSON text.
    scope.set("a", json!({"n": 5})).unwrap();
    assert_eq!(python.fetch("s", &json!("a")), json!({"n": 5}));
    let scope = context.scope(toml);
    for value in [json!(5), json!(1000.0), json!("007")] {
        scope.set("c", value.clone()).unwrap();
        assert_eq!(fetch(&scope, "c"), Some(value.clone()));
        assert_eq!(python.fetch("s", &json!("c")), value);
    }
}

/// More than a page of keys, which SQLite orders as numbers and then texts.
fn listings(context: &TestContext) {
    let mut python = context.program(json!({}));
    let texts = (0..1_300).flat_map(|n| [n.to_string(), format!("t{n}"), format!("{n}.5")]);
    let texts: Vec<Json> = texts.map(Json::from).collect();
    python.set("s", &json!("0"), &json!("0"));
    let scope = open(context, "manual");
    scope.set_many(texts.iter().map(|text| (text, text.clone()))).unwrap();
    assert_eq!(keys(&scope), crate::program::sorted(texts.clone()));
    assert_eq!(scope.iter().unwrap().count(), texts.len());
    let found = scope.fetch_many(&texts).unwrap();
    assert_eq!(found, texts.into_iter().map(Some).collect::<Vec<_>>());
}

fn adopted(context: &TestContext) {
    let config = json!({"columns": ["id", "name", "count"], "column_types": {"count": "int"}});
    let mut python = context.program(config);
    python.set("s", &json!("a1"), &json!({"name": "12", "count": 1}));
    let cache = Cache::builder(&context.uri).adopt_tables().open().unwrap();
    let scope = cache.dynamic(&context.table).unwrap();
    assert_eq!(fetch(&scope, "a1"), Some(json!({"id": "a1", "name": "12", "count": 1})));
    scope.set("a2", json!({"name": "x", "count": 2})).unwrap();
    let expected = json!({"id": "a2", "name": "x", "count": 2});
    assert_eq!(python.fetch("s", &json!("a2")), expected);
}

fn scopes(context: &TestContext) {
    let mut python = context.program_of_single_table(json!({}));
    python.set("007", &json!("k"), &json!("v"));
    let cache = context.single_table("migrate=manual");
    assert_eq!(cache.scopes().unwrap(), ["7"]);
    assert_eq!(fetch(&cache.dynamic("7").unwrap(), "k"), Some(json!("v")));
    let error = cache.dynamic("007").unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("scope")));
    let cache = context.single_table("migrate=safe");
    cache.dynamic("007").unwrap().set("k", json!("w")).unwrap();
    assert_eq!(cache.scopes().unwrap(), ["007", "7"]);
    assert_eq!(python.fetch("007", &json!("k")), json!("w"));
}
