//! Scopes with a table each, with every value adapter of the package.

use hilcat::ErrorKind;
use serde_json::{Value as Json, json};

use crate::Case;
use crate::context::{TestContext, keys};

pub const CASES: &[Case] = &[
    ("the_default_of_several_columns_is_a_record", default_of_several),
    ("the_default_of_one_column_is_its_value", default_of_one),
    ("immutable_is_a_record", immutable),
    ("single", single),
    ("tuple", tuple),
    ("list", list),
    ("json_in_one_column", json_in_one_column),
    ("json_in_several_columns", json_in_several_columns),
    ("keys_of_several_columns", keys_of_several_columns),
    ("keys_of_integers", keys_of_integers),
    ("columns_that_are_not_given_are_kept", partial),
    ("text_that_is_not_json_is_an_error", text_that_is_not_json_is_an_error),
];

/// A scope as both sides declare it.
struct Shared {
    adapter: &'static str,
    unique: &'static [&'static str],
    columns: &'static [&'static str],
    /// The types of columns, which both sides spell alike.
    types: &'static [(&'static str, &'static str)],
    /// Further properties of hilcat's schema.
    toml: &'static str,
}

impl Default for Shared {
    fn default() -> Self {
        Self { adapter: "default", unique: &["id"], columns: &["data"], types: &[], toml: "" }
    }
}

impl Shared {
    fn types(&self, context: &TestContext) -> Vec<(String, String)> {
        let said = self.types.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned()));
        let mut types: Vec<(String, String)> = said.collect();
        let keys: Vec<&str> = self.unique.to_vec();
        let of_keys = context.key_types(&keys).into_iter();
        let new: Vec<_> =
            of_keys.filter(|(name, _)| types.iter().all(|(said, _)| said != name)).collect();
        types.extend(new);
        types
    }

    fn in_python(&self, context: &TestContext) -> Json {
        let types: serde_json::Map<String, Json> =
            self.types(context).into_iter().map(|(name, ty)| (name, json!(ty))).collect();
        json!({
            "uniq_columns": self.unique,
            "columns": self.columns,
            "column_types": types,
            "value_adapter": self.adapter,
        })
    }

    fn in_toml(&self, context: &TestContext, policy: &str) -> String {
        let types = self.types(context).into_iter().map(|(name, ty)| format!("{name} = '{ty}'"));
        format!(
            "unique_columns = {:?}\ncolumns = {:?}\ncolumn_types = {{ {} }}\nvalue = '{}'\nmigrate = '{policy}'\n{}",
            self.unique,
            self.columns,
            types.collect::<Vec<_>>().join(", "),
            self.adapter,
            self.toml,
        )
    }
}

/// A key, its value in Python, and its value in hilcat.
struct Sample {
    key: Json,
    given: Json,
    shown: Json,
    value: Json,
}

/// A value that is equal on both sides.
fn same(key: impl Into<Json>, value: Json) -> Sample {
    let given = value.clone();
    Sample { key: key.into(), given: given.clone(), shown: given, value }
}

/// Each side reads what the other writes, and sees its changes and removals. The Python program has
/// the table open all the time.
fn shares(context: &TestContext, shared: &Shared, samples: &[Sample]) {
    for policy in context.policies() {
        let mut python = context.program(shared.in_python(context));
        for sample in samples {
            python.set("s", &sample.key, &sample.given);
        }
        let scope = context.scope(&shared.in_toml(context, policy));
        let expected = crate::program::sorted(samples.iter().map(|s| s.key.clone()).collect());
        assert_eq!(keys(&scope), expected, "{policy}");
        for Sample { key, value, .. } in samples {
            assert_eq!(scope.fetch(key).unwrap().as_ref(), Some(value), "{policy} {key}");
        }
        // Each key gets the value of the next one, from hilcat.
        let next = samples.iter().cycle().skip(1);
        for (Sample { key, .. }, next) in samples.iter().zip(next) {
            let value = match (&next.value, shared.unique) {
                // A value that contains its key.
                (Json::Object(value), [unique]) if value.contains_key(*unique) => {
                    let mut value = value.clone();
                    value[*unique] = key.clone();
                    Json::Object(value)
                }
                (value, _) => value.clone(),
            };
            scope.set(key, value.clone()).unwrap();
            assert_eq!(scope.fetch(key).unwrap(), Some(value), "{policy} {key}");
            let mut shown = next.shown.clone();
            if let Some(own) = shown.get_mut(shared.unique[0]) {
                *own = key.clone();
            }
            assert_eq!(python.fetch("s", key), shown, "{policy} {key}");
            assert!(python.exists("s", key), "{policy} {key}");
        }
        assert_eq!(python.keys("s"), expected, "{policy}");
        let [first, second, ..] = samples else { panic!("two samples are needed") };
        assert!(scope.pop(&first.key).unwrap().is_some());
        assert!(!python.exists("s", &first.key), "{policy}");
        python.pop("s", &second.key);
        assert_eq!(scope.fetch(&second.key).unwrap(), None, "{policy}");
        python.set("s", &first.key, &first.given);
        assert_eq!(scope.fetch(&first.key).unwrap(), Some(first.value.clone()), "{policy}");
        python.run(&format!("DROP TABLE {}", context.table));
    }
}

