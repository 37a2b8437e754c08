//! Random sequences of operations, compared with a model.

use std::collections::BTreeMap;

use hilcat::{Column, ColumnType, ErrorKind, Result, Schema, Scope, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::Storage;
use crate::context::{TestContext, all_keys, all_rows, key, sorted};
use crate::records::{Raw, RawKey};

/// Runs random sequences of operations, each on a fresh storage and on a model, and compares all results.
///
/// # Errors
///
/// The shortest sequence that was found whose results differ, with the difference.
pub fn check_against_model(sequences: u32, fresh: impl Fn() -> Storage) -> Result<(), String> {
    let config = Config { cases: sequences, failure_persistence: None, ..Config::default() };
    let tested = TestRunner::new(config).run(&vec(operation(), 1..60), |operations| {
        let followed = TestContext::open(fresh()).and_then(|context| follow(context, &operations));
        followed.map_err(|error| TestCaseError::fail(error.to_string()))
    });
    tested.map_err(|error| error.to_string())
}

/// What is done. Keys are few, so that operations meet.
#[derive(Debug, Clone)]
enum Operation {
    Set(Raw),
    Update(Raw),
    Get(Raw),
    SetMany(Vec<Raw>),
    Fetch(String),
    Exists(String),
    FetchMany(Vec<String>),
    Pop(String),
    PopMany(Vec<String>),
    List,
    Clear,
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => record().prop_map(Operation::Set),
        4 => record().prop_map(Operation::Update),
        2 => record().prop_map(Operation::Get),
        4 => vec(record(), 0..12).prop_map(Operation::SetMany),
        4 => id().prop_map(Operation::Fetch),
        2 => id().prop_map(Operation::Exists),
        4 => vec(id(), 0..12).prop_map(Operation::FetchMany),
        3 => id().prop_map(Operation::Pop),
        3 => vec(id(), 0..6).prop_map(Operation::PopMany),
        3 => Just(Operation::List),
        1 => Just(Operation::Clear),
        1 => Just(Operation::Reopen),
    ]
}

fn id() -> impl Strategy<Value = String> {
    const FEW: &[&str] = &["a", "A", "a ", "", "7", "007", "\u{e9}", "e\u{301}", "'", "%"];
    prop_oneof![20 => prop::sample::select(FEW).prop_map(String::from), 1 => "[^\0]{0,20}"]
}

/// A record whose columns are often absent, and among them one that a new record needs.
fn record() -> impl Strategy<Value = Raw> {
    let must = prop_oneof![1 => Just(Value::Absent), 3 => any::<i64>().prop_map(Value::Int)];
    let text = || "[^\0]{0,8}".prop_map(Value::Text);
    let can = prop_oneof![Just(Value::Absent), Just(Value::Null), text()];
    let has = prop_oneof![Just(Value::Absent), text()];
    (id(), must, can, has).prop_map(|(id, must, can, has)| Raw(vec![id.into(), must, can, has]))
}

fn schema(context: &TestContext) -> Schema {
    context
        .schema()
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("must", ColumnType::BigInt))
        .column(Column::new("can", ColumnType::Text).nullable(true))
        .column(Column::new("has", ColumnType::Text).default_value("default"))
}

/// What a cache is, in ten lines.
#[derive(Debug, Clone, Default)]
struct Model(BTreeMap<String, Raw>);

impl Model {
    /// Gives what stood there; nothing where the record lacks a value.
    fn set(&mut self, record: &Raw) -> Option<Option<Raw>> {
        let id = id_of(record);
        let absent = Raw(vec![id.clone().into(), Value::Absent, Value::Null, "default".into()]);
        let old = self.0.get(&id).cloned();
        let mut new = record.clone();
        for (new, old) in new.0.iter_mut().zip(&old.as_ref().unwrap_or(&absent).0) {
            if new.is_absent() {
                *new = old.clone();
            }
        }
        if new.0[1].is_absent() {
            return None;
        }
        self.0.insert(id, new);
        Some(old)
    }

