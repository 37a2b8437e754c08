//! Each safe step, with rows in the table.

use hilcat::{Change, Column, ColumnType, Row, Schema, Value};

use crate::support::{File, int, null, rows, scope, text};

/// Opens a scope with rows under one schema and then under another, and returns the rows and the
/// plan. The plan is empty afterwards.
#[track_caller]
fn upgrade(file: &File, old: Schema, stored: &[Row], new: &Schema) -> (Vec<Row>, Vec<String>) {
    file.cache().dynamic_with(old).unwrap().set_rows(stored.to_vec()).unwrap();
    let cache = file.cache();
    let plan = cache.plan(new).unwrap();
    assert!(plan.is_safe(), "{plan}");
    let scope = cache.dynamic_with(new.clone()).unwrap();
    let again = file.cache().plan(new).unwrap();
    assert!(again.is_empty(), "{again}");
    assert!(cache.plan(new).unwrap().is_empty());
    let changes = plan.steps.iter().map(|step| step.change.to_string()).collect();
    (rows(&scope), changes)
}

fn t(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn a_nullable_column_is_added() {
    let file = File::new();
    let new = scope([int("n"), null(text("m"))]);
    let (rows, changes) = upgrade(&file, scope([int("n")]), &[vec![t("a"), Value::Int(1)]], &new);
    assert_eq!(rows, [vec![t("a"), Value::Int(1), Value::Null]]);
    assert_eq!(changes, ["add column `m` text"]);
}

#[test]
fn a_column_with_a_default_is_added() {
    for (ty, default) in defaults() {
        let file = File::new();
        for nullable in [false, true] {
            let name = if nullable { "m1" } else { "m2" };
            let column = Column::new(name, ty).nullable(nullable).default_value(default.clone());
            let old = scope([int("n")]).table(name);
            let new = scope([int("n"), column]).table(name);
            let stored = [vec![t("a"), Value::Int(1)], vec![t("b"), Value::Int(2)]];
            let (rows, _) = upgrade(&file, old, &stored, &new);
            let expected = [
                vec![t("a"), Value::Int(1), default.clone()],
                vec![t("b"), Value::Int(2), default.clone()],
            ];
            assert_eq!(rows, expected, "{ty}");
        }
    }
}

/// For each type a default that is hard to write as SQL.
fn defaults() -> Vec<(ColumnType, Value)> {
    use ColumnType as Ty;
    vec![
        (Ty::Bool, Value::Bool(true)),
        (Ty::SmallInt, Value::Int(-32_768)),
        (Ty::Int, Value::Int(i64::from(i32::MIN))),
        (Ty::BigInt, Value::Int(i64::MIN)),
        (Ty::BigInt, Value::Int(i64::MAX)),
        (Ty::UBigInt, Value::UInt(u64::MAX)),
        (Ty::Real, Value::Float(f64::from(0.1_f32))),
        (Ty::Double, Value::Float(f64::INFINITY)),
        (Ty::Double, Value::Float(f64::NEG_INFINITY)),
        (Ty::Double, Value::Float(0.1 + 0.2)),
        (Ty::Double, Value::Float(-5e-324)),
        (Ty::Double, Value::Float(f64::MAX)),
        (Ty::Decimal { precision: 20, scale: 3 }, Value::Decimal("-12345678901234567.890".into())),
        (Ty::Text, t("it's \"quoted\"; -- ' || x")),
        (Ty::Text, t("a\0b'c\0")),
        (Ty::Text, t("")),
        (Ty::Text, t("007")),
        (Ty::Text, t("CURRENT_TIMESTAMP")),
        (Ty::Varchar(5), t("é😀\n\t")),
        (Ty::Bytes, Value::Bytes(vec![0, 39, 255])),
        (Ty::Bytes, Value::Bytes(Vec::new())),
        (Ty::Json, Value::Json(Box::new(serde_json::json!({"it's": [1, null, "\u{0}"]})))),
        (Ty::Json, Value::Json(Box::new(serde_json::json!("7")))),
        (Ty::Date, Value::Date(-719_162)),
        (Ty::Time, Value::Time(86_399_999_999)),
        (Ty::Timestamp, Value::Timestamp(-1)),
        (Ty::Uuid, Value::Uuid(*b"0123456789'\"\0cde")),
    ]
}

/// Every pair of types of which the second holds all values of the first, with boundary values.
fn widenings() -> Vec<(ColumnType, ColumnType, Vec<Value>)> {
    use ColumnType as Ty;
    let decimal = |precision, scale| Ty::Decimal { precision, scale };
    let digits = |texts: &[&str]| texts.iter().map(|text| Value::Decimal((*text).into())).collect();
    let ints = |least: i64, most: i64| vec![Value::Int(least), Value::Int(0), Value::Int(most)];
    let small = ints(i64::from(i16::MIN), i64::from(i16::MAX));
    let middle = ints(i64::from(i32::MIN), i64::from(i32::MAX));
    vec![
        (Ty::SmallInt, Ty::Int, small.clone()),
        (Ty::SmallInt, Ty::BigInt, small),
        (Ty::Int, Ty::BigInt, middle),
        (
            Ty::Real,
            Ty::Double,
            vec![
                Value::Float(f64::from(0.1_f32)),
                Value::Float(f64::from(f32::MAX)),
                Value::Float(f64::INFINITY),
                Value::Float(3.0),
            ],
        ),
        (Ty::Varchar(3), Ty::Text, vec![t("007"), t("1e3"), t("é😀x"), t("")]),
        (Ty::Varchar(3), Ty::Varchar(9), vec![t("007"), t("a\0b"), t(" 1 ")]),
        (decimal(5, 0), decimal(8, 2), digits(&["12345", "-1", "0"])),
        (decimal(5, 1), decimal(8, 3), digits(&["2.5", "-1234.5", "0.0"])),
        (decimal(5, 2), decimal(20, 2), digits(&["999.99", "0.01"])),
        (decimal(5, 0), decimal(6, 0), digits(&["12345"])),
    ]
}

/// Returns the equal value of the wider type.
fn widened(value: &Value, ty: ColumnType) -> Value {
    ty.coerce(value.clone()).unwrap()
}

#[test]
fn every_type_is_widened() {
    for (from, to, values) in widenings() {
        assert!(to.widens(from) && from != to);
        let file = File::new();
        let of = |ty| scope([null(Column::new("v", ty)), int("n")]);
        let row = |at: usize, value: Value| vec![t(&format!("k{at}")), value, Value::Int(7)];
        let mut stored: Vec<Row> =
            values.iter().enumerate().map(|(at, value)| row(at, value.clone())).collect();
        stored.push(row(99, Value::Null));
        let (rows, changes) = upgrade(&file, of(from), &stored, &of(to));
        let expected: Vec<Row> = stored
            .iter()
            .map(|row| vec![row[0].clone(), widened(&row[1], to), row[2].clone()])
            .collect();
        assert_eq!(rows, expected, "{from} to {to}");
        assert_eq!(changes, [format!("widen column `v` from {from} to {to}")]);
    }
}

#[test]
fn a_widened_key_is_found() {
    for (from, to, values) in widenings() {
        let file = File::new();
        let of = |ty| Schema::new("a").unique(Column::new("k", ty)).column(int("n"));
        let stored: Vec<Row> = values.iter().map(|key| vec![key.clone(), Value::Int(1)]).collect();
        let (rows, _) = upgrade(&file, of(from), &stored, &of(to));
        assert_eq!(rows.len(), values.len());
        let scope = file.cache().dynamic_with(of(to)).unwrap();
        for key in values {
            let found = scope.exists(hilcat::Key::single(widened(&key, to))).unwrap();
            assert!(found, "{from} to {to}");
        }
    }
}

#[test]
fn a_column_may_become_nullable() {
    let file = File::new();
    let new = scope([null(int("n"))]);
    let (rows, changes) = upgrade(&file, scope([int("n")]), &[vec![t("a"), Value::Int(1)]], &new);
    assert_eq!(
        (rows, changes),
        (vec![vec![t("a"), Value::Int(1)]], vec!["let column `n` be NULL".into()])
    );
    let scope = file.cache().dynamic_with(new).unwrap();
    scope.set_rows([vec![t("b"), Value::Null]]).unwrap();
    assert_eq!(scope.len().unwrap(), 2);
}

#[test]
fn a_column_that_is_no_longer_nullable_needs_no_step() {
    let file = File::new();
    let (_, changes) =
        upgrade(&file, scope([null(int("n"))]), &[vec![t("a"), Value::Int(1)]], &scope([int("n")]));
    assert!(changes.is_empty());
}

#[test]
fn columns_are_renamed() {
    let file = File::new();
    let new = Schema::new("a").unique(text("key").was("id")).column(int("count").was("n"));
    let (rows, changes) = upgrade(&file, scope([int("n")]), &[vec![t("a"), Value::Int(1)]], &new);
    assert_eq!(rows, [vec![t("a"), Value::Int(1)]]);
    assert_eq!(changes, ["rename column `id` to `key`", "rename column `n` to `count`"]);
    // A `was` that stays in the schema has no further effect.
    assert!(file.cache().plan(&new).unwrap().is_empty());
}

#[test]
fn combined_steps_keep_a_users_indexes_and_triggers() {
    let file = File::new();
    let old =
        scope([int("n"), Column::new("price", ColumnType::Decimal { precision: 5, scale: 1 })]);
    file.cache().dynamic_with(old.clone()).unwrap();
    file.run(
        "CREATE TABLE log (line TEXT);
         CREATE INDEX by_n ON a (n) WHERE n > 0;
         CREATE UNIQUE INDEX by_expression ON a (n + 1, id);
         CREATE TRIGGER logged AFTER INSERT ON a BEGIN INSERT INTO log VALUES (new.id || new.n); END;
         CREATE VIEW seen AS SELECT id, n FROM a WHERE n IS NOT NULL;
         CREATE TABLE child (a_id TEXT REFERENCES a (id) ON DELETE CASCADE, x INT);
         CREATE TRIGGER other AFTER INSERT ON child BEGIN UPDATE a SET n = n + 1 WHERE id = new.a_id; END;",
    );
    let new = Schema::new("a")
        .unique(text("key").was("id"))
        .column(null(Column::new("count", ColumnType::BigInt).was("n")))
        .column(Column::new("price", ColumnType::Decimal { precision: 9, scale: 3 }))
        .column(text("odd").default_value("a\0b"))
        .column(text("m").default_value("it's"));
    let stored = [vec![t("a"), Value::Int(5), Value::Decimal("2.5".into())]];
    file.cache().dynamic_with(old.clone()).unwrap().set_rows(stored.to_vec()).unwrap();
    file.run("INSERT INTO child VALUES ('a', 1)");
    let (rows, changes) = upgrade(&file, old, &[], &new);
    let expected =
        vec![t("a"), Value::Int(6), Value::Decimal("2.500".into()), t("a\0b"), t("it's")];
    assert_eq!(rows, [expected]);
    assert_eq!(changes.len(), 7, "{changes:?}");

    let existing = file.query("SELECT * FROM (SELECT type || ' ' || name FROM sqlite_schema WHERE type IN ('index', 'trigger', 'view') AND sql IS NOT NULL ORDER BY 1)");
    assert_eq!(
        existing,
        ["index by_expression", "index by_n", "trigger logged", "trigger other", "view seen"]
    );
    assert_eq!(file.query("SELECT key || count FROM seen"), ["a6"]);
    // No row of another table was deleted with the old table, and its reference still holds.
    assert_eq!(file.query("SELECT a_id || x FROM child"), ["a1"]);
    file.run("INSERT INTO a VALUES ('b', 7, '1.000', '', ''); INSERT INTO child VALUES ('b', 2)");
    assert_eq!(file.query("SELECT line FROM log"), ["a5", "b7"]);
    assert_eq!(file.query("SELECT count FROM a WHERE key = 'b'"), ["8"]);
    file.run("PRAGMA foreign_keys = ON; DELETE FROM a WHERE key = 'b'");
    assert_eq!(file.query("SELECT a_id FROM child"), ["a"]);
}

#[test]
fn steps_are_recorded_one_by_one() {
    let file = File::new();
    let old = scope([int("n")]);
    let new =
        Schema::new("a").unique(text("key").was("id")).column(int("n")).column(null(int("m")));
    upgrade(&file, old, &[], &new);
    let prefix = "0hilcataf63dc4c8601ec8c";
    assert_eq!(
        file.versions(),
        [
            format!("{prefix}000001"),
            format!("{prefix}000002"),
            format!("{prefix}000003"),
            "0hilcatregistry000001".to_owned(),
        ]
    );
}

#[test]
fn the_plan_of_a_new_table_is_empty_for_every_type() {
    let file = File::new();
    let schema = defaults().into_iter().enumerate().fold(
        Schema::new("a").unique(text("id")),
        |schema, (at, (ty, default))| {
            schema
                .column(Column::new(format!("c{at}"), ty))
                .column(null(Column::new(format!("n{at}"), ty)))
                .column(Column::new(format!("d{at}"), ty).default_value(default))
        },
    );
    let plan = file.cache().plan(&schema).unwrap();
    assert!(matches!(plan.steps[..], [ref step] if step.change == Change::CreateTable));
    file.cache().dynamic_with(schema.clone()).unwrap();
    let again = file.cache().plan(&schema).unwrap();
    assert!(again.is_empty(), "{again}");
    // It is also empty without the registry.
    file.run("DELETE FROM hilcat_scopes");
    let again = file.cache().plan(&schema).unwrap();
    assert!(again.is_empty(), "{again}");
}
