//! Export and import in one process, on a cache in memory: exported records are imported unchanged.

use hilcat::{Cache, Column, ColumnType, DynScope, Row, Schema, Value};
use serde_json::json;

use crate::args::{Format, Place};
use crate::export;
use crate::import::Importer;
use crate::progress::Progress;

/// A scope that has a column of each type, and one of each kind of text that cannot be NULL.
fn schema() -> Schema {
    use ColumnType::*;
    let types = [
        Bool,
        SmallInt,
        Int,
        BigInt,
        UBigInt,
        Real,
        Double,
        Decimal { precision: 12, scale: 2 },
        Text,
        Varchar(9),
        Bytes,
        Json,
        Date,
        Time,
        Timestamp,
        Uuid,
    ];
    let mut schema = Schema::new("all")
        .unique(Column::new("id1", Text).key_only())
        .unique(Column::new("id2", BigInt).key_only())
        .column(Column::new("must", Text))
        .column(Column::new("must \"json\", too", Json));
    for ty in types {
        schema = schema.column(Column::new(format!("a {ty}"), ty).nullable(true));
    }
    schema
}

fn extremes() -> Vec<Row> {
    let full = vec![
        "".into(),
        Value::Int(i64::MIN),
        "".into(),
        Value::from(json!(null)),
        Value::Bool(true),
        Value::Int(i64::from(i16::MIN)),
        Value::Int(i64::from(i32::MAX)),
        Value::Int(i64::MAX),
        Value::UInt(u64::MAX),
        Value::Float(f64::from(0.1_f32)),
        Value::Float(0.1 + 0.2),
        Value::Decimal("-1234567890.05".into()),
        "".into(),
        "".into(),
        Value::Bytes(vec![]),
        Value::from(json!({"b": [1.5, u64::MAX, null, "NA"], "a": ""})),
        Value::Date(-719_162),
        Value::Time(86_399_999_999),
        Value::Timestamp(-1),
        Value::Uuid([255; 16]),
    ];
    let mut null = full.clone();
    null[1] = Value::Int(0);
    null[4..].fill(Value::Null);
    let mut odd = full.clone();
    odd[1] = Value::Int(7);
    odd[2] = "NA".into();
    odd[3] = json!("NA").into();
    odd[9] = Value::Float(f64::NEG_INFINITY);
    odd[10] = Value::Float(f64::NAN);
    odd[12] = "NA".into();
    odd[13] = ",\"\r\n ".into();
    vec![full, null, odd]
}

fn scope() -> DynScope {
    Cache::memory().dynamic_with(schema()).unwrap()
}

fn place(format: Format, null: &str) -> Place {
    Place { file: None, format, null: null.into() }
}

fn exported(scope: &DynScope, place: &Place) -> Vec<u8> {
    let mut output = Vec::new();
    export::write(scope, place, &mut output).unwrap();
    output
}

/// Returns the rows of a scope in a stable order.
fn sorted(scope: &DynScope) -> Vec<String> {
    let mut rows: Vec<_> = scope.rows().unwrap().map(|row| format!("{:?}", row.unwrap())).collect();
    rows.sort();
    rows
}

fn assert_round_trip(rows: Vec<Row>) {
    let first = scope();
    first.set_rows(rows).unwrap();
    for place in [place(Format::Csv, ""), place(Format::Csv, "NA"), place(Format::Jsonl, "")] {
        let text = exported(&first, &place);
        let mut importer = Importer::new(scope(), true, Progress::of_bytes(None));
        let imported = importer.import(&text[..], &place);
        assert!(imported.is_ok(), "{:?}\n{}", imported, String::from_utf8_lossy(&text));
        assert_eq!(importer.imported, first.len().unwrap());
        assert_eq!(sorted(importer.scope()), sorted(&first));
    }
}

#[test]
fn extreme_values_round_trip() {
    assert_round_trip(extremes());
}

#[test]
fn one_row_is_exported_to_the_same_bytes_again() {
    for row in extremes() {
        for place in [place(Format::Csv, ""), place(Format::Csv, "NA"), place(Format::Jsonl, "")] {
            let (first, second) = (scope(), scope());
            first.set_rows([row.clone()]).unwrap();
            let text = exported(&first, &place);
            Importer::new(second.clone(), true, Progress::of_bytes(None))
                .import(&text[..], &place)
                .unwrap();
            assert_eq!(exported(&second, &place), text);
        }
    }
}

/// All texts of up to four of the characters that CSV treats specially, and others from all of Unicode.
fn texts() -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut longest = texts.clone();
    for _ in 0..4 {
        let extended = |text: &String| {
            ",\"\r\nNA ".chars().map(move |c| format!("{text}{c}")).collect::<Vec<_>>()
        };
        longest = longest.iter().flat_map(extended).collect();
        texts.extend_from_slice(&longest);
    }
    texts.extend(('\0'..=char::MAX).step_by(997).map(String::from));
    texts
}

#[test]
fn any_text_number_and_bytes_round_trip() {
    let base = &extremes()[0];
    let texts = texts();
    let rows = texts.iter().zip(texts.iter().rev()).zip(0_u64..).map(|((key, value), n)| {
        // Multiples of an odd constant visit all bits.
        let number = f64::from_bits(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut row = base.clone();
        row[0] = key.as_str().into();
        (row[2], row[12]) = (value.as_str().into(), value.as_str().into());
        row[10] = Value::Float(number);
        row[14] = Value::Bytes(number.to_le_bytes()[..usize::try_from(n % 9).unwrap()].to_vec());
        row[15] = json!([value, number]).into();
        row
    });
    assert_round_trip(rows.collect());
}
