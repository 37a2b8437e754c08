//! Golden bytes, records of other schemas, and refused records.

use serde_json::json;

use super::*;
use crate::{Column, ColumnType, ErrorKind, Value};

fn every_type() -> Arc<Schema> {
    let decimal = ColumnType::Decimal { precision: 5, scale: 2 };
    let types = [
        ("b", ColumnType::Bool),
        ("i", ColumnType::BigInt),
        ("u", ColumnType::UBigInt),
        ("r", ColumnType::Real),
        ("f", ColumnType::Double),
        ("d", decimal),
        ("t", ColumnType::Text),
        ("x", ColumnType::Bytes),
        ("j", ColumnType::Json),
        ("date", ColumnType::Date),
        ("time", ColumnType::Time),
        ("ts", ColumnType::Timestamp),
        ("uuid", ColumnType::Uuid),
        ("$hilcat", ColumnType::Text),
    ];
    let schema = Schema::new("a").unique(Column::new("id", ColumnType::Text));
    Arc::new(
        types
            .into_iter()
            .fold(schema, |schema, (name, ty)| schema.column(Column::new(name, ty).nullable(true))),
    )
}

fn full() -> Row {
    vec![
        "a\"1".into(),
        true.into(),
        Value::Int(i64::MIN),
        Value::UInt(u64::MAX),
        Value::Float(f64::from(0.1_f32)),
        Value::Float(-0.0),
        Value::Decimal("-1.50".into()),
        "\u{e9}\n\0".into(),
        Value::Bytes(vec![0, 255]),
        json!({"k": [1, null, 1.5]}).into(),
        Value::Date(0),
        Value::Time(1),
        Value::Timestamp(-1),
        Value::Uuid(*b"0123456789abcdef"),
        "odd".into(),
    ]
}

fn nulls() -> Row {
    let mut row = vec![Value::Null; 15];
    row[0] = "".into();
    row
}

fn options(format: Format) -> CodecOptions {
    CodecOptions { format, compress_above: None }
}

fn json_codec(schema: &Arc<Schema>) -> Codec {
    Codec::new(schema, CodecOptions::default())
}

/// Released format: the bytes of new records may change, but these must remain readable.
#[test]
fn golden_json() {
    let golden = concat!(
        r#"{"$hilcat":"FINGERPRINT","id":"a\"1","b":true,"i":-9223372036854775808,"#,
        r#""u":18446744073709551615,"r":0.10000000149011612,"f":-0.0,"d":"-1.50","#,
        r#""t":"é\n\u0000","x":{"$bytes":"AP8="},"j":{"k":[1,null,1.5]},"#,
        r#""date":"1970-01-01","time":"00:00:00.000001","#,
        r#""ts":"1969-12-31T23:59:59.999999Z","#,
        r#""uuid":"30313233-3435-3637-3839-616263646566","$$hilcat":"odd"}"#
    );
    let schema = every_type();
    let golden = golden.replace("FINGERPRINT", "62b5f33054cb816e");
    let codec = json_codec(&schema);
    assert_eq!(String::from_utf8(codec.encode(&full()).unwrap()).unwrap(), golden);
    let read = codec.decode(golden.as_bytes()).unwrap();
    assert_eq!(read, full());
    assert!(matches!(read[5], Value::Float(v) if v.is_sign_negative()));
}

#[cfg(feature = "msgpack")]
#[test]
fn golden_message_pack() {
    let schema = Arc::new(
        Schema::new("a")
            .unique(Column::new("id", ColumnType::Text))
            .column(Column::new("n", ColumnType::Int))
            .column(Column::new("x", ColumnType::Bytes))
            .column(Column::new("f", ColumnType::Double))
            .column(Column::new("j", ColumnType::Json).nullable(true)),
    );
    let row: Row =
        vec!["a1".into(), 300.into(), Value::Bytes(vec![7]), 0.5.into(), json!({"k": [-1]}).into()];
    let mut golden = b"\x86\xa7$hilcat\xb0".to_vec();
    golden.extend_from_slice(schema.fingerprint().as_bytes());
    golden.extend_from_slice(b"\xa2id\xa2a1\xa1n\xcd\x01\x2c\xa1x\xc4\x01\x07");
    golden.extend_from_slice(b"\xa1f\xcb\x3f\xe0\0\0\0\0\0\0\xa1j\x81\xa1k\x91\xff");
    let codec = Codec::new(&schema, options(Format::MessagePack));
    assert_eq!(codec.encode(&row).unwrap(), golden);
    assert_eq!(json_codec(&schema).decode(&golden).unwrap(), row);
}

