//! Hostile, large and incomplete input files and variables.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{SCHEMAS, ended, in_memory, program, run, run_with};

fn scopes_by(path: &Path) -> crate::Ended {
    run(&["--cache", "memory:", "--schemas", path.to_str().unwrap(), "keys", "a"])
}

#[cfg(unix)]
#[test]
fn a_pipe_does_not_block() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("p.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let output = scopes_by(&pipe);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("p.toml: not a regular file"), "{output:?}");
    let uri = format!("layers:///{}", pipe.display());
    let output = run(&["--cache", &uri, "scopes"]);
    assert!(output.code == 2 && output.stderr.contains("p.toml: not a regular file"), "{output:?}");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let large = directory.path().join("large.toml");
    File::create(&large).unwrap().set_len(1 << 30).unwrap();
    let output = scopes_by(&large);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("large.toml: larger than the limit of 64 MiB"), "{output:?}");
    let output = run(&["--cache", &format!("layers:///{}", large.display()), "scopes"]);
    assert!(output.code == 2 && output.stderr.contains("limit of 64 MiB"), "{output:?}");
}

#[test]
fn a_missing_file_is_named() {
    let output = scopes_by(Path::new("no/such.toml"));
    let expected = "hilcat: no/such.toml: no such file; name the TOML file of the schemas, or a \
                    directory of such files\n";
    assert_eq!(output, ended(2, "", expected));
    let output = run(&["--cache", "layers:///no/such.toml", "scopes"]);
    assert_eq!(
        output.stderr,
        "hilcat: no/such.toml: no such file; name the TOML file of the layers\n"
    );
}

#[test]
fn hidden_files_and_editor_backups_are_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.toml"), "\u{feff}[scopes.a]\n").unwrap();
    for name in [".#a.toml", ".a.toml", "#a.toml#", "a.toml~", "#a.toml"] {
        fs::write(path(name), "not TOML").unwrap();
    }
    assert_eq!(scopes_by(directory.path()), ended(0, "", ""));
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let mut command = program();
    command.env("HILCAT_SCHEMAS", "").env("HILCAT_CACHE", "memory:").arg("scopes");
    assert_eq!(run_with(&mut command, b""), ended(0, "", ""));
    let mut command = program();
    command.env("HILCAT_CACHE", "").arg("scopes");
    let expected =
        "hilcat: no cache is given; name it by --cache URI or by the variable HILCAT_CACHE\n";
    assert_eq!(run_with(&mut command, b""), ended(2, "", expected));
}

#[test]
fn many_scopes_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("s.toml");
    let mut text: String = (0..20_000).map(|n| format!("[scopes.s{n}]\n")).collect();
    fs::write(&file, &text).unwrap();
    let words = ["--cache", "memory:", "--schemas", file.to_str().unwrap(), "keys", "s19999"];
    assert_eq!(run(&words), ended(0, "", ""));
    text.push_str("[scopes.x]\ntable = 's7'\n");
    fs::write(&file, &text).unwrap();
    let output = run(&words);
    let place =
        format!("{0}:20001:9: the table `s7` is that of the scope `s7` at {0}:8:9", file.display());
    assert!(output.stderr.contains(&place), "{output:?}");
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let jsonl = "\u{feff}{\"id\":\"a1\"}\n{\"id\":\"a2\"}\n";
    let output = in_memory(&["import", "a", "--format", "jsonl"], jsonl);
    assert_eq!(output, ended(0, "", "2 rows imported\n"));
    let output = in_memory(&["import", "a", "--format", "csv"], "\u{feff}id\na1\n");
    assert_eq!(output, ended(0, "", "1 row imported\n"));
    let output = in_memory(&["batch"], "\u{feff}{\"op\":\"scopes\"}\n");
    assert_eq!(output, ended(0, "{\"ok\":true,\"result\":[]}\n", ""));
}

#[test]
fn the_lines_of_an_unclosed_quote_are_named() {
    let rows: String = (0..995).map(|n| format!("k{n},x\n")).collect();
    let csv = format!("id,name\ngood,x\n\"bad,x\n{rows}");
    let output = in_memory(&["import", "a", "--format", "csv"], &csv);
    let expected = "lines 3 to 998: a quote is never closed, so everything after it is one \
                    row; close it, or double it\n\
                    1 row imported, 1 bad row skipped\n";
    assert_eq!(output, ended(2, "", expected));
}

