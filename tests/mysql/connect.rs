//! Connections to servers.

use std::time::{Duration, Instant};

use hilcat::{Cache, ErrorKind};
use libtest_mimic::{Completion, Failed};
use mysql::prelude::Queryable;
use serde_json::json;

use crate::server::{Case, PASSED, Server, cases, name, texts};

pub const CASES: &[Case] = cases![
    a_wrong_password_is_not_shown,
    tls_modes,
    an_unresponsive_server_is_an_error_in_time,
    a_unix_socket,
    calls_inside_a_runtime,
    sessions_are_strict_and_in_utc,
];

fn a_wrong_password_is_not_shown(server: &Server) -> Result<Completion, Failed> {
    let (start, rest) = server.uri.split_once("://").unwrap();
    let (login, place) = rest.split_once('@').unwrap();
    let user = login.split(':').next().unwrap();
    let uri = format!("{start}://{user}:s%40cret-word@{place}");
    let error = Cache::from_uri(&uri).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(!error.is_retryable(), "{error}");
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("1045") && !shown.contains("cret-word"), "{shown}");
    PASSED
}

fn tls_modes(server: &Server) -> Result<Completion, Failed> {
    let mut raw = server.raw();
    let encrypts: Option<(String, String)> =
        raw.query_first("SHOW VARIABLES LIKE 'have_ssl'").unwrap();
    let encrypts = encrypts.is_some_and(|(_, value)| value == "YES");
    let open = |mode: &str| Cache::from_uri(&server.with(mode));
    for mode in ["ssl-mode=disabled", "ssl-mode=preferred", "sslmode=prefer"] {
        open(mode)?.scopes()?;
    }
    for mode in ["ssl-mode=required", "sslmode=require"] {
        match open(mode) {
            Ok(cache) => assert!(encrypts && cache.scopes().is_ok()),
            Err(error) => {
                assert!(!encrypts, "{error}");
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            }
        }
    }
    // The certificate is self-signed.
    for mode in ["ssl-mode=verify-ca", "ssl-mode=verify-identity", "sslmode=verify-full"] {
        let error = open(mode).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    if encrypts {
        // A user that requires TLS can log in with some modes only.
        let user = name();
        raw.query_drop(format!("CREATE USER `{user}`@`%` IDENTIFIED BY 'x' REQUIRE SSL")).unwrap();
        raw.query_drop(format!("GRANT ALL ON *.* TO `{user}`@`%`")).unwrap();
        let (start, rest) = server.uri.split_once("://").unwrap();
        let place = rest.split_once('@').unwrap().1;
        let open = |mode| Cache::from_uri(&format!("{start}://{user}:x@{place}?ssl-mode={mode}"));
        let accepted = ["disabled", "preferred", "required"].map(|mode| open(mode).is_ok());
        raw.query_drop(format!("DROP USER `{user}`@`%`")).unwrap();
        assert_eq!(accepted, [false, true, true]);
    }
    PASSED
}

fn an_unresponsive_server_is_an_error_in_time(server: &Server) -> Result<Completion, Failed> {
    // The server accepts the connection and sends nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let scheme = server.uri.split("://").next().unwrap();
    for (uri, limit) in [
        (format!("{scheme}://u:secret@127.0.0.1:{port}/d?connect_timeout=300ms"), 600),
        (format!("{scheme}://u:secret@127.0.0.1:{port}/d?timeout=400ms"), 600),
        (format!("{scheme}://u:secret@127.0.0.1:1/d"), 300),
    ] {
        let start = Instant::now();
        let error = Cache::from_uri(&uri).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(start.elapsed() < Duration::from_millis(limit), "{:?}", start.elapsed());
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    PASSED
}

fn a_unix_socket(server: &Server) -> Result<Completion, Failed> {
    let path: Option<String> = server.raw().query_first("SELECT @@socket").unwrap();
    let path = path.unwrap();
    if !std::path::Path::new(&path).exists() {
        return Ok(Completion::ignored_with(format!("{path} is not of this machine")));
    }
    // Host and port are ignored.
    let (start, rest) = server.uri.split_once("://").unwrap();
    let (login, place) = rest.split_once('@').unwrap();
    let database = place.split_once('/').unwrap().1;
    let cache = Cache::from_uri(&format!("{start}://{login}@nowhere:1/{database}?socket={path}"))?;
    cache.scopes()?;
    PASSED
}

fn calls_inside_a_runtime(server: &Server) -> Result<Completion, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let scope = server.open().dynamic_with(texts(&name()))?;
        scope.set("a", json!({"v": "1"}))?;
        assert_eq!(scope.fetch("a")?, Some(json!({"id": "a", "v": "1"})));
        PASSED
    })
}

/// The session does not depend on the server's defaults.
fn sessions_are_strict_and_in_utc(server: &Server) -> Result<Completion, Failed> {
    let mut raw = server.raw();
    let before: (String, String) =
        raw.query_first("SELECT @@global.sql_mode, @@global.time_zone").unwrap().unwrap();
    raw.query_drop("SET GLOBAL sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES', GLOBAL time_zone = '+05:00'")
        .unwrap();
    let used = use_every_type(server);
    let (mode, zone) = before;
    raw.query_drop(format!("SET GLOBAL sql_mode = '{mode}', GLOBAL time_zone = '{zone}'")).unwrap();
    used?;
    PASSED
}

fn use_every_type(server: &Server) -> hilcat::Result<()> {
    use hilcat::{Column, ColumnType, Value};
    let schema = texts(&name())
        .column(Column::new("at", ColumnType::Timestamp).default_value(Value::Timestamp(-1)))
        .column(Column::new("back", ColumnType::Text).default_value("a\\b'c"));
    let scope = server.open().dynamic_with(schema.clone())?;
    scope.set("a", json!({"v": "\\ \" '"}))?;
    let expected =
        json!({"id": "a", "v": "\\ \" '", "at": "1969-12-31T23:59:59.999999Z", "back": "a\\b'c"});
    assert_eq!(scope.fetch("a")?, Some(expected));
    assert!(server.open().plan(&schema)?.is_empty());
    Ok(())
}
