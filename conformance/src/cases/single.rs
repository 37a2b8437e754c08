//! One record at a time, through each of the three handles.

use hilcat::{
    Column, ColumnType, DynScope, ErrorKind, Key, MapScope, Result, Schema, Shape, Value,
};
use serde_json::json;

use super::{Case, case_list};
use crate::context::{TestContext, all_rows, key, pair, row};
use crate::records::{Article, Raw, declared_as};

pub(crate) const CASES: &[Case] = case_list![Stores:
    what_is_set_is_fetched,
    a_second_set_overwrites,
    update_gives_what_it_replaced,
    pop_gives_what_was_there,
    a_missing_key_is_no_error,
    a_set_of_some_columns_keeps_the_others,
    a_new_record_has_its_defaults,
    null_missing_and_default_are_three,
    a_new_record_that_lacks_a_value_is_refused,
    a_value_outside_its_type_is_refused,
    a_key_of_the_wrong_type_is_refused,
    a_wide_map_is_a_map,
    a_struct_is_a_record,
    a_dynamic_record_is_an_object,
    a_dynamic_value_can_be_bare,
    a_dynamic_value_can_be_a_tuple,
    a_dynamic_value_is_checked,
    clear_removes_all,
];

pub(crate) const OF_NOOP: &[Case] = case_list![StoresNothing: nothing_is_stored];

fn what_is_set_is_fetched(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    assert_eq!(scope.fetch(key("a"))?, None);
    assert!(!scope.exists(key("a"))?);
    scope.set(&pair("a", "1"))?;
    scope.set(&pair("b", "2"))?;
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "1")));
    assert_eq!(scope.fetch(key("b"))?, Some(pair("b", "2")));
    assert!(scope.exists(key("a"))? && scope.exists(key("b"))?);
    assert_eq!(scope.len()?, 2);
    Ok(())
}

fn a_second_set_overwrites(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    scope.set(&pair("a", "1"))?;
    scope.set(&pair("a", "2"))?;
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "2")));
    scope.set(&pair("a", Value::Null))?;
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", Value::Null)));
    assert_eq!(scope.len()?, 1);
    Ok(())
}

fn update_gives_what_it_replaced(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    assert_eq!(scope.update(&pair("a", "1"))?, None);
    assert_eq!(scope.update(&pair("a", "2"))?, Some(pair("a", "1")));
    assert_eq!(scope.update(&pair("a", Value::Null))?, Some(pair("a", "2")));
    assert_eq!(scope.update(&pair("a", "3"))?, Some(pair("a", Value::Null)));
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "3")));
    Ok(())
}

fn pop_gives_what_was_there(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    scope.set(&pair("a", "1"))?;
    scope.set(&pair("b", "2"))?;
    assert_eq!(scope.pop(key("a"))?, Some(pair("a", "1")));
    assert_eq!(scope.pop(key("a"))?, None);
    assert_eq!(scope.fetch(key("a"))?, None);
    assert!(!scope.exists(key("a"))?);
    assert_eq!(all_rows(&scope)?, [pair("b", "2")]);
    scope.set(&pair("a", "3"))?;
    assert_eq!(scope.fetch(key("a"))?, Some(pair("a", "3")));
    Ok(())
}

fn a_missing_key_is_no_error(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    assert_eq!(scope.fetch(key("zz"))?, None);
    assert_eq!(scope.pop(key("zz"))?, None);
    assert!(!scope.exists(key("zz"))?);
    assert_eq!(scope.fetch_many([key("y"), key("z")])?, [None, None]);
    assert_eq!(scope.pop_many([key("y"), key("z")])?, [None, None]);
    assert_eq!(scope.len()?, 0);
    Ok(())
}

/// A key, and three columns of which one can be NULL, one has a default, and one has to be given.
fn three(context: &TestContext) -> Schema {
    context
        .schema()
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("must", ColumnType::Int))
        .column(Column::new("can", ColumnType::Text).nullable(true))
        .column(Column::new("has", ColumnType::Text).default_value("default"))
}

