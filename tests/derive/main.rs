//! `#[derive(ScopeRecord)]`, on the memory backend.

#![cfg(feature = "derive")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod attributes;
#[cfg(all(feature = "chrono", feature = "uuid", feature = "rust_decimal"))]
mod types_of_other_crates;

use std::collections::BTreeMap;
use std::fmt::Debug;

use hilcat::{
    Cache, ColumnType, ColumnValue, Error, ErrorKind, IntoKey, Result, Scope, ScopeRecord, Value,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

fn scope<R: ScopeRecord>() -> Scope<R> {
    Cache::memory().scope().unwrap()
}

/// Sets a record, and checks that every method reads it back.
fn assert_round_trip<R>(record: R, key: impl IntoKey<R::Key> + Copy)
where
    R: ScopeRecord + PartialEq + Debug + Clone,
{
    let scope = scope::<R>();
    assert_eq!(scope.fetch(key).unwrap(), None);
    scope.set(&record).unwrap();
    assert_eq!(scope.fetch(key).unwrap().as_ref(), Some(&record));
    assert_eq!(scope.get(key, || unreachable!("it is stored")).unwrap(), record);
    assert_eq!(
        scope.iter().unwrap().collect::<Result<Vec<_>>>().unwrap(),
        std::slice::from_ref(&record)
    );
    assert_eq!(scope.keys().unwrap().count(), 1);
    assert_eq!(scope.pop(key).unwrap(), Some(record));
    assert_eq!(scope.len().unwrap(), 0);
}

/// Returns the names and types of the columns, with `?` after those that can be NULL.
fn columns<R: ScopeRecord>() -> String {
    let schema = R::schema();
    let shown = schema.columns().iter().map(|column| {
        format!("{} {}{}", column.name, column.ty, if column.nullable { "?" } else { "" })
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
struct Scalars {
    #[scope(unique)]
    id: i64,
    truth: bool,
    i_8: i8,
    i_16: i16,
    i_32: i32,
    i_64: i64,
    u_8: u8,
    u_16: u16,
    u_32: u32,
    u_64: u64,
    f_32: f32,
    f_64: f64,
    text: String,
    bytes: Vec<u8>,
    json: serde_json::Value,
}

#[test]
fn scalars_have_their_types_and_round_trip_at_their_limits() {
    assert_eq!(
        columns::<Scalars>(),
        "id bigint, truth bool, i_8 smallint, i_16 smallint, i_32 int, i_64 bigint, \
         u_8 smallint, u_16 int, u_32 bigint, u_64 ubigint, f_32 real, f_64 double, text text, \
         bytes bytes, json json"
    );
    let least = Scalars {
        id: i64::MIN,
        truth: false,
        i_8: i8::MIN,
        i_16: i16::MIN,
        i_32: i32::MIN,
        i_64: i64::MIN,
        u_8: 0,
        u_16: 0,
        u_32: 0,
        u_64: 0,
        f_32: f32::MIN,
        f_64: f64::NEG_INFINITY,
        text: String::new(),
        bytes: Vec::new(),
        json: json!(null),
    };
    assert_round_trip(least, i64::MIN);
    let greatest = Scalars {
        id: i64::MAX,
        truth: true,
        i_8: i8::MAX,
        i_16: i16::MAX,
        i_32: i32::MAX,
        i_64: i64::MAX,
        u_8: u8::MAX,
        u_16: u16::MAX,
        u_32: u32::MAX,
        u_64: u64::MAX,
        f_32: f32::MAX,
        f_64: f64::MAX,
        text: "007 \u{1F980}\u{0}".into(),
        bytes: vec![0, 255],
        json: json!({"a": [1, null, "x"], "b": 1.5}),
    };
    assert_round_trip(greatest, i64::MAX);
}

#[derive(Debug, Clone, PartialEq, Default, ScopeRecord)]
struct Options {
    #[scope(unique)]
    id: u64,
    truth: Option<bool>,
    small: Option<i8>,
    int: Option<i32>,
    big: Option<i64>,
    unsigned: Option<u64>,
    real: Option<f32>,
    double: std::option::Option<f64>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    json: Option<serde_json::Value>,
}

#[test]
fn none_is_null_and_distinct_from_empty() {
    assert_eq!(
        columns::<Options>(),
        "id ubigint, truth bool?, small smallint?, int int?, big bigint?, unsigned ubigint?, \
         real real?, double double?, text text?, bytes bytes?, json json?"
    );
    assert_round_trip(Options { id: u64::MAX, ..Options::default() }, u64::MAX);
    assert_eq!(Options::default().to_row().unwrap()[1..], vec![Value::Null; 10]);
    let some = Options {
        id: 1,
        truth: Some(false),
        small: Some(0),
        int: Some(0),
        big: Some(0),
        unsigned: Some(0),
        real: Some(0.1),
        double: Some(0.1),
        text: Some(String::new()),
        bytes: Some(Vec::new()),
        json: Some(json!({})),
    };
    assert_round_trip(some, 1);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
struct Size {
    width: u32,
    names: BTreeMap<String, Vec<i64>>,
}

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
struct Nested {
    #[scope(unique)]
    id: String,
    #[scope(json)]
    size: Size,
    #[scope(json)]
    perhaps: Option<Size>,
    #[scope(json, default)]
    tags: Vec<String>,
    #[scope(json, default = (1, "x".to_owned()))]
    pair: (u8, String),
}

#[test]
fn any_serde_type_goes_into_one_json_column() {
    assert_eq!(columns::<Nested>(), "id text, size json, perhaps json?, tags json, pair json");
    let schema = Nested::schema();
    let defaults = schema.columns().iter().map(|column| column.default.clone());
    let expected = [None, None, None, Some(json!([]).into()), Some(json!([1, "x"]).into())];
    assert!(defaults.eq(expected));
    let size = Size { width: 7, names: BTreeMap::from([("a".into(), vec![1, -1])]) };
    let nested = Nested {
        id: "n".into(),
        size: size.clone(),
        perhaps: None,
        tags: vec!["t".into()],
        pair: (2, "y".into()),
    };
    let row = nested.to_row().unwrap();
    assert_eq!(row[1], Value::from(json!({"width": 7, "names": {"a": [1, -1]}})));
    assert_eq!(row[2], Value::Null);
    assert_round_trip(nested.clone(), "n");
    assert_round_trip(Nested { perhaps: Some(size), ..nested }, "n");
}

#[test]
fn json_of_another_shape_names_the_column() {
    let mut row = vec!["n".into(), json!({}).into(), Value::Null, json!([]).into(), Value::Null];
    let error = Nested::from_row(row.clone()).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("size")));
    row[1] = json!(Size::default()).into();
    let error = Nested::from_row(row.clone()).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("pair")));
    row[4] = json!([1, "x"]).into();
    assert_eq!(Nested::from_row(row).unwrap().pair, (1, "x".to_owned()));
}

#[test]
fn a_value_that_json_cannot_hold_names_the_column() {
    #[derive(Debug, ScopeRecord)]
    struct Points {
        #[scope(unique)]
        id: i32,
        #[scope(json, column = "by_point")]
        values: BTreeMap<(i32, i32), i32>,
    }
    let points = Points { id: 1, values: BTreeMap::from([((1, 2), 3)]) };
    let error = scope().set(&points).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("by_point")));
    assert_eq!(points.values.len() as i32, points.id);
}

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
struct Route {
    miles: i32,
    #[scope(unique)]
    origin: String,
    #[scope(unique)]
    dest: String,
    #[scope(unique)]
    year: i16,
}