fn formats() -> Vec<CodecOptions> {
    let mut formats = vec![options(Format::Json)];
    #[cfg(feature = "msgpack")]
    formats.push(options(Format::MessagePack));
    #[cfg(feature = "zstd")]
    for at in 0..formats.len() {
        formats.push(CodecOptions { compress_above: Some(0), ..formats[at] });
    }
    formats
}

#[test]
fn values_round_trip_with_all_options() {
    let schema = every_type();
    for written in formats() {
        let codec = Codec::new(&schema, written);
        for row in [full(), nulls()] {
            let bytes = codec.encode(&row).unwrap();
            for read in formats() {
                assert_eq!(Codec::new(&schema, read).decode(&bytes).unwrap(), row, "{written:?}");
            }
        }
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut row = nulls();
            row[5] = Value::Float(odd);
            let read = codec.decode(&codec.encode(&row).unwrap()).unwrap();
            assert!(read[5].same(&row[5]), "{written:?}: {odd}");
        }
    }
}

#[test]
fn ambiguous_json_round_trips() {
    let schema = every_type();
    let values = [
        json!(null),
        json!({"$json": null}),
        json!({"$json": {"$json": 1}}),
        json!({"$bytes": "AA=="}),
    ];
    for written in formats() {
        let codec = Codec::new(&schema, written);
        for value in &values {
            let mut row = nulls();
            row[9] = Value::Json(Box::new(value.clone()));
            let bytes = codec.encode(&row).unwrap();
            assert_eq!(codec.decode(&bytes).unwrap(), row, "{written:?}: {value}");
        }
    }
}

#[test]
fn json_is_read_up_to_the_depth_that_is_written() {
    let schema = every_type();
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    for written in formats() {
        let codec = Codec::new(&schema, written);
        let mut row = nulls();
        row[9] = nested(MAX_DEPTH).into();
        assert_eq!(codec.decode(&codec.encode(&row).unwrap()).unwrap(), row, "{written:?}");
        row[9] = json!({"$json": nested(MAX_DEPTH - 1)}).into();
        assert_eq!(codec.decode(&codec.encode(&row).unwrap()).unwrap(), row, "{written:?}");
        row[9] = nested(MAX_DEPTH + 1).into();
        let error = codec.encode(&row).unwrap_err();
        assert_eq!((error.kind(), error.column()), (ErrorKind::Unsupported, Some("j")));
    }
}

fn v1() -> Schema {
    Schema::new("a")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("n", ColumnType::Int))
        .column(Column::new("name", ColumnType::Varchar(9)).nullable(true))
        .column(Column::new("price", ColumnType::Decimal { precision: 5, scale: 1 }))
}

fn v2() -> Schema {
    Schema::new("a")
        .column(Column::new("title", ColumnType::Text).nullable(true).was("name"))
        .unique(Column::new("code", ColumnType::Text).was("id"))
        .column(Column::new("price", ColumnType::Decimal { precision: 8, scale: 3 }))
        .column(Column::new("n", ColumnType::BigInt))
        .column(Column::new("x", ColumnType::Int).default_value(7_i32))
        .column(Column::new("name", ColumnType::Int).nullable(true))
}

fn old_row() -> Row {
    vec!["a".into(), 1.into(), "one".into(), Value::Decimal("2.5".into())]
}

fn new_row() -> Row {
    vec!["one".into(), "a".into(), Value::Decimal("2.500".into()), 1.into(), 7.into(), Value::Null]
}

#[test]
fn older_records_are_upgraded() {
    for written in formats() {
        let old = Codec::new(&Arc::new(v1()), written);
        let bytes = old.encode(&old_row()).unwrap();
        assert_eq!(json_codec(&Arc::new(v2())).decode(&bytes).unwrap(), new_row(), "{written:?}");
    }
}

#[test]
fn records_of_other_schemas_are_reported_by_column() {
    let bytes = json_codec(&Arc::new(v1())).encode(&old_row()).unwrap();
    let column = |schema: Schema| {
        let error = json_codec(&Arc::new(schema)).decode(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(!error.to_string().contains("one"), "no value in the message: {error}");
        error.column().map(str::to_owned)
    };
    let with = |at: usize, ty| {
        let mut schema = v1();
        schema.columns[at].ty = ty;
        schema
    };
    assert_eq!(column(with(1, ColumnType::Text)).as_deref(), Some("n"));
    assert_eq!(column(with(2, ColumnType::Int)).as_deref(), Some("name"));
    assert_eq!(column(with(2, ColumnType::Varchar(2))).as_deref(), Some("name"));
    assert_eq!(column(v1().column(Column::new("must", ColumnType::Int))).as_deref(), Some("must"));
    // A record of a newer schema: a renamed column must not become NULL.
    let bytes = json_codec(&Arc::new(v2())).encode(&new_row()).unwrap();
    let error = json_codec(&Arc::new(v1())).decode(&bytes).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidData, Some("id")));
}

