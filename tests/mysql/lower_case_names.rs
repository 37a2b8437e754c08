//! A server with `lower_case_table_names=1`.

use hilcat::{Column, ColumnType, ErrorKind};
use libtest_mimic::{Completion, Failed};
use mysql::prelude::Queryable;
use serde_json::json;

use crate::server::{Case, PASSED, Server, cases, name, texts};

pub const CASES: &[Case] = cases![
    names_that_differ_only_in_case_are_not_one_scope,
    a_table_name_with_upper_case_is_found_again
];

fn names_that_differ_only_in_case_are_not_one_scope(server: &Server) -> Result<Completion, Failed> {
    let lower = name();
    let upper = format!("M\u{c9}{}", &lower[1..]);
    let folded = upper.to_lowercase();
    for (first, second) in [(&upper, &folded), (&folded, &upper)] {
        server.open().dynamic_with(texts(first))?.set("a", json!({"v": "1"}))?;
        // Also in another cache, which has opened no scope before.
        let cache = server.open();
        for error in [
            cache.dynamic_with(texts(second)).unwrap_err(),
            cache.plan(&texts(second)).unwrap_err(),
            cache.migrate(&texts(second)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidSchema, "{error}");
            let named = format!("`{first}` of the scope `{first}`");
            assert!(error.to_string().contains(&named), "{error}");
        }
        assert_eq!(server.open().dynamic_with(texts(first))?.len()?, 1);
        let mut raw = server.raw();
        raw.query_drop(format!("DROP TABLE `{first}`"))?;
        raw.query_drop(format!("DELETE FROM hilcat_scopes WHERE scope = '{first}'"))?;
    }
    PASSED
}

fn a_table_name_with_upper_case_is_found_again(server: &Server) -> Result<Completion, Failed> {
    let table = format!("A{}", name());
    let schema = texts(&table);
    server.open().dynamic_with(schema.clone())?.set("a", json!({"v": "1"}))?;
    let wider = schema.column(Column::new("n", ColumnType::Int).nullable(true));
    let scope = server.open().dynamic_with(wider.clone())?;
    assert_eq!(scope.fetch("a")?, Some(json!({"id": "a", "v": "1", "n": null})));
    assert!(server.open().plan(&wider)?.is_empty());
    server.raw().query_drop(format!("DROP TABLE `{table}`"))?;
    PASSED
}