    fn set_many(&mut self, records: &[Raw]) -> Option<()> {
        let mut changed = self.clone();
        records.iter().try_for_each(|record| changed.set(record).map(drop))?;
        *self = changed;
        Some(())
    }

    fn fetch_many(&self, ids: &[String]) -> Vec<Option<Raw>> {
        ids.iter().map(|id| self.0.get(id).cloned()).collect()
    }
}

fn id_of(record: &Raw) -> String {
    match &record.0[0] {
        Value::Text(id) => id.clone(),
        other => panic!("{other:?} is no text"),
    }
}

fn keys(ids: &[String]) -> impl Iterator<Item = RawKey> {
    ids.iter().map(|id| key(id.as_str()))
}

fn follow(mut context: TestContext, operations: &[Operation]) -> Result<()> {
    let mut model = Model::default();
    let mut scope = context.raw(schema(&context))?;
    for operation in operations {
        if let Operation::Reopen = operation {
            drop(scope);
            context.reopen()?;
            scope = context.raw(schema(&context))?;
        }
        step(&scope, &mut model, operation)?;
        assert_eq!(scope.len()?, model.0.len() as u64, "after {operation:?}");
    }
    step(&scope, &mut model, &Operation::List)
}

/// One operation on both; their answers are equal.
fn step(scope: &Scope<Raw>, model: &mut Model, operation: &Operation) -> Result<()> {
    match operation {
        Operation::Set(record) => same(scope.set(record), model.set(record).map(drop)),
        Operation::Update(record) => same(scope.update(record), model.set(record)),
        Operation::SetMany(records) => same(scope.set_many(records), model.set_many(records)),
        Operation::Get(record) => {
            let whole = || {
                let values = record.0.iter().map(|value| match value {
                    Value::Absent => Value::Int(0),
                    value => value.clone(),
                });
                let mut values: Vec<Value> = values.collect();
                (values[2], values[3]) = (Value::Null, "computed".into());
                Raw(values)
            };
            let got = scope.get(key(record.0[0].clone()), whole)?;
            assert_eq!(&got, model.0.entry(id_of(record)).or_insert_with(whole));
        }
        Operation::Fetch(id) => {
            assert_eq!(scope.fetch(key(id.as_str()))?.as_ref(), model.0.get(id));
        }
        Operation::Exists(id) => {
            assert_eq!(scope.exists(key(id.as_str()))?, model.0.contains_key(id));
        }
        Operation::FetchMany(ids) => {
            assert_eq!(scope.fetch_many(keys(ids))?, model.fetch_many(ids));
        }
        Operation::Pop(id) => assert_eq!(scope.pop(key(id.as_str()))?, model.0.remove(id)),
        Operation::PopMany(ids) => {
            let expected: Vec<_> = ids.iter().map(|id| model.0.remove(id)).collect();
            assert_eq!(scope.pop_many(keys(ids))?, expected);
        }
        Operation::List => {
            assert_eq!(all_rows(scope)?, sorted(model.0.values().cloned()));
            assert_eq!(all_keys(scope)?, sorted(model.0.keys().map(|id| key(id.as_str()))));
        }
        Operation::Clear => {
            scope.clear()?;
            model.0.clear();
        }
        Operation::Reopen => {}
    }
    Ok(())
}

/// A write does the same to both, or both refuse it.
fn same<T: PartialEq + std::fmt::Debug>(stored: Result<T>, expected: Option<T>) {
    match (stored, expected) {
        (Ok(stored), Some(expected)) => assert_eq!(stored, expected),
        (Err(error), None) => {
            let found = (error.kind(), error.column());
            assert_eq!(found, (ErrorKind::InvalidInput, Some("must")), "{error}");
        }
        (stored, expected) => panic!("{stored:?} where {expected:?} is right"),
    }
}
