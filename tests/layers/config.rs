//! Layers by URI and by TOML.

use std::fs;

use hilcat::{Cache, ErrorKind, MapScope};

use crate::prefix::encoded;
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    layers_by_uri,
    layers_by_file,
    errors_contain_no_secrets,
    a_file_that_names_itself,
    options_are_those_of_the_members,
];

fn map(cache: &Cache) -> MapScope<String, i64> {
    cache.map("m").unwrap()
}

fn works(uri: &str, backend: &str) {
    let cache = Cache::from_uri(uri).unwrap_or_else(|error| panic!("{uri}: {error}"));
    assert_eq!(cache.backend(), backend);
    map(&cache).set("a", &1).unwrap();
    assert_eq!(map(&cache).fetch("a").unwrap(), Some(1));
}

fn layers_by_uri() {
    works("tiered:?near=memory:%3Fmax_entries=10&far=memory:", "tiered");
    works("staged:?memory=memory:&storage=memory:", "staged");
    works("fan-out:?primary=memory:&writers=memory:%20memory:&on_failure=continue", "fan-out");
    works("prefix:?name=tenant1&cache=memory:", "memory");
    let inner = encoded("tiered:?near=memory:&far=fan-out:%3Fprimary=memory:%26writers=memory:");
    works(&format!("prefix:?name=a&cache={inner}"), "tiered");
}

struct File(tempfile::TempDir);

impl File {
    fn new(text: &str) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        fs::write(file.0.path().join("cache.toml"), text).unwrap();
        file
    }

    fn uri(&self) -> String {
        format!("layers:///{}", self.0.path().join("cache.toml").display())
    }
}

fn layers_by_file() {
    let file = File::new(
        r#"
        layer = "tiered"
        near = "memory:?max_entries=1000"

        [far]
        layer = "fan-out"
        primary = { layer = "prefix", name = "tenant1", cache = "memory:" }
        writers = ["memory:", { layer = "staged", memory = "memory:", storage = "memory:" }]
        on_failure = "continue"
        "#,
    );
    works(&file.uri(), "tiered");
    let file = File::new(
        "layer = 'fan-out'\nprimary = 'memory:'\n[[writers]]\nlayer = 'prefix'\nname = 'a'\ncache = 'memory:'\n",
    );
    works(&file.uri(), "fan-out");
    let path = std::env::var_os("PATH");
    assert!(path.is_some());
    let file = File::new("layer = 'prefix'\nname = 'a'\ncache = { env = 'PATH' }\n");
    let error = Cache::from_uri(&file.uri()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "the variable is read: {error}");
}

fn error_of(uri: &str) -> String {
    let error = Cache::from_uri(uri).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("secret"), "{text}");
    error.to_string()
}

fn errors_contain_no_secrets() {
    let secret = encoded("nosuch://me:secret@host/?password=secret");
    let error = error_of(&format!("tiered:?near=memory:&far={secret}"));
    assert!(error.starts_with("`far`: unknown scheme `nosuch:`"), "{error}");
    assert!(error_of("tiered:?near=memory:").contains("needs the option `far`"));
    let error = error_of("tiered:?near=memory:&far=memory:&fra=secret");
    assert!(error.ends_with("did you mean `far`?"), "{error}");
    assert!(error_of("fan-out:?primary=memory:&writers=secret").starts_with("`writers`: "));
    let error = error_of("fan-out:?primary=memory:&writers=memory:&on_failure=secret");
    assert!(error.contains("one of stop, continue"), "{error}");
    assert!(error_of("tiered://secret").contains("takes only options"));
    assert!(error_of("layers:secret.toml").contains("layers:///"));
    for (text, expected) in [
        ("layer = 'teired'", "did you mean `tiered`?"),
        ("near = 'memory:'", "it needs `layer`"),
        ("layer = 'tiered'\nnear = 'memory:'", "it needs `far`"),
        ("layer = 'tiered'\nnear = 3\nfar = 'memory:'", "`near` is a URI or a table"),
        ("layer = 'tiered'\nnaer = 'secret'", "did you mean `near`?"),
        (
            "layer = 'prefix'\nname = 'a'\ncache = { layer = 'secret' }"
                .replace("secret", "x")
                .leak(),
            "`cache`: no layer `x`",
        ),
        (
            "layer = 'prefix'\nname = 'a'\ncache = { env = 'NO_SUCH_VARIABLE' }",
            "NO_SUCH_VARIABLE of the environment is not set",
        ),
        ("layer = 'fan-out'\nprimary = 'memory:'\nwriters = 'secret'", "`writers` is an array"),
        (
            "layer = 'prefix'\nname = 'a'\ncache = 'nosuch://me:secret@host'",
            "`cache`: unknown scheme",
        ),
        ("layer = 'tiered\nnear = 'secret'", "line 1 is no TOML"),
    ] {
        let file = File::new(text);
        let error = error_of(&file.uri());
        assert!(error.contains(expected), "{text}: {error}");
    }
    let missing = Cache::from_uri("layers:///no/such/file.toml").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io);
}

fn a_file_that_names_itself() {
    let file = File::new("");
    let text = format!("layer = 'prefix'\nname = 'a'\ncache = '{}'\n", file.uri());
    fs::write(file.0.path().join("cache.toml"), text).unwrap();
    assert!(error_of(&file.uri()).contains("does a file name itself?"));
    works("memory:", "memory");
}

/// The options of the layer apply unless a member has its own.
fn options_are_those_of_the_members() {
    let uri = "tiered:?near=memory:%3Fttl=20ms&far=memory:&ttl=1h";
    let cache = Cache::from_uri(uri).unwrap();
    map(&cache).set("a", &1).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(40));
    assert_eq!(map(&cache).fetch("a").unwrap(), Some(1), "the far store has it for an hour");
    let uri = "tiered:?near=memory:%3Fttl=20ms&far=memory:&ttl=20ms";
    let cache = Cache::from_uri(uri).unwrap();
    map(&cache).set("a", &1).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(40));
    assert_eq!(map(&cache).fetch("a").unwrap(), None);
}
