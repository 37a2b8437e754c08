//! Connections to servers.

use std::io::{Read, Write};
use std::time::Instant;

use hilcat::backend::{Postgresql, SslMode};
use hilcat::{Cache, Error, ErrorKind};
use serde_json::json;

use crate::Test;
use crate::support::{SECOND, Server, int, scope};

pub(crate) const TESTS: &[Test] = &[
    ("a_wrong_password_is_never_shown", a_wrong_password_is_never_shown),
    ("unreachable_servers_are_reported_in_time", unreachable_servers_are_reported_in_time),
    ("a_unix_socket", a_unix_socket),
    ("a_host_name", a_host_name),
    ("builders_set_the_parts_of_the_uri", builders_set_the_parts_of_the_uri),
    ("a_missing_schema_is_an_error", a_missing_schema_is_an_error),
    ("tables_are_in_the_schema_of_the_uri", tables_are_in_the_schema_of_the_uri),
    ("unknown_options_list_the_known_ones", unknown_options_list_the_known_ones),
    ("the_settings_of_the_session_are_made", the_settings_of_the_session_are_made),
    ("calls_inside_a_runtime", calls_inside_a_runtime),
    ("another_encoding_is_refused", another_encoding_is_refused),
    ("any_error_code_is_an_error", any_error_code_is_an_error),
];

/// The tests for the server with TLS.
pub(crate) const ENCRYPTED: &[Test] = &[("tls_modes", tls_modes)];

fn refused(uri: &str) -> Error {
    let error = Cache::from_uri(uri).unwrap_err();
    for secret in ["secret", "p@ss", "p%40ss", "w:ord"] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    error
}

fn a_wrong_password_is_never_shown(server: &Server) {
    let (_, place, database) = server.parts();
    let error = refused(&format!("postgresql://hilcat:secret@{place}/{database}?sslmode=disable"));
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false), "{error}");
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    let error = refused(&server.base.replace("/hilcat_test", "/nowhere"));
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false), "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
    let builder = Postgresql::builder("h").password("secret");
    assert!(!format!("{builder:?}").contains("secret"));
}

fn unreachable_servers_are_reported_in_time(server: &Server) {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("127.0.0.1:{}", silent.local_addr().unwrap().port());
    let (_, place, _) = server.parts();
    for place_of in [silent.as_str(), "127.0.0.1:1", "nowhere.invalid:5432"] {
        let start = Instant::now();
        let error = refused(
            &server.uri().replace(&place, place_of).replace("?", "?connect_timeout=500ms&"),
        );
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
        if !place_of.contains("invalid") {
            assert!(start.elapsed() < SECOND, "{place_of}: {:?}", start.elapsed());
        }
    }
}

fn a_unix_socket(server: &Server) {
    let directory = server.query("SHOW unix_socket_directories").remove(0);
    let directory = directory.split(',').next().unwrap().to_owned();
    let (login, place, database) = server.parts();
    let port = place.rsplit_once(':').unwrap().1;
    let escaped = directory.replace('/', "%2F");
    let path = std::path::Path::new(&directory).join(format!(".s.PGSQL.{port}"));
    if std::os::unix::net::UnixStream::connect(path).is_err() {
        // Only the user of the server may enter the directory.
        return;
    }
    for uri in [
        format!("postgres://{login}@{escaped}:{port}/{database}"),
        format!("postgres://{login}@:{port}/{database}?host={directory}"),
    ] {
        Cache::from_uri(&uri).unwrap().scopes().unwrap();
    }
}

fn a_host_name(server: &Server) {
    let uri = server.uri().replace("127.0.0.1", "localhost");
    assert!(Cache::from_uri(&uri).unwrap().scopes().unwrap().is_empty());
    let error = refused(&format!("{uri}&host=/tmp"));
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
}

fn builders_set_the_parts_of_the_uri(server: &Server) {
    let (_, place, database) = server.parts();
    let (host, port) = place.rsplit_once(':').unwrap();
    let builder = Postgresql::builder(host)
        .port(port.parse().unwrap())
        .user("hilcat")
        .password("p@ss/w:ord")
        .database(database)
        .schema(&server.schema)
        .ssl_mode(SslMode::Prefer)
        .synchronous_commit(false)
        .connect_timeout(SECOND)
        .timeout(SECOND)
        .pool_size(2);
    let cache = Cache::from_store(builder.open().unwrap());
    let a = cache.dynamic_with(scope([int("n")])).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    assert_eq!(server.query("SELECT n FROM a"), ["1"]);
}

fn a_missing_schema_is_an_error(server: &Server) {
    let error = refused(&format!("{}&schema=no_such_schema", server.base));
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(error.to_string().contains("no_such_schema"), "{error}");
    let found = server.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'no_such_schema'");
    assert_eq!(found, ["0"]);
}

