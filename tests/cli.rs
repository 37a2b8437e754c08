//! The command line, as who calls it sees it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");

/// How a call of the program ended.
#[derive(Debug, PartialEq)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn ended(code: i32, stdout: &str, stderr: &str) -> Ended {
    Ended { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

fn program() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hilcat"));
    command.env_remove("HILCAT_CACHE").env_remove("HILCAT_SCHEMAS");
    command
}

/// Runs the program with these words, and with this on its standard input.
fn run_with(command: &mut Command, input: &[u8]) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(words: &[&str]) -> Ended {
    run_with(program().args(words), b"")
}

/// Runs a command on an empty cache in memory with the example schemas.
fn in_memory(words: &[&str], input: &str) -> Ended {
    let options = ["--cache", "memory:", "--schemas", SCHEMAS];
    run_with(program().args(options).args(words), input.as_bytes())
}

#[test]
fn the_usage_is_told() {
    let none = run(&[]);
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("Usage: hilcat [OPTIONS] <COMMAND>"), "{none:?}");
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    for command in [
        "migrate", "scopes", "keys", "exists", "get", "set", "update", "pop", "import", "export",
        "batch",
    ] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command}: {help:?}");
    }
    assert_eq!(run(&["--cache", "memory:", "fetsh"]).code, 2);
    assert_eq!(
        run(&["--version"]),
        ended(0, &format!("hilcat {}\n", env!("CARGO_PKG_VERSION")), "")
    );
}

#[test]
fn a_cache_has_to_be_named() {
    let expected =
        "hilcat: no cache is given; name it by --cache URI or by the variable HILCAT_CACHE\n";
    assert_eq!(run(&["scopes"]), ended(2, "", expected));
    let named = run_with(program().env("HILCAT_CACHE", "memory:").arg("scopes"), b"");
    assert_eq!(named, ended(0, "", ""));
}

#[test]
fn the_uri_of_a_cache_is_never_shown() {
    let uri = "sqlight://user:secret@host/db?password=secret";
    let calls: [&[&str]; 6] = [
        &["--cache", uri, "scopes"],
        &["--cache", uri, "--help"],
        &["--cache", uri, "get"],
        &["--cache", uri, "--cash", "x", "scopes"],
        &["--cache", uri, "fetsh"],
        &[uri, "scopes"],
    ];
    for words in calls {
        let told = run(words);
        assert!(!told.stdout.contains("secret") && !told.stderr.contains("secret"), "{told:?}");
    }
    let told = run_with(program().env("HILCAT_CACHE", uri).arg("--help"), b"");
    assert!(told.stdout.contains("HILCAT_CACHE") && !told.stdout.contains("secret"), "{told:?}");
    assert_eq!(
        run(&[uri, "scopes"]).stderr,
        "hilcat: the first word is a URI and no command; a cache is named by --cache URI\n"
    );
}

#[test]
fn an_unknown_scope_names_the_declared_ones() {
    assert_eq!(
        in_memory(&["get", "plane", "N10156"], ""),
        ended(
            2,
            "",
            "hilcat: no scope `plane`: the declared scopes are a, airlines, airports, d, flights, \
             planes; did you mean `planes`?\n"
        )
    );
}

#[test]
fn what_is_not_there_is_code_1() {
    assert_eq!(in_memory(&["exists", "a", "a1"], ""), ended(1, "false\n", ""));
    assert_eq!(in_memory(&["get", "a", "a1"], ""), ended(1, "", ""));
    assert_eq!(in_memory(&["pop", "d", "d1", "d2"], ""), ended(1, "", ""));
    assert_eq!(in_memory(&["keys", "a"], ""), ended(0, "", ""));
    assert_eq!(in_memory(&["update", "a", "a1", "{}"], ""), ended(0, "", ""));
}