#[test]
fn malformed_records_are_errors() {
    let schema = Arc::new(v1());
    let codec = json_codec(&schema);
    let whole = codec.encode(&old_row()).unwrap();
    for cut in 0..whole.len() {
        assert_eq!(
            codec.decode(&whole[..cut]).unwrap_err().kind(),
            ErrorKind::InvalidData,
            "{cut}"
        );
    }
    let text = String::from_utf8(whole).unwrap();
    for wrong in [
        text.replace(r#""n":1,"#, ""),
        text.replace(r#""n":1"#, r#""n":1,"n":2"#),
        text.replace(r#""n":1"#, r#""n":null"#),
        text.replace(r#""n":1"#, r#""n":2147483648"#),
        text.replace(r#""n":1"#, r#""n":1.5"#),
        text.replace(r#""n":1"#, r#""n":[1]"#),
        text.replace("2.5", "2.55"),
    ] {
        assert_ne!(wrong, text);
        let error = codec.decode(wrong.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{wrong}");
        assert!(error.column().is_some(), "{wrong}: {error}");
    }
    for wrong in ["", "x", "3", "[]", "null", "{}}", "{} {}"] {
        assert_eq!(codec.decode(wrong.as_bytes()).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}

/// No memory is allocated for an announced length before the bytes arrive.
#[cfg(all(feature = "msgpack", feature = "zstd"))]
#[test]
fn huge_records_are_refused() {
    let codec = json_codec(&Arc::new(v1()));
    for wrong in [
        &b"\xdf\xff\xff\xff\xff"[..],
        b"\x81\xa1n\xdd\xff\xff\xff\xff",
        b"\x81\xa1n\xc6\xff\xff\xff\xff",
        &[b"\x81\xa1n".as_slice(), &[0x91; 100_000]].concat(),
        &[b"{\"n\":".as_slice(), &[b'['; 100_000]].concat(),
        b"\x81\xa1n\xd4\x01\x01",
        b"\x81\x01\x01",
    ] {
        assert_eq!(codec.decode(wrong).unwrap_err().kind(), ErrorKind::InvalidData);
    }
    let bomb = zstd::bulk::compress(&vec![b' '; MAX_LENGTH + 1], 1).unwrap();
    let error = codec.decode(&bomb).unwrap_err();
    assert!(error.to_string().contains("after decompression"), "{error}");
    assert!(codec.decode(&bomb[..9]).is_err());
}

#[test]
fn partial_writes_keep_unknown_fields() {
    for written in formats() {
        let newer = v1().column(Column::new("x", ColumnType::Double).nullable(true));
        let (old, new) = (Codec::new(&Arc::new(v1()), written), json_codec(&Arc::new(newer)));
        let mut row = old_row();
        row.push(Value::Float(0.5));
        let stored = new.encode(&row).unwrap();
        let change = vec!["a".into(), Value::Absent, Value::Null, Value::Absent];
        let replaced = old.replace(Some(&stored), change.clone()).unwrap();
        assert_eq!(replaced.old, Some(old_row()));
        row[2] = Value::Null;
        assert_eq!(new.decode(&replaced.bytes).unwrap(), row, "{written:?}");
        assert_eq!(old.decode(&replaced.bytes).unwrap(), row[..4], "{written:?}");
        let error = old.replace(None, change).unwrap_err();
        assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("n")));
    }
}

#[test]
fn records_of_other_programs_are_read_by_name() {
    let codec = json_codec(&Arc::new(v1()));
    let read = codec.decode(br#" {"price": "2.5", "id": "a", "n": 1, "more": [true]}"#).unwrap();
    assert_eq!(read, ["a".into(), 1.into(), Value::Null, Value::Decimal("2.5".into())]);
    let error = codec.decode_at(&Key::single("b".into()), &codec.encode(&old_row()).unwrap());
    assert_eq!(error.unwrap_err().column(), Some("id"));
}

#[cfg(feature = "redis")]
#[test]
fn values_can_be_stored_separately() {
    let codec = json_codec(&every_type());
    let (fingerprint, names) = codec.names();
    let values = names.iter().zip(full()).enumerate().map(|(at, (name, value))| {
        let value = String::from_utf8(codec.encode_value(at, &value).unwrap()).unwrap();
        format!(",{name:?}:{value}")
    });
    let record = format!("{{{FINGERPRINT_FIELD:?}:{fingerprint:?}{}}}", values.collect::<String>());
    assert_eq!(codec.decode(record.as_bytes()).unwrap(), full());
}
