//! Versions of a program whose schemas have different columns of one scope, one after another and at the same time: each reads and
//! writes its own columns and keeps the others.

use std::sync::Barrier;
use std::thread;

use hilcat::{Cache, Change, Column, ColumnType, ErrorKind, Migrate, Result, Schema, Value};
use serde_json::json;

use super::{Case, case_list};
use crate::context::{TestContext, all_rows, join, key, row, sorted};
use crate::records::{Raw, with_schema};

pub(crate) const CASES: &[Case] = case_list![Stores:
    an_older_version_can_open_the_scope_again,
    an_older_version_writes_defaults,
    an_older_version_can_open_the_scope_again_under_manual_migration,
    a_dynamic_scope_keeps_unknown_columns,
    dropping_a_column_keeps_the_records,
    dropping_a_missing_column_changes_nothing,
    a_possible_rename_is_refused,
    a_kept_column_does_not_count_as_a_rename,
    one_table_for_two_scopes_is_refused,
    a_refusal_names_a_way_that_works,
];

pub(crate) const ACROSS_CACHES: &[Case] = case_list![Persistent:
    programs_with_different_columns_keep_the_values_of_each_other,
    two_versions_can_write_at_once,
    of_two_scopes_that_claim_one_table_one_is_refused,
    a_dropped_column_is_ignored_by_an_open_handle,
];

fn text(name: &str) -> Column {
    Column::new(name, ColumnType::Text)
}

/// The schema of the older version.
fn v1(context: &TestContext) -> Schema {
    context.schema().unique(text("id")).column(text("name"))
}

/// The schema of the newer version.
fn v2(context: &TestContext) -> Schema {
    v1(context).column(text("extra").nullable(true))
}

fn old(id: &str, name: &str) -> Raw {
    row([id.into(), name.into()])
}

fn new(id: &str, name: &str, extra: impl Into<Value>) -> Raw {
    row([id.into(), name.into(), extra.into()])
}

/// The two versions open the scope and write in turns.
fn in_turns(context: &mut TestContext, (v1, v2): (Schema, Schema)) -> Result<()> {
    let scope = context.raw(v2.clone())?;
    scope.set_many((0..6).map(|at| new(&format!("k{at}"), "two", format!("e{at}"))))?;
    drop(scope);
    context.reopen()?;

    let plan = context.cache.plan(&v1)?;
    assert!(plan.is_empty(), "{plan}");
    let scope = context.raw(v1.clone())?;
    let read = (0..6).map(|at| old(&format!("k{at}"), "two"));
    assert_eq!(all_rows(&scope)?, sorted(read));
    assert_eq!(scope.fetch(key("k0"))?, Some(old("k0", "two")));
    scope.set(&old("k0", "one"))?;
    assert_eq!(scope.update(&old("k1", "one"))?, Some(old("k1", "two")));
    scope.set_many([old("k2", "one"), old("n0", "one")])?;
    scope.set(&row(["k3".into(), Value::Absent]))?;
    assert_eq!(scope.pop(key("k4"))?, Some(old("k4", "two")));
    scope.set(&old("k4", "one"))?;
    scope.set(&old("n1", "one"))?;
    drop(scope);
    context.reopen()?;

    let plan = context.cache.plan(&v2)?;
    assert!(plan.is_empty(), "{plan}");
    let scope = context.raw(v2)?;
    let expected = [
        new("k0", "one", "e0"),
        new("k1", "one", "e1"),
        new("k2", "one", "e2"),
        new("k3", "two", "e3"),
        new("k4", "one", Value::Null),
        new("k5", "two", "e5"),
        new("n0", "one", Value::Null),
        new("n1", "one", Value::Null),
    ];
    assert_eq!(all_rows(&scope)?, sorted(expected));
    scope.clear()?;
    drop(scope);
    context.reopen()
}

fn an_older_version_can_open_the_scope_again(mut context: TestContext) -> Result<()> {
    let versions = (v1(&context), v2(&context));
    context.raw(versions.0.clone())?.set(&old("k0", "one"))?;
    context.reopen()?;
    in_turns(&mut context, versions.clone())?;
    in_turns(&mut context, versions)
}

