//! `hilcat batch`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use crate::{SCHEMAS, ended, in_memory, program, run_with};

/// Returns the answers of `hilcat batch` to these lines, on an empty cache in memory.
fn batch(lines: &str) -> String {
    let output = in_memory(&["batch"], lines);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}");
    output.stdout
}

#[track_caller]
fn assert_batch(exchange: &[(&str, &str)]) {
    let lines: String = exchange.iter().map(|(line, _)| format!("{line}\n")).collect();
    let answers = batch(&lines);
    let expected: Vec<&str> = exchange.iter().map(|(_, answer)| *answer).collect();
    assert_eq!(answers.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn batch_answers_each_operation() {
    assert_batch(&[
        (
            r#"{"op":"set","scope":"a","key":"a1","value":{"name":"jii","count":1}}"#,
            r#"{"ok":true,"result":null}"#,
        ),
        (
            r#"{"op":"fetch","scope":"a","key":"a1"}"#,
            r#"{"ok":true,"result":{"id":"a1","name":"jii","comment":null,"count":1}}"#,
        ),
        (
            r#"{"op":"update","scope":"a","key":"a1","value":{"count":2}}"#,
            r#"{"ok":true,"result":{"id":"a1","name":"jii","comment":null,"count":1}}"#,
        ),
        (r#"{"op":"update","scope":"a","key":"a2","value":{}}"#, r#"{"ok":true,"result":null}"#),
        (r#"{"op":"exists","scope":"a","key":"a2"}"#, r#"{"ok":true,"result":true}"#),
        (r#"{"op":"exists","scope":"a","key":"A2"}"#, r#"{"ok":true,"result":false}"#),
        (
            r#"{"op":"pop","scope":"a","key":"a2"}"#,
            r#"{"ok":true,"result":{"id":"a2","name":null,"comment":null,"count":null}}"#,
        ),
        (r#"{"op":"pop","scope":"a","key":"a2"}"#, r#"{"ok":true,"result":null}"#),
        (r#"{"op":"keys","scope":"a"}"#, r#"{"ok":true,"result":["a1"]}"#),
        (r#"{"op":"set","scope":"d","key":["d1","d2"],"value":3}"#, r#"{"ok":true,"result":null}"#),
        (r#"{"op":"fetch","scope":"d","key":["d1","d2"]}"#, r#"{"ok":true,"result":3}"#),
        (r#"{"op":"keys","scope":"d"}"#, r#"{"ok":true,"result":[["d1","d2"]]}"#),
        (r#"{"op":"scopes"}"#, r#"{"ok":true,"result":["a","d"]}"#),
    ]);
}

#[test]
fn batch_accepts_arrays() {
    assert_batch(&[
        (
            r#"{"op":"set_many","scope":"a","items":[["a1",{"count":1}],["a2",{"count":2}]]}"#,
            r#"{"ok":true,"result":2}"#,
        ),
        (
            r#"{"op":"fetch_many","scope":"a","keys":["a2","zz"]}"#,
            r#"{"ok":true,"result":[{"id":"a2","name":null,"comment":null,"count":2},null]}"#,
        ),
        (
            r#"{"op":"set_many","scope":"a","items":[["a3",{"count":3}],["a4",{"count":"x"}]]}"#,
            r#"{"ok":false,"error":{"kind":"invalid_input","message":"memory set_many, scope `a`, key `a4`, column `count`: expected an integer for type int, found a string"}}"#,
        ),
        (r#"{"op":"exists","scope":"a","key":"a3"}"#, r#"{"ok":true,"result":false}"#),
        (
            r#"{"op":"pop_many","scope":"a","keys":["zz","a1"]}"#,
            r#"{"ok":true,"result":[null,{"id":"a1","name":null,"comment":null,"count":1}]}"#,
        ),
        (r#"{"op":"set_many","scope":"a","items":[]}"#, r#"{"ok":true,"result":0}"#),
        (r#"{"op":"keys","scope":"a"}"#, r#"{"ok":true,"result":["a2"]}"#),
    ]);
}

#[test]
fn an_invalid_line_is_an_error_and_the_next_is_read() {
    let answer = |message: &str| {
        let message = serde_json::to_string(message).unwrap();
        format!(r#"{{"ok":false,"error":{{"kind":"invalid_input","message":{message}}}}}"#)
    };
    let cases = [
        (
            r#"{"op":"nope"}"#,
            "unknown op `nope`; the ops are set, update, fetch, exists, pop, touch, entry, keys, purge, scopes, \
             set_many, fetch_many, pop_many",
        ),
        ("", "not JSON: unexpected end of the text at line 1 column 0"),
        ("{", "not JSON: unexpected end of the text at line 1 column 1"),
        ("[1]", r#"the line is not a JSON object; write {"op": "fetch", ...}"#),
        ("{}", "the field `op` is missing"),
        (r#"{"op":1}"#, "the field `op` must be a string"),
        (r#"{"op":"fetch","scope":"a"}"#, "the field `key` is missing; `fetch` has op, scope, key"),
        (
            r#"{"op":"fetch","scope":"a","key":"a1","kee":1}"#,
            "unknown field `kee`; `fetch` has op, scope, key",
        ),
        (r#"{"op":"scopes","x":1}"#, "unknown field `x`; `scopes` has no field but `op`"),
        (r#"{"op":"keys","scope":1}"#, "the field `scope` must be a string"),
        (
            r#"{"op":"fetch_many","scope":"a","keys":"a1"}"#,
            "the field `keys` must be an array of keys",
        ),
        (
            r#"{"op":"set_many","scope":"a","items":[["a1",{}],["a2"]]}"#,
            "the field `items` must be an array of [KEY, VALUE] pairs",
        ),
        (
            r#"{"op":"fetch","scope":"a","key":18446744073709551616}"#,
            "the JSON has an integer beyond 64 bits, which would lose digits; write it as a \
             string",
        ),
        (
            r#"{"op":"set","scope":"a","key":"a1","value":{"id":"a2"}}"#,
            "memory set, scope `a`, key `a1`, column `id`: the key column of the value \
             differs from the key of the call",
        ),
    ];
    let lines: String = cases.iter().map(|(line, _)| format!("{line}\n")).collect();
    let mut expected: Vec<String> = cases.iter().map(|(_, message)| answer(message)).collect();
    // The last line needs no newline.
    expected.push(r#"{"ok":true,"result":["a"]}"#.to_owned());
    let answers = batch(&format!("{lines}{}", r#"{"op":"scopes"}"#));
    assert_eq!(answers.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_line_that_is_not_utf_8_is_an_error() {
    let mut command = program();
    command.args(["--cache", "memory:", "--schemas", SCHEMAS, "batch"]);
    let output = run_with(&mut command, b"{\"op\":\"\xff\"}\r\n{\"op\":\"scopes\"}\r\n");
    let expected = "{\"ok\":false,\"error\":{\"kind\":\"invalid_input\",\"message\":\"the line is not UTF-8\"}}\n\
                    {\"ok\":true,\"result\":[]}\n";
    assert_eq!(output, ended(0, expected, ""));
}

#[test]
fn batch_names_the_kind_of_an_error() {
    assert_batch(&[(
        r#"{"op":"keys","scope":"b"}"#,
        r#"{"ok":false,"error":{"kind":"unknown_scope","message":"no scope `b`: the declared scopes are a, airlines, airports, d, flights, planes; did you mean `a`?"}}"#,
    )]);
}

#[test]
fn batch_preserves_values_that_json_has_no_type_for() {
    let dir = tempfile::tempdir().unwrap();
    let schemas = dir.path().join("s.toml");
    let toml = r#"
        [scopes.t]
        columns = ["big", "f", "raw", "price", "at", "doc"]
        column_types = { big = "ubigint", f = "double", raw = "bytes", price = "decimal(8,2)", at = "timestamp", doc = "json" }
    "#;
    fs::write(&schemas, toml).unwrap();
    let value = r#"{"big":18446744073709551615,"f":{"$float":"-Infinity"},"raw":{"$bytes":"AP8="},"price":"9.5","at":"2013-01-01T12:00:00+02:00","doc":{"z":1,"n":9223372036854775807}}"#;
    let lines = format!(
        "{{\"op\":\"set\",\"scope\":\"t\",\"key\":\"k\",\"value\":{value}}}\n{{\"op\":\"fetch\",\"scope\":\"t\",\"key\":\"k\"}}\n"
    );
    let mut command = program();
    command.args(["--cache", "memory:", "--schemas", schemas.to_str().unwrap(), "batch"]);
    let output = run_with(&mut command, lines.as_bytes());
    let expected = r#"{"ok":true,"result":null}
{"ok":true,"result":{"big":18446744073709551615,"f":{"$float":"-Infinity"},"raw":{"$bytes":"AP8="},"price":"9.50","at":"2013-01-01T10:00:00Z","doc":{"n":9223372036854775807,"z":1}}}
"#;
    assert_eq!(output, ended(0, expected, ""));
}

#[test]
fn an_answer_is_written_before_more_input_is_read() {
    let mut command = program();
    command.args(["--cache", "memory:", "--schemas", SCHEMAS, "batch"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for (scope, expected) in [("a", r#"["a"]"#), ("d", r#"["a","d"]"#)] {
        // The answer does not wait for the rest of the next line.
        let line = format!("{{\"op\":\"keys\",\"scope\":\"{scope}\"}}\n{{\"op\":");
        stdin.write_all(line.as_bytes()).unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), r#"{"ok":true,"result":[]}"#);
        stdin.write_all(b"\"scopes\"}\n").unwrap();
        let expected = format!(r#"{{"ok":true,"result":{expected}}}"#);
        assert_eq!(answers.next().unwrap().unwrap(), expected);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}