fn of_three(id: &str, must: impl Into<Value>, can: impl Into<Value>, has: impl Into<Value>) -> Raw {
    row([id.into(), must.into(), can.into(), has.into()])
}

fn a_set_of_some_columns_keeps_the_others(context: TestContext) -> Result<()> {
    let scope = context.raw(three(&context))?;
    scope.set(&of_three("a", 1, "can", "has"))?;
    scope.set(&of_three("b", 9, "other", "record"))?;
    scope.set(&of_three("a", 2, Value::Absent, Value::Absent))?;
    assert_eq!(scope.fetch(key("a"))?, Some(of_three("a", 2, "can", "has")));
    let old = scope.update(&of_three("a", Value::Absent, "new", Value::Absent))?;
    assert_eq!(old, Some(of_three("a", 2, "can", "has")));
    assert_eq!(scope.fetch(key("a"))?, Some(of_three("a", 2, "new", "has")));
    scope.set(&of_three("a", Value::Absent, Value::Absent, Value::Absent))?;
    assert_eq!(scope.fetch(key("a"))?, Some(of_three("a", 2, "new", "has")));
    assert_eq!(scope.fetch(key("b"))?, Some(of_three("b", 9, "other", "record")));
    Ok(())
}

fn a_new_record_has_its_defaults(context: TestContext) -> Result<()> {
    let scope = context.raw(three(&context))?;
    scope.set(&of_three("a", 1, Value::Absent, Value::Absent))?;
    assert_eq!(scope.fetch(key("a"))?, Some(of_three("a", 1, Value::Null, "default")));
    assert_eq!(scope.update(&of_three("b", 1, Value::Absent, "given"))?, None);
    assert_eq!(scope.fetch(key("b"))?, Some(of_three("b", 1, Value::Null, "given")));
    scope.pop(key("b"))?;
    scope.set(&of_three("b", 2, Value::Absent, Value::Absent))?;
    assert_eq!(scope.fetch(key("b"))?, Some(of_three("b", 2, Value::Null, "default")));
    Ok(())
}

fn null_missing_and_default_are_three(context: TestContext) -> Result<()> {
    let nullable = Column::new("v", ColumnType::Text).nullable(true).default_value("default");
    let schema = context.schema().unique(Column::new("id", ColumnType::Text)).column(nullable);
    let scope = context.raw(schema)?;
    scope.set(&pair("null", Value::Null))?;
    scope.set(&pair("default", Value::Absent))?;
    scope.set(&pair("empty", ""))?;
    assert_eq!(scope.fetch(key("missing"))?, None);
    assert_eq!(scope.fetch(key("null"))?, Some(pair("null", Value::Null)));
    assert_eq!(scope.fetch(key("default"))?, Some(pair("default", "default")));
    assert_eq!(scope.fetch(key("empty"))?, Some(pair("empty", "")));
    scope.set(&pair("null", Value::Absent))?;
    assert_eq!(scope.fetch(key("null"))?, Some(pair("null", Value::Null)));
    Ok(())
}

fn a_new_record_that_lacks_a_value_is_refused(context: TestContext) -> Result<()> {
    let scope = context.raw(three(&context))?;
    scope.set(&of_three("a", 1, "can", "has"))?;
    let lacking = of_three("new", Value::Absent, "can", "has");
    for error in [scope.set(&lacking).unwrap_err(), scope.update(&lacking).unwrap_err()] {
        assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("must")));
    }
    let batch = [of_three("a", 2, "x", "x"), of_three("b", 3, "x", "x"), lacking];
    let error = scope.set_many(&batch).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("must")));
    assert_eq!(all_rows(&scope)?, [of_three("a", 1, "can", "has")]);
    Ok(())
}

