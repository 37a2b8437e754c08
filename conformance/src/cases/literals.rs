//! The same literals are accepted in CSV, JSON and TOML.

use hilcat::{ColumnType, ErrorKind, Result, Schema, Schemas, Value};
use serde_json::{Value as Json, json};

use super::{Case, case_list};
use crate::context::TestContext;

pub(crate) const CASES: &[Case] = case_list![Stores: csv_json_and_toml_accept_the_same_literals];

/// A literal of a type in CSV, JSON and TOML, and the value that it stores, or `None` if it is refused.
struct Literal {
    ty: ColumnType,
    text: &'static str,
    /// The literal in JSON and TOML, if it differs from that in CSV.
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
    /// The JSON value, or an error if `parse_json` refuses the text.
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

/// A schema, written in TOML, with a nullable column for each literal. The literals at these positions are the defaults of their
/// columns.
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
    Ok(schemas.get(scope).expect("the TOML declares the scope").clone())
}

/// A literal in CSV, in JSON and as a default in TOML is refused by all three, or stores one value.
fn csv_json_and_toml_accept_the_same_literals(context: TestContext) -> Result<()> {
    let literals = literals();
    let (taken, refused): (Vec<usize>, Vec<usize>) =
        (0..literals.len()).partition(|&at| literals[at].stored.is_some());
    let schema = declared(&context.scope, &literals, &taken)?;
    let scope = context.dynamic(schema.clone())?;
    let shown = |at: usize| literals[at].stored.clone().map_or(Json::Null, Value::into_json);
    scope.set("defaults", json!({}))?;
    let defaults = scope.fetch("defaults")?.expect("the record was set");
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
            let stored = scope.fetch(source)?.expect("the record was set");
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
