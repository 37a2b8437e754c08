//! The commands on a SQLite file.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Ended, SCHEMAS, ended, program, run_with};

/// A cache in its own file, with the example schemas.
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
    assert!(plan.stdout.contains("  ! change column `count` from int to text"), "{plan:?}");
    let applied = cache.run(&["--schemas", &file, "migrate"]);
    assert_eq!(applied.code, 2);
    assert!(applied.stderr.contains("  ! change column `count` from int to text"), "{applied:?}");
    assert!(applied.stdout.starts_with("scope `b`, table `b`:"), "{applied:?}");
    assert_eq!(cache.run(&["get", "a", "a1"]).code, 0);
}

#[test]
fn existing_tables_are_adopted() {
    let cache = OnDisk::new();
    assert_eq!(cache.run(&["set", "d", "d1", "d2", "3"]).code, 0);
    let mut command = cache.command();
    command.env_remove("HILCAT_SCHEMAS").args(["--adopt", "get", "d", "d1", "d2"]);
    let output = run_with(&mut command, b"");
    assert_eq!(output, ended(0, "3\n", ""));
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
fn columns_missing_from_a_file_are_unchanged() {
    let cache = OnDisk::new();
    cache.run_with(&["import", "a", "--format", "csv"], "id,name,count\na1,x,1\n");
    let output =
        cache.run_with(&["import", "a", "--format", "csv"], "count,id\r\n2,a1\r\n3,a2\r\n");
    assert_eq!(output, ended(0, "", "2 rows imported\n"));
    let expected = "id,name,comment,count\na1,x,,2\na2,,,3\n";
    assert_eq!(cache.run(&["export", "a", "--format", "csv"]), ended(0, expected, ""));
}

#[test]
fn many_rows_are_imported_in_batches() {
    let cache = OnDisk::new();
    let rows: String = (0..2500).map(|n| format!("k{n:04},,,{n}\n")).collect();
    let csv = format!("id,name,comment,count\n{rows}");
    let bad = csv.replace("k1700,,,1700", "k1700,,,x");
    let output = cache.run_with(&["import", "a", "--format", "csv"], &bad);
    let expected = "line 1702: column `count`: the text is not of type int\n\
                    2499 rows imported, 1 bad row skipped\n";
    assert_eq!(output, ended(2, "", expected));
    assert_eq!(cache.run_with(&["import", "a", "--format", "csv"], &csv).code, 0);
    assert_eq!(cache.run(&["export", "a", "--format", "csv"]), ended(0, &csv, ""));
}

#[test]
fn a_row_that_the_store_refuses_does_not_stop_its_batch() {
    let cache = OnDisk::new();
    assert_eq!(cache.run(&["set", "airlines", "UA", r#"{"name":"old"}"#]).code, 0);
    // A new record needs a name, which cannot be NULL; an existing record keeps its own.
    let csv = "carrier\nAA\nUA\n";
    let output = cache.run_with(&["import", "airlines", "--format", "csv"], csv);
    let (bad, summary) = output.stderr.split_once('\n').unwrap();
    assert!(bad.starts_with("line 2: ") && bad.contains("column `name`: "), "{output:?}");
    assert_eq!((output.code, summary), (2, "1 row imported, 1 bad row skipped\n"));
    let expected = "{\"carrier\":\"UA\",\"name\":\"old\"}\n";
    assert_eq!(cache.run(&["export", "airlines", "--format", "jsonl"]), ended(0, expected, ""));
}

#[test]
fn a_broken_pipe_is_not_an_error() {
    let cache = OnDisk::new();
    let rows: String = (0..20_000).map(|n| format!("a key of some length {n},{n}\n")).collect();
    let csv = format!("id,count\n{rows}");
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

/// Imports a CSV of the sample data and exports it again. Returns the text before and after.
fn round_trip(scope: &str) -> (String, String) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/nycflights13");
    let file = data.join(format!("{scope}.csv"));
    let text = fs::read_to_string(&file).unwrap();
    let cache = OnDisk::new();
    let imported = cache.run(&["import", scope, file.to_str().unwrap(), "--null", "NA"]);
    let count = text.lines().count() - 1;
    assert_eq!(imported, ended(0, "", &format!("{count} rows imported\n")));
    let exported = cache.run(&["export", scope, "--format", "csv", "--null", "NA"]);
    assert_eq!((exported.code, exported.stderr.as_str()), (0, ""));
    (text, exported.stdout)
}

#[test]
fn the_sample_data_round_trip() {
    for scope in ["airlines", "planes"] {
        let (before, after) = round_trip(scope);
        assert_eq!(before, after);
    }
}

#[test]
fn coordinates_round_trip_exactly() {
    let (before, after) = round_trip("airports");
    assert_eq!(before.lines().count(), after.lines().count());
    for (before, after) in before.lines().zip(after.lines()).filter(|(one, other)| one != other) {
        let cells = before.split(',').zip(after.split(','));
        for (before, after) in cells.filter(|(one, other)| one != other) {
            assert_eq!(before.parse::<f64>().unwrap(), after.parse::<f64>().unwrap());
        }
    }
}

/// A staged cache is loaded before a command and saved after it.
#[test]
fn layers_are_opened_by_uri() {
    let cache = OnDisk::new();
    let storage = format!("sqlite:///{}", cache.path("t.db"));
    let escaped = storage.replace('/', "%2F");
    let file = cache.path("cache.toml");
    let toml = format!("layer = 'tiered'\nnear = 'memory:'\nfar = '{storage}'\n");
    fs::write(&file, toml).unwrap();
    let layers = [
        format!("tiered:?near=memory:&far={escaped}"),
        format!("staged:?memory=memory:&storage={escaped}"),
        format!("fan-out:?primary={escaped}&writers=memory:"),
        format!("prefix:?name=tenant1&cache={escaped}"),
        format!("layers:///{file}"),
    ];
    for (at, layer) in layers.iter().enumerate() {
        let run =
            |words: &[&str]| run_with(cache.command().env("HILCAT_CACHE", layer).args(words), b"");
        let key = format!("k{at}");
        assert_eq!(run(&["set", "a", &key, "{\"count\":1}"]), ended(0, "", ""), "{layer}");
        let found = run(&["exists", "a", &key]);
        assert_eq!(found, ended(0, "true\n", ""), "{layer}");
    }
    assert_eq!(cache.run(&["keys", "a"]), ended(0, "\"k0\"\n\"k1\"\n\"k2\"\n\"k4\"\n", ""));
    assert_eq!(cache.run(&["scopes"]), ended(0, "a\ntenant1__a\n", ""));
}
