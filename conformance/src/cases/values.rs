//! Values come back as they went in.

use hilcat::{Column, ColumnType, ErrorKind, Result, Schema, Schemas, Value};
use serde_json::{Value as Json, json};

use super::{Case, case_list};
use crate::context::{TestContext, all_rows, key, pair, sorted};
use crate::records::Raw;

pub(crate) const CASES: &[Case] = case_list![Stores:
    bools,
    integers,
    unsigned_integers,
    a_negative_zero,
    doubles,
    reals,
    floats_that_are_no_numbers,
    decimals,
    texts,
    text_with_the_character_nul,
    bytes,
    a_megabyte,
    json_values,
    dates,
    times,
    timestamps,
    uuids,
    a_record_of_every_type,
    one_verdict_for_every_source,
    times_are_cut_to_microseconds,
];

/// Stores values of a type, and sees that every way of reading gives them back.
fn values_of(context: &TestContext, name: &str, ty: ColumnType, values: &[Value]) -> Result<()> {
    let name = format!("{}{name}", context.scope);
    let schema = context.pairs(ColumnType::BigInt, ty).renamed(&name).table(&name);
    let scope = context.raw(schema)?;
    let values: Vec<Value> = values.iter().cloned().chain([Value::Null]).collect();
    let records: Vec<Raw> =
        values.into_iter().zip(0_i64..).map(|(value, id)| pair(id, value)).collect();
    let (one_by_one, together) = records.split_at(records.len() / 2);
    one_by_one.iter().try_for_each(|record| scope.set(record))?;
    scope.set_many(together)?;
    let ids = || (0..records.len() as i64).map(key);
    for (id, record) in ids().zip(&records) {
        assert_eq!(scope.fetch(id)?.as_ref(), Some(record), "{ty}");
    }
    let expected: Vec<_> = records.iter().cloned().map(Some).collect();
    assert_eq!(scope.fetch_many(ids())?, expected, "{ty}");
    assert_eq!(all_rows(&scope)?, sorted(records.clone()), "{ty}");
    for (record, expected) in records.iter().zip(&expected) {
        assert_eq!(scope.update(record)?, *expected, "{ty}");
    }
    assert_eq!(scope.pop(key(0))?, expected[0], "{ty}");
    assert_eq!(scope.pop_many(ids())?[1..], expected[1..], "{ty}");
    Ok(())
}

fn bools(context: TestContext) -> Result<()> {
    values_of(&context, "", ColumnType::Bool, &[true.into(), false.into()])
}

fn integers(context: TestContext) -> Result<()> {
    let ints = |ints: &[i64]| ints.iter().map(|&v| Value::Int(v)).collect::<Vec<_>>();
    let wide = ints(&[0, 1, -1, i64::MIN, i64::MAX, i64::MIN + 1, 1 << 53, (1 << 53) + 1]);
    values_of(&context, "b", ColumnType::BigInt, &wide)?;
    values_of(&context, "i", ColumnType::Int, &ints(&[0, 1, i32::MIN.into(), i32::MAX.into()]))?;
    values_of(
        &context,
        "s",
        ColumnType::SmallInt,
        &ints(&[0, -1, i16::MIN.into(), i16::MAX.into()]),
    )
}

fn unsigned_integers(context: TestContext) -> Result<()> {
    let limit = i64::MAX as u64;
    let values = [0, 1, limit, limit + 1, limit + 2, u64::MAX - 1, u64::MAX];
    values_of(&context, "", ColumnType::UBigInt, &values.map(Value::UInt))
}

/// It equals zero, so that is what it may come back as.
fn a_negative_zero(context: TestContext) -> Result<()> {
    let able = context.cache.capabilities().negative_zero;
    let scope = context.raw(context.pairs(ColumnType::BigInt, ColumnType::Double))?;
    scope.set(&pair(1, Value::Float(-0.0)))?;
    let stored = scope.fetch(key(1))?;
    let Some(Value::Float(zero)) = stored.as_ref().map(|row| &row.0[1]) else {
        panic!("{stored:?}")
    };
    assert_eq!(*zero, 0.0);
    assert_eq!(zero.is_sign_negative(), able);
    Ok(())
}