fn an_older_version_writes_defaults(mut context: TestContext) -> Result<()> {
    let v1 = v1(&context);
    let v2 = v1.clone().column(Column::new("extra", ColumnType::Int).default_value(7));
    context.raw(v1.clone())?.set(&old("a", "one"))?;
    context.reopen()?;
    context.raw(v2.clone())?.set(&new("b", "two", 8))?;
    context.reopen()?;
    let scope = context.raw(v1)?;
    scope.set_many([old("b", "one"), old("c", "one")])?;
    assert_eq!(scope.get(key("d"), || old("d", "got"))?, old("d", "got"));
    drop(scope);
    context.reopen()?;
    let expected = [new("a", "one", 7), new("b", "one", 8), new("c", "one", 7), new("d", "got", 7)];
    assert_eq!(all_rows(&context.raw(v2)?)?, sorted(expected));
    Ok(())
}

fn an_older_version_can_open_the_scope_again_under_manual_migration(
    mut context: TestContext,
) -> Result<()> {
    let (v1, v2) = (v1(&context), v2(&context));
    context.raw(v1.clone())?.set(&old("k0", "one"))?;
    context.reopen()?;
    let manual = v2.migrate(Migrate::Manual);
    context.raw(manual.clone()).unwrap_err();
    context.cache.migrate(&manual)?;
    context.reopen()?;
    in_turns(&mut context, (v1.migrate(Migrate::Manual), manual))
}

/// The schemas are dynamic, as those from TOML.
fn a_dynamic_scope_keeps_unknown_columns(mut context: TestContext) -> Result<()> {
    let (v1, v2) = (v1(&context), v2(&context));
    let scope = context.dynamic(v2.clone())?;
    scope.set("a", json!({"id": "a", "name": "two", "extra": "e"}))?;
    drop(scope);
    context.reopen()?;
    let scope = context.dynamic(v1)?;
    assert_eq!(scope.fetch("a")?, Some(json!({"id": "a", "name": "two"})));
    scope.set("a", json!({"id": "a", "name": "one"}))?;
    drop(scope);
    context.reopen()?;
    let kept = json!({"id": "a", "name": "one", "extra": "e"});
    assert_eq!(context.dynamic(v2)?.fetch("a")?, Some(kept));
    Ok(())
}

/// Neither program knows all columns.
fn programs_with_different_columns_keep_the_values_of_each_other(
    mut context: TestContext,
) -> Result<()> {
    let a = context.schema().unique(text("id")).column(text("a").nullable(true));
    let b = context.schema().unique(text("id")).column(text("b").nullable(true)).keep(["a"]);
    context.raw(a.clone())?.set(&old("x", "ax"))?;
    context.reopen()?;
    for turn in 0..3 {
        let scope = context.raw(b.clone())?;
        assert_eq!(scope.fetch(key("x"))?.map(|row| row.0[1].is_null()), Some(turn == 0));
        scope.set_many([old("x", "bx"), old("y", "by")])?;
        assert_eq!(scope.len()?, 2);
        drop(scope);
        context.reopen()?;
        let scope = context.raw(a.clone())?;
        let y = if turn == 0 { Value::Null } else { "ay".into() };
        assert_eq!(all_rows(&scope)?, sorted([old("x", "ax"), row(["y".into(), y])]));
        scope.set(&old("y", "ay"))?;
        drop(scope);
        context.reopen()?;
        for schema in [&a, &b] {
            let plan = context.cache.plan(schema)?;
            assert!(plan.is_empty(), "{plan}");
        }
    }
    let both = context.schema().unique(text("id"));
    let both = both.column(text("a").nullable(true)).column(text("b").nullable(true));
    let expected = [new("x", "ax", "bx"), new("y", "ay", "by")];
    assert_eq!(all_rows(&context.raw(both)?)?, sorted(expected));
    Ok(())
}

fn dropping_a_column_keeps_the_records(mut context: TestContext) -> Result<()> {
    let required = context.schema().unique(text("id")).column(text("name")).column(text("gone"));
    context.raw(required.clone())?.set_many([new("a", "one", "x"), new("b", "two", "y")])?;
    context.reopen()?;
    let dropped = v1(&context).dropped(["gone"]);
    let plan = context.cache.plan(&dropped)?;
    assert!(
        matches!(&plan.steps[..], [step] if step.change == Change::DropColumn("gone".into())),
        "{plan}"
    );
    for turn in 0..2 {
        let scope = context.raw(dropped.clone())?;
        assert!(context.cache.plan(&dropped)?.is_empty());
        let a = if turn == 0 { "one" } else { "new" };
        assert_eq!(all_rows(&scope)?, sorted([old("a", a), old("b", "two")]));
        scope.set(&old("a", "new"))?;
        drop(scope);
        context.reopen()?;
    }
    // For a schema without the column nothing is left to do; for one with it, the column is new.
    assert!(context.cache.plan(&v1(&context))?.is_empty());
    assert_eq!(context.raw(v1(&context))?.len()?, 2);
    context.reopen()?;
    let plan = context.cache.plan(&required)?;
    assert!(
        matches!(&plan.steps[..], [step] if matches!(step.change, Change::AddRequiredColumn(_))),
        "{plan}"
    );
    Ok(())
}

