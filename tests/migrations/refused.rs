//! Changes that are refused unless they are requested.

use hilcat::{Column, ColumnType, ErrorKind, Migrate, Schema, Value};
use serde_json::json;

use crate::support::{File, int, null, rows, scope, text};

/// A table with a row that must survive.
fn existing() -> (File, Schema) {
    let file = File::new();
    let schema = Schema::new("a")
        .unique(text("id1"))
        .unique(int("id2"))
        .column(null(Column::new("n", ColumnType::BigInt)))
        .column(text("t"));
    let scope = file.cache().dynamic_with(schema.clone()).unwrap();
    scope.set((json!("x"), json!(1)), json!({"n": 5, "t": "007"})).unwrap();
    file.run("CREATE INDEX by_n ON a (n)");
    (file, schema)
}

/// The change is refused with the plan in the message, by every operation, and changes nothing.
#[track_caller]
fn assert_refused(new: Schema, expected: &str) {
    let (file, _) = existing();
    let before = file.dump();
    let cache = file.cache();
    let errors = [
        cache.dynamic_with(new.clone()).unwrap_err(),
        cache.migrate(&new).unwrap_err(),
        cache.dynamic_with(new.clone().migrate(Migrate::Manual)).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains("scope `a`, table `a`"), "{error}");
        assert!(!error.is_retryable());
    }
    assert!(!cache.plan(&new).unwrap().is_safe());
    assert_eq!(file.dump(), before);
}

#[test]
fn a_missing_required_column() {
    let n = null(Column::new("n", ColumnType::BigInt));
    let new = Schema::new("a").unique(text("id1")).unique(int("id2")).column(n);
    assert_refused(new.clone(), "! column `t` of the table is not in the schema");
    assert_refused(new, "dropped = [\"t\"]");
}

#[test]
fn an_undeclared_rename() {
    let (_, schema) = existing();
    let mut renamed = schema;
    renamed.columns_mut()[2].name = "m".into();
    assert_refused(renamed, "say was = \"n\" of `m` if it is");
}

#[test]
fn a_narrower_or_other_type() {
    for (at, ty, message) in [
        (2, ColumnType::Int, "! change column `n` from bigint to int"),
        (2, ColumnType::Text, "! change column `n` from bigint to text"),
        (3, ColumnType::Varchar(3), "! change column `t` from text to varchar(3)"),
        (3, ColumnType::Json, "! change column `t` from text to json"),
        (3, ColumnType::Bytes, "! change column `t` from text to bytes"),
        (3, ColumnType::UBigInt, "! change column `t` from text to ubigint"),
        (1, ColumnType::Double, "! change column `id2` from int to double"),
    ] {
        let (_, mut schema) = existing();
        schema.columns_mut()[at].ty = ty;
        assert_refused(schema, message);
    }
}

#[test]
fn a_new_column_that_must_have_a_value() {
    let (_, schema) = existing();
    assert_refused(
        schema.column(int("m")),
        "! add column `m` int, which cannot be NULL and has no default",
    );
}

#[test]
fn another_key() {
    let (_, schema) = existing();
    let with_key =
        |key: Schema| key.column(null(Column::new("n", ColumnType::BigInt))).column(text("t"));
    let turned = with_key(Schema::new("a").unique(int("id2")).unique(text("id1")));
    assert_refused(turned, "! change the key from (id1, id2) to (id2, id1)");
    let shorter = with_key(Schema::new("a").unique(text("id1")).column(int("id2")));
    assert_refused(shorter, "! change the key from (id1, id2) to (id1)");
    let longer = schema.unique(int("id3").default_value(0_i32));
    assert_refused(longer, "! change the key from (id1, id2) to (id1, id2, id3)");
}

#[test]
fn safe_steps_wait_for_the_unsafe_ones() {
    let (_, mut schema) = existing();
    schema.columns_mut()[2].ty = ColumnType::Int;
    assert_refused(schema.column(null(int("m"))), "  + add column `m` int");
}