fn a_value_outside_its_type_is_refused(context: TestContext) -> Result<()> {
    let decimal = ColumnType::Decimal { precision: 5, scale: 2 };
    let schema = context
        .schema()
        .unique(Column::new("id", ColumnType::Varchar(3)))
        .column(Column::new("small", ColumnType::SmallInt).nullable(true))
        .column(Column::new("int", ColumnType::Int).nullable(true))
        .column(Column::new("real", ColumnType::Real).nullable(true))
        .column(Column::new("decimal", decimal).nullable(true))
        .column(Column::new("short", ColumnType::Varchar(2)).nullable(true))
        .column(Column::new("date", ColumnType::Date).nullable(true))
        .column(Column::new("must", ColumnType::Int).default_value(7));
    let scope = context.raw(schema.clone())?;
    let good = |id: &str| {
        let mut values = vec![Value::Null; 8];
        (values[0], values[7]) = (id.into(), 1.into());
        Raw(values)
    };
    scope.set(&good("old"))?;
    let wrong = [
        (1, Value::Int(40_000)),
        (2, Value::Int(i64::from(i32::MAX) + 1)),
        (2, "7".into()),
        (2, Value::UInt(7)),
        (3, Value::Float(0.1)),
        (4, Value::Decimal("1234.00".into())),
        (4, Value::Decimal("1.234".into())),
        (5, "abc".into()),
        (6, Value::Date(i32::MAX)),
        (7, Value::Null),
    ];
    for (at, value) in wrong {
        for id in ["old", "new"] {
            let mut bad = good(id);
            bad.0[at] = value.clone();
            let errors = [
                scope.set(&bad).unwrap_err(),
                scope.update(&bad).unwrap_err(),
                scope.set_many(&[good("x"), bad.clone()]).unwrap_err(),
                scope.get(key("x"), || bad.clone()).unwrap_err(),
            ];
            for error in errors {
                let column = schema.columns()[at].name.as_str();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{column}: {error}");
                assert_eq!(error.column(), Some(column), "{error}");
            }
        }
    }
    assert_eq!(all_rows(&scope)?, [good("old")]);
    Ok(())
}

fn a_key_of_the_wrong_type_is_refused(context: TestContext) -> Result<()> {
    let scope = context.raw(context.pairs(ColumnType::Int, ColumnType::Text))?;
    scope.set(&pair(1, "one"))?;
    let wrong = [key("1"), key(i64::MAX), key(Value::Null), key(1.0)];
    for wrong in wrong.into_iter().chain([crate::context::key_of([1.into(), 2.into()])]) {
        for error in [
            scope.fetch(&wrong).unwrap_err(),
            scope.exists(&wrong).unwrap_err(),
            scope.pop(&wrong).unwrap_err(),
            scope.fetch_many([&wrong]).unwrap_err(),
            scope.pop_many([&key(1), &wrong]).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong:?}: {error}");
        }
    }
    assert_eq!(all_rows(&scope)?, [pair(1, "one")]);
    Ok(())
}

fn a_wide_map_is_a_map(context: TestContext) -> Result<()> {
    let map: MapScope<(String, i64), Option<String>> = context.cache.map(&context.scope)?;
    map.set(("a", 1), &Some("x".into()))?;
    map.set(("a", 2), &None)?;
    assert_eq!(map.fetch(("a", 1))?, Some(Some("x".into())));
    assert_eq!(map.fetch(("a", 2))?, Some(None));
    assert_eq!(map.fetch(("a", 3))?, None);
    assert!(map.exists(("a", 2))? && !map.exists(("b", 1))?);
    assert_eq!(map.update(("a", 1), &Some("y".into()))?, Some(Some("x".into())));
    assert_eq!(map.get(("b", 1), || Some("new".into()))?, Some("new".into()));
    assert_eq!(map.fetch_many([("b", 1), ("a", 2)])?, [Some(Some("new".into())), Some(None)]);
    assert_eq!(map.len()?, 3);
    let mut keys = map.keys()?.collect::<Result<Vec<_>>>()?;
    keys.sort();
    assert_eq!(keys, [("a".into(), 1), ("a".into(), 2), ("b".into(), 1)]);
    assert_eq!(map.pop(("a", 1))?, Some(Some("y".into())));
    assert_eq!(map.len()?, 2);
    map.clear()?;
    assert_eq!(map.len()?, 0);
    Ok(())
}

