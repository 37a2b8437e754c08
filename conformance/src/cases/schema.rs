//! A scope opened with a changed schema: it is upgraded, or refused with the plan, and never misread.

use hilcat::{Change, Column, ColumnType, ErrorKind, Migrate, Result, Schema, Value};

use super::values::every_type;
use super::{Case, case_list};
use crate::context::{TestContext, all_rows, key, pair, row, sorted};
use crate::records::Raw;

pub(crate) const CASES: &[Case] = case_list![Stores:
    an_unchanged_schema_has_an_empty_plan,
    a_nullable_column_is_added,
    a_column_with_a_default_is_added,
    a_column_of_each_type_is_added,
    integers_are_widened,
    other_types_are_widened,
    a_column_is_renamed,
    a_key_column_is_renamed,
    a_column_becomes_nullable,
    another_order_of_columns_is_no_change,
    several_changes_are_applied_at_once,
    a_new_required_column_is_refused,
    a_schema_without_a_required_column_is_refused,
    a_changed_type_is_refused,
    a_narrower_type_is_refused,
    a_changed_key_is_refused,
    a_refused_schema_changes_nothing,
    recreate_drops_the_records,
    recreate_keeps_the_records_if_the_change_is_safe,
    manual_migration_refuses_until_migrate_is_called,
    a_plan_changes_nothing,
];

/// The old schema: a text key, an int and a short text.
pub(crate) fn before(context: &TestContext) -> Schema {
    context
        .schema()
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("n", ColumnType::Int))
        .column(Column::new("name", ColumnType::Varchar(10)).nullable(true))
}

/// The records of the old schema.
pub(crate) fn records() -> [Raw; 3] {
    [
        row(["a".into(), 1.into(), "one".into()]),
        row(["b".into(), i64::from(i32::MIN).into(), Value::Null]),
        row(["c".into(), 3.into(), "".into()]),
    ]
}

/// Writes the records under the old schema, and opens the cache again if it is persistent.
fn old_records(context: &mut TestContext) -> Result<()> {
    context.raw(before(context))?.set_many(records())?;
    context.reopen()
}

/// Checks that the new schema applies, that its plan is empty afterwards, and that the scope has these records.
fn applies<const N: usize>(
    context: &mut TestContext,
    new: Schema,
    expected: [Raw; N],
) -> Result<()> {
    let plan = context.cache.plan(&new)?;
    assert!(plan.is_safe(), "{plan}");
    for _ in 0..2 {
        let scope = context.raw(new.clone())?;
        let plan = context.cache.plan(&new)?;
        assert!(plan.is_empty(), "{plan}");
        assert_eq!(all_rows(&scope)?, sorted(expected.clone()));
        for record in &expected {
            assert_eq!(
                scope.fetch(key(record.0[new.key_positions()[0]].clone()))?.as_ref(),
                Some(record)
            );
        }
        drop(scope);
        context.reopen()?;
    }
    Ok(())
}

