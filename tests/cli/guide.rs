//! The console samples of the guide.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_console_samples_of_the_guide_print_what_they_show() {
    let samples = pages().iter().map(|page| samples_of(page)).sum::<usize>();
    assert!(samples > 0, "the guide has no console samples");
}

/// Returns the pages of the guide.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(Path::new(ROOT).join("docs/guide/src")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// Runs the console samples of a page, and returns their number.
fn samples_of(page: &str) -> usize {
    let blocks = page.split("```console\n").skip(1);
    blocks.map(|block| check(block.split("```").next().unwrap())).count()
}

/// Runs the commands of a sample in one shell, in a directory with the files that samples use.
fn check(sample: &str) {
    let directory = tempfile::tempdir().unwrap();
    for name in ["schemas", "data"] {
        symlink(Path::new(ROOT).join(name), directory.path().join(name)).unwrap();
    }
    let output = Command::new("bash")
        .args(["-c", &script(sample)])
        .current_dir(&directory)
        .env("PATH", search_path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), sample);
}

/// Returns a script that prints each command after a prompt, and runs it. Both outputs are shown, as
/// on a terminal.
fn script(sample: &str) -> String {
    let commands = sample.lines().filter_map(|line| line.strip_prefix("$ "));
    let shown = commands.map(|command| format!("cat <<'END'\n$ {command}\nEND\n{command}\n"));
    ["exec 2>&1\n".to_owned()].into_iter().chain(shown).collect()
}

/// Returns a `PATH` that begins with the directory of the program.
fn search_path() -> OsString {
    let program = Path::new(env!("CARGO_BIN_EXE_hilcat")).parent().unwrap();
    let inherited = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&inherited);
    env::join_paths([program.to_owned()].into_iter().chain(directories)).unwrap()
}
