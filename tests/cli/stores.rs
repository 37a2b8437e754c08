//! The commands on stores of serialised records.

use std::process::Command;

use crate::{Ended, SCHEMAS, ended, program, run_with};

/// Returns a command on the cache of this URI.
fn on(uri: &str) -> Command {
    let mut command = program();
    command.args(["--cache", uri, "--schemas", SCHEMAS]);
    command
}

fn run(uri: &str, words: &[&str], input: &str) -> Ended {
    run_with(on(uri).args(words), input.as_bytes())
}

fn every_command(uri: &str) {
    let csv = "id,name,comment,count\na1,x,,3\na/2,\"y, z\",c,\n";
    let output = run(uri, &["import", "a", "--format", "csv"], csv);
    assert_eq!(output, ended(0, "", "2 rows imported\n"), "{uri}");
    assert_eq!(run(uri, &["scopes"], ""), ended(0, "a\n", ""), "{uri}");
    assert_eq!(run(uri, &["exists", "a", "a1"], "").code, 0, "{uri}");
    assert_eq!(run(uri, &["exists", "a", "a2"], "").code, 1, "{uri}");
    let get = run(uri, &["get", "a", "a/2"], "");
    let value: serde_json::Value = serde_json::from_str(&get.stdout).unwrap();
    assert_eq!(
        value,
        serde_json::json!({"id": "a/2", "name": "y, z", "comment": "c", "count": null})
    );
    let lines = "{\"op\":\"set\",\"scope\":\"d\",\"key\":[\"d1\",\"d,2\"],\"value\":3}\n{\"op\":\"fetch\",\"scope\":\"d\",\"key\":[\"d1\",\"d,2\"]}\n";
    let batch = run(uri, &["batch"], lines);
    let expected = "{\"ok\":true,\"result\":null}\n{\"ok\":true,\"result\":3}\n";
    assert_eq!(batch, ended(0, expected, ""), "{uri}");
    let exported = run(uri, &["export", "a", "--format", "csv"], "").stdout;
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&exported), sorted(csv), "{uri}");
    assert_eq!(run(uri, &["pop", "a", "a1"], "").code, 0, "{uri}");
    assert_eq!(run(uri, &["migrate", "--plan"], "").code, 0, "{uri}");
}

#[cfg(unix)]
#[test]
fn files() {
    let directory = tempfile::tempdir().unwrap();
    every_command(&format!("file://{}", directory.path().display()));
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_as_keys_and_values() {
    let directory = tempfile::tempdir().unwrap();
    every_command(&format!("sqlite+kv:///{}", directory.path().join("t.db").display()));
}

#[cfg(feature = "sqlite")]
#[test]
fn a_single_table_needs_no_schemas() {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!(
        "sqlite:///{}?single_table=cache&scope_columns=region,kind&key_columns=a,b&columns=v&column_types=b:int",
        directory.path().join("t.db").display()
    );
    let run = |words: &[&str]| run_with(program().args(["--cache", &uri]).args(words), b"");
    assert_eq!(run(&["set", "eu/x", "k", "1", "\"one\""]), ended(0, "", ""));
    assert_eq!(run(&["get", "eu/x", "k", "1"]), ended(0, "\"one\"\n", ""));
    assert_eq!(run(&["keys", "eu/x"]), ended(0, "[\"k\",1]\n", ""));
    assert_eq!(run(&["scopes"]), ended(0, "eu/x\n", ""));
}