/// Checks that the new schema is refused with a plan that contains this text, and that the old records are unchanged.
fn is_refused(context: &mut TestContext, new: Schema, reason: &str) -> Result<()> {
    for _ in 0..2 {
        let plan = context.cache.plan(&new)?;
        assert!(!plan.is_safe(), "{plan}");
        let error = context.raw(new.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
        let text = error.to_string();
        assert!(text.contains(reason), "{reason:?} is missing in: {text}");
        assert!(text.contains(&context.scope), "{text}");
        let error = context.cache.migrate(&new).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
        context.reopen()?;
    }
    let scope = context.raw(before(context))?;
    assert_eq!(all_rows(&scope)?, sorted(records()));
    Ok(())
}

fn with<const N: usize>(values: [Value; N]) -> [Raw; 3] {
    records().map(|record| Raw(record.0.into_iter().chain(values.clone()).collect()))
}

fn an_unchanged_schema_has_an_empty_plan(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let new = before(&context);
    assert!(context.cache.plan(&new)?.is_empty());
    assert!(context.cache.migrate(&new)?.is_empty());
    applies(&mut context, new, records())
}

fn a_nullable_column_is_added(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let new = before(&context).column(Column::new("x", ColumnType::Double).nullable(true));
    let plan = context.cache.plan(&new)?;
    assert!(
        matches!(&plan.steps[..], [step] if matches!(step.change, Change::AddColumn(_))),
        "{plan}"
    );
    applies(&mut context, new.clone(), with([Value::Null]))?;
    let scope = context.raw(new)?;
    scope.set(&row(["a".into(), 2.into(), Value::Absent, 0.5.into()]))?;
    assert_eq!(scope.fetch(key("a"))?, Some(row(["a".into(), 2.into(), "one".into(), 0.5.into()])));
    Ok(())
}

fn a_column_with_a_default_is_added(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let x = Column::new("x", ColumnType::Text).default_value("it's \\ \"new\"");
    let y = Column::new("y", ColumnType::BigInt).nullable(true).default_value(7);
    let new = before(&context).column(x).column(y);
    applies(&mut context, new.clone(), with(["it's \\ \"new\"".into(), 7.into()]))?;
    let scope = context.raw(new)?;
    scope.set(&row(["d".into(), 2.into(), Value::Absent, Value::Absent, Value::Absent]))?;
    let expected = row(["d".into(), 2.into(), Value::Null, "it's \\ \"new\"".into(), 7.into()]);
    assert_eq!(scope.fetch(key("d"))?, Some(expected));
    Ok(())
}

/// The columns are nullable first, then others are added with a default.
fn a_column_of_each_type_is_added(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let columns = every_type();
    let new =
        columns.iter().fold(before(&context), |schema, (column, _)| schema.column(column.clone()));
    let nulls = records().map(|record| {
        Raw(record.0.into_iter().chain(columns.iter().map(|_| Value::Null)).collect())
    });
    applies(&mut context, new.clone(), nulls)?;
    let new = columns.iter().fold(new, |schema, (column, value)| {
        let mut column = Column::new(format!("d{}", column.name), column.ty);
        column.default = Some(value.clone());
        schema.column(column)
    });
    let filled = records().map(|record| {
        let nulls = columns.iter().map(|_| Value::Null);
        let defaults = columns.iter().map(|(_, value)| value.clone());
        Raw(record.0.into_iter().chain(nulls).chain(defaults).collect())
    });
    applies(&mut context, new, filled)
}

fn integers_are_widened(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let mut new = before(&context);
    new.columns_mut()[1].ty = ColumnType::BigInt;
    applies(&mut context, new.clone(), records())?;
    let scope = context.raw(new)?;
    scope.set(&row(["a".into(), i64::MAX.into(), Value::Absent]))?;
    assert_eq!(scope.fetch(key("a"))?, Some(row(["a".into(), i64::MAX.into(), "one".into()])));
    Ok(())
}

fn other_types_are_widened(mut context: TestContext) -> Result<()> {
    let types = [
        (ColumnType::SmallInt, ColumnType::Int, Value::Int(-7), Value::Int(-7)),
        (ColumnType::SmallInt, ColumnType::BigInt, Value::Int(7), Value::Int(7)),
        (ColumnType::Real, ColumnType::Double, 0.1_f32.into(), 0.1_f32.into()),
        (ColumnType::Varchar(5), ColumnType::Varchar(9), "a b ".into(), "a b ".into()),
        (ColumnType::Varchar(5), ColumnType::Text, "007".into(), "007".into()),
        (
            ColumnType::Decimal { precision: 5, scale: 1 },
            ColumnType::Decimal { precision: 8, scale: 3 },
            Value::Decimal("-12.5".into()),
            Value::Decimal("-12.500".into()),
        ),
    ];
    let schema =
        |context: &TestContext, ty: fn(&(ColumnType, ColumnType, Value, Value)) -> ColumnType| {
            let base = context.schema().unique(Column::new("id", ColumnType::Int));
            types.iter().enumerate().fold(base, |schema, (at, row)| {
                schema.column(Column::new(format!("c{at}"), ty(row)))
            })
        };
    let (old, new) = (schema(&context, |row| row.0), schema(&context, |row| row.1));
    let record = |value: fn(&(ColumnType, ColumnType, Value, Value)) -> Value| {
        Raw([1.into()].into_iter().chain(types.iter().map(value)).collect())
    };
    context.raw(old)?.set(&record(|row| row.2.clone()))?;
    context.reopen()?;
    applies(&mut context, new, [record(|row| row.3.clone())])
}

fn a_column_is_renamed(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let mut new = before(&context);
    new.columns_mut()[2] = Column::new("title", ColumnType::Varchar(10)).nullable(true).was("name");
    applies(&mut context, new.clone(), records())?;
    let scope = context.raw(new)?;
    scope.set(&row(["a".into(), 7.into(), Value::Absent]))?;
    assert_eq!(scope.fetch(key("a"))?, Some(row(["a".into(), 7.into(), "one".into()])));
    Ok(())
}

fn a_key_column_is_renamed(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let mut new = before(&context);
    new.columns_mut()[0] = Column::new("code", ColumnType::Text).was("id");
    applies(&mut context, new.clone(), records())?;
    let scope = context.raw(new)?;
    assert_eq!(scope.pop(key("a"))?, Some(records()[0].clone()));
    assert_eq!(scope.len()?, 2);
    Ok(())
}

fn a_column_becomes_nullable(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let mut new = before(&context);
    new.columns_mut()[1].nullable = true;
    applies(&mut context, new.clone(), records())?;
    let scope = context.raw(new)?;
    scope.set(&row(["a".into(), Value::Null, "x".into()]))?;
    assert_eq!(scope.fetch(key("a"))?, Some(row(["a".into(), Value::Null, "x".into()])));
    Ok(())
}

fn another_order_of_columns_is_no_change(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let mut new = before(&context);
    new.columns_mut().reverse();
    new = new.key([2]);
    assert!(context.cache.plan(&new)?.is_empty());
    let reversed = records().map(|mut record| {
        record.0.reverse();
        record
    });
    applies(&mut context, new, reversed)
}

fn several_changes_are_applied_at_once(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let new = context
        .schema()
        .column(Column::new("first", ColumnType::Bool).default_value(true))
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("title", ColumnType::Text).nullable(true).was("name"))
        .column(Column::new("n", ColumnType::BigInt).nullable(true));
    let upgraded = records().map(|record| {
        let [id, n, name] = <[Value; 3]>::try_from(record.0).unwrap();
        row([true.into(), id, name, n])
    });
    applies(&mut context, new, upgraded)
}