#[test]
fn names_from_outside_are_printed_without_control_characters() {
    let output = in_memory(&["import", "a", "--format", "csv"], "id,\u{1b}[31mred\u{7}\n");
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("no column `\\u{1b}[31mred\\u{7}`"), "{output:?}");
    let output = in_memory(&["import", "a", "--format", "jsonl"], r#"{"id":"x","\u001b[0m":1}"#);
    assert!(!output.stderr.contains('\u{1b}'), "{output:?}");
}

#[cfg(feature = "sqlite")]
mod exports {
    use super::*;

    /// Returns a cache whose second record cannot be read.
    fn broken() -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let uri = format!("sqlite+kv:///{}", directory.path().join("t.db").display());
        let options = ["--cache", uri.as_str(), "--schemas", SCHEMAS];
        let csv = "id,name\na1,x\na2,y\n";
        let words = ["import", "a", "--format", "csv"];
        let output = run_with(program().args(options).args(words), csv.as_bytes());
        assert_eq!(output.code, 0, "{output:?}");
        (directory, uri)
    }

    fn spoil(directory: &Path) {
        let path = directory.join("t.db");
        let mut connection: diesel::SqliteConnection =
            diesel::Connection::establish(path.to_str().unwrap()).unwrap();
        diesel::connection::SimpleConnection::batch_execute(
            &mut connection,
            "UPDATE a SET value = x'00' WHERE key LIKE '%a2%'",
        )
        .unwrap();
    }

    fn export(uri: &str, target: &str) -> crate::Ended {
        let options = ["--cache", uri, "--schemas", SCHEMAS];
        run_with(program().args(options).args(["export", "a", target, "--format", "csv"]), b"")
    }

    const ALL: &str = "id,name,comment,count\na1,x,,\na2,y,,\n";

    #[test]
    fn an_export_replaces_a_file_atomically() {
        let (directory, uri) = broken();
        let names = || {
            let entries = fs::read_dir(directory.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let file = directory.path().join("old.csv");
        fs::write(&file, "precious").unwrap();
        let before = names();
        spoil(directory.path());
        let output = export(&uri, file.to_str().unwrap());
        assert_eq!(output.code, 2);
        assert!(output.stderr.contains("sqlite+kv iter, scope `a`, key `a2`"), "{output:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        let new = directory.path().join("new.csv");
        assert_eq!(export(&uri, new.to_str().unwrap()).code, 2);
        assert_eq!(names(), before);
    }

    #[cfg(unix)]
    #[test]
    fn an_export_keeps_the_mode_and_the_links_of_a_file() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let (directory, uri) = broken();
        let file = directory.path().join("old.csv");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let link = directory.path().join("link.csv");
        symlink("old.csv", &link).unwrap();
        assert_eq!(export(&uri, link.to_str().unwrap()), ended(0, "", ""));
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), ALL);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn streams_are_written_directly() {
        let (directory, uri) = broken();
        assert_eq!(export(&uri, "/dev/stdout"), ended(0, ALL, ""));
        assert_eq!(export(&uri, "/dev/null"), ended(0, "", ""));
        let pipe = directory.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = Command::new("cat").arg(&pipe).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(export(&uri, pipe.to_str().unwrap()), ended(0, "", ""));
        assert_eq!(reader.wait_with_output().unwrap().stdout, ALL.as_bytes());
        // The existing contents of standard output are kept.
        let out = directory.path().join("out.txt");
        let mut file = File::create(&out).unwrap();
        file.write_all(b"before\n").unwrap();
        let options = ["--cache", uri.as_str(), "--schemas", SCHEMAS];
        let mut command = program();
        command.args(options).args(["export", "a", "-", "--format", "csv"]);
        assert!(command.stdout(file).status().unwrap().success());
        assert_eq!(fs::read_to_string(&out).unwrap(), format!("before\n{ALL}"));
    }
}