fn dropping_a_missing_column_changes_nothing(mut context: TestContext) -> Result<()> {
    context.raw(v1(&context))?.set(&old("a", "one"))?;
    context.reopen()?;
    let dropped = v1(&context).dropped(["never", "there"]);
    assert!(context.cache.plan(&dropped)?.is_empty());
    assert_eq!(context.raw(dropped.clone())?.fetch(key("a"))?, Some(old("a", "one")));
    context.reopen()?;
    assert!(context.cache.plan(&dropped)?.is_empty());
    Ok(())
}

fn a_possible_rename_is_refused(mut context: TestContext) -> Result<()> {
    context.raw(v2(&context))?.set(&new("a", "one", "x"))?;
    context.reopen()?;
    let renamed = v1(&context).column(text("title").nullable(true));
    for migrate in [Migrate::Safe, Migrate::Manual] {
        let error = context.raw(renamed.clone().migrate(migrate)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
        let error = error.to_string();
        for way in ["was = \"extra\"", "dropped = [\"extra\"]", "keep = [\"extra\"]", "`title`"] {
            assert!(error.contains(way), "`{way}` is missing in: {error}");
        }
        context.cache.migrate(&renamed).unwrap_err();
        context.reopen()?;
    }
    assert!(context.cache.plan(&v2(&context))?.is_empty(), "the refused opening changed nothing");
    assert_eq!(all_rows(&context.raw(v2(&context))?)?, [new("a", "one", "x")]);
    context.reopen()?;

    let mut declared = v2(&context);
    declared.columns_mut()[2] = text("title").nullable(true).was("extra");
    assert_eq!(all_rows(&context.raw(declared)?)?, [new("a", "one", "x")]);
    Ok(())
}

fn a_kept_column_does_not_count_as_a_rename(mut context: TestContext) -> Result<()> {
    context.raw(v2(&context))?.set(&new("a", "one", "x"))?;
    context.reopen()?;
    let kept = v1(&context).column(text("title").nullable(true)).keep(["extra"]);
    let plan = context.cache.plan(&kept)?;
    assert!(
        matches!(&plan.steps[..], [step] if matches!(step.change, Change::AddColumn(_))),
        "{plan}"
    );
    let scope = context.raw(kept.clone())?;
    assert_eq!(scope.fetch(key("a"))?, Some(new("a", "one", Value::Null)));
    scope.set(&new("a", "new", "t"))?;
    drop(scope);
    context.reopen()?;
    assert!(context.cache.plan(&kept)?.is_empty());
    let scope = context.raw(v2(&context))?;
    assert_eq!(scope.fetch(key("a"))?, Some(new("a", "new", "x")));
    scope.set(&new("a", "newer", "y"))?;
    drop(scope);
    context.reopen()?;
    assert_eq!(context.raw(kept)?.fetch(key("a"))?, Some(new("a", "newer", "t")));
    Ok(())
}

fn one_table_for_two_scopes_is_refused(mut context: TestContext) -> Result<()> {
    if context.has_shared_tables() {
        return Ok(());
    }
    let table = format!("{}_table", context.scope);
    let first = v1(&context).table(&table);
    context.raw(first.clone())?.set(&old("a", "one"))?;
    let second = v2(&context).table(&table).renamed(format!("{}_other", context.scope));
    for _ in 0..2 {
        let refused = [
            context.raw(second.clone()).unwrap_err(),
            context.raw(second.clone().migrate(Migrate::Manual)).unwrap_err(),
            context.cache.plan(&second).unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::InvalidSchema, "{error}");
            let names = format!("{}`; choose another one by `table`", context.scope);
            assert!(error.to_string().contains(&names), "{error}");
        }
        assert!(!context.cache.scopes()?.contains(&second.name().to_owned()));
        context.reopen()?;
        assert_eq!(all_rows(&context.raw(first.clone())?)?, [old("a", "one")]);
    }
    Ok(())
}

