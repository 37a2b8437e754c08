//! Handles that are older than a change of the schema.

use hilcat::{Column, ColumnType, Result};

use super::schema::{before, records};
use super::{Case, case_list};
use crate::context::{TestContext, all_rows, key, row, sorted};
use crate::records::{Raw, with_schema};

pub(crate) const CASES: &[Case] =
    case_list![Stores: an_older_handle_never_misreads_a_renamed_column];

pub(crate) const ACROSS_CACHES: &[Case] =
    case_list![Persistent: an_older_handle_works_after_an_upgrade];

/// A handle that was opened before a rename reads the stored values or returns an error; it never reads the renamed column as
/// NULL.
fn an_older_handle_never_misreads_a_renamed_column(context: TestContext) -> Result<()> {
    let old = context.raw(before(&context))?;
    old.set_many(records())?;
    let mut renamed = before(&context);
    renamed.columns_mut()[2] =
        Column::new("title", ColumnType::Varchar(10)).nullable(true).was("name");
    let new = context.raw(renamed)?;
    for record in records() {
        if let Ok(found) = old.fetch(key(record.0[0].clone())) {
            assert_eq!(found, Some(record));
        }
    }
    if let Ok(rows) = all_rows(&old) {
        assert_eq!(rows, sorted(records()));
    }
    if old.set(&row(["a".into(), 5.into(), "five".into()])).is_ok() {
        assert_eq!(new.fetch(key("a"))?, Some(row(["a".into(), 5.into(), "five".into()])));
    }
    assert_eq!(new.len()?, 3);
    Ok(())
}

/// One process has the scope open while another process upgrades it.
fn an_older_handle_works_after_an_upgrade(context: TestContext) -> Result<()> {
    let old = context.raw(before(&context))?;
    old.set_many(records())?;
    let newer = context.another()?;
    let schema = before(&context).column(Column::new("x", ColumnType::Int).nullable(true));
    let new = with_schema(schema, || newer.scope::<Raw>())?;
    new.set(&row(["a".into(), 1.into(), "one".into(), 7.into()]))?;
    assert_eq!(all_rows(&old)?, sorted(records()));
    old.set(&row(["a".into(), 2.into(), "two".into()]))?;
    let kept = row(["a".into(), 2.into(), "two".into(), 7.into()]);
    assert_eq!(new.fetch(key("a"))?, Some(kept), "the unknown column is kept");
    Ok(())
}
