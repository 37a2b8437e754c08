//! Expiry on the command line.

use std::time::Duration;
use std::{fs, thread};

use crate::{Ended, ended, program, run_with};

const SCHEMAS: &str = r#"
[scopes.SCOPE]
columns = ["id", "v"]
ttl = "1h"
stale_if_error = "1h"
"#;

/// The environment variables of the servers under test, and options of their URIs; `CA` is the file of the
/// server's authority.
const SERVERS: &[(&str, &str)] = &[
    ("HILCAT_TEST_POSTGRESQL15", ""),
    ("HILCAT_TEST_PGBOUNCER", ""),
    ("HILCAT_TEST_MYSQL8", ""),
    ("HILCAT_TEST_MARIADB", ""),
    ("HILCAT_TEST_REDIS", ""),
    ("HILCAT_TEST_REDIS", "layout=hash&db=2"),
    ("HILCAT_TEST_REDIS_SENTINEL", ""),
    ("HILCAT_TEST_REDIS_CLUSTER", ""),
    ("HILCAT_TEST_ELASTICSEARCH8", ""),
    ("HILCAT_TEST_ELASTICSEARCH9", ""),
    ("HILCAT_TEST_ELASTICSEARCH_SECURED", "sslrootcert=CA"),
    ("HILCAT_TEST_REDIS_SOCKET", "db=3"),
    ("HILCAT_TEST_REDIS_SECURED", ""),
    ("HILCAT_TEST_REDIS_SECURED_SENTINEL", "db=1"),
    ("HILCAT_TEST_REDIS_SECURED_CLUSTER", ""),
    ("HILCAT_TEST_POSTGRESQL18", ""),
];

/// A cache, a file of schemas, and a scope name that no other run uses.
struct Fixture {
    directory: tempfile::TempDir,
    scope: String,
}

impl Fixture {
    fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let directory = tempfile::tempdir().unwrap();
        let scope = format!("t{:016x}", RandomState::new().hash_one(std::process::id()));
        let schemas = SCHEMAS.replace("SCOPE", &scope);
        fs::write(directory.path().join("schemas.toml"), schemas).unwrap();
        Self { directory, scope }
    }

    fn uris(&self) -> Vec<String> {
        let path = self.directory.path().display();
        let local = ["sqlite:///DIR/t.db", "sqlite+kv:///DIR/kv.db", "file:DIR/files"];
        let layers = [
            "tiered:?near=memory:&far=sqlite:///DIR/far.db",
            "staged:?memory=memory:&storage=sqlite:///DIR/storage.db",
            "fan-out:?primary=sqlite:///DIR/primary.db&writers=file:DIR/writer",
            "prefix:?name=p&cache=sqlite:///DIR/prefix.db",
        ];
        let escaped = layers.map(|uri| uri.replace("///", "%2F%2F%2F"));
        let local = local.iter().map(|uri| (*uri).to_owned()).chain(escaped);
        let local = local.map(|uri| uri.replace("DIR", &path.to_string()));
        let servers = SERVERS.iter().filter_map(|(variable, options)| {
            let uri = std::env::var(variable).ok()?;
            let authority = || std::env::var(format!("{variable}_CA")).unwrap();
            let options = match options.strip_suffix("=CA") {
                Some(option) => format!("{option}={}", authority()),
                None => (*options).to_owned(),
            };
            let sign = if uri.contains('?') { '&' } else { '?' };
            Some(if options.is_empty() { uri } else { format!("{uri}{sign}{options}") })
        });
        local.chain(servers).collect()
    }

    fn run(&self, uri: &str, words: &[&str], input: &str) -> Ended {
        let words = words.iter().map(|word| if *word == "SCOPE" { &self.scope } else { *word });
        let schemas = self.directory.path().join("schemas.toml");
        let mut command = program();
        command.args(["--cache", uri, "--schemas"]).arg(schemas).args(words);
        run_with(&mut command, input.replace("SCOPE", &self.scope).as_bytes())
    }
}