fn a_struct_is_a_record(context: TestContext) -> Result<()> {
    let schema = Article::schema_of(&context.scope);
    let scope = declared_as(schema, || context.cache.scope::<Article>())?;
    let article = Article { comment: Some("this is a1".into()), ..Article::new("a1", 1) };
    scope.set(&article)?;
    assert!(scope.exists("a1")? && !scope.exists("a2")?);
    assert_eq!(scope.fetch("a1")?, Some(article.clone()));
    assert_eq!(scope.get("a2", || Article::new("a2", 2))?, Article::new("a2", 2));
    assert_eq!(scope.try_get("a2", || Err::<Article, _>("not called"))?, Article::new("a2", 2));
    assert_eq!(scope.update(&Article::new("a1", 3))?, Some(article));
    let fetched = scope.fetch_many(["a2", "zz", "a1"])?;
    assert_eq!(fetched, [Some(Article::new("a2", 2)), None, Some(Article::new("a1", 3))]);
    let computed = scope.get_many(["a2", "a4"], |missing| {
        assert_eq!(missing, ["a4"]);
        [Article::new("a4", 4)]
    })?;
    assert_eq!(computed, [Article::new("a2", 2), Article::new("a4", 4)]);
    let mut keys = scope.keys()?.collect::<Result<Vec<_>>>()?;
    keys.sort();
    assert_eq!(keys, ["a1", "a2", "a4"]);
    let counts = scope.iter()?.map(|article| Ok(article?.count)).collect::<Result<Vec<_>>>()?;
    assert_eq!(counts.iter().sum::<i32>(), 9);
    assert_eq!(scope.pop("a4")?, Some(Article::new("a4", 4)));
    assert_eq!(scope.pop_many(["a4", "a2"])?, [None, Some(Article::new("a2", 2))]);
    assert_eq!(scope.len()?, 1);
    Ok(())
}

fn a_dynamic_record_is_an_object(context: TestContext) -> Result<()> {
    let scope = context.dynamic(Article::schema_of(&context.scope))?;
    scope.set("a1", json!({"name": "jii", "comment": "this is a1", "count": 1}))?;
    let a1 = json!({"id": "a1", "name": "jii", "comment": "this is a1", "count": 1});
    assert_eq!(scope.fetch("a1")?, Some(a1.clone()));
    scope.set("a1", json!({"count": 2}))?;
    let a1_2 = json!({"id": "a1", "name": "jii", "comment": "this is a1", "count": 2});
    assert_eq!(scope.fetch("a1")?, Some(a1_2.clone()));
    assert_eq!(scope.update("a1", json!({"comment": null}))?, Some(a1_2));
    let a2 = json!({"id": "a2", "name": "x", "comment": null, "count": 3});
    let got = scope.get("a2", || json!({"name": "x", "count": 3}))?;
    assert_eq!(got, a2, "what is computed is completed");
    assert_eq!(scope.fetch("a2")?, Some(a2.clone()));
    scope.set_many([("a3", json!({"name": "n3", "count": 3})), ("a1", json!({"count": 9}))])?;
    let a1 = json!({"id": "a1", "name": "jii", "comment": null, "count": 9});
    let a3 = json!({"id": "a3", "name": "n3", "comment": null, "count": 3});
    assert_eq!(scope.fetch_many(["a3", "zz", "a1"])?, [Some(a3.clone()), None, Some(a1.clone())]);
    let mut keys = scope.keys()?.collect::<Result<Vec<_>>>()?;
    keys.sort_by_key(ToString::to_string);
    assert_eq!(keys, [json!("a1"), json!("a2"), json!("a3")]);
    let mut records = scope.iter()?.collect::<Result<Vec<_>>>()?;
    records.sort_by_key(|record| record["id"].to_string());
    assert_eq!(records, [a1, a2.clone(), a3]);
    assert_eq!(scope.pop("a2")?, Some(a2));
    assert_eq!((scope.exists("a2")?, scope.len()?), (false, 2));
    Ok(())
}

