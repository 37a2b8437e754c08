//! Every type of column, on every engine.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use diesel::prelude::*;
use hilcat::sql_types::value;
use hilcat::{ColumnType, ColumnValue, ScopeRecord, Value};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Conn, TestContext};
use crate::{Case, cases};

/// The cases of this module.
pub(crate) const CASES: &[Case<TestContext>] = &cases![
    numbers_round_trip_in_both_directions,
    other_types_round_trip_in_both_directions,
    numbers_work_in_expressions,
    other_types_work_in_expressions,
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Link {
    to: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Celsius(f64);

impl ColumnValue for Celsius {
    const TYPE: ColumnType = ColumnType::Double;

    fn to_value(&self) -> Value {
        self.0.to_value()
    }

    fn from_value(value: Value) -> hilcat::Result<Self> {
        f64::from_value(value).map(Self)
    }
}

/// Two records, since Diesel supports tuples of more than sixteen only by a feature.
#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "numbers", diesel)]
struct Numbers {
    #[scope(unique)]
    id: u64,
    small: i8,
    unsigned: u8,
    short: i16,
    unsigned_short: u16,
    int: i32,
    unsigned_int: u32,
    long: i64,
    unsigned_long: Option<u64>,
    float: f32,
    double: f64,
    decimal: Decimal,
    #[scope(type = "decimal(10,2)")]
    money: Option<Decimal>,
    #[scope(type = "double")]
    warm: Celsius,
    #[scope(type = "bigint")]
    wide: i16,
}

fn numbers(id: u64) -> Numbers {
    Numbers {
        id,
        small: i8::MIN,
        unsigned: u8::MAX,
        short: i16::MIN,
        unsigned_short: u16::MAX,
        int: i32::MIN,
        unsigned_int: u32::MAX,
        long: i64::MIN,
        unsigned_long: Some(u64::MAX),
        float: 0.1,
        double: f64::MIN_POSITIVE,
        decimal: "-12.5".parse().unwrap(),
        money: Some("3.5".parse().unwrap()),
        warm: Celsius(36.6),
        wide: i16::MAX,
    }
}

fn sparse_numbers(id: u64) -> Numbers {
    Numbers { unsigned_long: None, money: None, ..numbers(id) }
}

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
#[scope(name = "others", diesel)]
pub(super) struct Others {
    #[scope(unique)]
    id: Uuid,
    bool: bool,
    bytes: Vec<u8>,
    date: NaiveDate,
    time: NaiveTime,
    at: DateTime<Utc>,
    naive: Option<NaiveDateTime>,
    value: serde_json::Value,
    #[scope(json)]
    links: Vec<Link>,
    #[scope(json)]
    meta: Option<Link>,
    text: Option<String>,
}

pub(super) fn others(id: u128) -> Others {
    let at = DateTime::from_timestamp_micros(1_359_609_300_123_456).unwrap();
    Others {
        id: Uuid::from_u128(id),
        bool: true,
        bytes: vec![0, 255],
        date: at.date_naive(),
        time: at.time(),
        at,
        naive: Some(at.naive_utc()),
        value: serde_json::json!({"a": [1, null]}),
        links: vec![Link { to: "é".into() }],
        meta: Some(Link { to: String::new() }),
        text: Some("007".into()),
    }
}

fn sparse_others(id: u128) -> Others {
    Others { naive: None, meta: None, text: None, ..others(id) }
}

fn numbers_round_trip_in_both_directions(context: &TestContext) {
    let stored = context.cache.scope::<Numbers>().unwrap();
    stored.set_many(&[numbers(1), sparse_numbers(2)]).unwrap();
    let found = context.cache.diesel(|connection: &mut Conn| {
        let found = numbers::table.order(numbers::id).load::<Numbers>(connection)?;
        diesel::insert_into(numbers::table)
            .values(&vec![numbers(3), sparse_numbers(u64::MAX)])
            .execute(connection)?;
        QueryResult::Ok(found)
    });
    assert_eq!(found.unwrap(), [numbers(1), sparse_numbers(2)]);
    let inserted = [Some(numbers(3)), Some(sparse_numbers(u64::MAX))];
    assert_eq!(stored.fetch_many([3, u64::MAX]).unwrap(), inserted);
    context.assert_same_on_disk::<Numbers>();
}

fn other_types_round_trip_in_both_directions(context: &TestContext) {
    let stored = context.cache.scope::<Others>().unwrap();
    stored.set_many(&[others(1), sparse_others(2)]).unwrap();
    let found = context.cache.diesel(|connection: &mut Conn| {
        let found = others::table.order(others::id).load::<Others>(connection)?;
        diesel::insert_into(others::table)
            .values(&vec![others(3), sparse_others(4)])
            .execute(connection)?;
        QueryResult::Ok(found)
    });
    assert_eq!(found.unwrap(), [others(1), sparse_others(2)]);
    let ids = [3, 4].map(Uuid::from_u128);
    assert_eq!(stored.fetch_many(ids).unwrap(), [Some(others(3)), Some(sparse_others(4))]);
    context.assert_same_on_disk::<Others>();
}

fn numbers_work_in_expressions(context: &TestContext) {
    let stored = context.cache.scope::<Numbers>().unwrap();
    stored.set_many(&[numbers(1), sparse_numbers(2)]).unwrap();
    let one = numbers(1);
    let found = context.cache.diesel_read(|connection: &mut Conn| {
        numbers::table
            .filter(numbers::id.eq(value(one.id)))
            .filter(numbers::money.eq(value(one.money)))
            .filter(numbers::decimal.eq(value(one.decimal)))
            .filter(numbers::unsigned_long.eq(value(u64::MAX)))
            .filter(numbers::unsigned_int.eq(value(one.unsigned_int)))
            .filter(numbers::warm.gt(value(Celsius(36.0))))
            .filter(numbers::short.lt(0))
            .load::<Numbers>(connection)
    });
    assert_eq!(found.unwrap(), [one]);
}

fn other_types_work_in_expressions(context: &TestContext) {
    let stored = context.cache.scope::<Others>().unwrap();
    stored.set_many(&[others(1), sparse_others(2)]).unwrap();
    let one = others(1);
    let before = one.at - chrono::Duration::microseconds(1);
    let found = context.cache.diesel_read(|connection: &mut Conn| {
        others::table
            .filter(others::id.eq(value(one.id)))
            .filter(others::at.le(value(one.at)).and(others::at.gt(value(before))))
            .filter(others::naive.eq(value(one.naive)))
            .filter(others::date.eq(value(one.date)).and(others::time.eq(value(one.time))))
            .filter(others::bool_.eq(true))
            .filter(others::text.eq("007"))
            .filter(others::bytes.eq(vec![0, 255]))
            .load::<Others>(connection)
    });
    assert_eq!(found.unwrap(), [one]);
}