#[test]
fn several_unique_fields_are_a_key_in_field_order() {
    assert_eq!(Route::schema().key_positions(), [1, 2, 3]);
    let route = Route { miles: 2475, origin: "JFK".into(), dest: "LAX".into(), year: 2013 };
    assert_round_trip(route.clone(), ("JFK", "LAX", 2013));
    let routes = scope::<Route>();
    routes.set(&route).unwrap();
    assert_eq!(routes.fetch(("LAX", "JFK", 2013)).unwrap(), None);
    let key: (String, String, i16) = routes.keys().unwrap().next().unwrap().unwrap();
    assert_eq!(routes.fetch(&key).unwrap(), Some(route));
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Color {
    Red,
    Green,
}

impl ColumnValue for Color {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        match self {
            Self::Red => "red",
            Self::Green => "green",
        }
        .into()
    }

    fn from_value(value: Value) -> Result<Self> {
        match String::from_value(value)?.as_str() {
            "red" => Ok(Self::Red),
            "green" => Ok(Self::Green),
            _ => Err(Error::new(ErrorKind::InvalidData, "a color is red or green")),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct UserId(u64);

impl ColumnValue for UserId {
    const TYPE: ColumnType = u64::TYPE;

    fn to_value(&self) -> Value {
        self.0.into()
    }

    fn from_value(value: Value) -> Result<Self> {
        u64::from_value(value).map(Self)
    }
}

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
struct Painted {
    #[scope(unique)]
    by: UserId,
    #[scope(type = "varchar(5)")]
    color: Color,
    other: Option<Color>,
}

#[test]
fn own_types_are_columns_and_keys() {
    assert_eq!(columns::<Painted>(), "by ubigint, color varchar(5), other text?");
    let painted = Painted { by: UserId(7), color: Color::Green, other: Some(Color::Red) };
    assert_round_trip(painted, &UserId(7));
    let error = Painted::from_row(vec![7_u64.into(), "blue".into(), Value::Null]).unwrap_err();
    assert_eq!(error.to_string(), "column `color`: a color is red or green");
}

#[test]
fn a_stored_value_outside_its_field_names_the_column() {
    let mut row =
        Route { miles: 1, origin: "a".into(), dest: "b".into(), year: 1 }.to_row().unwrap();
    row[3] = Value::Int(40_000);
    let error = Route::from_row(row.clone()).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("year")));
    assert!(error.to_string().contains("out of the range of i16"), "{error}");
    row[2] = Value::Null;
    assert_eq!(Route::from_row(row.clone()).unwrap_err().column(), Some("dest"));
    row.pop();
    let error = Route::from_row(row).unwrap_err();
    assert!(error.to_string().contains("3 values for 4 columns"), "{error}");
}

/// Defines a struct with a column for each spelling, and the types that the library reads from them.
macro_rules! spelled {
    ($($field:ident: $rust:ty = $spelling:literal),* $(,)?) => {
        #[derive(ScopeRecord)]
        struct Spelled {
            #[scope(unique)]
            id: i32,
            $(#[scope(type = $spelling)] $field: $rust,)*
        }
        const SPELLINGS: &[&str] = &[$($spelling),*];
    };
}
spelled! {
    a: bool = "boolean", b: bool = "tinyint(1)", c: i16 = "SMALLINT", d: u8 = "int2",
    e: i64 = "integer", f: i32 = "bigint", g: i8 = "int unsigned", h: u64 = "bigint(20) unsigned",
    i: f64 = "float4", j: f32 = "double precision", k: String = "str", l: String = "VarChar( 50 )",
    m: String = "char", n: Vec<u8> = "bytea", o: serde_json::Value = "jsonb",
    p: Option<i64> = "i32", q: Option<String> = "character varying(9)",
}

#[test]
fn the_type_attribute_accepts_the_spellings_of_the_library() {
    let schema = Spelled::schema();
    let types: Vec<ColumnType> = schema.columns().iter().skip(1).map(|column| column.ty).collect();
    let read: Vec<ColumnType> = SPELLINGS.iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(types, read);
    assert_eq!(schema.columns().iter().filter(|column| column.nullable).count(), 2);
}