fn a_dynamic_value_can_be_bare(context: TestContext) -> Result<()> {
    let key = |name| Column::new(name, ColumnType::Text).key_only();
    let schema = context.schema().unique(key("id1")).unique(key("id2"));
    let schema = schema.column(Column::new("value", ColumnType::Int)).shape(Shape::Single);
    let d: DynScope = context.dynamic(schema)?;
    d.set(("d1", "d2"), json!(3))?;
    assert_eq!(d.fetch(("d1", "d2"))?, Some(json!(3)));
    assert_eq!(d.fetch(json!(["d1", "d2"]))?, Some(json!(3)));
    assert_eq!(d.keys()?.collect::<Result<Vec<_>>>()?, [json!(["d1", "d2"])]);
    assert_eq!(d.update(("d1", "d2"), json!(4))?, Some(json!(3)));
    assert_eq!(d.get(("d1", "d3"), || json!(5))?, json!(5));
    assert_eq!(d.pop(Key::new(["d1".into(), "d2".into()]))?, Some(json!(4)));
    assert_eq!(d.len()?, 1);
    Ok(())
}

fn a_dynamic_value_can_be_a_tuple(context: TestContext) -> Result<()> {
    let schema = context.schema().unique(Column::new("id", ColumnType::Int).key_only());
    let schema = schema
        .column(Column::new("x", ColumnType::Double))
        .column(Column::new("y", ColumnType::Text).nullable(true))
        .shape(Shape::Tuple);
    let scope = context.dynamic(schema)?;
    scope.set(1, json!([1.5, "y"]))?;
    scope.set(2, json!([2.5]))?;
    scope.set(1, json!([3.5]))?;
    assert_eq!(scope.fetch(1)?, Some(json!([3.5, "y"])));
    assert_eq!(scope.fetch(2)?, Some(json!([2.5, null])));
    Ok(())
}

fn a_dynamic_value_is_checked(context: TestContext) -> Result<()> {
    let scope = context.dynamic(Article::schema_of(&context.scope))?;
    scope.set("a1", json!({"id": "a1", "name": "jii", "count": 1}))?;
    let wrong = [
        (json!({"id": "a2", "name": "x"}), Some("id")),
        (json!({"count": "7"}), Some("count")),
        (json!({"count": 3_000_000_000_u64}), Some("count")),
        (json!({"name": null}), Some("name")),
        (json!({"nmae": "x"}), None),
        (json!(7), None),
    ];
    for (value, column) in wrong {
        let batch = [("a9", json!({"name": "x", "count": 1})), ("a1", value.clone())];
        for error in [
            scope.set("a1", value.clone()).unwrap_err(),
            scope.update("a1", value.clone()).unwrap_err(),
            scope.set_many(batch).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{value}: {error}");
            assert_eq!(error.column(), column, "{value}: {error}");
        }
    }
    let stored = json!({"id": "a1", "name": "jii", "comment": null, "count": 1});
    assert_eq!(scope.iter()?.collect::<Result<Vec<_>>>()?, [stored]);
    Ok(())
}

fn clear_removes_all(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    scope.clear()?;
    scope.set_many((0..100).map(|n: i32| pair(n.to_string(), "x")))?;
    assert_eq!(scope.len()?, 100);
    scope.clear()?;
    assert_eq!(scope.len()?, 0);
    assert_eq!(all_rows(&scope)?, []);
    assert_eq!(scope.fetch(key("7"))?, None);
    scope.set(&pair("7", "y"))?;
    assert_eq!(all_rows(&scope)?, [pair("7", "y")]);
    Ok(())
}

fn nothing_is_stored(context: TestContext) -> Result<()> {
    let scope = context.texts()?;
    scope.set(&pair("a", "1"))?;
    scope.set_many([pair("b", "1")])?;
    assert_eq!(scope.update(&pair("a", "2"))?, None);
    assert_eq!(scope.fetch_many([key("a"), key("b")])?, [None, None]);
    assert_eq!(scope.get(key("a"), || pair("a", "3"))?, pair("a", "3"));
    assert_eq!(scope.get(key("a"), || pair("a", "4"))?, pair("a", "4"));
    assert!(scope.set(&pair("a", 7)).is_err(), "a value is checked all the same");
    assert_eq!((scope.len()?, scope.exists(key("a"))?), (0, false));
    assert_eq!((scope.keys()?.count(), scope.iter()?.count()), (0, 0));
    Ok(())
}