const RECORD: Shared = Shared {
    adapter: "default",
    unique: &["id"],
    columns: &["id", "name", "comment", "count"],
    types: &[("count", "int")],
    toml: "",
};

fn records() -> [Sample; 3] {
    [
        same("a1", json!({"id": "a1", "name": "jii", "comment": "this is a1", "count": 1})),
        same(
            "a 2",
            json!({"id": "a 2", "name": "h\u{e9}, \u{540d}\u{524d} '\"`", "comment": null, "count": -2147483648}),
        ),
        same("%/\\", json!({"id": "%/\\", "name": "", "comment": "two\nlines", "count": null})),
    ]
}

fn default_of_several(context: &TestContext) {
    shares(context, &RECORD, &records());
}

fn default_of_one(context: &TestContext) {
    shares(
        context,
        &Shared::default(),
        &[same("a", json!("x")), same("b", json!("")), same("c", json!("it's"))],
    );
}

fn immutable(context: &TestContext) {
    shares(context, &Shared { adapter: "immutable", ..RECORD }, &records());
    let one = Shared { adapter: "immutable", ..Shared::default() };
    shares(context, &one, &[same("a", json!({"data": "x"})), same("b", json!({"data": null}))]);
}

fn single(context: &TestContext) {
    let shared = Shared {
        adapter: "single",
        columns: &["value"],
        types: &[("value", "int")],
        ..Shared::default()
    };
    shares(context, &shared, &[same("a", json!(1)), same("b", json!(-7)), same("c", json!(null))]);
}

/// A value that is an array, short ones filled with NULL.
fn array(key: &str, given: Json, whole: Json, tuple: bool) -> Sample {
    let shown = if tuple { json!({"tuple": whole}) } else { whole.clone() };
    Sample { key: json!(key), given, shown, value: whole }
}

fn arrays(context: &TestContext, adapter: &'static str) {
    let shared =
        Shared { adapter, columns: &["x", "y"], types: &[("y", "int")], ..Shared::default() };
    let tuple = adapter == "tuple";
    shares(
        context,
        &shared,
        &[
            array("a", json!(["one", 1]), json!(["one", 1]), tuple),
            array("b", json!(["two"]), json!(["two", null]), tuple),
            array("c", json!([null, 3]), json!([null, 3]), tuple),
        ],
    );
}

fn tuple(context: &TestContext) {
    arrays(context, "tuple");
}

fn list(context: &TestContext) {
    arrays(context, "list");
}

/// The package stores JSON in text columns, where hilcat would use JSON columns.
fn json_in_one_column(context: &TestContext) {
    let shared =
        Shared { adapter: "json", toml: "default_column_type = 'text'", ..Shared::default() };
    shares(
        context,
        &shared,
        &[
            same("a", json!({"list": [1, 2.5, null, true], "nested": {"\u{e9}": "\u{1f600}"}})),
            same("b", json!([])),
            same("c", json!("text")),
            same("d", json!(null)),
            same("e", json!({})),
        ],
    );
}

fn json_in_several_columns(context: &TestContext) {
    let columns = &["x", "y"];
    let shared = Shared {
        adapter: "json",
        columns,
        toml: "default_column_type = 'text'",
        ..Shared::default()
    };
    shares(
        context,
        &shared,
        &[
            same("a", json!({"x": {"deep": [1]}, "y": [null]})),
            same("b", json!({"x": "text", "y": null})),
        ],
    );
}

fn keys_of_several_columns(context: &TestContext) {
    let shared = Shared {
        unique: &["id1", "id2"],
        columns: &["value"],
        types: &[("value", "int")],
        adapter: "single",
        toml: "",
    };
    shares(
        context,
        &shared,
        &[
            same(json!(["d1", "d2"]), json!(3)),
            same(json!(["d1", "d1"]), json!(4)),
            same(json!(["", "x"]), json!(null)),
        ],
    );
}

fn keys_of_integers(context: &TestContext) {
    let shared = Shared { types: &[("id", "int")], ..Shared::default() };
    shares(
        context,
        &shared,
        &[same(7, json!("seven")), same(-1, json!("less")), same(0, json!("none"))],
    );
}

fn partial(context: &TestContext) {
    let mut python = context.program(RECORD.in_python(context));
    python.set("s", &json!("k"), &json!({"name": "jii", "count": 1}));
    let scope = context.scope(&RECORD.in_toml(context, context.policy()));
    scope.set("k", json!({"count": 2})).unwrap();
    python.set("s", &json!("k"), &json!({"comment": "new", "unknown": 1}));
    let expected = json!({"id": "k", "name": "jii", "comment": "new", "count": 2});
    assert_eq!(scope.fetch("k").unwrap(), Some(expected.clone()));
    assert_eq!(python.fetch("s", &json!("k")), expected);
}

/// Python also writes text that is not JSON.
fn text_that_is_not_json_is_an_error(context: &TestContext) {
    let shared =
        Shared { adapter: "json", toml: "default_column_type = 'text'", ..Shared::default() };
    let mut python = context.program(shared.in_python(context));
    python.set("s", &json!("a"), &json!({"n": 1}));
    python.run(&format!("UPDATE {} SET data = '[NaN]'", context.table));
    let scope = context.scope(&shared.in_toml(context, context.policy()));
    let error = scope.fetch("a").unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("data")));
    assert!(!error.to_string().contains("NaN"), "{error}");
}