#[test]
fn recreate_drops_the_table_only_if_needed() {
    let (file, schema) = existing();
    let safe = schema.clone().column(null(int("m"))).migrate(Migrate::Recreate);
    let scope = file.cache().dynamic_with(safe).unwrap();
    assert_eq!(scope.len().unwrap(), 1);
    let mut other = schema.migrate(Migrate::Recreate);
    other.columns_mut()[2].ty = ColumnType::Text;
    let cache = file.cache();
    let plan = cache.plan(&other).unwrap();
    assert!(plan.to_string().contains("! drop the table with its records and create it anew"));
    let scope = cache.dynamic_with(other.clone()).unwrap();
    assert_eq!(scope.len().unwrap(), 0);
    assert!(cache.plan(&other).unwrap().is_empty());
    scope.set((json!("x"), json!(1)), json!({"n": "5", "t": "1"})).unwrap();
    assert_eq!(file.cache().dynamic_with(other).unwrap().len().unwrap(), 1);
}

#[test]
fn manual_migrates_only_on_demand() {
    let file = File::new();
    let schema = scope([int("n")]).migrate(Migrate::Manual);
    let cache = file.cache();
    let error = cache.dynamic_with(schema.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange);
    assert!(error.to_string().contains("Cache::migrate"), "{error}");
    assert!(error.to_string().contains("CREATE TABLE \"a\""), "{error}");
    assert!(file.dump().is_empty());

    assert_eq!(cache.migrate(&schema).unwrap().steps.len(), 1);
    cache.dynamic_with(schema.clone()).unwrap().set("x", json!({"n": 1})).unwrap();
    let wider = scope([Column::new("n", ColumnType::BigInt)]).migrate(Migrate::Manual);
    let before = file.dump();
    assert_eq!(cache.dynamic_with(wider.clone()).unwrap_err().kind(), ErrorKind::SchemaChange);
    assert_eq!(file.dump(), before);
    let applied = cache.migrate(&wider).unwrap();
    assert_eq!(applied.steps.len(), 1);
    assert!(cache.plan(&wider).unwrap().is_empty());
    assert!(cache.migrate(&wider).unwrap().is_empty());
    let scope = file.cache().dynamic_with(wider).unwrap();
    assert_eq!(rows(&scope), [vec![Value::Text("x".into()), Value::Int(1)]]);
}

#[test]
fn names_that_differ_only_in_case() {
    let file = File::new();
    let cache = file.cache();
    cache.dynamic_with(scope([int("n")])).unwrap().set("x", json!({"n": 1})).unwrap();
    let before = file.dump();
    let upper = Schema::new("A").unique(text("id")).column(int("n"));
    for error in [
        cache.dynamic_with(upper.clone()).unwrap_err(),
        file.cache().dynamic_with(upper.clone()).unwrap_err(),
        cache.dynamic_with(upper.migrate(Migrate::Recreate)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("`a` and `A` are equal"), "{error}");
    }
    let columns = Schema::new("b").unique(text("id")).column(int("n")).column(int("N"));
    let error = cache.dynamic_with(columns).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`n` and `N` are equal"), "{error}");
    assert_eq!(file.dump(), before);
}

#[test]
fn reserved_names() {
    let file = File::new();
    let cache = file.cache();
    for table in [
        "hilcat_scopes",
        "HILCAT_SCOPES",
        "__diesel_schema_migrations",
        "sqlite_x",
        "SQLite_master",
    ] {
        let error = cache.dynamic_with(scope([int("n")]).table(table)).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidSchema | ErrorKind::Unsupported),
            "{error}"
        );
        assert!(
            error.to_string().contains("reserved") || error.to_string().contains("keeps"),
            "{error}"
        );
    }
    let error = cache.dynamic_with(scope([int("n\0")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(file.dump().is_empty());
}

#[test]
fn a_view_is_not_a_table() {
    let file = File::with("CREATE VIEW a AS SELECT 'x' AS id, 1 AS n");
    for policy in [Migrate::Safe, Migrate::Recreate, Migrate::Manual] {
        let error = file.cache().dynamic_with(scope([int("n")]).migrate(policy)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("`a` is a view"), "{error}");
    }
}