fn tables_are_in_the_schema_of_the_uri(server: &Server) {
    server.run(r#"CREATE SCHEMA IF NOT EXISTS "Other ""one\""#);
    let other = format!("{}&schema=Other%20%22one%5C", server.base);
    let (here, there) = (server.cache(), Cache::from_uri(&other).unwrap());
    let schema = || scope([int("n")]);
    let (a, b) = (here.dynamic_with(schema()).unwrap(), there.dynamic_with(schema()).unwrap());
    a.set("x", json!({"n": 1})).unwrap();
    b.set("x", json!({"n": 2})).unwrap();
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
    assert_eq!(server.query(r#"SELECT n FROM "Other ""one\".a"#), ["2"]);
    server.run(r#"DROP SCHEMA "Other ""one\" CASCADE"#);
}

fn unknown_options_list_the_known_ones(server: &Server) {
    for (option, part) in [
        ("sslmod=disable", "did you mean `sslmode`?"),
        ("sslmode=on", "verify-full"),
        ("synchronous_commit=maybe", "on, off"),
        ("sslrootcert=/nowhere.crt", "`sslrootcert`"),
        ("schema=", "empty"),
    ] {
        let name = option.split('=').next().unwrap();
        let base = server.base.replace(&format!("?{name}=disable"), "?timeout=2s");
        let error = refused(&format!("{base}&{option}"));
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = refused(&format!("{}&nope=1", server.base)).to_string();
    assert!(
        error.contains("sslmode, sslrootcert, schema, host, connect_timeout, synchronous_commit"),
        "{error}"
    );
}

fn the_settings_of_the_session_are_made(server: &Server) {
    let cache = Cache::from_uri(&server.with("timeout=1234ms&synchronous_commit=off")).unwrap();
    let a = cache.dynamic_with(scope([int("n")])).unwrap();
    server.run("ALTER TABLE a ADD COLUMN asked text");
    for (name, value) in [
        ("timezone", "UTC"),
        ("statement_timeout", "1172ms"),
        ("application_name", "hilcat"),
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("synchronous_commit", "off"),
        ("transaction_isolation", "read committed"),
    ] {
        // The default of an unknown column reports the setting of the writing session.
        server.run(&format!("ALTER TABLE a ALTER asked SET DEFAULT current_setting('{name}')"));
        a.set("x", json!({"n": 1})).unwrap();
        assert_eq!(server.query("SELECT asked FROM a"), [value], "{name}");
        a.clear().unwrap();
    }
}

fn calls_inside_a_runtime(server: &Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
        a.set("x", json!({"n": 1})).unwrap();
        assert!(a.pop("x").unwrap().is_some());
    });
}

fn another_encoding_is_refused(server: &Server) {
    let name = format!("latin{:x}", std::process::id());
    server.run(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    ));
    let error = refused(&server.base.replace("/hilcat_test", &format!("/{name}")));
    server.run(&format!("DROP DATABASE {name} WITH (FORCE)"));
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("LATIN1"), "{error}");
}

fn tls_modes(server: &Server) {
    let authority = std::env::var("HILCAT_TEST_POSTGRESQL18_CA").unwrap();
    server.cache().dynamic_with(scope([int("n")])).unwrap();
    server.run(
        "CREATE FUNCTION asked() RETURNS bool LANGUAGE sql AS 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()';
         ALTER TABLE a ADD COLUMN asked bool DEFAULT asked()",
    );
    // The default of an unknown column reports the setting of the writing session.
    let encrypted = |options: &str, host: &str| {
        let uri = server.uri().replace("sslmode=disable", options).replace("127.0.0.1", host);
        Cache::from_uri(&uri).map(|cache| {
            let a = cache.dynamic_with(scope([int("n")])).unwrap();
            a.clear().unwrap();
            a.set("x", json!({"n": 1})).unwrap();
            server.query("SELECT asked FROM a") == ["t"]
        })
    };
    let with_ca = |mode: &str| format!("sslmode={mode}&sslrootcert={authority}");
    assert!(!encrypted("sslmode=disable", "127.0.0.1").unwrap());
    assert!(encrypted("sslmode=prefer", "127.0.0.1").unwrap());
    assert!(encrypted("sslmode=require", "127.0.0.1").unwrap());
    assert!(encrypted(&with_ca("require"), "127.0.0.1").unwrap());
    assert!(encrypted(&with_ca("verify-ca"), "127.0.0.1").unwrap());
    assert!(encrypted(&with_ca("verify-full"), "127.0.0.1").unwrap());
    assert!(encrypted(&with_ca("verify-full"), "localhost").unwrap());
    for options in ["sslmode=verify-ca", "sslmode=verify-full"] {
        let error = encrypted(options, "127.0.0.1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

/// Starts a server that accepts every login, and responds to each query with an error of this code.
fn refusing(code: &'static str) -> u16 {
    let message = |kind: u8, body: &[u8]| {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [&[kind], &length[..], body].concat()
    };
    let ready = message(b'Z', b"I");
    let welcome = [
        message(b'R', &[0; 4]),
        message(b'S', b"server_encoding\0UTF8\0"),
        message(b'K', &[0; 8]),
        ready.clone(),
    ];
    let error = format!("SERROR\0C{code}\0Mno\0\0");
    let refusal = [message(b'E', error.as_bytes()), ready].concat();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut answer = welcome.concat();
            while client.read(&mut [0; 4_096]).is_ok_and(|count| count > 0) {
                if client.write_all(&answer).is_err() {
                    break;
                }
                answer.clone_from(&refusal);
            }
        }
    });
    port
}

fn any_error_code_is_an_error(_: &Server) {
    for code in ["", "2", "é", "2é", "🦀", "42P01"] {
        let port = refusing(code);
        let uri = format!("postgresql://u:secret@127.0.0.1:{port}/d?sslmode=disable&timeout=2s");
        let error = refused(&uri);
        assert!(error.to_string().contains(&format!("[{code}]")), "{error}");
    }
}
