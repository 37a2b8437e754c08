//! Commands that read change nothing: no file, directory, table or column is made, and none is left
//! behind. What may not be written can be read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{Ended, ended, program, run_with};

const OLD: &str = "[scopes.a]\ncolumns = ['id', 'n']\ncolumn_types = { n = 'int' }\n";
/// More columns and a wider one.
const NEWER: &str = "[scopes.a]\ncolumns = ['id', 'n', 'm', 'x']\nmigrate = 'recreate'\n\
                     column_types = { n = 'bigint' }\ndefaults = { x = 'new' }\n[scopes.b]\n";
/// What cannot be read without being made anew.
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

/// A directory with a cache and the files of schemas.
struct Place {
    directory: TempDir,
    uri: String,
}

impl Place {
    /// The cache is at `cache/t` in it.
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

    /// Everything in the directory of the cache, with its bytes.
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

fn places() -> Vec<Place> {
    let file = |path: &str| format!("file://{path}");
    let kv = |path: &str| format!("sqlite+kv:///{path}");
    let tiered = |path: &str| format!("tiered:?near=sqlite:///{path}-near&far=sqlite:///{path}");
    let staged = |path: &str| format!("staged:?memory=memory:&storage=file://{path}");
    let fan_out = |path: &str| format!("fan-out:?primary=sqlite:///{path}&writers=file://{path}-w");
    let prefix = |path: &str| format!("prefix:?name=p&cache=sqlite:///{path}");
    vec![
        Place::sqlite(),
        Place::new(kv),
        Place::new(file),
        Place::new(tiered),
        Place::new(staged),
        Place::new(fan_out),
        Place::new(prefix),
    ]
}

#[test]
fn a_command_that_reads_changes_nothing() {
    for place in places() {
        place.fill();
        let before = place.tree();
        for schemas in ["old", "newer", "other"] {
            for words in READING {
                let told = place.run(schemas, words);
                assert!(place.tree() == before, "{} {schemas} {words:?}: {told:?}", place.uri);
            }
        }
        let newer = "{\"id\":\"k\",\"n\":7,\"m\":null,\"x\":\"new\"}\n";
        assert_eq!(place.run("newer", &["get", "a", "k"]), ended(0, newer, ""), "{}", place.uri);
        assert_eq!(place.run("newer", &["keys", "b"]), ended(0, "", ""), "{}", place.uri);
        let other = place.run("other", &["get", "a", "k"]);
        assert_eq!(other.code, 2, "{other:?}");
        assert!(other.stderr.contains("read-only") && other.stderr.contains("`n`"), "{other:?}");
        assert!(place.tree() == before, "{}", place.uri);
        let old = place.run("old", &["get", "a", "k"]);
        assert_eq!(old, ended(0, "{\"id\":\"k\",\"n\":7}\n", ""), "{}", place.uri);
    }
}

#[test]
fn a_mistyped_name_makes_no_file() {
    for place in places() {
        for words in READING {
            let told = place.run("old", words);
            assert!(place.tree().is_empty(), "{} {words:?}: {told:?}", place.uri);
            match words == ["migrate", "--plan"] {
                true => assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}"),
                false => {
                    assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
                    assert!(told.stderr.contains("no such "), "{told:?}");
                    assert!(told.stderr.contains("cache/t"), "{told:?}");
                }
            }
        }
    }
}

#[test]
fn read_only_holds_for_every_part_of_a_uri() {
    let place = Place::sqlite();
    place.fill();
    let uri = format!("{}?read_only=true", place.uri);
    let schemas = place.path("old.toml").display().to_string();
    let run = |uri: &str, words: &[&str]| {
        let options = ["--cache", uri, "--schemas", &schemas];
        run_with(program().args(options).args(words), b"")
    };
    let told = run(&uri, &["set", "a", "k", "{\"n\":8}"]);
    assert_eq!(told.code, 2);
    assert!(told.stderr.starts_with("hilcat: sqlite set, scope `a`: "), "{told:?}");
    assert!(told.stderr.contains("opened read-only"), "{told:?}");
    let told = run(&uri, &["migrate"]);
    assert!(told.code == 2 && told.stderr.contains("opened read-only"), "{told:?}");
    let get = run(&place.uri, &["get", "a", "k"]);
    assert_eq!(get.stdout, "{\"id\":\"k\",\"n\":7}\n");
    let staged = format!(
        "staged:?memory=memory:&storage=sqlite:///{}%3Fread_only%3Dtrue",
        place.path("cache/t").display()
    );
    let told = run(&staged, &["set", "a", "k", "{\"n\":8}"]);
    assert!(told.code == 2 && told.stderr.contains("opened read-only"), "{told:?}");
    assert_eq!(place.run("old", &["get", "a", "k"]).stdout, "{\"id\":\"k\",\"n\":7}\n");
}

/// A process that has written and keeps the cache open.
struct Writer(Child);

