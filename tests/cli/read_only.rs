//! Commands that read change nothing: they create no file, directory, table or column. They need no
//! write permission.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{Ended, ended, program, run_with};

const OLD: &str = "[scopes.a]\ncolumns = ['id', 'n']\ncolumn_types = { n = 'int' }\n";
/// Further columns, and a wider one.
const NEWER: &str = "[scopes.a]\ncolumns = ['id', 'n', 'm', 'x']\nmigrate = 'recreate'\n\
                     column_types = { n = 'bigint' }\ndefaults = { x = 'new' }\n[scopes.b]\n";
/// A schema that would recreate the scope.
const OTHER: &str = "[scopes.a]\ncolumns = ['id', 'n']\nmigrate = 'recreate'\n\
                     column_types = { n = 'date' }\n";

const READING: [&[&str]; 8] = [
    &["get", "a", "k"],
    &["get", "a", "none"],
    &["exists", "a", "k"],
    &["keys", "a"],
    &["export", "a", "--format", "csv"],
    &["scopes"],
    &["migrate", "--plan"],
    &["--adopt", "scopes"],
];

/// A directory with a cache and schema files.
struct Fixture {
    directory: TempDir,
    uri: String,
}

impl Fixture {
    /// Creates the cache at `cache/t`.
    fn new(uri: impl Fn(&str) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(directory.path().join("cache")).unwrap();
        for (name, text) in [("old", OLD), ("newer", NEWER), ("other", OTHER)] {
            fs::write(directory.path().join(format!("{name}.toml")), text).unwrap();
        }
        let uri = uri(directory.path().join("cache/t").to_str().unwrap());
        Self { directory, uri }
    }