/// Under `manual`, the message names the command for safe steps, and for other steps a policy under which the command applies
/// them; both work.
fn a_refusal_names_a_way_that_works(mut context: TestContext) -> Result<()> {
    let manual = |schema: Schema| schema.migrate(Migrate::Manual);
    context.raw(v1(&context))?.set(&old("a", "one"))?;
    context.reopen()?;
    let safe = manual(v2(&context));
    let error = context.raw(safe.clone()).unwrap_err().to_string();
    assert!(error.contains("`hilcat --cache URI --schemas PATH migrate`"), "{error}");
    assert!(error.contains("Cache::migrate"), "{error}");
    context.cache.migrate(&safe)?;
    context.reopen()?;
    assert_eq!(all_rows(&context.raw(safe)?)?, [new("a", "one", Value::Null)]);
    context.reopen()?;

    let mut lossy = v2(&context);
    lossy.columns_mut()[1].ty = ColumnType::Int;
    for error in [
        context.raw(manual(lossy.clone())).unwrap_err(),
        context.cache.migrate(&manual(lossy.clone())).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("set migrate = \"recreate\" in the schema"), "{error}");
        assert!(!error.contains("the schema's policy is manual"), "{error}");
    }
    context.cache.migrate(&lossy.clone().migrate(Migrate::Recreate))?;
    context.reopen()?;
    assert_eq!(all_rows(&context.raw(lossy)?)?, []);
    Ok(())
}

/// Both versions are open at the same time, each with its own cache.
fn two_versions_can_write_at_once(context: TestContext) -> Result<()> {
    let (v1, v2) = (v1(&context), v2(&context));
    let newer = context.another()?;
    let both = with_schema(v2.clone(), || newer.scope::<Raw>())?;
    both.set(&new("a", "two", "x"))?;
    let known = context.raw(v1)?;
    for round in 0..5 {
        let (name, extra) = (format!("name {round}"), format!("extra {round}"));
        known.set(&old("a", &name))?;
        known.set_many([old("b", &name)])?;
        let b = if round == 0 { Value::Null } else { format!("extra {}", round - 1).into() };
        let a = if round == 0 { "x".to_owned() } else { format!("extra {}", round - 1) };
        assert_eq!(both.fetch(key("a"))?, Some(new("a", &name, a)), "round {round}");
        assert_eq!(both.fetch(key("b"))?, Some(new("b", &name, b)), "round {round}");
        both.set_many([new("a", "two", extra.clone()), new("b", "two", extra)])?;
        let read = [old("a", "two"), old("b", "two")];
        assert_eq!(all_rows(&known)?, sorted(read));
    }
    Ok(())
}

/// Two programs open scopes with one table at the same moment: one succeeds, the other gets an error.
fn of_two_scopes_that_claim_one_table_one_is_refused(context: TestContext) -> Result<()> {
    if context.has_shared_tables() {
        return Ok(());
    }
    let other = context.another()?;
    for round in 0..6 {
        let table = format!("{}_table{round}", context.scope);
        let begin = Barrier::new(2);
        let open = |cache: &Cache, name: &str| {
            let name = format!("{}_{name}{round}", context.scope);
            let schema = v1(&context).table(&table).renamed(name);
            begin.wait();
            cache.dynamic_with(schema).map(drop)
        };
        let (a, b) = thread::scope(|threads| {
            let b = threads.spawn(|| open(&other, "b"));
            (open(&context.cache, "a"), join(b))
        });
        let error = match (a, b) {
            (Ok(()), Err(error)) | (Err(error), Ok(())) => error,
            both => panic!("round {round}: {both:?}"),
        };
        assert_eq!(error.kind(), ErrorKind::InvalidSchema, "{error}");
    }
    Ok(())
}

/// A version that knows the column continues to work while another version drops the column.
fn a_dropped_column_is_ignored_by_an_open_handle(context: TestContext) -> Result<()> {
    let (v1, v2) = (v1(&context).dropped(["extra"]), v2(&context));
    let knows = context.raw(v2)?;
    knows.set(&new("a", "two", "x"))?;
    let dropping = context.another()?;
    let drops = with_schema(v1, || dropping.scope::<Raw>())?;
    assert_eq!(drops.fetch(key("a"))?, Some(old("a", "two")));
    knows.set(&new("a", "two", "y"))?;
    assert_eq!(drops.fetch(key("a"))?, Some(old("a", "two")));
    assert_eq!(knows.fetch(key("a"))?.map(|row| row.0[1].clone()), Some("two".into()));
    drops.set(&old("a", "one"))?;
    assert_eq!(knows.fetch(key("a"))?.map(|row| row.0[1].clone()), Some("one".into()));
    Ok(())
}