#[test]
fn a_key_has_a_word_for_each_unique_column() {
    assert_eq!(
        in_memory(&["get", "d", "d1"], ""),
        ended(2, "", "hilcat: scope `d`: the key has 1 values; it is made of 2: id1, id2\n")
    );
    let key = ["2013", "1", "x", "UA", "1545", "EWR", "IAH", "515"];
    assert_eq!(
        in_memory(&[&["get", "flights"][..], &key[..]].concat(), ""),
        ended(2, "", "hilcat: scope `flights`, column `day`: the text is not of type smallint\n")
    );
    let key = ["2013", "-1", "-2", "UA", "1545", "EWR", "IAH", "515"];
    assert_eq!(in_memory(&[&["get", "flights"][..], &key[..]].concat(), ""), ended(1, "", ""));
}

#[test]
fn a_value_is_json_of_the_columns() {
    assert_eq!(
        in_memory(&["set", "a", "a1", "{name: 1}"], ""),
        ended(2, "", "hilcat: not JSON: a syntax error at line 1 column 2\n")
    );
    let told = in_memory(&["set", "a", "a1", r#"{"count": "secret"}"#], "");
    assert_eq!(
        told,
        ended(
            2,
            "",
            "hilcat: memory set, scope `a`, key `a1`, column `count`: expected an integer for \
             type int, found a string\n"
        )
    );
}

#[test]
fn schemas_that_are_wrong_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.toml");
    fs::write(&file, "[scopes.a]\ncolums = ['x']\n").unwrap();
    let file = file.to_str().unwrap();
    let told = run(&["--cache", "memory:", "--schemas", file, "scopes"]);
    assert_eq!((told.code, told.stdout.as_str()), (2, ""));
    assert!(
        told.stderr.starts_with(&format!("hilcat: {file}:2:1: unknown key `colums`; ")),
        "{told:?}"
    );
    assert_eq!(
        run(&["--cache", "memory:", "migrate"]),
        ended(
            2,
            "",
            "hilcat: no scope is declared; name the file or directory of schemas by --schemas \
             PATH or by the variable HILCAT_SCHEMAS\n"
        )
    );
}

// ---- batch

/// The answers of `hilcat batch` to these lines, on an empty cache in memory.
fn batch(lines: &str) -> String {
    let told = in_memory(&["batch"], lines);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    told.stdout
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
fn batch_takes_many_at_once() {
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
fn a_line_that_is_no_operation_is_an_error_and_the_next_is_read() {
    let answer = |message: &str| {
        let message = serde_json::to_string(message).unwrap();
        format!(r#"{{"ok":false,"error":{{"kind":"invalid_input","message":{message}}}}}"#)
    };
    let cases = [
        (
            r#"{"op":"nope"}"#,
            "unknown op `nope`; the ops are set, update, fetch, exists, pop, keys, scopes, \
             set_many, fetch_many, pop_many",
        ),
        ("", "not JSON: it ends too early at line 1 column 0"),
        ("{", "not JSON: it ends too early at line 1 column 1"),
        ("[1]", r#"the line is not a JSON object; write {"op": "fetch", ...}"#),
        ("{}", "the field `op` is missing"),
        (r#"{"op":1}"#, "the field `op` is to be a string"),
        (r#"{"op":"fetch","scope":"a"}"#, "the field `key` is missing; `fetch` has op, scope, key"),
        (
            r#"{"op":"fetch","scope":"a","key":"a1","kee":1}"#,
            "unknown field `kee`; `fetch` has op, scope, key",
        ),
        (r#"{"op":"scopes","x":1}"#, "unknown field `x`; `scopes` has no field but `op`"),
        (r#"{"op":"keys","scope":1}"#, "the field `scope` is to be a string"),
        (
            r#"{"op":"fetch_many","scope":"a","keys":"a1"}"#,
            "the field `keys` is to be an array of keys",
        ),
        (
            r#"{"op":"set_many","scope":"a","items":[["a1",{}],["a2"]]}"#,
            "the field `items` is to be an array of [KEY, VALUE] pairs",
        ),
        (
            r#"{"op":"fetch","scope":"a","key":18446744073709551616}"#,
            "the JSON holds an integer beyond 64 bits, which would lose digits; write it as a \
             string",
        ),
        (
            r#"{"op":"set","scope":"a","key":"a1","value":{"id":"a2"}}"#,
            "memory set, scope `a`, key `a1`, column `id`: the value's own key contradicts the \
             key that is given",
        ),
    ];
    let lines: String = cases.iter().map(|(line, _)| format!("{line}\n")).collect();
    let mut expected: Vec<String> = cases.iter().map(|(_, message)| answer(message)).collect();
    // The last line need not be ended.
    expected.push(r#"{"ok":true,"result":["a"]}"#.to_owned());
    let answers = batch(&format!("{lines}{}", r#"{"op":"scopes"}"#));
    assert_eq!(answers.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_line_that_is_not_utf_8_is_an_error() {
    let mut command = program();
    command.args(["--cache", "memory:", "--schemas", SCHEMAS, "batch"]);
    let told = run_with(&mut command, b"{\"op\":\"\xff\"}\r\n{\"op\":\"scopes\"}\r\n");
    let expected = "{\"ok\":false,\"error\":{\"kind\":\"invalid_input\",\"message\":\"the line is not UTF-8\"}}\n\
                    {\"ok\":true,\"result\":[]}\n";
    assert_eq!(told, ended(0, expected, ""));
}

#[test]
fn batch_names_the_kind_of_an_error() {
    assert_batch(&[(
        r#"{"op":"keys","scope":"b"}"#,
        r#"{"ok":false,"error":{"kind":"unknown_scope","message":"no scope `b`: the declared scopes are a, airlines, airports, d, flights, planes; did you mean `a`?"}}"#,
    )]);
}

#[test]
fn batch_keeps_what_json_can_hardly_say() {
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
    let told = run_with(&mut command, lines.as_bytes());
    let expected = r#"{"ok":true,"result":null}
{"ok":true,"result":{"big":18446744073709551615,"f":{"$float":"-Infinity"},"raw":{"$bytes":"AP8="},"price":"9.50","at":"2013-01-01T10:00:00Z","doc":{"n":9223372036854775807,"z":1}}}
"#;
    assert_eq!(told, ended(0, expected, ""));
}

#[test]
fn an_answer_is_written_before_more_is_waited_for() {
    let mut command = program();
    command.args(["--cache", "memory:", "--schemas", SCHEMAS, "batch"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for (scope, expected) in [("a", r#"["a"]"#), ("d", r#"["a","d"]"#)] {
        // A part of the next line is no reason to keep the answer back.
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

// ---- import and export

fn import(words: &[&str], input: &str) -> Ended {
    in_memory(&[&["import"], words].concat(), input)
}

#[test]
fn bad_rows_are_reported_and_the_rest_is_imported() {
    let csv = "\
count,id,name
1,a1,x
x,a2,\"two
lines\"
3,a3
4,,\"\"
2147483648,a5,z
\"\",a6,z
";
    let expected = "\
line 3: column `count`: the text is not of type int
line 5: it has 2 cells; the header names 3 columns
line 7: column `count`: the value is out of the range of type int
line 8: column `count`: the text is not of type int
2 rows imported, 4 bad rows left out
";
    assert_eq!(import(&["a", "--format", "csv"], csv), ended(2, "", expected));
    let strict = "\
line 3: column `count`: the text is not of type int
1 row imported, stopped at a bad one
";
    assert_eq!(import(&["a", "-", "--format", "csv", "--strict"], csv), ended(2, "", strict));
}

#[test]
fn bad_lines_of_json_are_reported_and_the_rest_is_imported() {
    let jsonl = r#"{"id":"a1","count":1}

{"id":"a2","count":1.5}
{"count":1}
{"id":"a3","cuont":1}
[1]
{"id":"a4"}
"#;
    let expected = "\
line 3: column `count`: expected an integer for type int, found a number with a fraction
line 4: column `id`: it is missing, and it is unique: a part of the key
line 5: no column `cuont`; the columns are id, name, comment, count; did you mean `count`?
line 6: it is not a JSON object of the scope's columns
2 rows imported, 4 bad rows left out
";
    assert_eq!(import(&["a", "--format", "jsonl"], jsonl), ended(2, "", expected));
}

#[test]
fn a_row_that_the_store_refuses_does_not_stop_the_others() {
    // `name` cannot be NULL and has no default: only a record that stands could do without.
    let jsonl = "{\"carrier\":\"AA\",\"name\":\"x\"}\n{\"carrier\":\"UA\"}\n{\"carrier\":\"B6\",\"name\":\"y\"}\n";
    let told = import(&["airlines", "--format", "jsonl"], jsonl);
    let (bad, summary) = told.stderr.split_once('\n').unwrap();
    assert!(bad.starts_with("line 2: ") && bad.contains("column `name`: "), "{told:?}");
    assert_eq!((told.code, summary), (2, "2 rows imported, 1 bad row left out\n"));
}

#[test]
fn the_header_names_the_columns() {
    let header = |line: &str| import(&["a", "--format", "csv"], line).stderr;
    let told = |message: &str| format!("0 rows imported\nhilcat: {message}\n");
    assert_eq!(header(""), told("the CSV has no header line; its first line names the columns"));
    assert_eq!(
        header("id,nam\n"),
        told(
            "line 1, the header: no column `nam`; the columns are id, name, comment, count; did \
             you mean `name`?"
        )
    );
    assert_eq!(header("id,id\n"), told("line 1, the header: it names the column `id` twice"));
    assert_eq!(
        header("\nname\n"),
        told("line 2, the header: it lacks the column `id`, which is unique")
    );
    assert_eq!(import(&["a", "--format", "csv"], "id\n"), ended(0, "", "0 rows imported\n"));
}

#[test]
fn the_format_is_told_by_the_file_or_by_an_option() {
    let expected = "hilcat: neither the name of the file nor --format tells the format; give \
                    --format csv or --format jsonl\n";
    assert_eq!(import(&["a"], ""), ended(2, "", expected));
    assert_eq!(import(&["a", "x.txt"], ""), ended(2, "", expected));
    assert_eq!(in_memory(&["export", "a"], ""), ended(2, "", expected));
    assert_eq!(
        in_memory(&["export", "a", "--format", "csv"], ""),
        ended(0, "id,name,comment,count\n", "")
    );
    assert_eq!(in_memory(&["export", "d", "--format", "jsonl"], ""), ended(0, "", ""));
    assert_eq!(
        import(&["a", "no/such.csv"], ""),
        ended(2, "", "hilcat: no/such.csv: No such file or directory (os error 2)\n")
    );
    assert_eq!(
        import(&["a", "--format", "csv", "--null", ","], ""),
        ended(2, "", "hilcat: --null can have no comma, quote or end of line\n")
    );
}

// ---- on SQLite, where records outlive the process

/// A cache in a file of its own, with the example schemas.
struct OnDisk(TempDir);

impl OnDisk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn command(&self) -> Command {
        let mut command = program();
        command.env("HILCAT_CACHE", format!("sqlite:///{}", self.path("t.db")));
        command.env("HILCAT_SCHEMAS", SCHEMAS);
        command
    }

    fn run(&self, words: &[&str]) -> Ended {
        self.run_with(words, "")
    }

    fn run_with(&self, words: &[&str], input: &str) -> Ended {
        run_with(self.command().args(words), input.as_bytes())
    }
}

#[test]
fn records_are_set_and_shown() {
    let cache = OnDisk::new();
    let a1 = r#"{"id":"a1","name":"jii","comment":null,"count":1}"#;
    assert_eq!(cache.run(&["set", "a", "a1", r#"{"count":1,"name":"jii"}"#]), ended(0, "", ""));
    assert_eq!(cache.run(&["get", "a", "a1"]), ended(0, &format!("{a1}\n"), ""));
    assert_eq!(cache.run(&["exists", "a", "a1"]), ended(0, "true\n", ""));
    assert_eq!(
        cache.run(&["update", "a", "a1", r#"{"count":-2}"#]),
        ended(0, &format!("{a1}\n"), "")
    );
    assert_eq!(cache.run(&["set", "d", "d1", "d2", "-3"]), ended(0, "", ""));
    assert_eq!(cache.run(&["get", "d", "d1", "d2"]), ended(0, "-3\n", ""));
    assert_eq!(cache.run(&["keys", "a"]), ended(0, "\"a1\"\n", ""));
    assert_eq!(cache.run(&["keys", "d"]), ended(0, "[\"d1\",\"d2\"]\n", ""));
    assert_eq!(cache.run(&["scopes"]), ended(0, "a\nd\n", ""));
    assert_eq!(
        cache.run(&["pop", "a", "a1"]),
        ended(0, "{\"id\":\"a1\",\"name\":\"jii\",\"comment\":null,\"count\":-2}\n", "")
    );
    assert_eq!(cache.run(&["get", "a", "a1"]), ended(1, "", ""));
}

#[test]
fn the_plan_is_empty_once_it_is_applied() {
    let cache = OnDisk::new();
    let plan = cache.run(&["migrate", "--plan"]);
    assert_eq!((plan.code, plan.stderr.as_str()), (0, ""));
    for line in ["scope `a`, table `a`:", "scope `d`, table `d_items`:", "  + create the table"] {
        assert!(plan.stdout.lines().any(|have| have == line), "{line}: {plan:?}");
    }
    assert_eq!(cache.run(&["migrate", "--plan"]), plan);
    assert_eq!(cache.run(&["migrate"]), plan);
    assert_eq!(cache.run(&["migrate", "--plan"]), ended(0, "", ""));
    assert_eq!(cache.run(&["migrate"]), ended(0, "", ""));
}

#[test]
fn an_unsafe_change_is_planned_but_not_applied() {
    let cache = OnDisk::new();
    assert_eq!(cache.run(&["set", "a", "a1", "{}"]).code, 0);
    let file = cache.path("s.toml");
    fs::write(&file, "[scopes.a]\ncolumns = ['id', 'name', 'count']\n[scopes.b]\n").unwrap();
    let plan = cache.run(&["--schemas", &file, "migrate", "--plan"]);
    assert_eq!(plan.code, 0);
    assert!(plan.stdout.contains("  ! drop column `comment`"), "{plan:?}");
    let applied = cache.run(&["--schemas", &file, "migrate"]);
    assert_eq!(applied.code, 2);
    assert!(applied.stderr.contains("  ! drop column `comment`"), "{applied:?}");
    assert!(applied.stdout.starts_with("scope `b`, table `b`:"), "{applied:?}");
    assert_eq!(cache.run(&["get", "a", "a1"]).code, 0);
}

#[test]
fn tables_that_stand_are_adopted() {
    let cache = OnDisk::new();
    assert_eq!(cache.run(&["set", "d", "d1", "d2", "3"]).code, 0);
    let mut command = cache.command();
    command.env_remove("HILCAT_SCHEMAS").args(["--adopt", "get", "d_items", "d1", "d2"]);
    let told = run_with(&mut command, b"");
    assert_eq!(told, ended(0, "{\"id1\":\"d1\",\"id2\":\"d2\",\"value\":3}\n", ""));
}

#[test]
fn exports_are_imported_and_exported_to_the_same_bytes() {
    let csv = "\
id,name,comment,count
\"\",\"\",,
NA,\"a,\"\"b\"\"\",\"x
y\",-7
a1,NA, ,2147483647
";
    let na = "\
id,name,comment,count
\"\",,NA,NA
\"NA\",\"a,\"\"b\"\"\",\"x
y\",-7
a1,\"NA\", ,2147483647
";
    let jsonl = r#"{"id":"","name":"","comment":null,"count":null}
{"id":"NA","name":"a,\"b\"","comment":"x\ny","count":-7}
{"id":"a1","name":"NA","comment":" ","count":2147483647}
"#;
    for (text, words) in [
        (csv, &["--format", "csv"][..]),
        (na, &["--format", "csv", "--null", "NA"][..]),
        (jsonl, &["--format", "jsonl"][..]),
    ] {
        let cache = OnDisk::new();
        let imported = cache.run_with(&[&["import", "a"], words].concat(), text);
        assert_eq!(imported, ended(0, "", "3 rows imported\n"));
        assert_eq!(cache.run(&["export", "a", "--format", "jsonl"]), ended(0, jsonl, ""));
        assert_eq!(cache.run(&[&["export", "a"], words].concat()), ended(0, text, ""));
    }
}

#[test]
fn files_are_read_and_written() {
    let cache = OnDisk::new();
    let (csv, jsonl) = (cache.path("a.csv"), cache.path("a.jsonl"));
    let text = "id,name,comment,count\na1,x,,1\na2,y,,2\n";
    fs::write(&csv, text).unwrap();
    assert_eq!(cache.run(&["import", "a", &csv]), ended(0, "", "2 rows imported\n"));
    assert_eq!(cache.run(&["export", "a", &jsonl]), ended(0, "", ""));
    let other = OnDisk::new();
    assert_eq!(other.run(&["import", "a", &jsonl]), ended(0, "", "2 rows imported\n"));
    assert_eq!(other.run(&["export", "a", &csv]), ended(0, "", ""));
    assert_eq!(fs::read_to_string(&csv).unwrap(), text);
}

#[test]
fn columns_that_a_file_lacks_stay_as_they_were() {
    let cache = OnDisk::new();
    cache.run_with(&["import", "a", "--format", "csv"], "id,name,count\na1,x,1\n");
    let told = cache.run_with(&["import", "a", "--format", "csv"], "count,id\r\n2,a1\r\n3,a2\r\n");
    assert_eq!(told, ended(0, "", "2 rows imported\n"));
    let expected = "id,name,comment,count\na1,x,,2\na2,,,3\n";
    assert_eq!(cache.run(&["export", "a", "--format", "csv"]), ended(0, expected, ""));
}

#[test]
fn many_rows_pass_in_batches() {
    let cache = OnDisk::new();
    let rows: String = (0..2500).map(|n| format!("k{n:04},,,{n}\n")).collect();
    let csv = format!("id,name,comment,count\n{rows}");
    let bad = csv.replace("k1700,,,1700", "k1700,,,x");
    let told = cache.run_with(&["import", "a", "--format", "csv"], &bad);
    let expected = "line 1702: column `count`: the text is not of type int\n\
                    2499 rows imported, 1 bad row left out\n";
    assert_eq!(told, ended(2, "", expected));
    assert_eq!(cache.run_with(&["import", "a", "--format", "csv"], &csv).code, 0);
    assert_eq!(cache.run(&["export", "a", "--format", "csv"]), ended(0, &csv, ""));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let cache = OnDisk::new();
    let rows: String =
        (0..20_000).map(|n| format!("a key of some length, number {n},{n}\n")).collect();
    let csv = format!("id,count\n{}", rows.replace(", number", " number"));
    assert_eq!(cache.run_with(&["import", "a", "--format", "csv"], &csv).code, 0);
    for words in [&["keys", "a"][..], &["export", "a", "--format", "csv"]] {
        let mut command = cache.command();
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]), "{words:?}");
    }
}

#[test]
fn the_sample_data_come_back() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    for scope in ["airlines", "planes"] {
        let file = data.join(format!("{scope}.csv"));
        let text = fs::read_to_string(&file).unwrap();
        let cache = OnDisk::new();
        let count = text.lines().count() - 1;
        let imported = cache.run(&["import", scope, file.to_str().unwrap(), "--null", "NA"]);
        assert_eq!(imported, ended(0, "", &format!("{count} rows imported\n")));
        let exported = cache.run(&["export", scope, "--format", "csv", "--null", "NA"]);
        assert_eq!(exported, ended(0, &text, ""));
    }
}