fn doubles(context: TestContext) -> Result<()> {
    let values = [
        0.0,
        1.0,
        -1.5,
        0.1 + 0.2,
        0.3,
        1.0 / 3.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        f64::EPSILON,
        1e15,
        1e16,
        9_007_199_254_740_993.0,
        123_456_789.123_456_78,
        1e300,
        -1e-300,
    ];
    values_of(&context, "", ColumnType::Double, &values.map(Value::Float))
}

fn reals(context: TestContext) -> Result<()> {
    let values =
        [0.0, 0.1_f32, 1.0 / 3.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, 16_777_217.0];
    values_of(&context, "", ColumnType::Real, &values.map(Value::from))
}

/// Stored exactly, or refused with nothing changed.
fn floats_that_are_no_numbers(context: TestContext) -> Result<()> {
    let scope = context.raw(context.pairs(ColumnType::BigInt, ColumnType::Double))?;
    let able = context.cache.capabilities().nan;
    let mut stored = vec![pair(0, 0.5)];
    scope.set(&stored[0])?;
    for (id, value) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().enumerate() {
        let record = pair(id as i64 + 1, value);
        match scope.set(&record) {
            Ok(()) => stored.push(record),
            Err(error) => {
                assert!(!(able && value.is_nan()), "{error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                let over = scope.update(&pair(0, value)).unwrap_err();
                assert_eq!(over.kind(), ErrorKind::Unsupported, "{over}");
                let many = scope.set_many([pair(90, 1.0), record]).unwrap_err();
                assert_eq!(many.kind(), ErrorKind::Unsupported, "{many}");
            }
        }
    }
    assert_eq!(all_rows(&scope)?, sorted(stored));
    Ok(())
}

fn decimals(context: TestContext) -> Result<()> {
    let texts =
        |texts: &[&str]| texts.iter().map(|&v| Value::Decimal(v.into())).collect::<Vec<_>>();
    let money = ColumnType::Decimal { precision: 10, scale: 2 };
    let values =
        texts(&["0.00", "0.10", "-0.01", "12.50", "99999999.99", "-99999999.99", "1000000.00"]);
    values_of(&context, "m", money, &values)?;
    let wide = ColumnType::Decimal { precision: 38, scale: 9 };
    let values = texts(&["12345678901234567890123456789.123456789", "-0.000000001", "0.100000000"]);
    values_of(&context, "w", wide, &values)?;
    let whole = ColumnType::Decimal { precision: 30, scale: 0 };
    values_of(&context, "i", whole, &texts(&["0", "-7", "123456789012345678901234567890"]))
}

fn texts(context: TestContext) -> Result<()> {
    let values: Vec<Value> = super::keys::HOSTILE.iter().map(|&text| text.into()).collect();
    values_of(&context, "", ColumnType::Text, &values)?;
    let short = ["", "a", "a ", "\u{e9}\u{1f600}", "007", "7.0", "NULL", "1e5"].map(Value::from);
    values_of(&context, "v", ColumnType::Varchar(4), &short)
}

fn text_with_the_character_nul(context: TestContext) -> Result<()> {
    if context.cache.capabilities().nul_in_text {
        let values = ["\0", "a\0b", "a\0", "\0\0"].map(Value::from);
        return values_of(&context, "", ColumnType::Text, &values);
    }
    let scope = context.texts()?;
    scope.set(&pair("a", "1"))?;
    for error in [
        scope.set(&pair("a", "x\0y")).unwrap_err(),
        scope.update(&pair("b", "\0")).unwrap_err(),
        scope.set_many([pair("c", "fine"), pair("a", "\0")]).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(all_rows(&scope)?, [pair("a", "1")]);
    Ok(())
}

fn bytes(context: TestContext) -> Result<()> {
    let all: Vec<u8> = (0..=255).collect();
    let values: [&[u8]; 7] = [b"", b"\0", b"\0\0a\0", b"\xff\xfe\xfd", b"text", b"\\x00", &all];
    values_of(&context, "", ColumnType::Bytes, &values.map(Value::from))
}

fn a_megabyte(context: TestContext) -> Result<()> {
    let text: String = "0123456789abcde\u{e9}\n".chars().cycle().take(1_000_000).collect();
    values_of(&context, "t", ColumnType::Text, &[text.into()])?;
    let bytes: Vec<u8> =
        (0..1_048_577_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    values_of(&context, "b", ColumnType::Bytes, &[bytes.into()])
}

fn json_values(context: TestContext) -> Result<()> {
    let values = [
        json!({}),
        json!([]),
        json!(""),
        json!("text"),
        json!(0),
        json!(-7),
        json!(1.5),
        json!(true),
        json!(false),
        json!({"a": null, "b": [null, {"c": [1, 2, {"d": "e"}]}], "": 0}),
        json!({"\u{e9}": "\u{1f600}", "e\u{301}": "\n\t\"\\/", "a b": "'"}),
        json!([i64::MIN, i64::MAX, u64::MAX, 0.1, 1e-7, 123456789.125]),
        json!({"id": {"nested": {"nested": {"nested": [[[[]]]]}}}}),
        json!("null"),
    ];
    values_of(&context, "n", ColumnType::Json, &values.map(Value::from))?;
    // In a column that cannot be NULL, JSON's null is a value as any other.
    let schema = context
        .schema()
        .unique(Column::new("id", ColumnType::Int))
        .column(Column::new("v", ColumnType::Json));
    let scope = context.raw(schema)?;
    scope.set(&pair(1, json!(null)))?;
    assert_eq!(scope.fetch(key(1))?, Some(pair(1, json!(null))));
    assert_eq!(scope.set(&pair(2, Value::Null)).unwrap_err().column(), Some("v"));
    Ok(())
}

fn dates(context: TestContext) -> Result<()> {
    let values = [0, -1, 1, -719_162, 2_932_896, 11_016, -25_509].map(Value::Date);
    values_of(&context, "", ColumnType::Date, &values)
}

fn times(context: TestContext) -> Result<()> {
    let values = [0, 1, 999_999, 1_000_000, 43_200_000_000, 86_399_999_999, 18_900_123_000];
    values_of(&context, "", ColumnType::Time, &values.map(Value::Time))
}

fn timestamps(context: TestContext) -> Result<()> {
    let values = [
        0,
        1,
        -1,
        999_999,
        -999_999,
        1_000_000,
        1_359_609_300_123_456,
        -2_208_988_800_000_001,
        -62_135_596_800_000_000,
        253_402_300_799_999_999,
    ];
    values_of(&context, "", ColumnType::Timestamp, &values.map(Value::Timestamp))
}

fn uuids(context: TestContext) -> Result<()> {
    let values = [[0; 16], [255; 16], *b"0123456789abcdef"].map(Value::Uuid);
    values_of(&context, "", ColumnType::Uuid, &values)
}

/// A column of each type, with a value of it.
pub(crate) fn every_type() -> Vec<(Column, Value)> {
    let decimal = ColumnType::Decimal { precision: 10, scale: 2 };
    let types = [
        (ColumnType::Bool, true.into()),
        (ColumnType::SmallInt, Value::Int(-32_768)),
        (ColumnType::Int, Value::Int(-2_147_483_648)),
        (ColumnType::BigInt, Value::Int(i64::MIN)),
        (ColumnType::UBigInt, Value::UInt(u64::MAX)),
        (ColumnType::Real, 0.1_f32.into()),
        (ColumnType::Double, (0.1 + 0.2).into()),
        (decimal, Value::Decimal("-12.50".into())),
        (ColumnType::Text, "it's \"text\" with a \\ and \u{1f600}".into()),
        (ColumnType::Varchar(20), "007".into()),
        (ColumnType::Bytes, vec![0_u8, 255, 39].into()),
        (ColumnType::Json, json!({"a": [1, null, "it's"]}).into()),
        (ColumnType::Date, Value::Date(-719_162)),
        (ColumnType::Time, Value::Time(86_399_999_999)),
        (ColumnType::Timestamp, Value::Timestamp(-1)),
        (ColumnType::Uuid, Value::Uuid(*b"0123456789abcdef")),
    ];
    let column = |(at, (ty, value)): (usize, (ColumnType, Value))| {
        (Column::new(format!("c{at}"), ty).nullable(true), value)
    };
    types.into_iter().enumerate().map(column).collect()
}

/// A schema of a text key and a column of each type.
pub(crate) fn wide(schema: Schema) -> Schema {
    let columns = every_type().into_iter().map(|(column, _)| column);
    columns.fold(schema.unique(Column::new("id", ColumnType::Text)), Schema::column)
}

/// A record of [`wide`] that has a value in every column.
pub(crate) fn full(id: &str) -> Raw {
    Raw([id.into()].into_iter().chain(every_type().into_iter().map(|(_, value)| value)).collect())
}

/// A record of [`wide`] that is NULL in every column.
pub(crate) fn empty(id: &str) -> Raw {
    Raw([id.into()].into_iter().chain(every_type().iter().map(|_| Value::Null)).collect())
}

fn a_record_of_every_type(context: TestContext) -> Result<()> {
    let scope = context.raw(wide(context.schema()))?;
    scope.set(&full("full"))?;
    scope.set_many([empty("empty"), full("other")])?;
    assert_eq!(scope.fetch(key("full"))?, Some(full("full")));
    assert_eq!(scope.fetch(key("empty"))?, Some(empty("empty")));
    assert_eq!(all_rows(&scope)?, sorted([full("full"), empty("empty"), full("other")]));
    // One column at a time: the others stay.
    for at in 1..full("").0.len() {
        let mut some = Raw(vec![Value::Absent; full("").0.len()]);
        some.0[0] = "empty".into();
        some.0[at] = full("").0[at].clone();
        scope.set(&some)?;
    }
    assert_eq!(scope.update(&empty("empty"))?, Some(full("empty")));
    assert_eq!(scope.pop(key("empty"))?, Some(empty("empty")));
    Ok(())
}

/// A literal of a type, as CSV, JSON and TOML have it, and the value that is stored of it; none
/// where it is refused.
struct Literal {
    ty: ColumnType,
    text: &'static str,
    /// Of JSON and TOML, where it is not written as in CSV.
    json: Option<Json>,
    toml: Option<&'static str>,
    stored: Option<Value>,
}

const fn number(ty: ColumnType, text: &'static str, stored: Option<Value>) -> Literal {
    Literal { ty, text, json: None, toml: None, stored }
}

fn quoted(ty: ColumnType, text: &'static str, stored: Option<Value>) -> Literal {
    Literal { json: Some(text.into()), toml: None, ..number(ty, text, stored) }
}

impl Literal {
    /// What JSON has; an error where the text is no JSON that `parse_json` takes.
    fn json(&self) -> Result<Json> {
        self.json.clone().map_or_else(|| hilcat::parse_json(self.text), Ok)
    }

    fn toml(&self) -> String {
        let quoted = self.json.as_ref().filter(|json| json.is_string());
        let written = quoted.map_or_else(|| self.text.to_owned(), Json::to_string);
        self.toml.map_or(written, str::to_owned)
    }
}

const DECIMAL: ColumnType = ColumnType::Decimal { precision: 5, scale: 2 };

fn literals() -> Vec<Literal> {
    use ColumnType::{
        BigInt, Date, Double, Int, Real, SmallInt, Time, Timestamp, UBigInt, Varchar,
    };
    let float = |value: f64| Some(Value::Float(value));
    let real = |value: f32| Some(Value::from(value));
    let decimal = |text: &str| Some(Value::Decimal(text.into()));
    vec![
        number(SmallInt, "32767", Some(Value::Int(32_767))),
        number(SmallInt, "32768", None),
        number(Int, "-2147483648", Some(Value::Int(-2_147_483_648))),
        number(Int, "-2147483649", None),
        number(Int, "1.5", None),
        number(Int, "7.0", None),
        number(BigInt, "9223372036854775807", Some(Value::Int(i64::MAX))),
        number(UBigInt, "9223372036854775807", Some(Value::UInt(i64::MAX as u64))),
        number(UBigInt, "-1", None),
        number(Double, "9007199254740992", float(9_007_199_254_740_992.0)),
        number(Double, "9007199254740993", None),
        number(Double, "-9007199254740993", None),
        number(Double, "0.1", float(0.1)),
        number(Double, "9007199254740993.0", float(9_007_199_254_740_992.0)),
        number(Double, "1e300", float(1e300)),
        number(Double, "1e400", None),
        number(Double, "-1e400", None),
        number(Double, "1e-400", None),
        number(Double, "0e0", float(0.0)),
        number(Real, "16777216", real(16_777_216.0)),
        number(Real, "16777217", None),
        number(Real, "16777217.0", real(16_777_216.0)),
        number(Real, "0.1", real(0.1)),
        number(Real, "1e-45", real(1e-45)),
        number(Real, "1e-50", None),
        number(Real, "-1e-50", None),
        number(Real, "1e39", None),
        number(Real, "1e400", None),
        quoted(DECIMAL, "12.50", decimal("12.50")),
        quoted(DECIMAL, "12.5000", decimal("12.50")),
        quoted(DECIMAL, "12.501", None),
        quoted(DECIMAL, "1234", None),
        number(DECIMAL, "123", decimal("123.00")),
        number(DECIMAL, "1000", None),
        quoted(Varchar(3), "\u{e9}\u{e9}\u{e9}", Some("\u{e9}\u{e9}\u{e9}".into())),
        quoted(Varchar(3), "abcd", None),
        quoted(Date, "9999-12-31", Some(Value::Date(2_932_896))),
        quoted(Date, "0000-12-31", None),
        quoted(Time, "05:15:00.1234569", Some(Value::Time(18_900_123_456))),
        quoted(Time, "24:00:00", None),
        quoted(Timestamp, "1969-12-31T23:59:59.999999999Z", Some(Value::Timestamp(-1))),
        quoted(Timestamp, "10000-01-01T00:00:00Z", None),
    ]
}

/// A schema in TOML of a nullable column for each literal, with the literals of these positions
/// as the columns' defaults.
fn declared(scope: &str, literals: &[Literal], defaults: &[usize]) -> Result<Schema> {
    let list = |item: &dyn Fn(usize) -> String, at: &mut dyn Iterator<Item = usize>| {
        at.map(item).collect::<Vec<_>>().join(", ")
    };
    let all = || 0..literals.len();
    let columns = list(&|at| format!("\"c{at}\""), &mut all());
    let types = list(&|at| format!("c{at} = \"{}\"", literals[at].ty), &mut all());
    let given =
        list(&|at| format!("c{at} = {}", literals[at].toml()), &mut defaults.iter().copied());
    let text = format!(
        "[scopes.{scope}]\nunique_column = \"id\"\nvalue = \"record\"\ncolumns = [{columns}]\ncolumn_types = {{ {types} }}\ndefaults = {{ {given} }}\n"
    );
    let schemas = Schemas::from_str(&text)?;
    Ok(schemas.get(scope).expect("it is declared above").clone())
}

/// A literal in a CSV, in JSON and as a default in TOML, and its value as a program has it: all are
/// refused, or all store the same.
fn one_verdict_for_every_source(context: TestContext) -> Result<()> {
    let literals = literals();
    let (taken, refused): (Vec<usize>, Vec<usize>) =
        (0..literals.len()).partition(|&at| literals[at].stored.is_some());
    let schema = declared(&context.scope, &literals, &taken)?;
    let scope = context.dynamic(schema.clone())?;
    let shown = |at: usize| literals[at].stored.clone().map_or(Json::Null, Value::into_json);
    scope.set("defaults", json!({}))?;
    let defaults = scope.fetch("defaults")?.expect("it was set");
    for &at in &taken {
        let (ty, text) = (literals[at].ty, literals[at].text);
        let name = format!("c{at}");
        assert_eq!(defaults[&name], shown(at), "the default {text} of {ty}");
        scope.set("json", json!({ &name: literals[at].json()? }))?;
        let mut row = vec![Value::Absent; schema.columns().len()];
        row[schema.position(&name)?] = Value::from_text(text, ty)?;
        row[schema.position("id")?] = "csv".into();
        let mut typed = row.clone();
        typed[schema.position(&name)?] = literals[at].stored.clone().unwrap_or(Value::Null);
        typed[schema.position("id")?] = "typed".into();
        scope.set_rows([row, typed])?;
        for source in ["json", "csv", "typed"] {
            let stored = scope.fetch(source)?.expect("it was set");
            assert_eq!(stored[&name], shown(at), "{text} as {ty} from {source}");
        }
    }
    for &at in &refused {
        let (ty, text) = (literals[at].ty, literals[at].text);
        let name = format!("c{at}");
        let csv = Value::from_text(text, ty).and_then(|value| ty.check(&value).map(|()| value));
        assert_eq!(csv.unwrap_err().kind(), ErrorKind::InvalidInput, "{text} as {ty} in CSV");
        let json = literals[at].json().and_then(|json| scope.set("none", json!({ &name: json })));
        assert_eq!(json.unwrap_err().kind(), ErrorKind::InvalidInput, "{text} as {ty} in JSON");
        let toml = declared(&context.scope, &literals, &[at]);
        assert_eq!(toml.unwrap_err().kind(), ErrorKind::InvalidSchema, "{text} as {ty} in TOML");
    }
    assert!(!scope.exists("none")?);
    Ok(())
}

/// `get` and `update` give times as they are stored: cut to whole microseconds, towards the past.
fn times_are_cut_to_microseconds(context: TestContext) -> Result<()> {
    typed_times_are_cut(&context)?;
    let schema = context
        .schema()
        .unique(Column::new("id", ColumnType::Text).key_only())
        .column(Column::new("v", ColumnType::Timestamp))
        .shape(hilcat::Shape::Single);
    let scope = context.dynamic(schema)?;
    let (fine, cut) = (json!("1969-12-31T23:59:59.9999999Z"), json!("1969-12-31T23:59:59.999999Z"));
    assert_eq!(scope.get("a", || fine.clone())?, cut);
    assert_eq!(scope.fetch("a")?, Some(cut.clone()));
    assert_eq!(scope.update("a", fine)?, Some(cut.clone()));
    assert_eq!(scope.pop("a")?, Some(cut));
    Ok(())
}

fn typed_times_are_cut(context: &TestContext) -> Result<()> {
    use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta, Utc};
    use hilcat::ColumnValue as _;

    let before: DateTime<Utc> = "1969-12-31T23:59:59.999999Z".parse().unwrap();
    let fine = before + TimeDelta::nanoseconds(999);
    assert_eq!(fine.to_value(), before.to_value());
    let naive: NaiveDateTime = fine.naive_utc();
    assert_eq!(naive.to_value(), before.to_value());
    let time = NaiveTime::from_hms_nano_opt(5, 15, 0, 123_456_999).unwrap();
    assert_eq!(time.to_value(), Value::Time(18_900_123_456));

    let scope = context.cache.map::<String, DateTime<Utc>>(&format!("{}map", context.scope))?;
    assert_eq!(scope.get("a", || fine)?, before);
    assert_eq!(scope.fetch("a")?, Some(before));
    scope.set("a", &fine)?;
    assert_eq!(scope.update("a", &fine)?, Some(before));
    assert_eq!(scope.pop("a")?, Some(before));
    Ok(())
}