#[test]
fn an_expired_record_is_absent_for_every_command() {
    let fixture = Fixture::new();
    let uris = fixture.uris();
    for uri in &uris {
        let set =
            fixture.run(uri, &["set", "SCOPE", "a", r#"{"id": "a", "v": "1"}"#, "--ttl", "2s"], "");
        assert_eq!(set, ended(0, "", ""), "{uri}");
        let lines = r#"{"op":"set","scope":"SCOPE","key":"b","value":{"id":"b","v":"2"},"ttl":"2s"}
{"op":"set_many","scope":"SCOPE","items":[["c",{"id":"c","v":"3"}]],"ttl":"2s"}
{"op":"set","scope":"SCOPE","key":"kept","value":{"id":"kept","v":"4"}}
{"op":"exists","scope":"SCOPE","key":"b"}
"#;
        let batch = fixture.run(uri, &["batch"], lines);
        assert_eq!(batch.code, 0, "{uri}: {}", batch.stderr);
        assert!(!batch.stdout.contains(r#""ok":false"#), "{uri}: {}", batch.stdout);
    }
    thread::sleep(Duration::from_millis(2_100));
    for uri in &uris {
        for key in ["a", "b", "c"] {
            assert_eq!(
                fixture.run(uri, &["exists", "SCOPE", key], ""),
                ended(1, "false\n", ""),
                "{uri}"
            );
            assert_eq!(fixture.run(uri, &["get", "SCOPE", key], ""), ended(1, "", ""), "{uri}");
        }
        assert_eq!(fixture.run(uri, &["keys", "SCOPE"], ""), ended(0, "\"kept\"\n", ""), "{uri}");
        let exported = fixture.run(uri, &["export", "SCOPE", "--format", "csv"], "");
        assert_eq!(exported.stdout, "id,v\nkept,4\n", "{uri}");
        assert_eq!(fixture.run(uri, &["pop", "SCOPE", "b"], ""), ended(1, "", ""), "{uri}");
        let lines = r#"{"op":"fetch_many","scope":"SCOPE","keys":["a","kept"]}
{"op":"touch","scope":"SCOPE","key":"a"}
{"op":"touch","scope":"SCOPE","key":"kept"}
{"op":"pop","scope":"SCOPE","key":"c"}
"#;
        let answers = fixture.run(uri, &["batch"], lines).stdout;
        let expected = r#"{"ok":true,"result":[null,{"id":"kept","v":"4"}]}
{"ok":true,"result":false}
{"ok":true,"result":true}
{"ok":true,"result":null}
"#;
        assert_eq!(answers, expected, "{uri}");
        assert_eq!(fixture.run(uri, &["pop", "SCOPE", "kept"], "").code, 0, "{uri}");
    }
}

#[test]
fn an_entry_is_shown_with_its_expiry() {
    let fixture = Fixture::new();
    let uri = &fixture.uris()[0];
    fixture.run(uri, &["set", "SCOPE", "a", r#"{"id": "a", "v": "1"}"#, "--ttl", "1ms"], "");
    thread::sleep(Duration::from_millis(5));
    assert_eq!(fixture.run(uri, &["get", "SCOPE", "a"], "").code, 1);
    let shown = fixture.run(uri, &["get", "--entry", "SCOPE", "a"], "");
    let entry: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(entry["record"], serde_json::json!({"id": "a", "v": "1"}));
    assert_eq!(entry["stale"], serde_json::json!(true));
    assert!(entry["expires_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(fixture.run(uri, &["get", "--entry", "SCOPE", "b"], "").code, 1);
    let line = r#"{"op":"entry","scope":"SCOPE","key":"a"}"#;
    let answer = fixture.run(uri, &["batch"], line).stdout;
    assert!(
        answer.starts_with(r#"{"ok":true,"result":{"record":{"id":"a","v":"1"},"stale":true"#),
        "{answer}"
    );
}

#[test]
fn purge_prints_how_many_records_it_removed() {
    let fixture = Fixture::new();
    let uri = &fixture.uris()[0];
    // Without a stale window, nothing is kept.
    let schemas = format!("[scopes.{}]\ncolumns = [\"id\", \"v\"]\nttl = \"1ms\"\n", fixture.scope);
    fs::write(fixture.directory.path().join("schemas.toml"), schemas).unwrap();
    for key in ["a", "b"] {
        fixture.run(uri, &["set", "SCOPE", key, &format!(r#"{{"id": "{key}", "v": "1"}}"#)], "");
    }
    thread::sleep(Duration::from_millis(5));
    assert_eq!(fixture.run(uri, &["purge", "SCOPE"], ""), ended(0, "2\n", ""));
    assert_eq!(fixture.run(uri, &["purge"], ""), ended(0, "0\n", ""));
    let mistyped = fixture.run(uri, &["purge", "nowhere"], "");
    assert_eq!(mistyped.code, 2);
    assert!(mistyped.stderr.contains("no scope `nowhere`"), "{}", mistyped.stderr);
}

#[test]
fn an_invalid_ttl_is_refused() {
    let fixture = Fixture::new();
    let uri = &fixture.uris()[0];
    let value = r#"{"id": "a", "v": "1"}"#;
    let wrong = fixture.run(uri, &["set", "SCOPE", "a", value, "--ttl", "soon"], "");
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("--ttl") && wrong.stderr.contains("30s"), "{}", wrong.stderr);
    let line = r#"{"op":"set","scope":"SCOPE","key":"a","value":{},"ttl":2}"#;
    let answer = fixture.run(uri, &["batch"], line).stdout;
    assert!(answer.contains("`ttl`") && answer.contains(r#""ok":false"#), "{answer}");
    fixture.run(uri, &["set", "SCOPE", "b", r#"{"id": "b", "v": "1"}"#], "");
    assert_eq!(
        fixture.run(uri, &["keys", "SCOPE"], "").stdout,
        "\"b\"\n",
        "nothing else was written"
    );
}