impl Writer {
    fn new(place: &Place) -> Self {
        let mut command = program();
        command.args(place.words("old", &["batch"]));
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
    let place = Place::sqlite();
    place.fill();
    let writer = Writer::new(&place);
    assert_eq!(place.run("old", &["get", "a", "live"]), ended(0, LIVE, ""));
    drop(writer);
    assert_eq!(place.tree().len(), 1, "{:?}", place.tree().keys());
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout == b"0\n")
}

/// Runs the program without the rights of root; none where that cannot be.
fn as_nobody(place: &Place, schemas: &str, words: &[&str]) -> Option<Ended> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(program().get_program()).args(place.words(schemas, words));
    command.env_remove("HILCAT_CACHE").env_remove("HILCAT_SCHEMAS");
    is_root().then(|| run_with(&mut command, b""))
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const SEVEN: &str = "{\"id\":\"k\",\"n\":7}\n";

#[test]
fn what_may_not_be_written_is_read() {
    for place in [Place::sqlite(), Place::new(|path| format!("sqlite+kv:///{path}"))] {
        place.fill();
        // Neither the file nor its directory, and then the directory alone.
        for (file, directory) in [(0o644, 0o755), (0o444, 0o777)] {
            set_mode(&place.path("cache/t"), file);
            set_mode(&place.path("cache"), directory);
            let before = place.tree();
            let Some(told) = as_nobody(&place, "newer", &["keys", "a"]) else { return };
            assert_eq!(told, ended(0, "\"k\"\n", ""), "{file:o} {directory:o}");
            let told = as_nobody(&place, "old", &["get", "a", "k"]).unwrap();
            assert_eq!(told, ended(0, SEVEN, ""), "{file:o} {directory:o}");
            assert!(place.tree() == before, "{:?}", place.tree().keys());
        }
    }
}

#[test]
fn a_directory_of_files_that_may_not_be_written_is_read() {
    let place = Place::new(|path| format!("file://{path}"));
    place.fill();
    let before = place.tree();
    let Some(told) = as_nobody(&place, "old", &["get", "a", "k"]) else { return };
    assert_eq!(told, ended(0, SEVEN, ""));
    let told = as_nobody(&place, "newer", &["export", "a", "--format", "csv"]).unwrap();
    assert_eq!(told, ended(0, "id,n,m,x\nk,7,,new\n", ""));
    assert!(place.tree() == before);
}

#[test]
fn the_log_of_a_live_writer_is_read_without_write_permission() {
    let place = Place::sqlite();
    place.fill();
    let _writer = Writer::new(&place);
    let Some(told) = as_nobody(&place, "old", &["get", "a", "live"]) else { return };
    assert_eq!(told, ended(0, LIVE, ""));
    // A copy without the index of the log: reading the file alone would give what is out of date.
    fs::remove_file(place.path("cache/t-shm")).unwrap();
    let told = as_nobody(&place, "old", &["get", "a", "live"]).unwrap();
    assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
    assert!(told.stderr.contains("t-wal contains changes"), "{told:?}");
}

#[test]
fn a_file_system_that_is_read_only_is_read() {
    for place in [Place::sqlite(), Place::new(|path| format!("file://{path}"))] {
        place.fill();
        let before = place.tree();
        let cache = place.path("cache").display().to_string();
        let mount =
            "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" || exit 77; \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", mount, &cache]).arg(program().get_program());
        command.args(place.words("old", &["get", "a", "k"]));
        if !is_root() {
            return;
        }
        let told = run_with(&mut command, b"");
        // Where nothing can be mounted, as in some containers, it cannot be told.
        if told.code == 77 {
            return;
        }
        assert_eq!(told, ended(0, SEVEN, ""), "{}", place.uri);
        assert!(place.tree() == before);
    }
}

#[test]
fn adopted_tables_are_listed_and_others_are_told() {
    let place = Place::sqlite();
    place.fill();
    let mut connection = connect(&place.path("cache/t"));
    diesel::connection::SimpleConnection::batch_execute(
        &mut connection,
        "CREATE TABLE theirs (id TEXT NOT NULL PRIMARY KEY, v TEXT);
         CREATE TABLE keyless (v TEXT)",
    )
    .unwrap();
    drop(connection);
    let uri = ["--cache", place.uri.as_str()];
    let told = run_with(program().args(uri).args(["--adopt", "scopes"]), b"");
    assert_eq!((told.code, told.stdout.as_str()), (0, "a\ntheirs\n"));
    let skipped = "hilcat: the table `keyless` cannot be a scope: it has no primary key\n";
    assert_eq!(told.stderr, skipped);
    let told = run_with(program().args(uri).args(["--adopt", "keys", "keyless"]), b"");
    assert_eq!(told.code, 2);
    assert!(told.stderr.contains("it has no primary key"), "{told:?}");
    let told = run_with(program().args(uri).args(["keys", "theirs"]), b"");
    assert_eq!(told.code, 2);
    assert!(told.stderr.contains("--schemas") && told.stderr.contains("--adopt"), "{told:?}");
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
        let told = run_with(&mut command, b"");
        assert_eq!(told.code, 2);
        assert!(told.stderr.contains("sqlite::memory:"), "{told:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
