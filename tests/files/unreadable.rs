//! Directories without read permission.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use hilcat::{Cache, ErrorKind, Result};

/// Whether permissions have no effect, as for root.
fn may_read_all() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

#[test]
fn unreadable_directories_yield_errors_among_the_records() {
    if may_read_all() {
        return run_unprivileged(
            "unreadable::unreadable_directories_yield_errors_among_the_records",
        );
    }
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::from_uri(&format!("file://{}", root.path().display())).unwrap();
    let scope = cache.map::<String, i64>("s").unwrap();
    for key in ["a", "closed/b", "d/e", "z"] {
        scope.set(key, &1).unwrap();
    }
    for name in ["closed", "lost+found", "not a key%"] {
        let directory = root.path().join("s").join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let (keys, errors): (Vec<Result<String>>, Vec<_>) =
        scope.keys().unwrap().partition(|key: &Result<String>| key.is_ok());
    let mut keys: Vec<String> = keys.into_iter().map(Result::unwrap).collect();
    keys.sort();
    assert_eq!(keys, ["a", "d/e", "z"]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    let error = errors[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let text = error.to_string();
    assert!(text.starts_with("file keys, scope `s`: the directory `closed` was skipped"), "{text}");
    assert_eq!(scope.iter().unwrap().filter(Result::is_ok).count(), 3);
    for name in ["closed", "lost+found", "not a key%"] {
        let directory = root.path().join("s").join(name);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

/// Runs a test of this program as an unprivileged user.
fn run_unprivileged(test: &str) {
    let temporary = tempfile::tempdir().unwrap();
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test]);
    let output = command.env("TMPDIR", temporary.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}
