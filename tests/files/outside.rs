//! Nothing outside of the directory is changed, whatever the directory contains.

use std::os::unix::fs::symlink;
use std::path::Path;

use hilcat::{Cache, ErrorKind, MapScope};

struct TestContext {
    root: tempfile::TempDir,
    outside: tempfile::TempDir,
}

impl TestContext {
    fn new() -> Self {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret.json"), "theirs").unwrap();
        Self { root, outside }
    }

    fn scope(&self) -> hilcat::Result<MapScope<String, i64>> {
        let uri = format!("file://{}", self.root.path().display());
        Cache::from_uri(&uri)?.map::<String, i64>("s")
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    fn is_untouched(&self) {
        let files: Vec<_> = std::fs::read_dir(self.outside.path()).unwrap().collect();
        assert_eq!(files.len(), 1);
        let secret = std::fs::read_to_string(self.outside.path().join("secret.json"));
        assert_eq!(secret.unwrap(), "theirs");
    }
}

#[test]
fn links_in_the_place_of_files_are_not_followed() {
    let context = TestContext::new();
    let scope = context.scope().unwrap();
    symlink(context.outside.path().join("secret.json"), context.at("s/a.json")).unwrap();
    let error = scope.fetch("a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains("symbolic link"), "{error}");
    assert!(!scope.exists("a").unwrap());
    assert_eq!((scope.len().unwrap(), scope.keys().unwrap().count()), (0, 0));
    scope.set("a", &1).unwrap();
    assert_eq!(scope.fetch("a").unwrap(), Some(1));
    assert!(!context.at("s/a.json").is_symlink(), "the link is replaced and not followed");
    context.is_untouched();
}

#[test]
fn links_in_the_place_of_directories_are_not_followed() {
    let context = TestContext::new();
    let scope = context.scope().unwrap();
    symlink(context.outside.path(), context.at("s/d")).unwrap();
    assert_eq!(scope.fetch("d/secret").unwrap(), None);
    for error in [
        scope.set("d/secret", &1).unwrap_err(),
        scope.set_many([("x".to_owned(), 1), ("d/new".to_owned(), 1)]).unwrap_err(),
    ] {
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    assert_eq!(scope.pop("d/secret").unwrap(), None);
    assert_eq!(scope.len().unwrap(), 0);
    scope.clear().unwrap();
    context.is_untouched();
}

#[test]
fn links_in_the_place_of_scopes_are_not_followed() {
    for path in ["s", ".hilcat"] {
        let context = TestContext::new();
        symlink(context.outside.path(), context.at(path)).unwrap();
        assert!(context.scope().is_err(), "{path}");
        context.is_untouched();
    }
}

#[test]
fn links_among_own_files_are_not_followed() {
    for path in ["temporary", "keys", "lock", "schema.toml", "journal"] {
        let context = TestContext::new();
        std::fs::create_dir_all(context.at(".hilcat/s")).unwrap();
        let to = match path {
            "temporary" | "keys" => context.outside.path().to_owned(),
            _ => context.outside.path().join("secret.json"),
        };
        symlink(to, context.at(&format!(".hilcat/s/{path}"))).unwrap();
        assert!(context.scope().is_err(), "{path}");
        context.is_untouched();
    }
    let context = TestContext::new();
    let scope = context.scope().unwrap();
    symlink(context.outside.path().join("secret.json"), context.at(".hilcat/s/temporary/one"))
        .unwrap();
    assert!(scope.set("a", &1).is_err());
    context.is_untouched();
}

/// A journal from elsewhere cannot name files outside of the scope.
#[test]
fn journals_cannot_name_files_outside() {
    let secret =
        |context: &TestContext| context.outside.path().join("secret.json").display().to_string();
    type Steps = fn(&str) -> String;
    let journals: [Steps; 4] = [
        |secret| format!(r#"[{{"remove":"{secret}"}}]"#),
        |secret| format!(r#"[{{"put":["one","../..{secret}"]}}]"#),
        |secret| format!(r#"[{{"schema":"../../..{secret}"}}]"#),
        |_| "[{".to_owned(),
    ];
    for journal in journals {
        let context = TestContext::new();
        drop(context.scope().unwrap());
        std::fs::write(context.at(".hilcat/s/journal"), journal(&secret(&context))).unwrap();
        assert_eq!(context.scope().unwrap_err().kind(), ErrorKind::InvalidData);
        context.is_untouched();
    }
}

#[test]
fn named_pipes_do_not_block() {
    let context = TestContext::new();
    let scope = context.scope().unwrap();
    let pipe = context.at("s/p.json");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success() && Path::new(&pipe).exists());
    assert!(scope.fetch("p").is_err());
    assert_eq!(scope.len().unwrap(), 0);
}