    fn sqlite() -> Self {
        Self::new(|path| format!("sqlite:///{path}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn words(&self, schemas: &str, words: &[&str]) -> Vec<String> {
        let schemas = self.path(&format!("{schemas}.toml")).display().to_string();
        let options = ["--cache", &self.uri, "--schemas", &schemas];
        options.iter().chain(words).map(|word| (*word).to_owned()).collect()
    }

    fn run(&self, schemas: &str, words: &[&str]) -> Ended {
        run_with(program().args(self.words(schemas, words)), b"")
    }

    fn fill(&self) {
        assert_eq!(self.run("old", &["set", "a", "k", r#"{"n":7}"#]), ended(0, "", ""));
    }

    /// Returns all files in the directory of the cache, with their contents.
    fn tree(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.path("cache"), &mut files);
        files
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => {
                collect(&path, files);
                files.insert(path, Vec::new());
            }
            false => drop(files.insert(path.clone(), fs::read(path).unwrap())),
        }
    }
}

fn fixtures() -> Vec<Fixture> {
    let file = |path: &str| format!("file://{path}");
    let kv = |path: &str| format!("sqlite+kv:///{path}");
    let tiered = |path: &str| format!("tiered:?near=sqlite:///{path}-near&far=sqlite:///{path}");
    let staged = |path: &str| format!("staged:?memory=memory:&storage=file://{path}");
    let fan_out = |path: &str| format!("fan-out:?primary=sqlite:///{path}&writers=file://{path}-w");
    let prefix = |path: &str| format!("prefix:?name=p&cache=sqlite:///{path}");
    vec![
        Fixture::sqlite(),
        Fixture::new(kv),
        Fixture::new(file),
        Fixture::new(tiered),
        Fixture::new(staged),
        Fixture::new(fan_out),
        Fixture::new(prefix),
    ]
}

#[test]
fn a_command_that_reads_changes_nothing() {
    for fixture in fixtures() {
        fixture.fill();
        let before = fixture.tree();
        for schemas in ["old", "newer", "other"] {
            for words in READING {
                let output = fixture.run(schemas, words);
                assert!(
                    fixture.tree() == before,
                    "{} {schemas} {words:?}: {output:?}",
                    fixture.uri
                );
            }
        }
        let newer = "{\"id\":\"k\",\"n\":7,\"m\":null,\"x\":\"new\"}\n";
        assert_eq!(
            fixture.run("newer", &["get", "a", "k"]),
            ended(0, newer, ""),
            "{}",
            fixture.uri
        );
        assert_eq!(fixture.run("newer", &["keys", "b"]), ended(0, "", ""), "{}", fixture.uri);
        let other = fixture.run("other", &["get", "a", "k"]);
        assert_eq!(other.code, 2, "{other:?}");
        assert!(other.stderr.contains("read-only") && other.stderr.contains("`n`"), "{other:?}");
        assert!(fixture.tree() == before, "{}", fixture.uri);
        let old = fixture.run("old", &["get", "a", "k"]);
        assert_eq!(old, ended(0, "{\"id\":\"k\",\"n\":7}\n", ""), "{}", fixture.uri);
    }
}

#[test]
fn a_mistyped_name_makes_no_file() {
    for fixture in fixtures() {
        for words in READING {
            let output = fixture.run("old", words);
            assert!(fixture.tree().is_empty(), "{} {words:?}: {output:?}", fixture.uri);
            match words == ["migrate", "--plan"] {
                true => assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}"),
                false => {
                    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
                    assert!(output.stderr.contains("no such "), "{output:?}");
                    assert!(output.stderr.contains("cache/t"), "{output:?}");
                }
            }
        }
    }
}

#[test]
fn read_only_holds_for_every_part_of_a_uri() {
    let fixture = Fixture::sqlite();
    fixture.fill();
    let uri = format!("{}?read_only=true", fixture.uri);
    let schemas = fixture.path("old.toml").display().to_string();
    let run = |uri: &str, words: &[&str]| {
        let options = ["--cache", uri, "--schemas", &schemas];
        run_with(program().args(options).args(words), b"")
    };
    let output = run(&uri, &["set", "a", "k", "{\"n\":8}"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.starts_with("hilcat: sqlite set, scope `a`: "), "{output:?}");
    assert!(output.stderr.contains("opened read-only"), "{output:?}");
    let output = run(&uri, &["migrate"]);
    assert!(output.code == 2 && output.stderr.contains("opened read-only"), "{output:?}");
    let get = run(&fixture.uri, &["get", "a", "k"]);
    assert_eq!(get.stdout, "{\"id\":\"k\",\"n\":7}\n");
    let staged = format!(
        "staged:?memory=memory:&storage=sqlite:///{}%3Fread_only%3Dtrue",
        fixture.path("cache/t").display()
    );
    let output = run(&staged, &["set", "a", "k", "{\"n\":8}"]);
    assert!(output.code == 2 && output.stderr.contains("opened read-only"), "{output:?}");
    assert_eq!(fixture.run("old", &["get", "a", "k"]).stdout, "{\"id\":\"k\",\"n\":7}\n");
}

/// A process that has written, and still has the cache open.
struct Writer(Child);

impl Writer {
    fn new(fixture: &Fixture) -> Self {
        let mut command = program();
        command.args(fixture.words("old", &["batch"]));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let line = "{\"op\":\"set\",\"scope\":\"a\",\"key\":\"live\",\"value\":{\"n\":1}}\n";
        child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut answer).unwrap();
        assert!(answer.contains("\"ok\":true"), "{answer}");
        Self(child)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

const LIVE: &str = "{\"id\":\"live\",\"n\":1}\n";

#[test]
fn a_file_that_another_process_writes_is_read() {
    let fixture = Fixture::sqlite();
    fixture.fill();
    let writer = Writer::new(&fixture);
    assert_eq!(fixture.run("old", &["get", "a", "live"]), ended(0, LIVE, ""));
    drop(writer);
    assert_eq!(fixture.tree().len(), 1, "{:?}", fixture.tree().keys());
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout == b"0\n")
}

/// Runs the program as an unprivileged user. Returns `None` if that is not possible.
fn as_nobody(fixture: &Fixture, schemas: &str, words: &[&str]) -> Option<Ended> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(program().get_program()).args(fixture.words(schemas, words));
    command.env_remove("HILCAT_CACHE").env_remove("HILCAT_SCHEMAS");
    is_root().then(|| run_with(&mut command, b""))
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const SEVEN: &str = "{\"id\":\"k\",\"n\":7}\n";

#[test]
fn a_file_without_write_permission_is_read() {
    for fixture in [Fixture::sqlite(), Fixture::new(|path| format!("sqlite+kv:///{path}"))] {
        fixture.fill();
        // First neither the file nor its directory is writable, then only the directory is not.
        for (file, directory) in [(0o644, 0o755), (0o444, 0o777)] {
            set_mode(&fixture.path("cache/t"), file);
            set_mode(&fixture.path("cache"), directory);
            let before = fixture.tree();
            let Some(output) = as_nobody(&fixture, "newer", &["keys", "a"]) else { return };
            assert_eq!(output, ended(0, "\"k\"\n", ""), "{file:o} {directory:o}");
            let output = as_nobody(&fixture, "old", &["get", "a", "k"]).unwrap();
            assert_eq!(output, ended(0, SEVEN, ""), "{file:o} {directory:o}");
            assert!(fixture.tree() == before, "{:?}", fixture.tree().keys());
        }
    }
}

#[test]
fn a_directory_without_write_permission_is_read() {
    let fixture = Fixture::new(|path| format!("file://{path}"));
    fixture.fill();
    let before = fixture.tree();
    let Some(output) = as_nobody(&fixture, "old", &["get", "a", "k"]) else { return };
    assert_eq!(output, ended(0, SEVEN, ""));
    let output = as_nobody(&fixture, "newer", &["export", "a", "--format", "csv"]).unwrap();
    assert_eq!(output, ended(0, "id,n,m,x\nk,7,,new\n", ""));
    assert!(fixture.tree() == before);
}

#[test]
fn the_wal_of_a_live_writer_is_read_without_write_permission() {
    let fixture = Fixture::sqlite();
    fixture.fill();
    let _writer = Writer::new(&fixture);
    let Some(output) = as_nobody(&fixture, "old", &["get", "a", "live"]) else { return };
    assert_eq!(output, ended(0, LIVE, ""));
    // Without the index of the WAL, the file alone would be out of date.
    fs::remove_file(fixture.path("cache/t-shm")).unwrap();
    let output = as_nobody(&fixture, "old", &["get", "a", "live"]).unwrap();
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
    assert!(output.stderr.contains("t-wal contains changes"), "{output:?}");
}

#[test]
fn a_read_only_file_system_is_read() {
    for fixture in [Fixture::sqlite(), Fixture::new(|path| format!("file://{path}"))] {
        fixture.fill();
        let before = fixture.tree();
        let cache = fixture.path("cache").display().to_string();
        let mount =
            "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" || exit 77; \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", mount, &cache]).arg(program().get_program());
        command.args(fixture.words("old", &["get", "a", "k"]));
        if !is_root() {
            return;
        }
        let output = run_with(&mut command, b"");
        // Some containers cannot mount anything; the test is skipped there.
        if output.code == 77 {
            return;
        }
        assert_eq!(output, ended(0, SEVEN, ""), "{}", fixture.uri);
        assert!(fixture.tree() == before);
    }
}

#[test]
fn adopted_tables_are_listed_and_others_are_reported() {
    let fixture = Fixture::sqlite();
    fixture.fill();
    let mut connection = connect(&fixture.path("cache/t"));
    diesel::connection::SimpleConnection::batch_execute(
        &mut connection,
        "CREATE TABLE theirs (id TEXT NOT NULL PRIMARY KEY, v TEXT);
         CREATE TABLE keyless (v TEXT)",
    )
    .unwrap();
    drop(connection);
    let uri = ["--cache", fixture.uri.as_str()];
    let output = run_with(program().args(uri).args(["--adopt", "scopes"]), b"");
    assert_eq!((output.code, output.stdout.as_str()), (0, "a\ntheirs\n"));
    let skipped = "hilcat: the table `keyless` cannot be a scope: it has no primary key\n";
    assert_eq!(output.stderr, skipped);
    let output = run_with(program().args(uri).args(["--adopt", "keys", "keyless"]), b"");
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("it has no primary key"), "{output:?}");
    let output = run_with(program().args(uri).args(["keys", "theirs"]), b"");
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("--schemas") && output.stderr.contains("--adopt"), "{output:?}");
}

fn connect(path: &Path) -> diesel::SqliteConnection {
    diesel::Connection::establish(path.to_str().unwrap()).unwrap()
}

#[test]
fn a_database_in_memory_is_not_a_file() {
    let directory = tempfile::tempdir().unwrap();
    for scheme in ["sqlite", "sqlite+kv"] {
        let mut command = program();
        command.current_dir(directory.path());
        command.args(["--cache", &format!("{scheme}:///:memory:"), "scopes"]);
        let output = run_with(&mut command, b"");
        assert_eq!(output.code, 2);
        assert!(output.stderr.contains("sqlite::memory:"), "{output:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