fn a_new_required_column_is_refused(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let new = before(&context).column(Column::new("must", ColumnType::Int));
    is_refused(&mut context, new, "add column `must`")
}

fn a_schema_without_a_required_column_is_refused(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let columns = before(&context).columns().to_vec();
    let new = context.schema().unique(columns[0].clone()).column(columns[2].clone());
    is_refused(&mut context, new.clone(), "column `n` of the table")?;
    is_refused(&mut context, new, "dropped = [\"n\"]")
}

fn a_changed_type_is_refused(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let mut new = before(&context);
    new.columns_mut()[1].ty = ColumnType::Text;
    is_refused(&mut context, new, "change column `n`")
}

fn a_narrower_type_is_refused(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let mut new = before(&context);
    new.columns_mut()[1].ty = ColumnType::SmallInt;
    is_refused(&mut context, new.clone(), "change column `n`")?;
    new = before(&context);
    new.columns_mut()[2].ty = ColumnType::Varchar(9);
    is_refused(&mut context, new, "change column `name`")
}

fn a_changed_key_is_refused(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let new = before(&context);
    is_refused(&mut context, new.clone().key([0, 1]), "change the key")?;
    is_refused(&mut context, new.key([1]), "change the key")
}

/// A safe change is not applied together with an unsafe one.
fn a_refused_schema_changes_nothing(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let old = context.raw(before(&context))?;
    let new = before(&context)
        .column(Column::new("fine", ColumnType::Int).nullable(true))
        .column(Column::new("must", ColumnType::Int));
    is_refused(&mut context, new, "add column `must`")?;
    drop(old);
    let scope = context.raw(before(&context))?;
    assert!(context.cache.plan(&before(&context))?.is_empty());
    scope.set(&row(["d".into(), 4.into(), "four".into()]))?;
    assert_eq!(scope.len()?, 4);
    Ok(())
}

fn recreate_drops_the_records(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let new = context.pairs(ColumnType::BigInt, ColumnType::Text).migrate(Migrate::Recreate);
    let scope = context.raw(new.clone())?;
    assert_eq!(all_rows(&scope)?, []);
    scope.set(&pair(1, "x"))?;
    drop(scope);
    context.reopen()?;
    let scope = context.raw(new.clone())?;
    assert_eq!(all_rows(&scope)?, [pair(1, "x")], "the second opening keeps the records");
    assert!(context.cache.plan(&new)?.is_empty());
    Ok(())
}

fn recreate_keeps_the_records_if_the_change_is_safe(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let new = before(&context).column(Column::new("x", ColumnType::Int).nullable(true));
    applies(&mut context, new.migrate(Migrate::Recreate), with([Value::Null]))
}

fn manual_migration_refuses_until_migrate_is_called(mut context: TestContext) -> Result<()> {
    old_records(&mut context)?;
    let new = before(&context).column(Column::new("x", ColumnType::Int).nullable(true));
    let new = new.migrate(Migrate::Manual);
    let error = context.raw(new.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChange, "{error}");
    assert!(error.to_string().contains("add column `x`"), "{error}");
    assert_eq!(context.cache.plan(&new)?.steps.len(), 1);
    let applied = context.cache.migrate(&new)?;
    assert!(
        matches!(&applied.steps[..], [step] if matches!(step.change, Change::AddColumn(_))),
        "{applied}"
    );
    applies(&mut context, new, with([Value::Null]))
}

fn a_plan_changes_nothing(mut context: TestContext) -> Result<()> {
    let tables = context.cache.capabilities().tables;
    let plan = context.cache.plan(&before(&context))?;
    assert_eq!(plan.steps.iter().any(|step| step.change == Change::CreateTable), tables, "{plan}");
    assert!(!context.cache.scopes()?.contains(&context.scope));
    old_records(&mut context)?;
    let new = before(&context).column(Column::new("x", ColumnType::Int).nullable(true));
    for _ in 0..2 {
        assert_eq!(context.cache.plan(&new)?.steps.len(), 1);
    }
    let scope = context.raw(before(&context))?;
    assert_eq!(all_rows(&scope)?, sorted(records()));
    assert!(context.cache.plan(&before(&context))?.is_empty());
    Ok(())
}
