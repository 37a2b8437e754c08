//! The command line.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod batch;
#[cfg(all(unix, feature = "sqlite"))]
mod freshness;
#[cfg(all(unix, feature = "sqlite"))]
mod guide;
mod import;
mod inputs;
#[cfg(all(unix, feature = "sqlite"))]
mod read_only;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(unix, feature = "sqlite"))]
mod stores;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");

/// The exit code and the output of a call of the program.
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_hilcat"));
    command.env_remove("HILCAT_CACHE").env_remove("HILCAT_SCHEMAS");
    command
}

/// Runs the program with this standard input.
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
fn the_usage_is_printed() {
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
fn a_cache_is_required() {
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
        let output = run(words);
        assert!(
            !output.stdout.contains("secret") && !output.stderr.contains("secret"),
            "{output:?}"
        );
    }
    let output = run_with(program().env("HILCAT_CACHE", uri).arg("--help"), b"");
    assert!(
        output.stdout.contains("HILCAT_CACHE") && !output.stdout.contains("secret"),
        "{output:?}"
    );
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
fn a_missing_record_is_exit_code_1() {
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
        ended(2, "", "hilcat: scope `d`: the key has 1 value; it is made of 2: id1, id2\n")
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
    let output = in_memory(&["set", "a", "a1", r#"{"count": "secret"}"#], "");
    assert_eq!(
        output,
        ended(
            2,
            "",
            "hilcat: memory set, scope `a`, key `a1`, column `count`: expected an integer for \
             type int, found a string\n"
        )
    );
}

#[test]
fn invalid_schemas_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.toml");
    fs::write(&file, "[scopes.a]\ncolums = ['x']\n").unwrap();
    let file = file.to_str().unwrap();
    let output = run(&["--cache", "memory:", "--schemas", file, "scopes"]);
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    assert!(
        output.stderr.starts_with(&format!("hilcat: {file}:2:1: unknown key `colums`; ")),
        "{output:?}"
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
